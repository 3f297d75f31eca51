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
  -- Forward, and twice as much backward; what a loop computes again on its way back is no work.
  local flops = 3 * 2 * 32 * 64 * 256 * (2 * 4 * 256 + 96)
  return { model = model, x = ml.integers({ 32, 64 }, 0, 96, "i32"), y = ml.integers({ 32, 64 }, 0, 96), flops = flops }
end
