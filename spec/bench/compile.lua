--- From a graph to a list of launches, for ResNet-50: inference and training.
local ml = require("moonlet")
local resnet50 = require("spec.bench.workloads.resnet50_infer")

return function(bench, report)
  if not bench.wants("compile", "resnet50") then return end
  report.group("compile")
  local made = resnet50(1)
  made.model:compile { optimizer = ml.optim.SGD { lr = 0.1, momentum = 0.9 }, loss = "sparse_categorical_crossentropy" }
  for _, kind in ipairs { "predict", "train" } do
    local best, launches = math.huge, 0
    for batch = 1, 3 do
      -- A new batch size is a new signature.
      local x = ml.zeros { batch, 224, 224, 3 }
      local stats = made.model:program(kind, x, kind == "train" and ml.zeros { batch } or nil):stats()
      best, launches = math.min(best, stats.compile_us), stats.launches + stats.prologue_launches
    end
    report.figure("ResNet-50, " .. kind, "compile", best / 1000, "ms", ("%d launches"):format(launches))
  end
end
