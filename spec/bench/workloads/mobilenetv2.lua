--- MobileNetV2 for images of any size, as the MobileNetV2 workloads use it.
local ml = require "moonlet"
local nn = ml.nn

local function normal(x, relu)
  x = nn.BatchNormalization { momentum = 0.9, epsilon = 1e-5 } (x)
  return relu and nn.Activation { "relu6" } (x) or x
end

local function conv(x, filters, size, strides, relu)
  local layer = nn.Conv2D {
    filters, size, strides = strides, padding = (size - 1) / 2, use_bias = false, kernel_initializer = "he_normal",
  }
  return normal(layer(x), relu)
end

local function block(x, c, filters, strides, widen)
  local h = widen > 1 and conv(x, c * widen, 1, 1, true) or x
  local apart = nn.DepthwiseConv2D { 3, strides = strides, padding = 1, use_bias = false, depthwise_initializer = "he_normal" }
  h = normal(apart(h), true)
  h = conv(h, filters, 1, 1, false)
  return strides == 1 and c == filters and nn.Add {} { x, h } or h
end

-- widening, filters, blocks, stride of the first
local STAGES = { { 1, 16, 1, 1 }, { 6, 24, 2, 2 }, { 6, 32, 3, 2 }, { 6, 64, 4, 2 }, { 6, 96, 3, 1 },
  { 6, 160, 3, 2 }, { 6, 320, 1, 1 } }

return function(size)
  local image = ml.input { nil, size, size, 3 }
  local h, c = conv(image, 32, 3, 2, true), 32
  for _, stage in ipairs(STAGES) do
    for i = 1, stage[3] do
      h = block(h, c, stage[2], i == 1 and stage[4] or 1, stage[1])
      c = stage[2]
    end
  end
  h = nn.GlobalAveragePool2D {} (conv(h, 1280, 1, 1, true))
  return ml.Model { inputs = image, outputs = nn.Dense { 1000 } (h) }
end
