--- A function as a layer.
-- Here: `nn.Lambda`.
-- @classmod moonlet.nn.lambda

local Layer = require "moonlet.nn.layer"

--- Applies a function. Weights that it uses are not the layer's: write an `nn.module` for those.
--
-- Input shape: any.
-- Output shape: what the function gives.
-- @function nn.Lambda
-- @tparam function f may be given without a name; gets the input, and the options of the call
-- @usage local h = nn.Lambda { function(x) return x * 2 - 1 end } (x)
local Lambda = Layer:extend("Lambda", { { "f", "function", at = 1, required = true } })

function Lambda:call(x, opts)
  return self.f(x, opts)
end

return Lambda
