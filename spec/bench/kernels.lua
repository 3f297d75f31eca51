--- Single kernels, as programs of one node: matrix products, the convolutions of ResNet-50, chains and rows from 16 KB to 64 MB.
local ml = require("moonlet")
local core = require("moonlet.core")
local timing = require("spec.bench.timing")

local rows = {}

-- A row: name, arithmetic, bytes from memory, and how to make the tensors and the nodes over them.
local function add(name, flops, bytes, make, build)
  rows[#rows + 1] = { name = name, flops = flops, bytes = bytes, make = make, build = build }
end

local function normal(shape) return core.normal(shape) end

-- ---- Products: y [m, n] = a [m, k] b [k, n], _at of a', _bt of b' ----

local function product(m, k, n, turned)
  local name = ("gemm_%dx%dx%d%s"):format(m, k, n, turned or "")
  local a, b = turned == "_at" and { k, m } or { m, k }, turned == "_bt" and { n, k } or { k, n }
  add(name, 2 * m * k * n, 4 * (m * k + k * n + m * n), function() return normal(a), normal(b) end, function(s)
    return (turned == "_at" and s[1]:transpose() or s[1]):matmul(turned == "_bt" and s[2]:transpose() or s[2])
  end)
end

for _, n in ipairs { 256, 384, 512, 768, 1024, 1536, 2048 } do product(n, n, n) end
-- gpt_train: 2048 tokens of width 128; forward, and both gradients of the widest.
product(2048, 128, 384)
product(2048, 128, 128)
product(2048, 128, 512)
product(2048, 512, 128)
product(2048, 128, 96)
product(2048, 512, 128, "_bt")
product(128, 2048, 512, "_at")
-- GPT-2 small: 128 tokens of width 768; one token.
product(128, 768, 768)
product(128, 768, 2304)
product(128, 768, 3072)
product(128, 3072, 768)
product(1, 768, 3072)
product(1, 3072, 768)

-- ---- ResNet-50's convolutions at batch 8: channels, size, window, stride -> filters ----

local CONVS = {
  { 3, 224, 7, 2, 64 }, { 64, 56, 1, 1, 64 }, { 64, 56, 3, 1, 64 }, { 64, 56, 1, 1, 256 }, { 256, 56, 1, 1, 64 },
  { 256, 56, 1, 1, 128 }, { 128, 56, 3, 2, 128 }, { 128, 28, 1, 1, 512 }, { 256, 56, 1, 2, 512 }, { 512, 28, 1, 1, 128 },
  { 128, 28, 3, 1, 128 }, { 512, 28, 1, 1, 256 }, { 256, 28, 3, 2, 256 }, { 256, 14, 1, 1, 1024 }, { 512, 28, 1, 2, 1024 },
  { 1024, 14, 1, 1, 256 }, { 256, 14, 3, 1, 256 }, { 1024, 14, 1, 1, 512 }, { 512, 14, 3, 2, 512 }, { 512, 7, 1, 1, 2048 },
  { 1024, 14, 1, 2, 2048 }, { 2048, 7, 1, 1, 512 }, { 512, 7, 3, 1, 512 },
}
local BATCH = 8

local function convolution(kind, c, size, window, stride, filters)
  local out, pad = math.floor((size - 1) / stride) + 1, (window - 1) / 2
  local attrs = { strides = { stride }, padding = "explicit", pad_lo = { pad }, pad_hi = { pad } }
  local x, w, y = { BATCH, size, size, c }, { window, window, c, filters }, { BATCH, out, out, filters }
  local name = ("%s_%dx%ds%d_%dx%dx%d_%d"):format(kind, window, window, stride, size, size, c, filters)
  local bytes = 4 * (BATCH * size * size * c + window * window * c * filters + BATCH * out * out * filters)
  add(name, 2 * BATCH * out * out * filters * c * window * window, bytes, function()
    if kind == "conv" then return normal(x), normal(w) end
    return normal(x), normal(w), normal(y)
  end, function(s)
    if kind == "conv" then return core.conv(s[1], s[2], attrs) end
    return core.gradients((core.conv(s[1], s[2], attrs) * s[3]):sum(), { kind == "conv_dx" and s[1] or s[2] })[1]
  end)
end

for _, kind in ipairs { "conv", "conv_dx", "conv_dw" } do
  for i, conv in ipairs(CONVS) do
    if kind ~= "conv_dx" or i > 1 then convolution(kind, conv[1], conv[2], conv[3], conv[4], conv[5]) end
  end
end

-- ---- What memory bounds, at 4 K, 256 K and 16 M elements ----

for _, size in ipairs { { "4K", 4096 }, { "256K", 262144 }, { "16M", 16777216 } } do
  local text, n = size[1], size[2]
  add("chain5_" .. text, 5 * n, 12 * n, function() return normal { n }, normal { n } end, function(s)
    return (s[1] * s[2] + s[1]):relu() * 2 - s[1]
  end)
  add("softmax_" .. text, 0, 8 * n, function() return normal { n / 256, 256 } end, function(s) return s[1]:softmax(2) end)
  add("layer_norm_" .. text, 0, 8 * n, function() return normal { n / 256, 256 }, normal { 256 }, normal { 256 } end, function(s)
    return core.layer_norm(s[1], s[2], s[3], { axes = { -1 } })
  end)
end

local function time_of(row)
  local tensors = { row.make() }
  core.trace_begin()
  local symbols = {}
  for i, t in ipairs(tensors) do symbols[i] = core.placeholder("x" .. i, t.dtype, t.shape, t.ndim) end
  local y = row.build(symbols)
  core.trace_end()
  local program = core.graph(symbols, { y }, {}):program({ mode = "infer", inputs = tensors })
  local args = { step = 0 }
  for i, t in ipairs(tensors) do args[i] = t end
  args.out = { (program:run(args)) }
  return timing.rounds(function() program:run(args) end, 5, 40000)
end

-- Adam over one variable, given its gradient.
local function adam(n)
  local w = ml.variable(ml.zeros { n })
  local optimizer = ml.optim.Adam {}
  local g = normal { n }
  local step = ml.fn(function(dw)
    optimizer:apply({ dw }, { w })
    return dw[1]
  end, { training = true })
  local program = step:program(g)
  local args = { g, step = 0, out = { ml.zeros {} } }
  return timing.rounds(function() program:run(args) end, 5, 40000)
end

return function(bench, report)
  report.group("kernels")
  local means = {}
  local function take(row, us, spread)
    report.row { workload = row.name, kind = "kernel", ours_us = us, spread = spread, flops = row.flops, bytes = row.bytes }
    local family = row.name:match("^conv_d[xw]") or row.name:match("^conv") or row.name:match("^gemm")
    if not family or row.name:find("gemm_1x", 1, true) then return end -- one row: memory is its limit
    means[family] = means[family] or { 0, 0 }
    means[family][1] = means[family][1] + report.limit_percent(us, row.flops)
    means[family][2] = means[family][2] + 1
  end
  for _, row in ipairs(rows) do
    if bench.wants("kernels", row.name) then
      take(row, time_of(row))
      collectgarbage()
      collectgarbage()
    end
  end
  for _, size in ipairs { { "4K", 4096 }, { "256K", 262144 }, { "16M", 16777216 } } do
    local row = { name = "adam_" .. size[1], flops = 0, bytes = 28 * size[2] }
    if bench.wants("kernels", row.name) then take(row, adam(size[2])) end
    collectgarbage()
    collectgarbage()
  end
  for _, family in ipairs { "gemm", "conv", "conv_dx", "conv_dw" } do
    local mean = means[family]
    if mean then report.figure("mean of " .. family .. ", of the multiply-add limit", "mean", mean[1] / mean[2], "%") end
  end
end
