--- A character model: vocabulary 96, 128 characters, width 128, 4 heads, 4 layers, batch 16, AdamW.
local ml = require "moonlet"
local transformer = require "spec.bench.workloads.transformer"

return function()
  local model = transformer.gpt { vocabulary = 96, context = 128, width = 128, heads = 4, layers = 4 }
  model:compile { optimizer = ml.optim.AdamW { lr = 1e-3, weight_decay = 0.01 }, loss = "sparse_categorical_crossentropy" }
  return { model = model, x = ml.integers({ 16, 128 }, 0, 96, "i32"), y = ml.integers({ 16, 128 }, 0, 96) }
end
