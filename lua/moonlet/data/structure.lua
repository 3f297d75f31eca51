--- Components of a dataset's elements: a Tensor, or a table of Tensors (a list or with names), nested as deep as you like.
-- Here: walking such tables. Invariant: tables that come out have the keys of the tables that went in.
-- @module moonlet.data.structure

local core = require "moonlet.core"

local structure = {}

local function is_leaf(value)
  return type(value) ~= "table" or core.kind(value) ~= nil
end

--- Is value a table of numbers (or nested tables of numbers), which becomes one Tensor?
local function is_numbers(value)
  local first = value[1]
  while type(first) == "table" and core.kind(first) == nil do first = first[1] end
  return type(first) == "number" or type(first) == "boolean"
end

local function key_before(a, b)
  if type(a) == type(b) then return a < b end
  return type(a) == "number"
end

local function sorted_keys(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys, key_before)
  return keys
end

--- Makes Tensors of tables of numbers and of numbers.
-- @param value what a script gave
-- @tparam string who for messages
-- @return a Tensor or a table of Tensors
function structure.to_tensors(value, who)
  if core.kind(value) == "tensor" then return value end
  if core.kind(value) ~= nil then core.fail("%s: expected a Tensor, got a %s", who, core.kind(value)) end
  if type(value) == "number" or type(value) == "boolean" then return core.tensor(value) end
  if type(value) ~= "table" then core.fail("%s: expected a Tensor or a table, got %s", who, type(value)) end
  if next(value) == nil then core.fail("%s: expected a Tensor or a table with data, got an empty table", who) end
  if is_numbers(value) then return core.tensor(value) end
  local out = {}
  for _, key in ipairs(sorted_keys(value)) do out[key] = structure.to_tensors(value[key], who) end
  return out
end

--- Applies f to every Tensor.
function structure.map(value, f)
  if is_leaf(value) then return f(value) end
  local out = {}
  for key, entry in pairs(value) do out[key] = structure.map(entry, f) end
  return out
end

--- Calls f(tensor, path) for every Tensor, in a fixed order.
function structure.each(value, f, path)
  if is_leaf(value) then return f(value, path) end
  for _, key in ipairs(sorted_keys(value)) do structure.each(value[key], f, path .. "." .. tostring(key)) end
  return nil
end

local function stack_leaves(list, who)
  if type(list[1]) == "number" or type(list[1]) == "boolean" then return core.tensor(list) end
  local tensors = {}
  for i = 1, #list do tensors[i] = structure.to_tensors(list[i], who) end
  return core.stack(tensors, 1)
end

--- Makes one component of a batch from the same component of many elements.
-- @tparam table list one structure per element
-- @tparam string who for messages
function structure.stack(list, who)
  local first = list[1]
  if is_leaf(first) or is_numbers(first) then return stack_leaves(list, who) end
  local out = {}
  for _, key in ipairs(sorted_keys(first)) do
    local entries = {}
    for i = 1, #list do
      local entry = type(list[i]) == "table" and list[i][key]
      if entry == nil then core.fail("%s: element %d has no '%s', the first one has", who, i, tostring(key)) end
      entries[i] = entry
    end
    out[key] = structure.stack(entries, who)
  end
  return out
end

return structure
