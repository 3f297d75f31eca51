--- Which layer call made which symbols.
-- Here: a record of the calls made on symbols outside of traces, so that a functional model finds its layers. Invariant: a record
-- lives as long as an `ml.input` that its call depends on, or a model that took it; nothing here keeps either alive.
-- @module moonlet.nn.calls

local core = require "moonlet.core"

local calls = {}

-- A bucket holds the records of one input: { [node id] = { record, ... } }. Buckets hang on their input's userdata.
local bucket_of_input = setmetatable({}, { __mode = "k" })
local buckets_at = setmetatable({}, { __mode = "k" }) -- bucket -> true
local count = 0

--- Notes an input made by `ml.input`.
function calls.register(symbol)
  local bucket = { records = {}, reached = { [core.symbol_id(symbol)] = true } }
  bucket_of_input[symbol] = bucket
  buckets_at[bucket] = true
end

-- Walks back from symbols over nodes that visit(symbol) returns true for; each node once.
local function walk(symbols, visit)
  local seen, stack = {}, {}
  for i = #symbols, 1, -1 do stack[#stack + 1] = symbols[i] end
  while #stack > 0 do
    local symbol = table.remove(stack)
    local id = core.symbol_id(symbol)
    if not seen[id] then
      seen[id] = true
      if visit(symbol, id) then
        local inputs = core.symbol_inputs(symbol)
        for i = #inputs, 1, -1 do stack[#stack + 1] = inputs[i] end
      end
    end
  end
end

local function buckets_reached(inputs)
  local found, list = {}, {}
  walk(inputs, function(_, id)
    local known = false
    for bucket in pairs(buckets_at) do
      if bucket.reached[id] then
        known = true
        if not found[bucket] then
          found[bucket] = true
          list[#list + 1] = bucket
        end
      end
    end
    return not known
  end)
  return list
end

--- Notes that layer, called on the symbols `inputs`, made the symbols `outputs`.
function calls.record(layer, inputs, outputs)
  count = count + 1
  local record = { layer = layer, order = count, outputs = {}, shapes = {} }
  for i, symbol in ipairs(outputs) do
    record.outputs[i] = core.symbol_id(symbol)
    record.shapes[i] = symbol.shape
  end
  for _, bucket in ipairs(buckets_reached(inputs)) do
    for _, id in ipairs(record.outputs) do
      local records = bucket.records[id] or {}
      records[#records + 1] = record
      bucket.records[id] = records
      bucket.reached[id] = true
    end
  end
end

--- The records of the calls between inputs and outputs, in the order of the calls.
-- @treturn table list of `{ layer =, outputs = { node ids }, shapes = }`
function calls.between(inputs, outputs)
  local stop, found, list = {}, {}, {}
  for _, symbol in ipairs(inputs) do stop[core.symbol_id(symbol)] = true end
  walk(outputs, function(_, id)
    for bucket in pairs(buckets_at) do
      for _, record in ipairs(bucket.records[id] or {}) do
        if not found[record] then
          found[record] = true
          list[#list + 1] = record
        end
      end
    end
    return not stop[id]
  end)
  table.sort(list, function(a, b) return a.order < b.order end)
  return list
end

--- Is x a symbol whose calls are worth recording: built outside of traces, and not eager?
function calls.wanted(x)
  return core.kind(x) == "symbol" and core.trace_depth() == 0 and not core.is_eager()
end

return calls
