-- Convolutions that run together, strip by strip: against plain kernels, on every instruction set; with 1 and 2 threads, and in
-- slices, they must agree to the bit.
local core = require("moonlet.core")
local ml = require("moonlet")
local process = require("spec.support.process")

local script = [==[
local core = require("moonlet.core")
local graphs = require("spec.graph.graphs")
core.seed(5)
local sum = 0
local ends = {
  none = function(y) return y end,
  clamp = function(y, f) return (y + core.normal { f }):relu():minimum(1.5) end,
  bias = function(y, f) return y + core.normal { f } end,
  tanh = function(y, f) return (y + core.normal { f }):tanh() end,
  doubled = function(y, f, x) return (y + core.normal { f }) * 2 + x end,
}
-- x, then links: { window, filters, attributes, ending }; groups are as many as channels where the window has filters "apart".
local function build(x, case)
  local h, c = x, case[1][4]
  for i = 2, #case do
    local k, f, attrs = case[i][1], case[i][2], case[i][3]
    local apart = f == "apart"
    if apart then f, attrs.groups = c, c end
    h = ends[case[i][4]](core.conv(h, core.normal { k, k, apart and 1 or c, f }, attrs), f, x)
    c = f
  end
  return h
end
local function sliced(program, x)
  local args, done, y = { x, budget_us = 0.001 }
  repeat done, y = program:run(args) until done
  return y
end
local function check(label, case)
  local s = core.placeholder("x", "f32", case[1])
  core.trace_begin()
  local graph = core.graph({ s }, { build(s, case) })
  core.trace_end()
  local x, program = core.normal(case[1]), graph:program()
  local got, want = program:run { x }, graph:program({ passes_off = "all" }):run { x }
  local d, size = (got - want):abs():max():item(), (want * want):mean():item() ^ 0.5
  if not (d <= 3e-4 * size) then print(label .. ": " .. d .. " off, of about " .. size) end
  local bytes = graphs.bytes({ got })
  if bytes ~= graphs.bytes({ sliced(program, x) }) then print(label .. ": slices differ") end
  local _, chained = program:explain():gsub("cpu_conv_chain", "")
  if chained ~= case.chains then print(label .. ": " .. chained .. " chains") end
  for i = 1, #bytes, 97 do sum = (sum * 31 + bytes:byte(i)) % 2147483629 end
end
local same = { padding = "same" }
local function wide(strides, more)
  local attrs = { padding = "same", strides = strides }
  for k, v in pairs(more or {}) do attrs[k] = v end
  return attrs
end
local cases = {
  { { 1, 57, 61, 16 }, { 1, 96, same, "clamp" }, { 3, "apart", wide(2), "clamp" }, { 1, 24, same, "bias" }, chains = 1 },
  { { 3, 29, 31, 21 }, { 1, 107, same, "clamp" }, { 3, "apart", wide(1), "clamp" }, { 1, 21, same, "doubled" }, chains = 1 },
  { { 3, 30, 33, 24 }, { 1, 100, same, "bias" }, { 5, "apart", wide(2), "none" }, { 1, 33, same, "clamp" }, chains = 1 },
  { { 2, 41, 37, 12 }, { 1, 97, same, "none" }, { 5, "apart", wide(1), "clamp" }, { 1, 72, same, "tanh" }, chains = 1 },
  { { 1, 101, 99, 3 }, { 3, 32, wide(1), "clamp" }, { 3, "apart", wide(1), "bias" }, { 1, 16, same, "none" }, chains = 1 },
  { { 3, 40, 25, 20 }, { 1, 100, same, "clamp" }, { 3, "apart", { dilation = 3 }, "tanh" }, chains = 1 },
  { { 4, 26, 28, 100 }, { 4, "apart", { pad_lo = { 3, 0 }, pad_hi = { 0, 5 } }, "clamp" }, { 1, 40, same, "none" }, chains = 1 },
  { { 2, 39, 38, 16 }, { 1, 100, same, "tanh" }, { 3, "apart", wide(1), "clamp" }, { 1, 16, same, "bias" }, chains = 0 },
  { { 2, 39, 38, 16 }, { 1, 100, same, "doubled" }, { 3, "apart", wide(1), "clamp" }, chains = 0 },
  { { 1, 9, 9, 16 }, { 1, 96, same, "clamp" }, { 3, "apart", wide(1), "clamp" }, { 1, 16, same, "bias" }, chains = 0 },
}
for _, sizes in ipairs { { 1, 1, 6000, 24 }, { 1, 8, 1500, 24 } } do -- no rows to speak of; rows beyond the cache
  cases[#cases + 1] = { sizes, { 1, 120, same, "clamp" }, { 3, "apart", wide(1), "clamp" }, chains = 0 }
end
cases[9][1][4], cases[9][2][2] = 100, 100 -- x of the size of what it is added to
for i, case in ipairs(cases) do check("chain " .. i, case) end
print(sum)
]==]

describe("a chain of convolutions", function()
  it("agrees with the reference, whole or in slices, and does not depend on threads, on every instruction set", function()
    process.on_all_machines(script, function(where, ok, said) assert(ok, where .. ": " .. said) end)
  end)

  it("passes NaN and infinity on", function()
    local x = core.placeholder("x", "f32", { 1, 57, 61, 16 })
    core.trace_begin()
    local h = core.conv(x, core.normal { 1, 1, 16, 96 }):relu():minimum(6)
    h = core.conv(core.conv(h, core.normal { 3, 3, 1, 96 }, { groups = 96, padding = "same" }), core.normal { 1, 1, 96, 24 })
    core.trace_end()
    local graph, input = core.graph({ x }, { h }), core.normal { 1, 57, 61, 16 }
    input[1][20][30][3] = 0 / 0
    input[1][40][10][5] = math.huge
    local got, want = graph:program():run { input }, graph:program({ passes_off = "all" }):run { input }
    assert.matches("cpu_conv_chain", graph:program():explain())
    local wrong = core.where(want:eq(want), (got - want):abs(), got:eq(got):cast("f32"))
    assert.is_true(want:ne(want):cast("f32"):sum():item() > 0)
    assert.is_true(wrong:max():item() < 1e-3)
  end)

  it("is what MobileNet's first blocks are in inference", function()
    local model = require("spec.bench.workloads.mobilenetv2")(96)
    local text = model:program("predict", ml.randn { 3, 96, 96, 3 }):explain()
    assert.matches("conv_packed %[add relu minimum%], conv %[add relu minimum%], conv_packed %[add%]: cpu_conv_chain", text)
    assert.matches("in conv2d_%d+, depthwise_conv2d_2, conv2d_%d+ at", text)
  end)

  it("is told of as one launch, and is none in training", function()
    local image = ml.input { nil, 48, 48, 16 }
    local h = ml.nn.Conv2D { 96, 1, activation = "relu" } (image)
    h = ml.nn.DepthwiseConv2D { 3, strides = 2, padding = "same" } (h)
    local model = ml.Model { inputs = image, outputs = ml.nn.Conv2D { 24, 1 } (h) }
    local x = ml.randn { 3, 48, 48, 16 }
    local program, limits = model:program("predict", x), { gflops = 100, read_gbps = 10, copy_gbps = 20 }
    local report = ml.profile(function() program:run { x } end, { print = false, limits = limits })
    local found
    for _, launch in ipairs(report.launches) do
      if launch.name:find("conv_packed [add relu], conv [add], conv_packed [add]", 1, true) then found = launch end
    end
    assert.matches("^conv2d_%d+, depthwise_conv2d_%d+, conv2d_%d+$", found.layer)
    local inner, outer = 48 * 48, 24 * 24
    local products = 2 * 3 * (inner * 16 * 96 + outer * 9 * 96 + outer * 96 * 24)
    assert.is_true(found.flops > products and found.flops < 1.1 * products, tostring(found.flops))
    assert.is_true(found.bytes > 3 * 4 * (inner * 16 + outer * 24) and found.bytes < 3 * 4 * (inner * 16 + outer * 24) * 1.2)
    model:compile { optimizer = "sgd", loss = "mse" }
    assert.is_nil(model:program("train", x, ml.randn { 3, 24, 24, 24 }):explain():find("cpu_conv_chain", 1, true))
  end)
end)
