--- Whole training steps, as fit runs them.
local models = require("spec.bench.models")

return function(bench, ml, core)
  local function step(name, model, optimizer, x, y)
    model:compile { optimizer = optimizer, loss = "sparse_categorical_crossentropy" }
    model:train_on_batch(x, y)
    local us = bench.time_us(function() model:train_on_batch(x, y) end, 15)
    bench.report(name, "train", us / 1000, "ms")
    local calls = core.memory().calls
    for _ = 1, 20 do model:train_on_batch(x, y) end
    bench.report(name .. ": allocations per step", "train", (core.memory().calls - calls) / 20, "")
  end
  local labels = core.integers({ 64 }, 0, 10)
  step("mlp_train 784-512-256-10, batch 64, Adam", models.mlp(), "adam", core.normal({ 64, 784 }), labels)
  labels = core.integers({ 128 }, 0, 10)
  step("cnn_train 28x28, batch 128, Adam", models.lenet(), "adam", core.normal({ 128, 28, 28, 1 }), labels)
end
