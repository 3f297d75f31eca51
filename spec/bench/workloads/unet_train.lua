--- U-Net: images of 64x64x3 to a mask, 16-32-64-128 channels, batch 8, Adam.
local ml = require "moonlet"
local nn = ml.nn

local function twice(x, filters)
  x = nn.Conv2D { filters, 3, padding = "same", activation = "relu" } (x)
  return nn.Conv2D { filters, 3, padding = "same", activation = "relu" } (x)
end

return function()
  local image = ml.input { nil, 64, 64, 3 }
  local h, kept = image, {}
  for i, filters in ipairs { 16, 32, 64 } do
    kept[i] = twice(h, filters)
    h = nn.MaxPool2D { 2 } (kept[i])
  end
  h = twice(h, 128)
  for i = 3, 1, -1 do
    h = nn.Conv2DTranspose { 8 * 2 ^ i, 2, strides = 2 } (h)
    h = twice(nn.Concatenate {} { kept[i], h }, 8 * 2 ^ i)
  end
  local model = ml.Model { inputs = image, outputs = nn.Conv2D { 1, 1 } (h) }
  model:compile { optimizer = ml.optim.Adam { lr = 1e-3 }, loss = ml.losses.BinaryCrossentropy { from_logits = true } }
  return { model = model, x = ml.randn { 8, 64, 64, 3 }, y = ml.integers({ 8, 64, 64, 1 }, 0, 2):cast "f32" }
end
