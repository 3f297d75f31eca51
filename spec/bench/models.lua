--- Models that several benchmarks share.
local ml = require("moonlet")
local nn = ml.nn

local M = {}

function M.lenet()
  local image = ml.input { nil, 28, 28, 1, name = "image" }
  local h = nn.Conv2D { 32, 3, activation = "relu" } (image)
  h = nn.MaxPool2D { 2 } (h)
  h = nn.Conv2D { 64, 3, activation = "relu" } (h)
  h = nn.MaxPool2D { 2 } (h)
  h = nn.Flatten {} (h)
  h = nn.Dense { 128, activation = "relu" } (h)
  return ml.Model { inputs = image, outputs = nn.Dense { 10 } (h) }
end

function M.mlp()
  local x = ml.input { nil, 784, name = "x" }
  local h = nn.Dense { 512, activation = "relu" } (x)
  h = nn.Dense { 256, activation = "relu" } (h)
  return ml.Model { inputs = x, outputs = nn.Dense { 10 } (h) }
end

local function conv(x, filters, size, strides, activation)
  x = nn.Conv2D { filters, size, strides = strides, padding = "same", use_bias = false } (x)
  x = nn.BatchNormalization {} (x)
  return activation and nn.Activation { activation } (x) or x
end

local function bottleneck(x, filters, strides, project)
  local short = project and conv(x, 4 * filters, 1, strides) or x
  x = conv(x, filters, 1, strides, "relu")
  x = conv(x, filters, 3, 1, "relu")
  x = conv(x, 4 * filters, 1, 1)
  return nn.Activation { "relu" } (nn.Add {} { x, short })
end

function M.resnet50()
  local image = ml.input { nil, 224, 224, 3, name = "image" }
  local x = conv(image, 64, 7, 2, "relu")
  x = nn.MaxPool2D { 3, strides = 2, padding = "same" } (x)
  for stage, blocks in ipairs { 3, 4, 6, 3 } do
    for i = 1, blocks do
      x = bottleneck(x, 32 * 2 ^ stage, (i == 1 and stage > 1) and 2 or 1, i == 1)
    end
  end
  x = nn.GlobalAveragePool2D {} (x)
  return ml.Model { inputs = image, outputs = nn.Dense { 1000 } (x) }
end

return M
