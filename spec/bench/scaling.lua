--- How time grows with size: training steps of a small transformer, one size at a time smaller and larger. The unit of work is
-- what the machine's limits allow for the same launches: of each the larger of its arithmetic at the limit of multiply-adds and its
-- bytes at that of memory. (Arithmetic of products alone, which the notes tell, makes narrow and short ones look dear: norms,
-- optimizer and bytes are a larger part of these.) A curve that is flat scales. Writes build/bench/scaling.svg.
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

-- What the limits allow for a step's launches, in us.
local function least_us(w, limits)
  local sum = 0
  for _, row in ipairs(ml.profile(function() w:step() end, { print = false, limits = limits }).launches) do
    sum = sum + row.us * (row.limit_percent or 0) / 100 -- nil: shorter than the clock's grain
  end
  return sum
end

-- Sizes of one axis: times of the limits, and us for each 10^9 multiplications and additions.
local function measure(bench, name, sizes)
  local units, products = {}, {}
  for i, size in ipairs(sizes) do
    local one = {}
    for key, value in pairs(BASE) do one[key] = value end
    one[name] = size
    local w = workload_of(one)
    local us = timing.rounds(function() w:step() end, 3, 100000)
    units[i], products[i] = us / least_us(w, bench.limits), us / (w:flops() / 1e9)
    collectgarbage()
    collectgarbage()
  end
  return units, products
end

return function(bench, report)
  if not bench.wants("scaling", "scaling") then return end
  report.group("scaling: times of what the limits allow for a training step")
  for _ = 1, 5 do report.raise_limits(bench.measure_limits()) end
  local panels = {}
  for _, axis in ipairs(AXES) do
    local name, sizes = axis[1], axis[2]
    local units, products = measure(bench, name, sizes)
    local best, positions = math.huge, {}
    for i, size in ipairs(sizes) do
      best, positions[i] = math.min(best, units[i]), math.log(size) / math.log(2)
    end
    for i, size in ipairs(sizes) do
      report.figure(("%s %d"):format(name, size), "scaling", units[i], "times",
        ("%.2f of the best; %.0f us for each GFLOP of products"):format(units[i] / best, products[i]))
    end
    panels[#panels + 1] = { title = name .. ": times of the limits", series = { { name = name, x = positions, y = units } } }
  end
  ml.plot.panels(panels, { path = bench.build .. "/bench/scaling.svg", x_label = "log2 of the size", height = 180 })
end
