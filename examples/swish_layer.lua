--- A layer of your own: swish with a slope that is learned, `x * sigmoid(slope * x)`: `build/moonlet examples/swish_layer.lua`.
-- Its spec is in `swish_layer_spec.lua`. Required, this file gives the class; run as a script, it also trains a model with it.
local ml = require "moonlet"
local nn = ml.nn

--- Swish with a slope for each channel.
--
-- Input shape: `(batch, ..., c)`.
-- Output shape: the same.
-- @tparam[opt=1] number slope where training starts
local Swish = nn.Layer:extend("Swish", {
  { "slope", "number", default = 1 },
})

function Swish:build(shape)
  local slope = self.slope
  self.slopes = self:add_weight("slopes", { shape[#shape] }, {
    initializer = function(size, dtype) return ml.full(size, slope, dtype) end,
  })
end

function Swish:call(x)
  return x * ml.sigmoid(x * self.slopes)
end

if ... then return Swish end -- required by another file

local x = ml.linspace(-3, 3, 100):reshape { 100, 1 }
local model = ml.Sequential { nn.Dense { 16 }, Swish { slope = 2 }, nn.Dense { 1 } }
model:compile { optimizer = "adam", loss = "mse" }
local history = model:fit(x, ml.abs(x), { epochs = tonumber(os.getenv "EPOCHS") or 200, verbose = 0 })
print(string.format("loss %.5f", history.history.loss[#history.history.loss]))
model:summary()
