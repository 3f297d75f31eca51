--- Specs of ml.fn and ml.grad: signatures, structures, variables made inside, gradients, programs, eager mode.
local ml = require "moonlet"
local testing = require "moonlet.testing"

describe("ml.fn", function()
  it("reads a variable anew in each run", function()
    local w = ml.variable({ 1, 2, 3 }, { name = "w" })
    local shown
    local f = ml.fn(function()
      shown = tostring(w)
      local before, row = w:read(), w[2]
      w:assign(w * 10)
      local sum = w:slice(1, 1, 1):sum()
      for _, x in w:iter() do sum = sum + x end
      return before, row, w:read(), sum
    end)
    for k = 0, 1 do
      local before, row, after, sum = f()
      testing.equal(before, ml.tensor { 1, 2, 3 } * 10 ^ k)
      testing.equal(row, 2 * 10 ^ k)
      testing.equal(after, ml.tensor { 10, 20, 30 } * 10 ^ k)
      testing.equal(sum, 70 * 10 ^ k)
    end
    assert.equal("Variable 'w' f32 (3)", shown)
    ml.eager(true)
    local ok, before = pcall(f)
    ml.eager(false)
    assert.is_true(ok, before)
    testing.equal(before, { 100, 200, 300 })
    assert.truthy(shown:find("100  200  300", 1, true))
  end)

  it("refuses to take numbers out of a variable, or write it, while it traces", function()
    local w = ml.variable({ 1, 2 }, { name = "w" })
    for name, f in pairs({
      item = function() return w:slice(1, 1, 1) * 0 + w:item() end, totable = function() w:totable() end,
      tensor = function() return ml.tensor(w) end, copy_from = function() ml.zeros({ 2 }):copy_from(w) end,
    }) do
      assert.error_matches(function() ml.fn(f)() end, name .. ": variable 'w' has no numbers while a function is traced")
    end
    assert.error_matches(function() ml.fn(function() w:write { 3, 4 } end)() end, "write: variable 'w' would be written once")
    testing.equal(w, { 1, 2 })
    local made = ml.fn(function() return ml.variable(w, { name = "copy" }) + 0 end)
    testing.equal(made(), { 1, 2 })
    w:write { 5, 6 }
    testing.equal(made(), { 1, 2 })
  end)

  it("assigns in training only where that is asked for", function()
    local n = ml.variable(0)
    local function count(x)
      n:assign_add(x, { training = true })
      return n:read()
    end
    testing.equal(ml.fn(count)(1), 0)
    testing.equal(ml.fn(count, { training = true })(1), 1)
    testing.equal(count(1), 1)
    testing.equal(n:assign(4, { training = false }), 4)
    assert.error_matches(function() n:assign(1, { train = true }) end, "unknown key 'train'; known: training")
    local Counter = ml.nn.module("Counter", function(self)
      self.n = self:add_weight("n", {}, { initializer = "zeros", trainable = false })
    end)
    function Counter:call(x)
      self.n:assign(self.n + 1, { training = true })
      return x * 2
    end
    local net = Counter {}
    local f = ml.fn(function(x) return net(x), net(x, { training = true }) end)
    f(ml.ones { 2, 3 })
    f(ml.ones { 2, 3 })
    testing.equal(net.n, 2)
  end)

  it("traces once for each signature of shapes and dtypes", function()
    local runs = 0
    local f = ml.fn(function(x)
      runs = runs + 1
      return x * 2
    end)
    testing.equal(f(ml.tensor { 1, 2 }), { 2, 4 })
    testing.equal(f(ml.tensor { 3, 4 }), { 6, 8 })
    testing.equal(f(ml.tensor { 3 }), { 6 })
    testing.equal(f(ml.tensor({ 3 }, "i32")), ml.tensor({ 6 }, "i32"))
    assert.equal(3, runs)
    assert.same({ traces = 3, compiles = 3, calls = 4, signatures = 3 }, f:stats())
  end)

  it("takes numbers as inputs of rank 0, unless they are static", function()
    local f = ml.fn(function(x, k) return x * k end)
    testing.equal(f(ml.tensor { 1, 2 }, 3), { 3, 6 })
    testing.equal(f(ml.tensor { 1, 2 }, 0.5), { 0.5, 1 })
    assert.equal(1, f:stats().traces)
    local seen = {}
    local g = ml.fn(function(x, n)
      seen[#seen + 1] = n
      for _ = 1, n do x = x + x end
      return x
    end, { static = { 2 } })
    testing.equal(g(ml.tensor { 1 }, 2), { 4 })
    testing.equal(g(ml.tensor { 1 }, 3), { 8 })
    testing.equal(g(ml.tensor { 2 }, 3), { 16 })
    assert.same({ 2, 3 }, seen)
  end)

  it("takes strings, booleans and nil by their values", function()
    local f = ml.fn(function(x, mode, negate)
      if mode == "double" then x = x * 2 end
      return negate and -x or x
    end)
    testing.equal(f(ml.tensor { 1 }, "double", true), { -2 })
    testing.equal(f(ml.tensor { 1 }, "double"), { 2 })
    testing.equal(f(ml.tensor { 1 }, "single", false), { 1 })
    assert.equal(3, f:stats().traces)
  end)

  it("takes and gives tables of tensors", function()
    local f = ml.fn(function(batch, list) return { sum = batch.a + batch.b, parts = { list[1], list[2] * 2 } }, 7, "text" end)
    local out, number, text = f({ a = ml.tensor { 1 }, b = ml.tensor { 2 } }, { ml.tensor { 3 }, ml.tensor { 4 } })
    testing.equal(out.sum, { 3 })
    testing.equal(out.parts[1], { 3 })
    testing.equal(out.parts[2], { 8 })
    assert.equal(7, number)
    assert.equal("text", text)
    assert.equal(1, f:stats().traces)
  end)

  it("gives several results, and none", function()
    local f = ml.fn(function(x) return x + 1, nil, x + 2 end)
    local a, b, c = f(ml.tensor { 1 })
    testing.equal(a, { 2 })
    assert.is_nil(b)
    testing.equal(c, { 3 })
    local v = ml.variable { 0 }
    local g = ml.fn(function(x) v:assign_add(x) end)
    assert.equal(0, select("#", g(ml.tensor { 2 })))
    testing.equal(v:read(), { 2 })
  end)

  it("trains by hand", function()
    local x = ml.tensor { { 1, 2 }, { 3, 4 }, { 5, 6 } }
    local y = x:matmul { { 2 }, { -1 } }
    local w = ml.variable(ml.zeros { 2, 1 })
    local step = ml.fn(function(a, b)
      local loss = ((a:matmul(w) - b) ^ 2):mean()
      w:assign(w - 0.02 * ml.grad(loss, w))
      return loss
    end)
    local first = step(x, y):item()
    for _ = 1, 2000 do step(x, y) end
    assert.is_true(step(x, y):item() < first / 1000)
    testing.allclose(w:read(), { { 2 }, { -1 } }, { atol = 0.05 })
    assert.equal(1, step:stats().traces)
  end)

  it("makes variables inside once", function()
    local made = 0
    local f = ml.fn(function(x)
      made = made + 1
      local w = ml.variable({ 1, 2 }, { name = "inner" })
      w:assign_add(x)
      return w * 1
    end)
    testing.equal(f(ml.tensor { 1, 1 }), { 2, 3 })
    testing.equal(f(ml.tensor { 1, 1 }), { 3, 4 })
    testing.equal(f(ml.tensor { 1 }), { 4, 5 })
    assert.equal(2, made)
    assert.equal(1, #f:variables())
    testing.equal(f:variables()[1]:read(), { 4, 5 })
  end)

  it("makes variables from random numbers drawn inside", function()
    local f = ml.fn(function(x)
      local w = ml.variable(ml.randn { 4 })
      return w * x
    end)
    testing.equal(f(1), f(1))
    assert.is_true(f(1):abs():max():item() > 0)
  end)

  it("makes the weights of layers made inside once, those of layers outside with the layer", function()
    local outside = ml.nn.Dense { 2 }
    local f = ml.fn(function(x)
      local w = ml.variable { 1 }
      return ml.nn.Dense { 2 } (outside(x)) * w
    end)
    local a = f(ml.ones { 1, 3 })
    testing.allclose(f(ml.ones { 2, 3 }):slice(1, 1, 1), a)
    assert.equal(3, #f:variables())
    assert.equal(2, #outside.variables)
  end)

  it("refuses another shape for a variable made inside", function()
    local f = ml.fn(function(x) return ml.variable(ml.zeros(x.shape)) * x end)
    f(ml.ones { 2 })
    testing.raises(function() f(ml.ones { 3 }) end,
      "the variable made at this place of the function before is f32 %(2,%), now it would be f32 %(3,%)")
  end)

  it("draws other random numbers in each call, and the same after the same seed", function()
    local f = ml.fn(function(x) return x + ml.randn { 3 } end)
    ml.seed(2)
    local a, b = f(0), f(0)
    assert.is_true((a - b):abs():max():item() > 0)
    local g = ml.fn(function(x) return x + ml.randn { 3 } end)
    ml.seed(2)
    testing.equal(g(0), a)
    testing.equal(g(0), b)
  end)

  it("becomes a part of the graph when it is called inside another", function()
    local inner = ml.fn(function(x) return x * x end)
    local outer = ml.fn(function(x) return ml.grad(inner(x):sum(), x) end)
    testing.equal(outer(ml.tensor { 3 }), { 6 })
    assert.equal(0, inner:stats().traces)
    local symbol = inner(ml.input { nil, 2 })
    assert.is_truthy(tostring(symbol):find "Symbol")
  end)

  it("gives its program, which runs into the caller's tensors", function()
    local f = ml.fn(function(x, y) return (x * y):sum() end)
    local x, y, out = ml.tensor { 1, 2 }, ml.tensor { 3, 4 }, ml.zeros {}
    local program = f:program(x, y)
    program:run { x, y, out = { out } }
    assert.equal(11, out:item())
    assert.is_truthy(f:graph(x, y):text():find "mul")
    assert.equal(1, f:stats().traces)
  end)

  it("forbids more signatures than its limit, and forgets when told", function()
    local f = ml.fn(function(x) return x end, { limit = 2, name = "narrow" })
    f(ml.ones { 1 })
    f(ml.ones { 2 })
    testing.raises(function() f(ml.ones { 3 }) end,
      "narrow: a trace for the signature f32%(3,%); would be number 3, but limit is 2")
    f:forget()
    f(ml.ones { 3 })
    assert.equal(1, f:stats().signatures)
  end)

  it("keeps the signatures used last", function()
    local f = ml.fn(function(x) return x end, { keep = 2 })
    for _, n in ipairs { 1, 2, 1, 3, 1 } do f(ml.ones { n }) end
    assert.equal(2, f:stats().signatures)
    assert.equal(3, f:stats().traces)
    f(ml.ones { 2 })
    assert.equal(4, f:stats().traces)
  end)

  it("leaves no trace open after an error", function()
    local core = require "moonlet.core"
    local f = ml.fn(function(x) return x:matmul(x) + nil end)
    testing.raises(function() f(ml.ones { 2, 3 }) end, "fn_spec.lua:%d+: matmul: ")
    assert.equal(0, core.trace_depth())
    assert.is_nil(require("moonlet.trace").current())
    testing.raises(function() ml.fn(function() error "mine" end)(1) end, "mine")
    assert.equal(0, core.trace_depth())
  end)

  it("refuses symbols of another trace", function()
    local kept
    ml.fn(function(x)
      kept = x
      return x
    end)(ml.ones { 1 })
    testing.raises(function() return ml.fn(function(x) return x + kept end)(ml.ones { 1 }) end, "trace")
  end)

  it("names what is wrong", function()
    testing.raises(function() ml.fn(3) end, "ml.fn: the first argument must be a function, got 3")
    testing.raises(function() ml.fn(print, { statics = 1 }) end,
      "ml.fn: unknown option 'statics'; known: keep, limit, name, static")
    testing.raises(function() ml.fn(print, { static = "x" }) end, "static must be an argument's number or a table of them, got 'x'")
  end)
end)

describe("ml.grad", function()
  it("gives one gradient, or a table with the same keys", function()
    local f = ml.fn(function(a, b)
      local loss = (a * a * b):sum()
      local both = ml.grad(loss, { first = a, second = b })
      return ml.grad(loss, a), both.first, both.second, ml.grad(loss, { b, a })
    end)
    local da, first, second, list = f(ml.tensor { 3 }, ml.tensor { 5 })
    testing.equal(da, { 30 })
    testing.equal(first, { 30 })
    testing.equal(second, { 9 })
    testing.equal(list[1], { 9 })
    testing.equal(list[2], { 30 })
  end)

  it("is zero where the loss does not depend", function()
    local w = ml.variable { 1, 2 }
    testing.equal(ml.fn(function(x) return ml.grad(x:sum(), w) end)(ml.ones { 3 }), { 0, 0 })
  end)

  it("can be taken twice", function()
    testing.equal(ml.fn(function(x) return ml.grad(ml.grad((x ^ 3):sum(), x):sum(), x) end)(ml.tensor { 2 }), { 12 })
  end)

  it("says that numbers have no history", function()
    testing.raises(function() ml.grad(ml.ones {}, ml.variable { 1 }) end,
      "the loss is a Tensor, which does not know how it was made")
    testing.raises(function() ml.grad(3, ml.variable { 1 }) end, "the loss must be a symbol, got 3")
    testing.raises(function() ml.fn(function(x) return ml.grad(x:sum(), ml.ones { 1 }) end)(ml.ones { 1 }) end,
      "gradients are taken with respect to arguments of ml.fn or variables, got a tensor f32 %(1,%)")
    testing.raises(function() ml.fn(function(x) return ml.grad(x:sum()) end)(ml.ones { 1 }) end,
      "the second argument must be a variable, a symbol or a table of them, got nothing")
  end)

  it("takes gradients of one's own", function()
    local doubled = ml.custom_gradient(function(x) return x * 1 end, function(_, _, dy) return dy * 2 end)
    testing.equal(ml.fn(function(x) return ml.grad(doubled(x):sum(), x) end)(ml.tensor { 1 }), { 2 })
    local function sum_and_product(a, b) return a + b, a * b end
    local both = ml.custom_gradient(sum_and_product, function(_, b, _, _, ds, dp) return ds + dp * b, ds * 0 end)
    local f = ml.fn(function(a, b)
      local sum, product = both(a, b)
      return ml.grad((sum + product):sum(), { a, b })
    end)
    local grads = f(ml.tensor { 2 }, ml.tensor { 5 })
    testing.equal(grads[1], { 6 })
    testing.equal(grads[2], { 0 })
    testing.raises(function() ml.custom_gradient(3, print) end, "ml.custom_gradient: the first argument must be a function, got 3")
  end)
end)

describe("eager mode", function()
  before_each(function() ml.eager(true) end)
  after_each(function() ml.eager(false) end)

  it("runs functions op by op, with numbers to see", function()
    local seen
    local w = ml.variable { 2 }
    local f = ml.fn(function(x)
      local y = x * w
      seen = y:item()
      return y, ml.grad(y:sum(), { x, w })
    end)
    local y, grads = f(ml.tensor { 3 })
    assert.equal(6, seen)
    testing.equal(y, { 6 })
    testing.equal(grads[1], { 2 })
    testing.equal(grads[2], { 3 })
    assert.equal("tensor", require("moonlet.core").kind(y))
  end)

  it("changes variables as a compiled function does", function()
    local w = ml.variable { 1 }
    local f = ml.fn(function(x)
      w:assign_add(x)
      return w * 10
    end)
    testing.equal(f(ml.tensor { 2 }), { 30 })
    testing.equal(f(ml.tensor { 2 }), { 50 })
    testing.equal(w:read(), { 5 })
  end)

  it("does not freeze the tensors of the caller", function()
    local x = ml.tensor { 1, 2 }
    ml.fn(function(a) return a + 1 end)(x)
    x[1] = 5
    testing.equal(x, { 5, 2 })
  end)

  it("counts steps of optimizers", function()
    local optimizer, w = ml.optim.SGD { lr = function(step) return step + 1 end }, ml.variable { 0 }
    local step = ml.fn(function(g) optimizer:apply({ g }, { w }) end)
    for _ = 1, 3 do step(ml.tensor { 1 }) end
    testing.allclose(w:read(), { -6 })
  end)
end)
