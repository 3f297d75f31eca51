--- A perceptron for images of 28x28: 784-512-256-10, batch 64, Adam.
local ml = require "moonlet"
local nn = ml.nn

return function()
  local model = ml.Sequential {
    ml.input { nil, 784 },
    nn.Dense { 512, activation = "relu" },
    nn.Dense { 256, activation = "relu" },
    nn.Dense { 10 },
  }
  model:compile { optimizer = ml.optim.Adam { lr = 1e-3 }, loss = "sparse_categorical_crossentropy" }
  return { model = model, x = ml.rand { 64, 784 }, y = ml.integers({ 64 }, 0, 10) }
end
