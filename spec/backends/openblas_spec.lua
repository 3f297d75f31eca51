-- OpenBLAS of the machine: chosen when asked for, right in every form of product, never needed. Pending where it is not installed.
local process = require "spec.support.process"

local script = [[
local core = require "moonlet.core"
local function kernels(program)
  local list = {}
  for name in program:explain():gmatch "cpu_matmul[%w_]+" do list[#list + 1] = name end
  return table.concat(list, " ")
end
local worst, names = 0, {}
local function check(a_shape, b_shape, turn_a, turn_b, dtype, tail)
  local a, b = core.uniform(a_shape, -1, 1, dtype), core.uniform(b_shape, -1, 1, dtype)
  core.trace_begin()
  local x, y = core.placeholder("a", dtype, a.shape, a.ndim), core.placeholder("b", dtype, b.shape, b.ndim)
  local z = (turn_a and x:transpose() or x):matmul(turn_b and y:transpose() or y)
  if tail then z = (z + 1):tanh() end
  core.trace_end()
  local g = core.graph({ x, y }, { z })
  local fast, plain = g:program(), g:program { passes_off = "all" }
  names[kernels(fast)] = true
  local d = (fast:run { a, b } - plain:run { a, b }):abs():max():item()
  if dtype == "f64" then d = d * 1e8 end
  worst = math.max(worst, d)
end
for _, dtype in ipairs { "f32", "f64" } do
  check({ 70, 80 }, { 80, 90 }, false, false, dtype)
  check({ 300, 257 }, { 257, 513 }, false, false, dtype)
  check({ 300, 257 }, { 300, 257 }, true, false, dtype)
  check({ 300, 257 }, { 31, 257 }, false, true, dtype)
  check({ 257, 300 }, { 513, 257 }, true, true, dtype)
  check({ 3, 70, 80 }, { 3, 80, 90 }, false, false, dtype)
  check({ 1, 800 }, { 800, 900 }, false, false, dtype)
  check({ 900, 800 }, { 800, 1 }, false, false, dtype)
  check({ 300, 257 }, { 257, 513 }, false, false, dtype, true)
  check({ 2, 2 }, { 2, 2 }, false, false, dtype)
end
local list = {}
for name in pairs(names) do list[#list + 1] = name end
table.sort(list)
print(worst < 2e-4 and "right" or "off by " .. worst, table.concat(list, ","))
]]

local function has_openblas()
  local pipe = io.popen("ldconfig -p 2>/dev/null || /sbin/ldconfig -p 2>/dev/null")
  local text = pipe and pipe:read "*a" or ""
  if pipe then pipe:close() end
  return text:find("libopenblas.so.0", 1, true) ~= nil
end

describe("OpenBLAS", function()
  it("multiplies in every form when it is asked for", function()
    if not has_openblas() then return pending "libopenblas.so.0 is not installed" end
    if os.getenv "MOONLET_SANITIZER" then return pending "OpenBLAS is not instrumented: its locks are not seen" end
    local text = process.output_of(script, "MOONLET_OPENBLAS=on")
    -- A build with threads of its own is not used.
    if not text:find "openblas" then return pending "the OpenBLAS of this machine has threads of its own" end
    assert.matches("^right", text)
    assert.matches("cpu_matmul_f32_openblas", text)
    assert.matches("cpu_matmul_f64_openblas", text)
    assert.equal(text, process.output_of(script, "MOONLET_OPENBLAS=on MOONLET_THREADS=1"))
  end)

  it("is not needed, and not used where our kernels are faster", function()
    for _, value in ipairs { "off", "/nowhere/libnothing.so", "off MOONLET_ISA=baseline" } do
      local environment = "MOONLET_OPENBLAS=" .. value
      local text = process.output_of(script, environment)
      assert.matches("^right", text)
      assert.is_nil(text:find "openblas", environment)
    end
  end)
end)
