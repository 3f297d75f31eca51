--- How time grows with size: training steps of a small transformer, one size at a time smaller and larger. Each row is the time
-- of a unit of work, 10^9 multiplications and additions; a curve that is flat scales. Writes build/bench/scaling.svg.
local ml = require("moonlet")
local timing = require("spec.bench.timing")
local transformer = require("spec.bench.workloads.transformer")

local BASE = { batch = 8, width = 128, depth = 4, length = 128 }
local AXES = {
  { "batch", { 1, 2, 4, 8, 16, 32 } }, { "width", { 32, 64, 128, 256, 512 } }, { "depth", { 1, 2, 4, 8, 16 } },
  { "length", { 16, 32, 64, 128, 256, 512 } },
}

local function workload_of(size)
  ml.seed(1)
  local model = transformer.gpt {
    vocabulary = 96, context = size.length, width = size.width, heads = size.width / 32, layers = size.depth,
  }
  model:compile { optimizer = ml.optim.AdamW { lr = 1e-3 }, loss = "sparse_categorical_crossentropy" }
  local shape = { size.batch, size.length }
  return require("spec.bench.workload").of {
    model = model, x = ml.integers(shape, 0, 96, "i32"), y = ml.integers(shape, 0, 96),
  }
end

return function(bench, report)
  if not bench.wants("scaling", "scaling") then return end
  report.group("scaling: us for each GFLOP of a training step")
  local panels = {}
  for _, axis in ipairs(AXES) do
    local name, sizes = axis[1], axis[2]
    local units, best = {}, math.huge
    for i, size in ipairs(sizes) do
      local one = {}
      for key, value in pairs(BASE) do one[key] = value end
      one[name] = size
      local w = workload_of(one)
      units[i] = timing.rounds(function() w:step() end, 3, 100000) / (w:flops() / 1e9)
      best = math.min(best, units[i])
      collectgarbage()
      collectgarbage()
    end
    local positions = {}
    for i, size in ipairs(sizes) do
      positions[i] = math.log(size) / math.log(2)
      report.figure(("%s %d"):format(name, size), "scaling", units[i], "us", ("%.2f of the best"):format(units[i] / best))
    end
    panels[#panels + 1] = { title = name .. ": us for each GFLOP", series = { { name = name, x = positions, y = units } } }
  end
  ml.plot.panels(panels, { path = bench.build .. "/bench/scaling.svg", x_label = "log2 of the size", height = 180 })
end
