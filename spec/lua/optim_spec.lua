--- Specs of optimizers: steps against the formulas, clipping, schedules, state.
local ml = require "moonlet"
local testing = require "moonlet.testing"
local optim = ml.optim

-- Three steps with the gradients 1, -2, 0.5 for a weight that begins at 1.
local GRADS = { 1, -2, 0.5 }

local function run(optimizer, n)
  local w = ml.variable({ 1 }, { name = "w" })
  for i = 1, n or #GRADS do optimizer:apply({ ml.tensor { GRADS[i] } }, { w }) end
  return w:read()[1]:item()
end

local function run_compiled(optimizer)
  local w = ml.variable({ 1 }, { name = "w" })
  local step = ml.fn(function(g) optimizer:apply({ g }, { w }) end)
  for _, g in ipairs(GRADS) do step(ml.tensor { g }) end
  return w:read()[1]:item()
end

local function check(make, expected)
  testing.allclose(run(make()), expected, { rtol = 1e-5 })
  testing.allclose(run_compiled(make()), expected, { rtol = 1e-5 })
end

local function adam(decay)
  local w, m, v = 1, 0, 0
  for t, g in ipairs(GRADS) do
    w = w - w * (decay or 0) * 0.1
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    w = w - 0.1 * math.sqrt(1 - 0.999 ^ t) / (1 - 0.9 ^ t) * m / (math.sqrt(v) + 1e-7)
  end
  return w
end

describe("optimizers", function()
  it("SGD", function()
    check(function() return optim.SGD { lr = 0.1 } end, 1 - 0.1 * (1 - 2 + 0.5))
  end)

  it("SGD with momentum", function()
    local w, m = 1, 0
    for _, g in ipairs(GRADS) do
      m = 0.9 * m - 0.1 * g
      w = w + m
    end
    check(function() return optim.SGD { lr = 0.1, momentum = 0.9 } end, w)
  end)

  it("SGD with Nesterov momentum", function()
    local w, m = 1, 0
    for _, g in ipairs(GRADS) do
      m = 0.9 * m - 0.1 * g
      w = w + 0.9 * m - 0.1 * g
    end
    check(function() return optim.SGD { lr = 0.1, momentum = 0.9, nesterov = true } end, w)
  end)

  it("Adam", function()
    check(function() return optim.Adam { lr = 0.1 } end, adam())
  end)

  it("AdamW takes the decay off first", function()
    check(function() return optim.AdamW { lr = 0.1, weight_decay = 0.2 } end, adam(0.2))
    check(function() return optim.AdamW { lr = 0.1, weight_decay = 0.2, exclude_from_weight_decay = { "w" } } end, adam())
  end)

  it("RMSprop", function()
    local w, v = 1, 0
    for _, g in ipairs(GRADS) do
      v = 0.9 * v + 0.1 * g * g
      w = w - 0.1 * g / math.sqrt(v + 1e-7)
    end
    check(function() return optim.RMSprop { lr = 0.1 } end, w)
  end)

  it("RMSprop with momentum", function()
    local w, v, m = 1, 0, 0
    for _, g in ipairs(GRADS) do
      v = 0.9 * v + 0.1 * g * g
      m = 0.5 * m + 0.1 * g / math.sqrt(v + 1e-7)
      w = w - m
    end
    check(function() return optim.RMSprop { lr = 0.1, momentum = 0.5 } end, w)
  end)

  it("have Keras's learning rates", function()
    testing.allclose(optim.SGD {}.lr, 0.01)
    testing.allclose(optim.Adam {}.lr, 0.001)
    testing.allclose(optim.AdamW {}.learning_rate, 0.001)
    testing.allclose(optim.RMSprop {}.lr, 0.001)
    testing.allclose(optim.Adam { learning_rate = 0.5 }.lr, 0.5)
  end)

  it("clip by value, by norm, and by the norm of all", function()
    local function after(opts)
      opts.lr = 1
      local a, b = ml.variable { 0, 0 }, ml.variable { 0 }
      optim.SGD(opts):apply({ ml.tensor { 3, 4 }, ml.tensor { 0.1 } }, { a, b })
      return -a:read(), -b:read()
    end
    testing.allclose((after { clipvalue = 3.5 }), { 3, 3.5 })
    local a, b = after { clipnorm = 1 }
    testing.allclose(a, { 0.6, 0.8 })
    testing.allclose(b, { 0.1 })
    a, b = after { global_clipnorm = 1 }
    local norm = math.sqrt(25.01)
    testing.allclose(a, { 3 / norm, 4 / norm })
    testing.allclose(b, { 0.1 / norm })
    a = after { global_clipnorm = 10 }
    testing.allclose(a, { 3, 4 })
  end)

  it("count their steps", function()
    local optimizer = optim.SGD { lr = 0.1 }
    run_compiled(optimizer)
    assert.equal(3, optimizer.iterations:read():item())
    assert.equal(3, optimizer.steps)
  end)

  it("take a new rate at any time", function()
    local optimizer, w = optim.SGD { lr = 1 }, ml.variable { 0 }
    local step = ml.fn(function(g) optimizer:apply({ g }, { w }) end)
    step(ml.tensor { 1 })
    optimizer.lr = 0.5
    step(ml.tensor { 1 })
    optimizer.learning_rate = 0.25
    step(ml.tensor { 1 })
    testing.allclose(w:read(), { -1.75 })
    assert.equal(1, step:stats().traces)
  end)

  it("follow a function of the step, counted from 0", function()
    local seen = {}
    local function schedule(step)
      seen[#seen + 1] = step
      return step + 1
    end
    local optimizer, w = optim.SGD { lr = schedule }, ml.variable { 0 }
    local step = ml.fn(function(g) optimizer:apply({ g }, { w }) end)
    for _ = 1, 3 do step(ml.tensor { 1 }) end
    testing.allclose(w:read(), { -(1 + 2 + 3) })
    assert.same({ 0, 0, 1, 2 }, seen)
    testing.raises(function() optim.SGD { lr = function() return "x" end } end,
      "SGD: the learning rate of step 0 must be a number, got 'x'")
  end)

  it("keep slots by the names of their variables", function()
    local optimizer, w = optim.Adam {}, ml.variable({ 1 }, { name = "dense_1/kernel" })
    optimizer:apply({ ml.tensor { 1 } }, { w })
    local names = {}
    for _, v in ipairs(optimizer:variables()) do names[#names + 1] = v.name end
    assert.same({ "optimizer/iterations", "optimizer/learning_rate", "optimizer/dense_1/kernel/m", "optimizer/dense_1/kernel/v" },
      names)
    w:rename "other"
    assert.equal("optimizer/other/m", optimizer:variables()[3].name)
  end)

  -- Numbers below the normal ones (1.18e-38) would stay, and take a hundred times as long. Of 17, for whole vectors and a rest.
  it("end the decay of a slot at 0", function()
    local core = require "moonlet.core"
    local w, g, small, rest = ml.ones { 17 }, ml.zeros { 17 }, ml.full({ 17 }, 1.18e-38), ml.full({ 17 }, 1e-3)
    local function is_zero(x) assert.are.equal(0, x:abs():max():item()) end
    local _, m, v = core.adam_update(w, g, small, small, 0.1, 1, { beta_1 = 0.9, beta_2 = 0.9 })
    is_zero(m)
    is_zero(v)
    _, m = core.sgd_update(w, g, -small, 0.1, { momentum = 0.9 })
    is_zero(m)
    _, v, m = core.rmsprop_update(w, g, small, small, 0.1, { rho = 0.9, momentum = 0.9 })
    is_zero(m)
    is_zero(v)
    _, m = core.adam_update(w, g, rest, rest, 0.1, 1)
    testing.allclose(m, ml.full({ 17 }, 0.9e-3), { rtol = 1e-5 })
    _, m = core.adam_update(w, g + 0 / 0, rest, rest, 0.1, 1)
    assert.is_true(m[17]:item() ~= m[17]:item())
  end)

  it("work on f64", function()
    local w = ml.variable(ml.tensor({ 1 }, "f64"))
    local grad = ml.tensor({ 1 }, "f64")
    for _, make in ipairs { optim.SGD, optim.Adam, optim.RMSprop } do make { lr = 0.1 }:apply({ grad }, { w }) end
    assert.equal("f64", w.dtype)
    assert.is_true(w:read()[1]:item() < 1)
  end)

  it("are found by name", function()
    assert.equal("Adam", getmetatable(optim.get("x", "adam")).class_name)
    assert.equal("RMSprop", getmetatable(optim.get("x", "RMSprop")).class_name)
    testing.raises(function() optim.get("compile", "adm") end, "compile: unknown optimizer 'adm'; known: adam, adamw, rmsprop, sgd")
    testing.raises(function() optim.get("compile", 3) end,
      "optimizer must be a name or an optimizer such as ml.optim.Adam {}, got 3")
  end)

  it("name what is wrong", function()
    testing.raises(function() optim.Adam { lr = -1 } end,
      "Adam: lr must be a number that is not negative, or a function of the step, got %-1")
    testing.raises(function() optim.Adam { beta_1 = 1 } end, "Adam: beta_1 must be a number from 0 up to, not including, 1, got 1")
    testing.raises(function() optim.Adam { beta = 1 } end, "Adam: unknown option 'beta'; known: beta_1, beta_2, clipnorm")
    testing.raises(function() optim.SGD { lr = 1, learning_rate = 2 } end, "SGD: lr and learning_rate are one argument, got both")
    testing.raises(function() optim.SGD { clipnorm = 1, clipvalue = 2 } end, "only one of clipnorm, clipvalue and global_clipnorm")
    local w = ml.variable { 1 }
    testing.raises(function() optim.SGD {}:apply({}, { w }) end, "SGD: apply takes as many gradients as variables, got 0 and 1")
    testing.raises(function() optim.SGD {}:apply({ 1 }, { w }) end, "the gradient of '.*' must be a tensor, got 1")
    testing.raises(function() optim.SGD {}:apply({ w }, { ml.ones { 1 } }) end,
      "entry 1 must be a variable, got a tensor f32 %(1,%)")
  end)
end)

describe("schedules", function()
  local schedules = optim.schedules

  it("follow their formulas", function()
    local exponential = schedules.ExponentialDecay { 0.1, decay_steps = 10, decay_rate = 0.5 }
    testing.allclose({ exponential(0), exponential(10), exponential(5) }, { 0.1, 0.05, 0.1 * 0.5 ^ 0.5 })
    local stairs = schedules.ExponentialDecay { 0.1, 10, 0.5, staircase = true }
    testing.allclose({ stairs(9), stairs(10) }, { 0.1, 0.05 })
    local cosine = schedules.CosineDecay { 1, 100, alpha = 0.1 }
    testing.allclose({ cosine(0), cosine(50), cosine(100), cosine(500) }, { 1, 0.55, 0.1, 0.1 })
    local warm = schedules.CosineDecay { 0, 100, warmup_target = 1, warmup_steps = 10 }
    testing.allclose({ warm(0), warm(5), warm(10), warm(110) }, { 0, 0.5, 1, 0 })
    local pieces = schedules.PiecewiseConstantDecay { { 10, 20 }, { 3, 2, 1 } }
    assert.same({ 3, 3, 2, 2, 1 }, { pieces(0), pieces(10), pieces(11), pieces(20), pieces(21) })
    local line = schedules.PolynomialDecay { 1, 10, end_learning_rate = 0 }
    testing.allclose({ line(0), line(5), line(10), line(20) }, { 1, 0.5, 0, 0 })
  end)

  it("name what is wrong", function()
    testing.raises(function() schedules.PiecewiseConstantDecay { { 10 }, { 3 } } end,
      "PiecewiseConstantDecay: there must be one value more than boundaries, got 1 and 1")
    testing.raises(function() schedules.CosineDecay { 1 } end, "CosineDecay: decay_steps is missing")
  end)
end)
