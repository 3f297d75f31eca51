--- Iterators behind datasets: batches of rows, batches of a stream, shuffling through a buffer, repetition.
-- Here: functions that return the next element and nil at the end. Invariant: the number of components of an element never
-- changes within an epoch, so a nil inside an element cannot end it early.
-- @module moonlet.data.batch

local core = require "moonlet.core"
local structure = require "moonlet.data.structure"
local util = require "moonlet.util"

local pack, unpack = util.pack, util.unpack

local batch = {}

-- Rows [first, last] of an order: a view where they lie together, else a gathered copy.
local function fetcher(o)
  if not o.rows then
    return function(t, first, last) return t:slice(1, o.first + first - 1, o.first + last - 1) end
  end
  local rows = core.tensor(o.rows, "i64")
  return function(t, first, last)
    return core.gather(t, rows:slice(1, o.first + first - 1, o.first + last - 1), 1)
  end
end

--- Batches of the rows of Tensors.
-- @tparam table columns one structure of Tensors per component
-- @tparam table o see `moonlet.data.order`
-- @tparam integer size
-- @tparam boolean drop leave out a smaller last batch
-- @treturn function
function batch.of_rows(columns, o, size, drop)
  local position = 0
  local fetch = o.count > 0 and fetcher(o)
  return function()
    local first, last = position + 1, math.min(position + size, o.count)
    if first > last or (drop and last - first + 1 < size) then return nil end
    position = last
    local element = {}
    for i, column in ipairs(columns) do
      element[i] = structure.map(column, function(t) return fetch(t, first, last) end)
    end
    return unpack(element, 1, #columns)
  end
end

local function stack_elements(elements)
  local out = {}
  for i = 1, elements[1].n do
    local component = {}
    for j = 1, #elements do
      component[j] = elements[j][i]
      if component[j] == nil then core.fail("dataset: element %d of a batch has no component %d, the first one has", j, i) end
    end
    out[i] = structure.stack(component, "dataset")
  end
  return unpack(out, 1, elements[1].n)
end

--- Batches of the elements of a stream.
function batch.of_stream(following, size, drop)
  local ended = false
  return function()
    local elements = {}
    while not ended and #elements < size do
      local element = pack(following())
      if element[1] == nil then ended = true else elements[#elements + 1] = element end
    end
    if #elements == 0 or (drop and #elements < size) then return nil end
    return stack_elements(elements)
  end
end

--- A stream whose next element is chosen among the `capacity` that come next.
function batch.shuffled(following, random, capacity)
  local buffer, ended = {}, false
  local function fill()
    while not ended and #buffer < capacity do
      local element = pack(following())
      if element[1] == nil then ended = true else buffer[#buffer + 1] = element end
    end
  end
  return function()
    fill()
    if #buffer == 0 then return nil end
    local i = random(#buffer)
    local element = buffer[i]
    buffer[i] = buffer[#buffer]
    buffer[#buffer] = nil
    return unpack(element, 1, element.n)
  end
end

--- Opens streams one after another: open(1), open(2), ..., at most `times` of them. An empty one ends it.
function batch.repeated(open, times)
  local repetition, following, yielded = 0, nil, true
  local pass
  local function advance()
    if repetition >= times or not yielded then return nil end
    repetition, yielded = repetition + 1, false
    following = open(repetition)
    return pass(following())
  end
  function pass(x, ...)
    if x == nil then return advance() end
    yielded = true
    return x, ...
  end
  return function()
    if following == nil then return advance() end
    return pass(following())
  end
end

return batch
