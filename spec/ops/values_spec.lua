-- Values known independently of the code: every row of spec/support/numpy_values.lua at once, compiled with all passes and with
-- none, in f64 (1e-12) and, where the numbers fit, in f32; special values and integers exactly, signs of zeros too.
local core = require("moonlet.core")
local known = require("spec.support.numpy_values")
local samples = require("spec.support.samples")

-- Where either zero is right: the larger of the two; what NumPy computes by another formula.
local any_zero = { maximum = true, minimum = true, sign = true, log_sigmoid = true }

local elementwise = {}
for _, op in ipairs(core.ops()) do elementwise[op.name] = op.kind == "elementwise" end

local function flat(t)
  if samples.count(t.shape) == 0 then return {} end
  return t:reshape({ -1 }):totable()
end

local function is_negative_zero(x) return x == 0 and 1 / x < 0 end

-- Elementwise numbers are compared each by itself, others beside the largest of their tensor.
local function compare(name, label, got, want, rtol)
  local zeros = not any_zero[name]
  if got.dtype == "f32" then rtol = 2e-6 end
  assert.are.same(want.shape, got.shape, label)
  assert.are.equal(want.dtype, got.dtype, label)
  local x, y, top = flat(got), flat(want), 0
  local is_float = got.dtype == "f32" or got.dtype == "f64"
  for i = 1, #y do
    if is_float and not elementwise[name] and math.abs(y[i]) < math.huge then top = math.max(top, math.abs(y[i])) end
  end
  for i = 1, #x do
    local p, q = x[i], y[i]
    local equal = p == q or (p ~= p and q ~= q)
    if equal and zeros and is_float and p == 0 then equal = is_negative_zero(p) == is_negative_zero(q) end
    if not equal and is_float then equal = p ~= 0 and math.abs(p - q) <= rtol * (math.abs(q) + top) end
    if not equal then
      error(string.format("%s: element %d: got %s, expected %s", label, i, tostring(p), tostring(q)), 0)
    end
  end
end

local function narrow(dtype, f32) return f32 and dtype == "f64" and "f32" or dtype end

local function fits_f32(value)
  if type(value) == "table" then
    for i = 1, #value do
      if not fits_f32(value[i]) then return false end
    end
    return true
  end
  return type(value) ~= "number" or value ~= value or math.abs(value) == math.huge or math.abs(value) < 1e38
end

local function check(row, label, f32)
  local case, inputs = { attrs = row[3], list = row.list }, {}
  for i, value in ipairs(row[2]) do inputs[i] = known.tensor(value, narrow(value.dtype, f32)) end
  local op = { name = row[1] }
  local rtol = row.rtol or 1e-12
  local graph = samples.trace(inputs, function(xs) return samples.call(op, case, xs) end)
  local ways = {
    { "at once", samples.call(op, case, inputs) }, { "compiled", samples.run(graph, inputs) },
    { "plain", samples.run(graph, inputs, "all") },
  }
  for _, way in ipairs(ways) do
    for k, value in ipairs(row[4]) do
      local want = known.tensor(value, row[3].dtype or narrow(value.dtype, f32))
      compare(row[1], string.format("%s, %s%s, result %d", label, way[1], f32 and ", f32" or "", k), way[2][k], want, rtol)
    end
  end
end

local function numbers_fit(row)
  for k = 2, 4, 2 do
    for _, value in ipairs(row[k]) do
      if not fits_f32(value.values) then return false end
    end
  end
  return true
end

local function has_f64(row)
  for _, value in ipairs(row[2]) do
    if value.dtype == "f64" then return true end
  end
  return false
end

describe("values", function()
  local counts = {}
  for _, row in ipairs(known.rows) do
    counts[row[1]] = (counts[row[1]] or 0) + 1
    local label = row[1] .. " " .. counts[row[1]] .. (row.numpy and " (" .. row.numpy .. ")" or "")
    it(label, function()
      check(row, label, false)
      if row.f32 ~= false and has_f64(row) and numbers_fit(row) then check(row, label, true) end
    end)
  end

  it("stand here for every op that scripts can call", function()
    -- Draws are in random_spec; mode and stop_gradient hand on what they get.
    local without = { mode = true, stop_gradient = true }
    for _, op in ipairs(core.ops()) do
      if not op.internal and not op.random and not without[op.name] then
        assert(counts[op.name], op.name .. " has no row in spec/support/numpy_values.lua")
      end
    end
  end)

  it("of mode are those of inference at once, and of the side that is compiled for", function()
    local x, y = core.tensor({ 1, 2 }), core.tensor({ 3, 4 })
    assert.are.same({ 3, 4 }, core.mode(x, y):totable())
    local graph = samples.trace({ x, y }, function(xs) return { core.mode(xs[1], xs[2]) } end)
    assert.are.same({ 1, 2 }, graph:program({ mode = "train" }):run({ x, y }):totable())
    assert.are.same({ 3, 4 }, graph:program({ mode = "infer" }):run({ x, y }):totable())
    assert.are.same({ 1, 2 }, core.stop_gradient(x):totable())
  end)
end)
