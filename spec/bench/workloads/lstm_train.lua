--- A character model: vocabulary 96, LSTM of 256 units, 64 characters, batch 32, Adam.
local ml = require "moonlet"
local nn = ml.nn

return function()
  local model = ml.Sequential {
    ml.input { nil, 64, dtype = "i32" },
    nn.Embedding { 96, 256 },
    nn.LSTM { 256, return_sequences = true },
    nn.Dense { 96 },
  }
  model:compile { optimizer = ml.optim.Adam { lr = 1e-3 }, loss = "sparse_categorical_crossentropy" }
  return { model = model, x = ml.integers({ 32, 64 }, 0, 96, "i32"), y = ml.integers({ 32, 64 }, 0, 96) }
end
