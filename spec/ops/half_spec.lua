-- bf16 and f16: stored in 16 bits, computed in f32, each node's result rounded once. Conversion against rounding written here, all
-- bit patterns there and back, gradients of every op against those in f64 of the same numbers, and that no pass drops a rounding.
local core = require("moonlet.core")
local bytes = require("spec.formats.bytes")
local samples = require("spec.support.samples")

local sanitized = os.getenv("MOONLET_SANITIZER") ~= nil
local kinds = {
  bf16 = { digits = 8, least = -133, largest = 2 ^ 127 * (2 - 2 ^ -7) },
  f16 = { digits = 11, least = -24, largest = 65504 },
}

-- x rounded to the nearest number of the dtype, ties to even: what conversion must give.
local function rounded(x, kind)
  if x ~= x or x == 0 or x == math.huge or x == -math.huge then return x end
  local exponent = 0
  local m = math.abs(x)
  while m >= 2 ^ (exponent + 1) do exponent = exponent + 1 end
  while m < 2 ^ exponent do exponent = exponent - 1 end
  local step = 2 ^ math.max(exponent - kind.digits + 1, kind.least)
  local steps = m / step
  local whole = math.floor(steps)
  if steps - whole > 0.5 or (steps - whole == 0.5 and whole % 2 == 1) then whole = whole + 1 end
  local y = whole * step
  if y > kind.largest then y = math.huge end
  return x < 0 and -y or y
end

local function equal(a, b) return a == b or (a ~= a and b ~= b) end

-- Every bit pattern of 16 bits, as a tensor.
local function patterns(dtype)
  local list = {}
  for i = 0, 65535 do list[#list + 1] = string.char(i % 256, math.floor(i / 256)) end
  local text = "{" .. bytes.entry("t", dtype:upper(), { 65536 }, 0, 131072) .. "}"
  return core.file_decode(bytes.safetensors(text, table.concat(list))).tensors.t
end

-- f32 numbers of all sizes, ties and their neighbours among them.
local function numbers()
  local rng, list = samples.generator("halves"), { 0, -0.0, math.huge, -math.huge, 0 / 0, 65504, 65519.99, 65520, 2 ^ -25, 2 ^ -24 }
  for exponent = -140, 127 do
    for i = 1, 12 do
      local m = i <= 4 and 1 + rng.int(0, 4095) / 4096 or i <= 8 and 1 + rng.int(0, 511) / 512 or 1 + rng.next()
      list[#list + 1] = (i % 2 == 0 and -1 or 1) * m * 2.0 ^ exponent
    end
  end
  return core.tensor(list, "f64"):cast("f32")
end

local function differences(want, got, what)
  for i = 1, #want do
    if not equal(want[i], got[i]) then error(string.format("%s: element %d: %.9g, expected %.9g", what, i, got[i], want[i]), 0) end
  end
end

for dtype, kind in pairs(kinds) do
  describe(dtype, function()
    it("rounds to nearest, ties to even, wherever it is made", function()
      local x = numbers()
      local from, want = x:totable(), {}
      for i = 1, #from do want[i] = rounded(from[i], kind) end
      differences(want, x:cast(dtype):totable(), "cast")
      differences(want, core.tensor(from, dtype):totable(), "tensor")
      local copy = core.zeros({ #from }, dtype)
      copy:copy_from(x)
      differences(want, copy:totable(), "copy_from")
      local s = core.placeholder("x", "f32", { #from })
      for _, off in ipairs { "", "all" } do
        local y = core.graph({ s }, { core.cast(core.cast(s, dtype), "f32") }, {}):program({ passes_off = off }):run({ x })
        differences(want, y:totable(), "compiled, passes off: " .. off)
      end
    end)

    it("comes back from f32 and f64 whatever its bits", function()
      local t = patterns(dtype)
      for _, wide in ipairs { "f32", "f64" } do
        local back = t:cast(wide):cast(dtype)
        local a, b = core.file_encode({ { "t", t } }, {}):sub(-131072), core.file_encode({ { "t", back } }, {}):sub(-131072)
        for i = 1, 131072, 2 do
          if a:sub(i, i + 1) ~= b:sub(i, i + 1) then
            local x = t[(i + 1) / 2]:item()
            assert(x ~= x and back[(i + 1) / 2]:item() ~= 0, dtype .. " pattern " .. (i - 1) / 2)
          end
        end
      end
    end)

    it("is computed in f32, and rounded once a node, with and without passes", function()
      local spec = { kind = "float", lo = -2, hi = 2, shape = { 333 } }
      local function tensor(text) return samples.tensor(samples.generator(text), spec, dtype) end
      local x = { tensor "x", tensor "y", tensor "z" }
      local function chain(a, b, c) return { core.tanh((a + b) * c) - core.exp(b) / 3 } end
      local function wide(a, b, c)
        local function half(v) return core.cast(core.cast(v, dtype), "f32") end
        local third = core.cast(core.tensor({ 3 }, dtype), "f32")
        a, b, c = core.cast(a, "f32"), core.cast(b, "f32"), core.cast(c, "f32")
        return { core.cast(half(core.tanh(half(half(a + b) * c))) - half(half(core.exp(b)) / third), dtype) }
      end
      local want = samples.run(samples.trace(x, function(s) return wide(s[1], s[2], s[3]) end), x, "all")[1]:totable()
      for _, off in ipairs { "", "all", "fuse", "fold,simplify,cse" } do
        local graph = samples.trace(x, function(s) return chain(s[1], s[2], s[3]) end)
        local got = samples.run(graph, x, off)[1]
        assert.equal(dtype, got.dtype)
        local apart = 0
        for i, v in ipairs(got:totable()) do apart = apart + (v == want[i] and 0 or 1) end
        -- Functions of the fast and the plain kernels differ in the last place of f32: rarely, and then by one step.
        assert(apart <= (off == "all" and 0 or 2), off .. ": " .. apart .. " of 333 differ")
      end
      assert.same(chain(x[1], x[2], x[3])[1].dtype, dtype)
    end)

    it("takes Lua numbers, meets other dtypes, and is drawn", function()
      local t = core.tensor({ 1, 2 }, dtype)
      assert.equal(dtype, (t + 1).dtype)
      assert.equal(dtype, (t / core.tensor({ 3, 4 }, "i64")).dtype)
      assert.equal(dtype, core.mean(t).dtype)
      assert.equal("f32", (t + core.tensor { 1, 2 }).dtype)
      assert.equal("f64", (t + core.tensor({ 1, 2 }, "f64")).dtype)
      assert.equal("f32", (t + core.tensor({ 1, 2 }, dtype == "f16" and "bf16" or "f16")).dtype)
      assert.same({ dtype, { 3 } }, { core.normal({ 3 }, { dtype = dtype }).dtype, core.normal({ 3 }, { dtype = dtype }).shape })
      assert.same({ 0, 1, 2 }, core.arange(3, { dtype = dtype }):totable())
      assert.equal(1.5, core.tensor(1.5, dtype):item())
    end)

    it("stands in a graph's text and comes back from it", function()
      local x = core.placeholder("x", dtype, { 2 })
      local graph = core.graph({ x }, { core.tanh(x * core.constant(core.tensor({ 0.1, -3 }, dtype))) }, {})
      local again = core.graph_parse(graph:text(), {})
      assert.equal(graph:text(), again:text())
      assert.matches(": " .. dtype .. " %[2%]", graph:text())
      local t = core.tensor({ 1, 2 }, dtype)
      assert.same(graph:program():run({ t }):totable(), again:program():run({ t }):totable())
    end)

    it("goes through bodies of control flow", function()
      local x = core.tensor({ { 1, 2 }, { 3, 4 } }, dtype)
      local function f(s) return { (core.scan(function(c, row) return c * 0.5 + row end, core.zeros({ 2 }, dtype), s[1])) } end
      local graph = samples.trace({ x }, f)
      for _, off in ipairs { "", "all" } do
        local y = samples.run(graph, { x }, off)[1]
        assert.same({ dtype, { 3.5, 5 } }, { y.dtype, y:totable() })
      end
    end)
  end)
end

-- ---- Gradients of every op ----

-- Steps of the dtype, relative to the largest gradient: results that the rule reads were rounded before it, so a gradient may be
-- off by more than its own rounding.
local STEPS = 8

local function gradients(op, case, label, dtype)
  local tensors = samples.tensors(case, dtype, label)
  local which = {}
  for i, t in ipairs(tensors) do
    if samples.is_float(case[i]) then
      which[#which + 1] = i
      if dtype == "f64" then tensors[i] = samples.tensors(case, label:match "%S+$", label)[i]:cast("f64") end
      assert(t.dtype == dtype)
    end
  end
  if #which == 0 then return nil end
  local graph = samples.trace(tensors, function(xs)
    local rng, loss, wrt = samples.generator(label .. " cotangent"), nil, {}
    for i, k in ipairs(which) do wrt[i] = xs[k] end
    for _, y in ipairs(samples.call(op, case, xs)) do
      if samples.float_dtypes[y.dtype] then
        local weights = samples.tensor(rng, { kind = "float", lo = -1, hi = 1, shape = y.shape }, "f64")
        local term = core.sum(core.cast(y, "f64") * core.constant(weights))
        loss = loss and loss + term or term
      end
    end
    return loss and core.gradients(loss, wrt) or { xs[1] }
  end)
  return samples.run(graph, tensors)
end

describe("gradients of halves", function()
  for _, op in ipairs(core.ops()) do
    local list = samples.of(op)
    if op.differentiable and not op.internal and not list.constant then
      it(op.name, function()
        for dtype, kind in pairs(kinds) do
          for i = 1, math.min(#list, sanitized and 1 or 3) do
            local case = list[i]
            local label = samples.label(op, i, dtype)
            if case.smooth ~= false then
              local got, want = gradients(op, case, label, dtype), gradients(op, case, label, "f64")
              for k = 1, got and #got or 0 do
                local top = 0
                local g, w = got[k]:reshape({ -1 }):totable(), want[k]:reshape({ -1 }):totable()
                for j = 1, #w do top = math.max(top, math.abs(w[j])) end
                for j = 1, #w do
                  local apart = math.abs(g[j] - w[j])
                  if apart > STEPS * 2 ^ -kind.digits * (top + math.abs(w[j])) + 1e-6 or apart ~= apart then
                    error(string.format("%s, input %d: element %d: %.6g, expected %.6g", label, k, j, g[j], w[j]), 0)
                  end
                end
              end
            end
          end
        end
      end)
    end
  end
end)
