-- Batch normalisation's kernels on every instruction set and with 1 and 2 threads, against plain kernels in f64; statistics of
-- numbers far from 0; the gradients of the statistics themselves.
local core = require("moonlet.core")
local process = require("spec.support.process")

local script = [[
local core = require("moonlet.core")
local graphs = require("spec.graph.graphs")
core.seed(3)
local sum = 0
local function results(tensors, attrs, off)
  core.trace_begin()
  local s = {}
  for i, t in ipairs(tensors) do s[i] = core.placeholder("x" .. i, t.dtype, t.shape, t.ndim) end
  local y, mean, variance = core.batch_norm_train(s[1], s[2], s[3], attrs)
  local loss = (y * s[4]):sum() + (mean * s[2]):sum() + (variance * s[3]):sum()
  local d = core.gradients(loss, { s[1], s[2], s[3] })
  core.trace_end()
  return { core.graph(s, { y, mean, variance, d[1], d[2], d[3] }):program({ inputs = tensors, passes_off = off }):run(tensors) }
end
for _, case in ipairs {
  { { 6, 5, 4, 3 } }, { { 37, 70 } }, { { 2, 33, 31, 64 } }, { { 1, 20 } }, { { 300, 1 } }, { { 4, 5, 6, 130 } }, { { 3, 4000 } },
  { { 9, 8, 7 }, { axis = 2 } }, { { 8, 16, 16, 24 }, { epsilon = 1e-2 } },
} do
  local x, attrs = core.normal(case[1]) * 2 + 3, case[2] or {}
  local c = x.shape[attrs.axis or x.ndim]
  local tensors = { x, core.normal { c }, core.normal { c }, core.normal(case[1]) }
  local wide = {}
  for i, t in ipairs(tensors) do wide[i] = t:cast("f64") end
  local got, want = results(tensors, attrs, ""), results(wide, attrs, "all")
  for i = 1, #got do
    local off, size = (got[i] - want[i]):abs():max():item(), want[i]:abs():max():item()
    if not (off <= 1e-5 * (size + 1)) then print(table.concat(case[1], ",") .. " " .. i .. ": " .. off .. " off, of " .. size) end
  end
  local bytes = graphs.bytes(got)
  for i = 1, #bytes, 13 do sum = (sum * 31 + bytes:byte(i)) % 2147483629 end
end
print(sum)
]]

describe("batch normalisation", function()
  it("agrees with plain kernels and does not depend on threads, on every instruction set", function()
    process.on_all_machines(script, function(where, ok, said) assert(ok, where .. ": " .. said) end)
  end)

  it("takes statistics and their gradient in one pass each", function()
    local x, gamma, beta = core.placeholder("x", "f32", { 8, 6, 6, 32 }), core.ones { 32 }, core.zeros { 32 }
    core.trace_begin()
    local y = core.batch_norm_train(x, gamma, beta)
    local d = core.gradients((y * y):sum(), { x })
    core.trace_end()
    local text
    core.graph({ x }, { y, d[1] }):program({ dump = function(_, t) text = t end })
    assert.matches("= batch_moments%(", text)
    assert.matches("= batch_sums%(", text)
  end)

  it("is exact where the mean is large", function()
    local x = core.normal { 40, 30, 64 } + 3000
    core.trace_begin()
    local s = core.placeholder("x", "f32", x.shape)
    local _, mean, variance = core.batch_norm_train(s, core.ones { 64 }, core.zeros { 64 })
    core.trace_end()
    local got = { core.graph({ s }, { mean, variance }):program():run { x } }
    local wide = x:cast("f64")
    local middle = wide:mean { 1, 2 }
    local spread = ((wide - middle) * (wide - middle)):mean { 1, 2 }
    assert.is_true((got[1] - middle):abs():max():item() < 1e-3)
    assert.is_true((got[2] - spread):abs():max():item() < 1e-5)
  end)

  it("has gradients of its gradients", function()
    local x = core.normal({ 4, 3 }, { dtype = "f64" })
    core.trace_begin()
    local s = core.placeholder("x", "f64", { 4, 3 })
    local y = core.batch_norm_train(s, core.ones({ 3 }, { dtype = "f64" }), core.zeros({ 3 }, { dtype = "f64" }))
    local d = core.gradients((y * y * y):sum(), { s })[1]
    local loss = (d * d):sum()
    local dd = core.gradients(loss, { s })[1]
    core.trace_end()
    local g = core.graph({ s }, { loss, dd }):program()
    local _, slope = g:run { x }
    for _, at in ipairs { { 1, 1 }, { 3, 2 } } do
      local up, down = x:clone(), x:clone()
      up[at[1]][at[2]] = up[at[1]][at[2]]:item() + 1e-6
      down[at[1]][at[2]] = down[at[1]][at[2]]:item() - 1e-6
      local want = ((g:run { up }):item() - (g:run { down }):item()) / 2e-6
      assert.is_true(math.abs(want - slope[at[1]][at[2]]:item()) < 1e-4 * (1 + math.abs(want)))
    end
  end)

  it("says what is wrong with the parts of its gradient", function()
    local function parse(sizes)
      local _, said = pcall(core.graph_parse, ([[graph {
        %%0 = input "x" : f32 [4,3]
        %%1 = input "dy" : f32 [%s]
        %%2 = input "mean" : f32 [%s]
        %%3, %%4 = batch_sums(%%0, %%1, %%2) : f32 [3], f32 [3]
        inputs %%0, %%1, %%2
        outputs %%3, %%4
      }]]):format(sizes[1], sizes[2]), {})
      return tostring(said)
    end
    assert.matches("shapes must be equal: x is %(4, 3%), dy %(4, 2%)", parse { "4,2", "3" })
    assert.matches("mean must have shape %(3%), got %(2%)", parse { "4,3", "2" })
  end)
end)
