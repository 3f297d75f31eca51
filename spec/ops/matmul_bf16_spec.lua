-- Products of bf16: of whole numbers the sums are exact in f32, so every kernel must give what the plain one gives, to the bit: few
-- rows and many, operands turned round, batches, sizes that fill no tile, and loops that finish the product.
local core = require("moonlet.core")
local samples = require("spec.support.samples")

local WHOLE = { -3, -2, -1, 0, 1, 2, 3, 4 }

local function draw(rng, shape) return samples.tensor(rng, { kind = "choice", choices = WHOLE, shape = shape }, "bf16") end

local function matrix(rng, rows, columns, batch, turned)
  if turned then rows, columns = columns, rows end
  return draw(rng, batch and { batch, rows, columns } or { rows, columns })
end

-- { m, k, n, batch }
local sizes = {
  { 1, 768, 700 }, { 2, 33, 16 }, { 8, 16, 31 }, { 3, 100, 65, 3 }, { 64, 64, 64 }, { 33, 70, 45 }, { 9, 16, 16 },
  { 100, 33, 17, 2 }, { 200, 2100, 300 }, { 300, 31, 20 }, { 12, 512, 600 }, { 1, 16, 5000 },
}

local function product(case, a, b, bias)
  local x, y = a, b
  if case.turn_a then x = core.swapaxes(x, -1, -2) end
  if case.turn_b then y = core.swapaxes(y, -1, -2) end
  local z = core.matmul(x, y)
  return bias and { core.relu(z + bias), core.sum(z * 0.5, { axes = z.ndim - 1 }) } or { z }
end

local function kernel_of(graph) return graph:program():explain():match "cpu_matmul_bf16_%w+" end

local function check(label, got, want)
  assert(#got == #want)
  for i = 1, #got do
    assert.equal("bf16", got[i].dtype)
    local x, y = got[i]:reshape({ -1 }):totable(), want[i]:reshape({ -1 }):totable()
    for k = 1, #y do
      if x[k] ~= y[k] then error(string.format("%s, result %d: element %d: %g, expected %g", label, i, k, x[k], y[k]), 0) end
    end
  end
end

describe("matmul of bf16", function()
  for _, size in ipairs(sizes) do
    local m, k, n, batch = size[1], size[2], size[3], size[4]
    it(string.format("%d x %d x %d%s", m, k, n, batch and ", batch " .. batch or ""), function()
      for turn = 0, 3 do
        local case = { turn_a = turn % 2 == 1, turn_b = turn >= 2 }
        local rng = samples.generator("bf16 product " .. m .. " " .. k .. " " .. n)
        local tensors = { matrix(rng, m, k, batch, case.turn_a), matrix(rng, k, n, batch, case.turn_b), draw(rng, { n }) }
        for _, finished in ipairs { false, true } do
          local label = string.format("turned %d%s", turn, finished and ", finished" or "")
          local graph = samples.trace(tensors, function(x) return product(case, x[1], x[2], finished and x[3]) end)
          local want = samples.run(graph, tensors, "all")
          check(label, samples.run(graph, tensors), want)
          check(label .. ", not fused", samples.run(graph, tensors, "fuse"), want)
          if m <= 8 then assert(kernel_of(graph), "few rows have a kernel on every machine") end
        end
      end
    end)
  end

  it("reads rows that lie apart", function()
    local rng = samples.generator("apart")
    local a, b = matrix(rng, 5, 64), matrix(rng, 130, 130)
    local want = core.matmul(a:cast "f64", b:cast("f64"):slice(1, 1, 128, 2):slice(2, 1, 130, 2)):cast "bf16"
    local got = core.matmul(a, b:slice(1, 1, 128, 2):slice(2, 1, 130, 2))
    check("slices", { got }, { want })
  end)

  it("gives equal bits on one thread and on two", function()
    local rng = samples.generator("threads")
    local function floats(shape) return samples.tensor(rng, { kind = "float", lo = -1, hi = 1, shape = shape }, "bf16") end
    local before = core.threads()
    for _, size in ipairs { { 1, 700, 900 }, { 150, 300, 170 } } do
      local tensors = { floats { size[1], size[2] }, floats { size[2], size[3] }, floats { size[3] } }
      local graph = samples.trace(tensors, function(x) return product({}, x[1], x[2], x[3]) end)
      core.threads(1)
      local one = samples.run(graph, tensors)
      core.threads(2)
      local two = samples.run(graph, tensors)
      core.threads(before)
      check(size[1] .. " rows", two, one)
    end
  end)

  it("can give its sums in f32, in a graph's text", function()
    local function graph(dtype)
      return core.graph_parse(([[graph {
        %%0 = input "a" : %s [2,16]
        %%1 = input "b" : %s [16,16]
        %%2 = matmul(%%0, %%1) dtype=f32 : f32 [2,16]
        inputs %%0, %%1
        outputs %%2
      }]]):format(dtype, dtype), {})
    end
    for _, dtype in ipairs { "bf16", "f16", "f32" } do
      local a, b = core.full({ 2, 16 }, 3, dtype), core.full({ 16, 16 }, 5.5, dtype)
      for _, off in ipairs { "", "all" } do
        local y = graph(dtype):program({ passes_off = off }):run({ a, b })
        assert.same({ "f32", 264 }, { y.dtype, y[1][1]:item() })
      end
    end
    assert.error_matches(function() graph "f64" end, "only sums of bf16, f16 and f32 can be f32: a f64")
  end)
end)
