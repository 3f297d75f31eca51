--- ResNet-50 on images of 224x224.
local ml = require "moonlet"
local nn = ml.nn

local function conv(x, filters, size, strides, relu)
  x = nn.Conv2D { filters, size, strides = strides, padding = (size - 1) / 2, use_bias = false } (x)
  x = nn.BatchNormalization { epsilon = 1e-5 } (x)
  return relu and nn.Activation { "relu" } (x) or x
end

local function block(x, filters, strides, project)
  local h = conv(conv(x, filters, 1, 1, true), filters, 3, strides, true)
  h = conv(h, 4 * filters, 1, 1, false)
  local short = project and conv(x, 4 * filters, 1, strides, false) or x
  return nn.Activation { "relu" } (nn.Add {} { h, short })
end

return function(batch)
  local image = ml.input { nil, 224, 224, 3 }
  local h = nn.MaxPool2D { 3, strides = 2, padding = 1 } (conv(image, 64, 7, 2, true))
  for stage, blocks in ipairs { 3, 4, 6, 3 } do
    for i = 1, blocks do h = block(h, 32 * 2 ^ stage, (i == 1 and stage > 1) and 2 or 1, i == 1) end
  end
  local model = ml.Model { inputs = image, outputs = nn.Dense { 1000 } (nn.GlobalAveragePool2D {} (h)) }
  return { model = model, x = ml.randn { batch, 224, 224, 3 } }
end
