--- One step of an LSTM of 64 units.
local ml = require "moonlet"
local nn = ml.nn

return function()
  local x, h, c = ml.input { 1, 1, 64 }, ml.input { 1, 64 }, ml.input { 1, 64 }
  local _, new_h, new_c = nn.LSTM { 64, return_state = true } (x, { initial_state = { h, c } })
  local model = ml.Model { inputs = { x, h, c }, outputs = { new_h, new_c } }
  return { model = model, x = { ml.randn { 1, 1, 64 }, ml.randn { 1, 64 }, ml.randn { 1, 64 } } }
end
