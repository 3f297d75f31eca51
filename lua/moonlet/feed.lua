--- Batches for a step: from tensors in memory, or from a dataset of `ml.data`.
-- Here: the two kinds of feed. A feed's `open()` gives a function that returns the following batch, a table
-- `{ x = list, y = list, w = list, rows =, key = }` that is used again, or nil. Invariant: from tensors in memory, a steady batch
-- allocates next to nothing: views without shuffling, one buffer a batch size with it.
-- @module moonlet.feed

local core = require "moonlet.core"
local random = require "moonlet.random"
local util = require "moonlet.util"

local feed = {}

-- ---- Tensors in memory ----

local Rows = util.class("Rows")

-- parts: { x = list, y = list, w = list } of tensors with the same number of rows.
function Rows:init(parts, count, batch_size, shuffle)
  self.parts, self.count, self.batch_size, self.shuffle = parts, count, batch_size, shuffle
  self.size = math.ceil(count / batch_size)
  self.gathers = {}
  self.batch = { x = {}, y = {}, w = {} }
end

local NAMES = { "x", "y", "w" }

-- A program that takes rows of t by an index of b numbers, and the buffer it writes to.
local function new_gather(t, b)
  local x = core.placeholder("x", t.dtype, t.shape, #t.shape)
  local index = core.placeholder("index", "i64", { b }, 1)
  local shape = t.shape
  shape[1] = b
  local buffer = core.zeros(shape, t.dtype)
  local program = core.graph({ x, index }, { core.gather(x, index, 1) }, {}):program({
    mode = "infer", inputs = { { dtype = t.dtype, shape = t.shape }, { dtype = "i64", shape = { b } } },
  })
  return { program = program, buffer = buffer, arguments = { t, false, out = { buffer } } }
end

local function gather(self, t, name, i, order, b)
  local key = name .. i .. ":" .. b
  local g = self.gathers[key]
  if not g then
    g = new_gather(t, b)
    self.gathers[key] = g
  end
  g.arguments[2] = order
  g.program:run(g.arguments)
  return g.buffer
end

--- Opens an epoch: a function that gives the batches in turn.
function Rows:open()
  local order = self.shuffle and random.draw(function() return core.permutation(self.count) end)
  local at, batch = 0, self.batch
  return function()
    if at >= self.count then return nil end
    local first, last = at + 1, math.min(at + self.batch_size, self.count)
    local rows = last - at
    local index = order and order:slice(1, first, last)
    for _, name in ipairs(NAMES) do
      for i, t in ipairs(self.parts[name]) do
        batch[name][i] = order and gather(self, t, name, i, index, rows) or t:slice(1, first, last)
      end
    end
    at = last
    batch.rows, batch.key = rows, rows
    return batch
  end
end

local function count_rows(who, parts)
  local count, where
  for _, name in ipairs(NAMES) do
    for i, t in ipairs(parts[name]) do
      local shape = t.shape
      local what = name == "w" and "sample_weight" or #parts[name] > 1 and name .. " " .. i or name
      if #shape == 0 then core.fail("%s: %s needs an axis of examples, got a number", who, what) end
      if count and shape[1] ~= count then
        core.fail("%s: %s has %d rows, but %s has %d", who, where, count, what, shape[1])
      end
      count, where = shape[1], count and where or what
    end
  end
  if not count or count == 0 then core.fail("%s: the data has no rows", who) end
  return count
end

--- A feed of tensors.
-- @tparam string who for messages
-- @tparam table parts `{ x =, y =, w = }`, lists of tensors
-- @tparam integer batch_size
-- @tparam boolean shuffle
function feed.rows(who, parts, batch_size, shuffle)
  local dense = {}
  for _, name in ipairs(NAMES) do
    dense[name] = {}
    for i, t in ipairs(parts[name] or {}) do
      if core.kind(t) == "variable" then t = t:read() end
      if core.kind(t) ~= "tensor" then core.fail("%s: data must be tensors, got %s", who, util.describe(t)) end
      dense[name][i] = t:contiguous()
    end
  end
  return Rows(dense, count_rows(who, dense), batch_size, shuffle)
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
  self.size = dataset:size()
  self.passes = 0
end

local function key_of(batch)
  local parts = {}
  for _, name in ipairs(NAMES) do
    for _, t in ipairs(batch[name]) do
      parts[#parts + 1] = t.dtype
      for _, size in ipairs(t.shape) do parts[#parts + 1] = size end
      parts[#parts + 1] = ";"
    end
    parts[#parts + 1] = "|"
  end
  return table.concat(parts, " ")
end

function Stream:open()
  self.passes = self.passes + 1
  local following = self.dataset:batches(self.passes)
  local batch = {}
  local function take(x, y, w)
    if x == nil then return nil end
    batch.x, batch.y, batch.w = self.read(x, y, w)
    batch.rows = count_rows(self.who, batch)
    batch.key = key_of(batch)
    return batch
  end
  return function() return take(following()) end
end

--- Is value a dataset: an object with a method `batches`?
function feed.is_dataset(value)
  return type(value) == "table" and getmetatable(value) ~= nil and type(value.batches) == "function"
end

--- Does the dataset yield single examples, which are still to be put into batches?
function feed.is_unbatched(dataset)
  return dataset.batch_size == nil and type(dataset.batch) == "function"
end

--- A feed of a dataset's batches.
function feed.stream(who, dataset, read)
  return Stream(who, dataset, read)
end

return feed
