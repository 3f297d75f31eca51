--- A model's weights as one list of numbers: `rl.Parameters`.
-- Here: the way between networks and searches that need no gradients.
-- @classmod moonlet.rl.parameters

local core = require "moonlet.core"
local ml = require "moonlet"
local util = require "moonlet.util"

--- The weights of a model that train, in the order of `model.trainable_variables`, each row by row.
-- @function rl.Parameters
-- @tparam Model model one that has its weights: it was called, or made of `ml.input`
-- @usage
-- local parameters = ml.rl.Parameters { model }
-- local es = ml.rl.CMAES { parameters:get(), 0.5 }
-- for i, x in ipairs(es:ask()) do
--   parameters:set(x)
--   values[i] = -play(model)
-- end
local Parameters = util.class("Parameters")

function Parameters:init(given)
  util.options("rl.Parameters", { { "model", "table", at = 1, required = true } }, given, self)
  self.variables, self.count = {}, 0
  for i, variable in ipairs(self.model.trainable_variables) do
    local count = 1
    for _, size in ipairs(variable.shape) do count = count * size end
    local tensor = ml.zeros(variable.shape, variable.dtype)
    self.variables[i] = { variable = variable, count = count, tensor = tensor, flat = tensor:reshape { count }, list = {} }
    self.count = self.count + count
  end
  if self.count == 0 then core.fail("rl.Parameters: the model has no weights yet: call it once") end
end

--- The weights now.
-- @treturn {number,...} `count` numbers
function Parameters:get()
  local list = {}
  for _, part in ipairs(self.variables) do
    for _, x in ipairs(part.variable:read():reshape({ part.count }):totable()) do list[#list + 1] = x end
  end
  return list
end

--- Writes the weights.
-- @tparam {number,...} values
function Parameters:set(values)
  if type(values) ~= "table" or #values ~= self.count then
    core.fail("rl.Parameters: set: expected a list of %d numbers, got %s", self.count, util.describe(values))
  end
  local at = 0
  for _, part in ipairs(self.variables) do
    for i = 1, part.count do part.list[i] = values[at + i] end
    part.flat:set(part.list)
    part.variable:write(part.tensor)
    at = at + part.count
  end
end

return Parameters
