--- Inputs side by side.
-- Here: `nn.Concatenate`.
-- @classmod moonlet.nn.concatenate

local Layer = require "moonlet.nn.layer"
local core = require "moonlet.core"
local util = require "moonlet.util"

--- Joins inputs along an axis.
--
-- Input shape: a table of tensors that differ in one axis at most.
-- Output shape: that of the inputs, with the sizes along the axis added.
-- @function nn.Concatenate
-- @tparam[opt=-1] integer axis
-- @usage local h = nn.Concatenate {} { a, b }
local Concatenate = Layer:extend("Concatenate", { { "axis", "axis", default = -1 } })

function Concatenate:call(x)
  if util.is_array(x) or #x < 1 then
    self:fail("expected a table of inputs, got %s", util.is_array(x) and "one tensor" or "an empty table")
  end
  return core.concat(x, self.axis)
end

return Concatenate
