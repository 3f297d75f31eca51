--- From a graph to a list of launches: models with convolutions, inference and training.
local models = require("spec.bench.models")

return function(bench, ml)
  local function program_of(model, kind, x, y)
    local best = math.huge
    local stats
    for i = 1, 3 do
      -- A new batch size is a new signature.
      local shape = x.shape
      shape[1] = i
      local program = model:program(kind, ml.zeros(shape), kind == "train" and ml.zeros { i } or nil)
      stats = program:stats()
      best = math.min(best, stats.compile_us)
    end
    return best, stats, y
  end
  for _, name in ipairs { "lenet", "resnet50" } do
    local model = models[name]()
    model:compile { optimizer = ml.optim.SGD { lr = 0.1, momentum = 0.9 }, loss = "sparse_categorical_crossentropy" }
    local x = ml.zeros(name == "lenet" and { 1, 28, 28, 1 } or { 1, 224, 224, 3 })
    local us, stats = program_of(model, "predict", x)
    bench.report(name .. " inference", "compile", us / 1000, "ms", ("%d launches"):format(stats.launches + stats.prologue_launches))
    us, stats = program_of(model, "train", x)
    bench.report(name .. " training", "compile", us / 1000, "ms", ("%d launches"):format(stats.launches + stats.prologue_launches))
  end
end
