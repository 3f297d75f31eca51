-- Control flow: values, gradients by finite differences, captured symbols and variables, nesting, length 0, reverse; each traced
-- with all passes and with none, and step by step on numbers where that is another path.
local core = require("moonlet.core")
local samples = require("spec.support.samples")
local testing = require("moonlet.testing")
local util = require("moonlet.util")

local function f64(values) return core.tensor(values, "f64") end

-- Results of g on the tensors: compiled, plain; they must agree. Returns tables of numbers.
local function both(tensors, g)
  local graph = samples.trace(tensors, function(xs) return { g(util.unpack(xs)) } end)
  local fast, plain = samples.run(graph, tensors), samples.run(graph, tensors, "all")
  for i = 1, #fast do testing.allclose(fast[i], plain[i], { rtol = 1e-12, atol = 1e-14 }) end
  for i = 1, #fast do fast[i] = fast[i].ndim > 0 and fast[i]:totable() or fast[i]:item() end
  return fast
end

local function sum_scan(xs, init, opts)
  return core.scan(function(c, x)
    local y = c + x
    return y, y * 2
  end, init, xs, opts)
end

local function close(got, want)
  testing.allclose(core.tensor(got, "f64"), core.tensor(want, "f64"), { rtol = 1e-12, atol = 1e-14 })
end

describe("scan", function()
  local xs, init = f64 { 1, 2, 3, 4 }, f64(10)

  it("carries along axis 1 and joins what each step gives", function()
    local got = both({ xs, init }, function(x, c) return sum_scan(x, c) end)
    assert.are.same({ 20, { 22, 26, 32, 40 } }, got)
  end)

  it("runs step by step on numbers, with the same result", function()
    local carry, ys = sum_scan(xs, init)
    assert.are.equal(20, carry:item())
    assert.are.same({ 22, 26, 32, 40 }, ys:totable())
    carry, ys = sum_scan(xs, init, { reverse = true })
    assert.are.equal(20, carry:item())
    assert.are.same({ 40, 38, 34, 28 }, ys:totable())
  end)

  it("goes backwards, y standing where x stood", function()
    assert.are.same({ 20, { 40, 38, 34, 28 } }, both({ xs, init }, function(x, c) return sum_scan(x, c, { reverse = true }) end))
  end)

  it("of length 0 gives the first carry and nothing", function()
    assert.are.same({ 10, {} }, both({ core.zeros({ 0 }, "f64"), init }, function(x, c) return sum_scan(x, c) end))
    assert.are.same({ 10, {} }, both({ init }, function(c)
      return core.scan(function(a) return a * 2, a end, c, nil, { length = 0 })
    end))
  end)

  it("has gradients at length 0: only the carry's", function()
    local got = both({ core.zeros({ 0 }, "f64"), init }, function(x, c)
      local g = core.gradients((sum_scan(x, c)) * 3, { x, c })
      return g[1], g[2]
    end)
    assert.are.same({ {}, 3 }, got)
  end)

  it("repeats without a sequence", function()
    assert.are.same({ 16, { 1, 2, 4, 8 } }, both({ f64(1) }, function(c)
      return core.scan(function(a) return a * 2, a end, c, nil, { length = 4 })
    end))
  end)

  it("takes tables of carries, sequences and results", function()
    local got = both({ xs, f64 { 5, 6, 7, 8 } }, function(a, b)
      local c, ys = core.scan(function(c, x)
        return { c[1] + x[1], c[2] * 0.5 + x[2] }, { x[1] * x[2], c[1] }
      end, { core.zeros({}, "f64"), core.ones({}, "f64") }, { a, b })
      return c[1], c[2], ys[1], ys[2]
    end)
    assert.are.same({ 10, 13.6875, { 5, 12, 21, 32 }, { 0, 1, 3, 6 } }, got)
  end)

  it("may give no ys", function()
    local got = both({ xs, init }, function(x, c) return (core.scan(function(a, b) return a * b end, c, x)) end)
    assert.are.same({ 240 }, got)
  end)

  it("reads captured symbols and variables, and has gradients through both", function()
    local w = core.variable(f64(0.5), "w", true)
    local got = both({ xs, f64(3) }, function(x, k)
      local carry = core.scan(function(c, v) return c * w + v * k end, core.zeros({}, "f64"), x)
      local g = core.gradients(carry, { x, k, w })
      return carry, g[1], g[2], g[3]
    end)
    -- carry = 3 (1/8 + 2/4 + 3/2 + 4); d/dw of it = 3 (3 w^2 + 2 * 2 w + 3)
    close(got[1], 18.375)
    close(got[2], { 0.375, 0.75, 1.5, 3 })
    close(got[3], 6.125)
    close(got[4], 17.25)
  end)

  it("has gradients of its carry, sequence and ys, forwards and backwards", function()
    for _, reverse in ipairs { false, true } do
      testing.check_gradient(function(x, c, k)
        return core.scan(function(a, b)
          local y = (a * b + k):tanh()
          return y, y * a
        end, c, x, { reverse = reverse })
      end, { f64 { { 0.5, -1 }, { 0.2, 0.9 }, { -0.7, 0.3 } }, f64 { 0.4, -0.6 }, f64 { 0.1, 0.2 } })
    end
  end)

  it("has second derivatives", function()
    testing.check_gradient(function(x, c)
      local carry = core.scan(function(a, b) return (a * b):sin() + a end, c, x)
      return core.gradients(carry:sum(), { x, c })
    end, { f64 { 0.5, -1, 0.7 }, f64(0.4) })
  end)

  it("nests, and the gradient goes through both", function()
    testing.check_gradient(function(x, c)
      return (core.scan(function(a, row)
        return (core.scan(function(b, v) return (b * v + a):tanh() end, a, row))
      end, c, x))
    end, { f64 { { 0.5, -1, 0.3 }, { 0.2, 0.9, -0.4 } }, f64(0.4) })
  end)

  it("refuses carries that change their type, naming what came", function()
    local ok, message = pcall(both, { xs, init }, function(x, c)
      return core.scan(function(a, b) return core.stack({ a, b }) end, c, x)
    end)
    assert(not ok and message:find "control_spec%.lua:%d+: scan: carry of the body 1 must be f64 %(%), got f64 %(2%)", message)
    assert.are.equal(0, core.trace_depth())
  end)

  it("refuses sequences of two lengths", function()
    local ok, message = pcall(both, { xs, f64 { 1, 2 } }, function(a, b)
      return core.scan(function(c, v) return c + v[1] + v[2] end, core.zeros({}, "f64"), { a, b })
    end)
    assert(not ok and message:find "sequence 2 has length 2, expected 4", message)
  end)

  it("hands errors of its function on and leaves all as it was", function()
    local ok, message = pcall(both, { xs, init }, function(x, c)
      return core.scan(function() error("from inside") end, c, x)
    end)
    assert(not ok and message:find "from inside", message)
    assert.are.same({ 20, { 22, 26, 32, 40 } }, both({ xs, init }, function(x, c) return sum_scan(x, c) end))
  end)
end)

describe("cond", function()
  local function pick(p, x)
    return core.cond(core.gt(p, 0), function() return x:square() end, function() return x * 3 end)
  end

  it("takes one side, on numbers and traced", function()
    for _, p in ipairs { 1, -1 } do
      local want = p > 0 and { 4, 25 } or { 6, 15 }
      assert.are.same({ want }, both({ f64(p), f64 { 2, 5 } }, pick))
      assert.are.same(want, pick(f64(p), f64 { 2, 5 }):totable())
    end
  end)

  it("has the gradient of the side that was taken, through captures, inputs and variables", function()
    local w = core.variable(f64 { 2, 3 }, "w", true)
    for _, p in ipairs { 1, -1 } do
      local got = both({ f64(p), f64 { 2, 5 } }, function(q, x)
        local y = core.cond(core.gt(q, 0), function(a) return a * a * w end, function(a) return a + w end, { x }):sum()
        local g = core.gradients(y, { x, w, q })
        return g[1], g[2], g[3]
      end)
      assert.are.same(p > 0 and { { 8, 30 }, { 4, 25 }, 0 } or { { 1, 1 }, { 1, 1 }, 0 }, got)
    end
  end)

  it("gives tables, nests, and has second derivatives", function()
    for _, p in ipairs { 1, -1 } do
      testing.check_gradient(function(x)
        local pair = core.cond(core.gt(x:sum(), 0), function()
          return { x:sin(), core.cond(core.gt(x:sum(), 100), function() return x end, function() return x:exp() end) }
        end, function() return { x * x, x:tanh() } end)
        return core.gradients((pair[1] * pair[2]):sum(), { x })[1]
      end, { f64 { 0.5 * p, 0.8 * p } })
    end
  end)

  it("refuses sides of two types and conditions that are not one bool", function()
    local ok, message = pcall(both, { f64(1), f64 { 2, 5 } }, function(p, x)
      return core.cond(core.gt(p, 0), function() return x end, function() return x:sum() end)
    end)
    assert(not ok and message:find "value of the else body 1 must be f64 %(2%), got f64 %(%)", message)
    ok, message = pcall(both, { f64 { 1, 2 } }, function(x)
      return core.cond(core.gt(x, 0), function() return x end, function() return x end)
    end)
    assert(not ok and message:find "the condition must be one bool %(rank 0%), got bool %(2%)", message)
  end)
end)

describe("while_loop", function()
  local function halve(x)
    return core.while_loop(function(c) return core.gt(c[1], 1) end, function(c) return { c[1] * 0.5, c[2] + 1 } end,
      { x, core.zeros({}, "i64") })
  end

  it("repeats while its condition holds, also not at all", function()
    for x, want in pairs { [20] = { 0.625, 5 }, [1] = { 1, 0 } } do
      assert.are.same(want, both({ f64(x) }, function(v)
        local c = halve(v)
        return c[1], c[2]
      end))
      local c = halve(f64(x))
      assert.are.same(want, { c[1]:item(), c[2]:item() })
    end
  end)

  it("reads captured symbols and variables in condition and body", function()
    local w = core.variable(f64(3), "w", true)
    assert.are.same({ 81 }, both({ f64(1), f64(50) }, function(c, limit)
      return core.while_loop(function(a) return core.lt(a, limit) end, function(a) return a * w end, c)
    end))
  end)

  it("nests with scan and cond", function()
    assert.are.same({ 26 }, both({ f64 { 1, 2, 3 }, f64(20) }, function(x, limit)
      return core.while_loop(function(c) return core.lt(c, limit) end, function(c)
        return (core.scan(function(a, v)
          return core.cond(core.gt(v, 1), function() return a + v * 2 end, function() return a + 3 end)
        end, c, x))
      end, core.zeros({}, "f64"))
    end))
  end)

  it("says that it has no gradient and what to do", function()
    local ok, message = pcall(both, { f64(20) }, function(x) return core.gradients(halve(x)[1], { x })[1] end)
    assert(not ok and message:find "while_loop" and message:find "no gradient" and message:find "scan", message)
  end)

  it("has no gradient to refuse where none goes through", function()
    assert.are.same({ 40 }, both({ f64(20) }, function(x)
      return core.gradients(x * x + core.stop_gradient(halve(x)[1]), { x })[1]
    end))
  end)
end)

describe("variables and effects", function()
  it("are read, written in order, and written once a run", function()
    local w = core.variable(f64 { 1, 2 }, "w", true)
    core.trace_begin()
    local x = core.placeholder("x", "f64", { 2 }, 1)
    local before = w * 1
    w:assign(before + x)
    local after = w * 1
    w:assign_sub(f64 { 0, 1 })
    local graph = core.graph({ x }, { before, after }, core.trace_effects())
    core.trace_end()
    assert(graph:text():find " assign ", graph:text())
    assert(graph:text():find " variable ", graph:text())
    for _, off in ipairs { "", "all" } do
      w:write(f64 { 1, 2 })
      local program = graph:program({ mode = "train", passes_off = off })
      local a, b = program:run({ f64 { 10, 20 } })
      assert.are.same({ 1, 2 }, a:totable())
      assert.are.same({ 11, 22 }, b:totable())
      assert.are.same({ 11, 21 }, w:read():totable())
      program:run({ f64 { 1, 1 } })
      assert.are.same({ 12, 21 }, w:read():totable())
    end
  end)

  it("an update computed by scan over a variable", function()
    local w = core.variable(f64(1), "w", true)
    core.trace_begin()
    local x = core.placeholder("x", "f64", { 3 }, 1)
    local last = core.scan(function(c, v) return c + v * w end, w * 1, x)
    w:assign(last)
    local graph = core.graph({ x }, { last }, core.trace_effects())
    core.trace_end()
    for _, off in ipairs { "", "all" } do
      w:write(f64(2))
      assert.are.equal(14, graph:program({ mode = "train", passes_off = off }):run({ f64 { 1, 2, 3 } }):item())
      assert.are.equal(14, w:read():item())
    end
  end)
end)

describe("call_custom", function()
  it("has the gradient that was given, not that of its body", function()
    local got = both({ f64 { 1, 2 } }, function(x)
      local y = core.call_custom(function(a) return a * a end, function(xs, ys, dys)
        return dys[1] * 10 + xs[1] * 0 + ys[1] * 0
      end, { x })
      return y, core.gradients(y:sum(), { x })[1]
    end)
    assert.are.same({ { 1, 4 }, { 10, 10 } }, got)
  end)
end)
