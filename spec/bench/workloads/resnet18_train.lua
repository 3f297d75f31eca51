--- ResNet-18 as for CIFAR: images of 32x32x3, batch 32, SGD with momentum.
local ml = require "moonlet"
local nn = ml.nn

local function conv(x, filters, size, strides)
  x = nn.Conv2D { filters, size, strides = strides, padding = size == 3 and 1 or 0, use_bias = false } (x)
  return nn.BatchNormalization { momentum = 0.9, epsilon = 1e-5 } (x)
end

local function block(x, filters, strides)
  local h = nn.Activation { "relu" } (conv(x, filters, 3, strides))
  h = conv(h, filters, 3, 1)
  local short = strides > 1 and conv(x, filters, 1, strides) or x
  return nn.Activation { "relu" } (nn.Add {} { h, short })
end

return function()
  local image = ml.input { nil, 32, 32, 3 }
  local h = nn.Activation { "relu" } (conv(image, 64, 3, 1))
  for stage, filters in ipairs { 64, 128, 256, 512 } do
    h = block(block(h, filters, stage == 1 and 1 or 2), filters, 1)
  end
  local model = ml.Model { inputs = image, outputs = nn.Dense { 10 } (nn.GlobalAveragePool2D {} (h)) }
  model:compile { optimizer = ml.optim.SGD { lr = 0.01, momentum = 0.9 }, loss = "sparse_categorical_crossentropy" }
  return { model = model, x = ml.randn { 32, 32, 32, 3 }, y = ml.integers({ 32 }, 0, 10) }
end
