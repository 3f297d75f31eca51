--- Datasets: sequences of elements `x, y`, cut into batches, shuffled, mapped.
-- Here: the Dataset class and its chained methods, none of which changes the dataset it is called on. Orders of rows are in
-- `moonlet.data.order`, elements that are tables of Tensors in `moonlet.data.structure`, batches in `moonlet.data.batch`.
-- Invariant: what an epoch yields depends only on the data, the seed and the number of the epoch.
--
-- A dataset is of one of two sorts. *Rows* are Tensors in memory, of which each row is an element: cheap to shuffle, split and
-- batch. A *stream* yields elements one by one: generators, and everything after `map`, `batch` or an endless `repeat_`.
-- @module moonlet.data.dataset

local batch = require "moonlet.data.batch"
local core = require "moonlet.core"
local util = require "moonlet.util"
local order = require "moonlet.data.order"
local structure = require "moonlet.data.structure"

local unpack = util.unpack

local EPOCH, SEED = { "epoch", "natural" }, { "seed", "natural" }

--- @type Dataset
local Dataset = {}
Dataset.__index = Dataset

local function new_rows(columns, count, order_of)
  return setmetatable({ columns = columns, count = count, order_of = order_of, epoch = 0 }, Dataset)
end

-- open(epoch) gives a function that returns the next element; count is nil when it is not known. source is the dataset it is
-- made of, if any.
local function new_stream(count, open, batch_size, source)
  return setmetatable({ count = count, open = open, batch_size = batch_size, source = source, epoch = 0 }, Dataset)
end

local function open_rows(self, epoch)
  local o = self.order_of(epoch)
  local position = 0
  return function()
    if position >= o.count then return nil end
    position = position + 1
    local row = order.row(o, position) + 1
    local element = {}
    for i, column in ipairs(self.columns) do
      element[i] = structure.map(column, function(t) return t[row] end)
    end
    return unpack(element, 1, #self.columns)
  end
end

local function open_any(self, epoch)
  if self.columns then return open_rows(self, epoch) end
  return self.open(epoch)
end

local function check_rows(self, method)
  if not self.columns then
    core.fail("dataset: %s needs rows in memory; call it before map, batch, an endless repeat_, and not on a generator", method)
  end
end

--- Number of elements of one epoch: of batches after `batch`, of samples before it; nil when it is endless or not known.
-- @treturn ?integer
function Dataset:size()
  return self.count
end

--- The tensors in memory that all elements come from, one (or a table of them) per component; nil when a generator yields them.
-- @treturn ?table
function Dataset:rows()
  local source = self
  while source and not source.columns do source = source.source end
  return source and source.columns
end

--- Loops over one epoch.
-- @usage for x, y in data:batch(32):batches() do ... end
-- @tparam[opt] integer epoch its number, which decides how shuffles fall; default: one more than in the call before
-- @treturn function an iterator that returns `x, y`: Tensors or tables of Tensors
function Dataset:batches(epoch)
  if epoch == nil then epoch = self.epoch + 1 end
  self.epoch = util.check("dataset", EPOCH, epoch)
  return open_any(self, epoch)
end

--- Mixes the elements, in another order each epoch. On rows the whole dataset is mixed; on a stream a buffer of elements.
-- @tparam[opt] integer seed default: the seed of `ml.seed`
-- @tparam[opt=1024] integer buffer how many elements of a stream are held to choose from
-- @treturn Dataset
function Dataset:shuffle(seed, buffer)
  if seed ~= nil then util.check("dataset", SEED, seed) end
  buffer = util.check("dataset", { "buffer", "count" }, buffer or 1024)
  local function seed_now() return seed or core.seed_get() end
  if self.columns then
    local before = self.order_of
    return new_rows(self.columns, self.count, function(epoch) return order.shuffled(before(epoch), seed_now(), epoch) end)
  end
  return new_stream(self.count, function(epoch)
    return batch.shuffled(open_any(self, epoch), order.random(seed_now(), epoch), buffer)
  end, self.batch_size, self)
end

--- Groups elements: each Tensor gets an axis in front.
-- @tparam integer size elements in a batch; the last batch of an epoch may be smaller
-- @tparam[opt] table opts `drop_remainder = true` leaves a smaller last batch out
-- @treturn Dataset
function Dataset:batch(size, opts)
  util.check("dataset", { "batch size", "count" }, size)
  opts = util.options("dataset:batch", { { "drop_remainder", "boolean" } }, opts)
  if self.batch_size then core.fail("dataset: batched already, by %d", self.batch_size) end
  local drop = opts.drop_remainder == true
  local count = self.count and (drop and math.floor(self.count / size) or math.ceil(self.count / size))
  local batched = new_stream(count, function(epoch)
    if self.columns then return batch.of_rows(self.columns, self.order_of(epoch), size, drop) end
    return batch.of_stream(self.open(epoch), size, drop)
  end, size, self)
  batched.drop = drop
  return batched
end

--- What a loop that keeps its batches needs in place of `batches`, for rows of Tensors that are batched and nothing else: a table
-- of the `columns`, the `order` of an epoch (a function of its number), the `count` of its rows, and `drop`, whether a smaller last
-- batch is left out; nil for other datasets.
-- @treturn ?table
function Dataset:batched_rows()
  local source = self.source
  if self.drop == nil or not source.columns then return nil end
  return { columns = source.columns, count = source.count, drop = self.drop, order = function(epoch)
    self.epoch = epoch
    return source.order_of(epoch)
  end }
end

--- Applies f to each element. After `batch` it sees whole batches, which is much faster than one sample at a time.
-- @usage data:batch(64):map(function(x, y) return x / 255, y end)
-- @tparam function f takes and returns `x, y`
-- @treturn Dataset
function Dataset:map(f)
  util.check("dataset", { "map's argument", "function" }, f)
  local function apply(x, ...)
    if x == nil then return nil end
    return f(x, ...)
  end
  return new_stream(self.count, function(epoch)
    local following = open_any(self, epoch)
    return function() return apply(following()) end
  end, self.batch_size, self)
end

--- The first n elements.
-- @treturn Dataset
function Dataset:take(n)
  util.check("dataset", { "take's argument", "natural" }, n)
  local count = self.count and math.min(n, self.count)
  if self.columns then
    local before = self.order_of
    return new_rows(self.columns, count, function(epoch) return order.part(before(epoch), 0, n) end)
  end
  return new_stream(count, function(epoch)
    local following, left = open_any(self, epoch), n
    return function()
      if left <= 0 then return nil end
      left = left - 1
      return following()
    end
  end, self.batch_size, self)
end

--- All elements but the first n.
-- @treturn Dataset
function Dataset:skip(n)
  util.check("dataset", { "skip's argument", "natural" }, n)
  local count = self.count and math.max(0, self.count - n)
  if self.columns then
    local before = self.order_of
    return new_rows(self.columns, count, function(epoch) return order.part(before(epoch), n, math.huge) end)
  end
  return new_stream(count, function(epoch)
    local following, left = open_any(self, epoch), n
    return function()
      while left > 0 do
        left = left - 1
        if following() == nil then return nil end
      end
      return following()
    end
  end, self.batch_size, self)
end

-- Far enough apart that the epochs inside a repetition are never those of another one.
local REPETITIONS = 65536

--- Repeats the dataset n times in an epoch, or for ever; a shuffle before it falls differently each time.
-- @tparam[opt] integer n default: for ever (fit then wants `steps_per_epoch`)
-- @treturn Dataset
function Dataset:repeat_(n)
  if n ~= nil then util.check("dataset", { "repeat_'s argument", "natural" }, n) end
  if self.columns and n then
    local before = self.order_of
    return new_rows(self.columns, self.count * n, function(epoch)
      local orders = {}
      for i = 1, n do orders[i] = before(epoch * REPETITIONS + i) end
      return order.joined(orders)
    end)
  end
  return new_stream(n and self.count and self.count * n, function(epoch)
    return batch.repeated(function(i) return open_any(self, epoch * REPETITIONS + i) end, n or math.huge)
  end, self.batch_size, self)
end

--- Two datasets: the first `fraction` of the rows, and the others.
-- @usage local train, test = data:split(0.8, 1)
-- @tparam number fraction between 0 and 1
-- @tparam[opt] integer seed chooses the rows at random; without it the first ones are taken
-- @treturn Dataset
-- @treturn Dataset
function Dataset:split(fraction, seed)
  check_rows(self, "split")
  if type(fraction) ~= "number" or not (fraction > 0 and fraction < 1) then
    core.fail("dataset: split needs a fraction between 0 and 1, got %s", tostring(fraction))
  end
  local o = self.order_of(0)
  if seed ~= nil then o = order.shuffled(o, util.check("dataset", SEED, seed), 0) end
  local count = math.floor(o.count * fraction + 0.5)
  local head, tail = order.part(o, 0, count), order.part(o, count, math.huge)
  return new_rows(self.columns, head.count, function() return head end),
    new_rows(self.columns, tail.count, function() return tail end)
end

--- All rows at once, in the order of an epoch.
-- @usage local x, y = test:tensors()
-- @tparam[opt=0] integer epoch
-- @return one Tensor (or table of Tensors) per component
function Dataset:tensors(epoch)
  check_rows(self, "tensors")
  if self.count == 0 then core.fail("dataset: tensors of a dataset without rows") end
  local o = self.order_of(epoch or 0)
  if not o.rows and o.first == 1 and o.count == self.whole then return unpack(self.columns) end
  return batch.of_rows(self.columns, o, o.count, false)()
end

function Dataset:__tostring()
  local size = self.count and string.format("%d", self.count) or "?"
  if self.batch_size then return string.format("Dataset of %s batches of %d", size, self.batch_size) end
  return string.format("Dataset of %s samples", size)
end

local function count_rows(columns)
  local count, where
  for i, column in ipairs(columns) do
    structure.each(column, function(t, path)
      local shape = t.shape
      if #shape == 0 then core.fail("dataset: %s must have an axis of samples, got rank 0", path) end
      if count == nil then count, where = shape[1], path end
      if shape[1] ~= count then core.fail("dataset: %s has %d rows, %s has %d", where, count, path, shape[1]) end
    end, i == 1 and "x" or i == 2 and "y" or "component " .. i)
  end
  return count
end

--- A dataset whose elements are the rows of Tensors.
-- @usage local data = ml.data.dataset { x, y }
-- @tparam table columns `{ x, y }`: Tensors, tables of numbers, or tables of Tensors for models with several inputs; y may be
--   missing, further components are handed through
-- @treturn Dataset
local function new(columns)
  if type(columns) ~= "table" or core.kind(columns) or #columns == 0 then
    core.fail("dataset: expected a table { x, y }, got %s", util.describe(columns))
  end
  for key in pairs(columns) do
    if type(key) ~= "number" then core.fail("dataset: expected a table { x, y }, got the key %s in it", util.describe(key)) end
  end
  local tensors = {}
  for i = 1, #columns do tensors[i] = structure.to_tensors(columns[i], "dataset") end
  local count = count_rows(tensors)
  local whole = order.natural(count)
  local self = new_rows(tensors, count, function() return whole end)
  self.whole = count
  return self
end

return {
  Dataset = Dataset,
  new = new,
  new_stream = new_stream,
  is_dataset = function(value) return getmetatable(value) == Dataset end,
}
