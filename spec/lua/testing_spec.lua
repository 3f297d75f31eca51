-- The public helpers for specs: they pass what is right, fail what is wrong, and say where.
local ml = require "moonlet"
local core = require "moonlet.core"
local testing = require "moonlet.testing"

local nn = ml.nn

-- The message of a check that must fail.
local function failure(f)
  local ok, message = pcall(f)
  assert.is_false(ok)
  return tostring(message)
end

describe("testing.allclose", function()
  it("passes equal and nearly equal numbers", function()
    assert.is_true(testing.allclose(core.tensor { 1, 2 }, { 1, 2.000001 }))
    assert.is_true(testing.allclose({ { 1 }, { 2 } }, { { 1.05 }, { 2.05 } }, { atol = 0.1 }))
    assert.is_true(testing.allclose(core.tensor(3), 3))
    assert.is_true(testing.allclose({ 100 }, { 101 }, { rtol = 0.01 }))
    assert.is_true(testing.allclose(core.tensor { true, false }, { 1, 0 }))
    assert.is_true(testing.allclose(core.variable(core.tensor { 5 }, "v", true), { 5 }))
    assert.is_true(testing.allclose({ math.huge, -math.huge }, { math.huge, -math.huge }))
    assert.is_true(testing.allclose({ 0 / 0 }, { 0 / 0 }, { equal_nan = true }))
  end)

  it("says where and by how much", function()
    local message = failure(function() testing.allclose({ { 1, 2, 3 }, { 4, 5, 6 } }, { { 1, 2, 3.5 }, { 4, 7, 6 } }) end)
    assert.truthy(message:find("2 of 6 numbers differ", 1, true), message)
    assert.truthy(message:find("the worst at [2][2]: got 5, expected 7, off by 2", 1, true), message)
    assert.truthy(message:find("testing_spec.lua:%d+: allclose"), message)
  end)

  it("names what is compared", function()
    assert.truthy(failure(function() testing.allclose(1, 2, { label = "loss" }) end):find("allclose: loss: 1 of 1", 1, true))
  end)

  it("takes NaN for the worst", function()
    local message = failure(function() testing.allclose({ 9, 0 / 0 }, { 1, 1 }) end)
    assert.truthy(message:find("the worst at [2]", 1, true), message)
    assert.error(function() testing.allclose({ 0 / 0 }, { 0 / 0 }) end)
    assert.error(function() testing.allclose({ math.huge }, { 1 }) end)
    assert.error(function() testing.allclose({ 1 }, { math.huge }) end)
  end)

  it("compares shapes first", function()
    local message = failure(function() testing.allclose({ 1, 2 }, { { 1, 2 } }) end)
    assert.truthy(message:find("shapes differ: got (2,), expected (1, 2)", 1, true), message)
  end)

  it("blames what cannot be compared", function()
    assert.truthy(failure(function() testing.allclose("x", 1) end):find("the first argument must be a tensor or numbers", 1, true))
    assert.truthy(failure(function() testing.allclose(1, 1, { tol = 1 }) end):find("unknown option 'tol'", 1, true))
  end)

  it("fails a spec, rather than breaking it, under busted", function()
    local ok, failed = pcall(testing.allclose, 1, 2)
    assert.is_false(ok)
    assert.equal("table", type(failed))
  end)
end)

describe("testing.equal and testing.raises", function()
  it("want the very same numbers", function()
    assert.is_true(testing.equal({ 1, 0 / 0 }, { 1, 0 / 0 }))
    assert.error(function() testing.equal({ 1 }, { 1.0000001 }) end)
  end)

  it("want an error that fits", function()
    assert.equal("no such layer", testing.raises(function() error("no such layer", 0) end, "such"))
    assert.truthy(failure(function() testing.raises(function() end, "x") end):find("there was none", 1, true))
    assert.truthy(failure(function() testing.raises(function() error("y", 0) end, "x") end):find("got 'y'", 1, true))
  end)
end)

describe("testing.check_gradient", function()
  it("passes a right gradient", function()
    assert.is_true(testing.check_gradient(function(x, y) return (x * y):tanh() end, { { 0.5, -1, 2 }, { 1, 0.3, -0.2 } }))
    assert.is_true(testing.check_gradient(function(x) return x:sum { 1 } end, { { { 1, 2 }, { 3, 4 } } }))
  end)

  it("takes several outputs and integer inputs", function()
    local indices = core.tensor({ 1, 0, 1 }, "i64")
    assert.is_true(testing.check_gradient(function(x, i) return ml.gather(x, i, 1), x * x end, { { 1, 2 }, indices }))
  end)

  it("finds a wrong one", function()
    local message = failure(function()
      testing.check_gradient(function(x) return x * ml.stop_gradient(x) end, { { 1, 2, 3 } }, { label = "half" })
    end)
    assert.truthy(message:find("half: gradient of input 1, element 1 of 3: the graph says", 1, true), message)
  end)

  it("checks variables", function()
    local w = ml.variable(core.tensor({ 0.5, 2 }, "f64"))
    assert.is_true(testing.check_gradient(function(x) return x * w * w end, { { 1, 3 } }, { variables = { w } }))
    testing.equal(w, { 0.5, 2 })
    local message = failure(function()
      testing.check_gradient(function(x) return x * w * ml.stop_gradient(w) end, { { 1, 3 } }, { variables = { w } })
    end)
    assert.truthy(message:find("gradient of variable", 1, true), message)
  end)
end)

describe("testing.check_layer", function()
  it("passes our layers", function()
    testing.check_layer(nn.Dense, { 3 }, { 2, 5 }, { 2, 3 }, { weights = 2 })
    testing.check_layer(nn.Dense, { 3, activation = "tanh", use_bias = false }, { 2, 5 }, { 2, 3 }, { weights = 1 })
    testing.check_layer(nn.Conv2D, { 2, 3 }, { 2, 5, 5, 1 }, { 2, 3, 3, 2 })
    testing.check_layer(nn.Flatten, {}, { 2, 3, 4 }, { 2, 12 }, { weights = 0 })
  end)

  it("passes layers with several inputs", function()
    testing.check_layer(nn.Concatenate, {}, { { 2, 3 }, { 2, 4 } }, { 2, 7 })
  end)

  it("finds a wrong shape and a wrong number of weights", function()
    assert.truthy(failure(function() testing.check_layer(nn.Dense, { 3 }, { 2, 5 }, { 2, 4 }) end)
      :find("has shape (2, 3), expected (2, 4)", 1, true))
    assert.truthy(failure(function() testing.check_layer(nn.Dense, { 3 }, { 2, 5 }, { 2, 3 }, { weights = 1 }) end)
      :find("has 2 weights, expected 1", 1, true))
  end)

  it("finds a wrong gradient", function()
    local Bad = nn.Layer:extend "Bad"
    function Bad:call(x) return x * ml.stop_gradient(x) end
    assert.truthy(failure(function() testing.check_layer(Bad, {}, { 2, 3 }, { 2, 3 }) end)
      :find("check_layer: gradient of input 1", 1, true))
  end)
end)

describe("testing.no_leak and testing.each", function()
  it("notices memory that stays", function()
    local kept = {}
    testing.no_leak(function() core.tensor { 1, 2, 3 } end)
    local message = failure(function()
      testing.no_leak(function() kept[#kept + 1] = core.tensor { 1, 2, 3 } end)
    end)
    assert.truthy(message:find("bytes more are held than before", 1, true), message)
    assert.equal(2, #kept)
  end)

  it("hooks into any runner", function()
    local before, after
    testing.each { seed = 3, leaks = 1000, before_each = function(f) before = f end, after_each = function(f) after = f end }
    before()
    after()
    assert.equal(3, core.seed_get())
    before()
    local kept = ml.zeros { 1000 }
    assert.truthy(failure(after):find("bytes behind", 1, true))
    assert.equal(1000, #kept)
  end)
end)
