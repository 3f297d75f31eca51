--- GPT-2 small reads 128 tokens: the logits of each.
local ml = require "moonlet"
local transformer = require "spec.bench.workloads.transformer"

return function()
  local model = transformer.gpt { vocabulary = 50257, context = 1024, width = 768, heads = 12, layers = 12, tied = true }
  return { model = model, x = ml.integers({ 1, 128 }, 0, 50257, "i32") }
end
