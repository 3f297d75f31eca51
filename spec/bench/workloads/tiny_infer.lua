--- What a game asks each frame: 8-32-32-4 tanh, batch 1.
local ml = require "moonlet"
local nn = ml.nn

return function()
  local model = ml.Sequential {
    ml.input { nil, 8 },
    nn.Dense { 32, activation = "tanh" },
    nn.Dense { 32, activation = "tanh" },
    nn.Dense { 4, activation = "tanh" },
  }
  return { model = model, x = ml.randn { 1, 8 } }
end
