--- MobileNetV2 on images of 224x224.
local ml = require "moonlet"
local mobilenetv2 = require "spec.bench.workloads.mobilenetv2"

return function(batch)
  return { model = mobilenetv2(224), x = ml.randn { batch, 224, 224, 3 } }
end
