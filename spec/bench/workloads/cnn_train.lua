--- A small convolutional network for images of 28x28, batch 128, Adam.
local ml = require "moonlet"
local nn = ml.nn

return function()
  local model = ml.Sequential {
    ml.input { nil, 28, 28, 1 },
    nn.Conv2D { 32, 3, activation = "relu" },
    nn.MaxPool2D { 2 },
    nn.Conv2D { 64, 3, activation = "relu" },
    nn.MaxPool2D { 2 },
    nn.Flatten {},
    nn.Dense { 128, activation = "relu" },
    nn.Dense { 10 },
  }
  model:compile { optimizer = ml.optim.Adam { lr = 1e-3 }, loss = "sparse_categorical_crossentropy" }
  return { model = model, x = ml.rand { 128, 28, 28, 1 }, y = ml.integers({ 128 }, 0, 10) }
end
