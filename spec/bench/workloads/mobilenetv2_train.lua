--- MobileNetV2 on images of 96x96, batch 16, SGD with momentum.
local ml = require "moonlet"
local mobilenetv2 = require "spec.bench.workloads.mobilenetv2"

return function()
  local model = mobilenetv2(96)
  model:compile { optimizer = ml.optim.SGD { lr = 0.001, momentum = 0.9 }, loss = "sparse_categorical_crossentropy" }
  return { model = model, x = ml.randn { 16, 96, 96, 3 }, y = ml.integers({ 16 }, 0, 1000) }
end
