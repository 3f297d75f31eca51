--- An activation as a layer.
-- Here: `nn.Activation`; the functions are in `moonlet.activations`.
-- @classmod moonlet.nn.activation

local Layer = require "moonlet.nn.layer"

--- Applies an activation to each element.
--
-- Input shape: any.
-- Output shape: that of the input.
-- @function nn.Activation
-- @tparam string|function activation may be given without a name
-- @usage local h = nn.Activation { "relu" } (x)
local Activation = Layer:extend("Activation", { { "activation", "activation", at = 1, required = true } })
Activation.supports_masking = true

function Activation:call(x)
  return self.activation(x)
end

return Activation
