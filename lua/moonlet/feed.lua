--- Batches for a step: from tensors in memory, or from a dataset of `ml.data`.
-- Here: the two kinds of feed. A feed's `open()` gives a function that returns the following batch, a table
-- `{ list =, x =, y =, w =, rows =, key = }` that is used again, or nil; `list` holds x, y and w one after another. A feed knows
-- where it is: `position()` and, before `open`, `resume(position)`. Invariant: from tensors in memory a steady batch costs no
-- memory: there is one batch for each number of rows, and rows are copied into it, on the device where they live.
-- @module moonlet.feed

local core = require "moonlet.core"
local random = require "moonlet.random"
local util = require "moonlet.util"

local feed = {}

local NAMES = { "x", "y", "w" }

-- Calls f(tensor, name, i) for the tensors of a batch, or of data, in the order of a step's inputs.
local function each(parts, f)
  for _, name in ipairs(NAMES) do
    for i, t in ipairs(parts[name]) do f(t, name, i) end
  end
end

local function listed(parts, list)
  local n = 0
  each(parts, function(t)
    n = n + 1
    list[n] = t
  end)
  return list
end

-- ---- Tensors in memory ----

local Rows = util.class("Rows")

-- parts: { x = list, y = list, w = list } of tensors with the same number of rows, of which `count` are taken in an order: nil, or
-- what `order_of` makes of it.
function Rows:init(parts, rows, batch_size, how)
  self.parts, self.batch_size, self.how = parts, batch_size, how
  self.count = how.count or rows
  self.size = how.drop and math.floor(self.count / batch_size) or math.ceil(self.count / batch_size)
  self.list, self.batches = listed(parts, {}), {}
  self.taken, self.passes = 0, 0
  self.in_host = core.zeros({ 1 }):pointer() ~= nil
  for _, t in ipairs(self.list) do self.in_host = self.in_host and (t:pointer() ~= nil or t.count == 0) end
end

-- The batch of that many rows: buffers like the data.
local function batch_of(self, rows)
  local batch = self.batches[rows]
  if batch then return batch end
  batch = { x = {}, y = {}, w = {}, rows = rows, key = rows }
  each(self.parts, function(t, name, i)
    local shape = t.shape
    shape[1] = rows
    batch[name][i] = core.zeros(shape, t.dtype)
  end)
  batch.list = listed(batch, {})
  self.batches[rows] = batch
  return batch
end

-- What takes rows of t by an index of b numbers on another device, and writes them to a buffer.
local function new_gather(t, buffer, b)
  local x, index = core.placeholder("x", t.dtype, t.shape), core.placeholder("index", "i64", { b })
  local program = core.graph({ x, index }, { core.gather(x, index, 1) }, {}):program({
    mode = "infer", inputs = { { dtype = t.dtype, shape = t.shape }, { dtype = "i64", shape = { b } } },
  })
  return { program = program, arguments = { t, false, out = { buffer } } }
end

local function gather(self, batch, first, index)
  if not index then
    self.all_rows = self.all_rows or core.arange({ start = 0, stop = self.list[1].shape[1], dtype = "i64" })
    index = self.all_rows
  end
  batch.gathers = batch.gathers or {}
  for i, t in ipairs(self.list) do
    local g = batch.gathers[i] or new_gather(t, batch.list[i], batch.rows)
    batch.gathers[i] = g
    g.arguments[2] = index:slice(1, first, first + batch.rows - 1)
    g.program:run(g.arguments)
  end
end

-- The order of a pass: its first place, and the tensor of row numbers, or nil for the rows as they lie.
local function order_of(self)
  if self.how.shuffle then
    local now = random.count()
    random.count(self.draws)
    local index = random.draw(function() return core.permutation(self.count) end)
    random.count(math.max(now, random.count()))
    return 1, index
  end
  if not self.how.order then return 1, nil end
  local o = self.how.order(self.passes)
  return o.first, o.rows and core.tensor(o.rows, "i64")
end

--- Opens an epoch: a function that gives the batches in turn.
function Rows:open()
  self.taken, self.resumed = self.resumed or 0, nil
  self.draws = self.again or random.count()
  self.again = nil
  self.passes = self.passes + 1
  local start, index = order_of(self)
  local count = self.how.drop and self.count - self.count % self.batch_size or self.count
  return function()
    local before = self.taken * self.batch_size
    if before >= count then return nil end
    local batch = batch_of(self, math.min(self.batch_size, count - before))
    if self.in_host then
      for i = 1, #self.list do core.take_rows(batch.list[i], self.list[i], start + before, index) end
    else
      gather(self, batch, start + before, index)
    end
    self.taken = self.taken + 1
    return batch
  end
end

--- Where the epoch that is open is: what `resume` takes.
function Rows:position()
  return {
    taken = self.taken, draws = self.draws, passes = self.passes, batch_size = self.batch_size, shuffle = self.how.shuffle == true,
  }
end

--- Goes on from a position. again: the pass that is opened next is the one of that position, from there on.
function Rows:resume(position, again)
  self.passes = position.passes
  if again then self.resumed, self.again, self.passes = position.taken, position.draws, position.passes - 1 end
end

--- A text that tells other data, and other rows of them, from these.
function Rows:hash()
  local list = { core.tensor({ self.count }, "f64") }
  local o = self.how.order and self.how.order(0)
  if o then list[2] = core.tensor(o.rows or { o.first }, "i64") end
  for i, t in ipairs(self.list) do list[#list + 1] = t end
  return core.hash(list)
end

local function count_rows(who, parts)
  local count, where
  each(parts, function(t, name, i)
    local shape = t.shape
    local what = name == "w" and "sample_weight" or #parts[name] > 1 and name .. " " .. i or name
    if #shape == 0 then core.fail("%s: %s needs an axis of examples, got a number", who, what) end
    if count and shape[1] ~= count then
      core.fail("%s: %s has %d rows, but %s has %d", who, where, count, what, shape[1])
    end
    count, where = shape[1], count and where or what
  end)
  if not count or count == 0 then core.fail("%s: the data has no rows", who) end
  return count
end

local function dense_of(who, parts)
  local dense = {}
  for _, name in ipairs(NAMES) do
    dense[name] = {}
    for i, t in ipairs(parts[name] or {}) do
      if core.kind(t) == "variable" then t = t:read() end
      if core.kind(t) ~= "tensor" then core.fail("%s: data must be tensors, got %s", who, util.describe(t)) end
      dense[name][i] = t:contiguous()
    end
  end
  return dense, count_rows(who, dense)
end

--- All rows as one batch.
function feed.single(who, parts)
  local batch, count = dense_of(who, parts)
  batch.list, batch.rows, batch.key = listed(batch, {}), count, count
  return batch
end

--- A feed of tensors.
-- @tparam string who for messages
-- @tparam table parts `{ x =, y =, w = }`, lists of tensors
-- @tparam integer batch_size
-- @tparam[opt] table how `shuffle`; or `order`, a function of the number of the pass that gives rows as `moonlet.data.order` does,
--   with their number `count`; `drop`: leave out a smaller last batch
function feed.rows(who, parts, batch_size, how)
  local dense, count = dense_of(who, parts)
  return Rows(dense, count, batch_size, how or {})
end

--- Cuts parts in two: the first rows, and the last ones that make up `fraction`.
-- @treturn table
-- @treturn table
function feed.split(who, parts, fraction)
  local count = count_rows(who, parts)
  local at = math.floor(count * (1 - fraction))
  if at < 1 or at >= count then
    core.fail("%s: validation_split %s of %d rows leaves no rows on one side", who, util.number_text(fraction), count)
  end
  local head, tail = {}, {}
  for _, name in ipairs(NAMES) do
    head[name], tail[name] = {}, {}
    for i, t in ipairs(parts[name]) do
      head[name][i], tail[name][i] = t:slice(1, 1, at), t:slice(1, at + 1, count)
    end
  end
  return head, tail
end

-- ---- Datasets ----

local Stream = util.class("Stream")

-- read(x, y, w) turns what a dataset yields into lists of tensors x, y, w.
function Stream:init(who, dataset, read)
  self.who, self.dataset, self.read = who, dataset, read
  self.size, self.batch_size = dataset:size(), dataset.batch_size
  self.passes, self.taken = 0, 0
end

local function key_of(batch)
  local parts = {}
  for i, t in ipairs(batch.list) do parts[i] = t.dtype .. table.concat(t.shape, " ") end
  return #batch.x .. "," .. #batch.y .. "," .. table.concat(parts, ";")
end

function Stream:open()
  local skip = self.resumed or 0
  self.resumed = nil
  self.passes, self.taken = self.passes + 1, 0
  local following = self.dataset:batches(self.passes)
  local batch = { list = {} }
  local function take(x, y, w)
    if x == nil then return nil end
    self.taken = self.taken + 1
    batch.x, batch.y, batch.w = self.read(x, y, w)
    for i = #batch.list, 1, -1 do batch.list[i] = nil end
    listed(batch, batch.list)
    batch.rows = count_rows(self.who, batch)
    batch.key = key_of(batch)
    return batch
  end
  for _ = 1, skip do
    if following() == nil then break end
    self.taken = self.taken + 1
  end
  return function() return take(following()) end
end

--- Where the pass that is open is.
function Stream:position()
  return { taken = self.taken, passes = self.passes, batch_size = self.batch_size }
end

--- Goes on from a position, as `Rows:resume`.
function Stream:resume(position, again)
  self.passes = position.passes
  if again then self.resumed, self.passes = position.taken, position.passes - 1 end
end

--- A text that tells other data from these; nil where the rows are not in memory.
function Stream:hash()
  local columns = self.dataset.rows and self.dataset:rows()
  return columns and core.hash(util.flatten(columns))
end

--- Is value a dataset: an object with a method `batches`?
function feed.is_dataset(value)
  return type(value) == "table" and getmetatable(value) ~= nil and type(value.batches) == "function"
end

--- Does the dataset yield single examples, which are still to be put into batches?
function feed.is_unbatched(dataset)
  return dataset.batch_size == nil and type(dataset.batch) == "function"
end

--- A feed of a dataset's batches; where they are rows of tensors in memory, `feed.rows` is better.
function feed.stream(who, dataset, read)
  return Stream(who, dataset, read)
end

return feed
