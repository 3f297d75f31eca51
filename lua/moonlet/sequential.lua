--- Layers one after the other: `ml.Sequential { ... }`.
-- Here: the sequential model. Invariant: its layers cannot change once its graph is made.
-- @classmod moonlet.sequential

local Layer = require "moonlet.nn.layer"
local Network = require "moonlet.network"
local core = require "moonlet.core"
local util = require "moonlet.util"

--- A stack of layers, each called on what the one before gave.
-- @function ml.Sequential
-- @tparam table given the layers in order, and `name`; the first entry may be an `ml.input`, which builds the model at once
-- @usage
-- local model = ml.Sequential { nn.Dense { 32, activation = "relu" }, nn.Dense { 10 } }
local Sequential = util.class("Sequential", Network)

function Sequential:init(given)
  if type(given) ~= "table" or core.kind(given) or getmetatable(given) then
    core.fail("Sequential: expected a table of layers, as in ml.Sequential { nn.Dense { 3 } }, got %s", util.describe(given))
  end
  local names = {}
  for key, value in pairs(given) do
    if type(key) ~= "number" then names[key] = value end
  end
  self:begin(names)
  self.stack = {}
  local n = util.max_index(given)
  for i = 1, n do
    if i == 1 and core.kind(given[1]) == "symbol" then
      self.first = given[1]
    else
      self:add(given[i])
    end
  end
  if self.first then self:entry_for(self.first) end
end

--- Adds a layer at the end.
-- @tparam Layer layer a layer, a model, or a function of one tensor
function Sequential:add(layer)
  if type(layer) == "function" then layer = require "moonlet.nn.lambda" { layer } end
  if not util.is_a(layer, Layer) then
    self:fail("entry %d must be a layer, got %s", #self.stack + 1, util.describe(layer))
  end
  if #self.net.list > 0 then self:fail("layers cannot be added after the model was called") end
  self.stack[#self.stack + 1] = layer
end

--- Takes the last layer off.
-- @treturn Layer
function Sequential:pop()
  if #self.stack == 0 then self:fail("has no layers to pop") end
  if #self.net.list > 0 then self:fail("layers cannot be taken off after the model was called") end
  return table.remove(self.stack)
end

function Sequential:children()
  local list = {}
  local seen = {}
  for _, layer in ipairs(self.stack) do
    if not seen[layer] then
      seen[layer] = true
      list[#list + 1] = { name = layer.name, layer = layer, shape = layer.output_shape }
    end
  end
  return list
end

function Sequential:call(x)
  if #self.stack == 0 then self:fail("has no layers") end
  local last = #self.stack
  for i = 1, last - 1 do x = self.stack[i](x) end
  return self.stack[last](x)
end

return Sequential
