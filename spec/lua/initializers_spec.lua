--- Specs of initializers: ranges and moments, fans, orthogonality, seeds.
local ml = require "moonlet"
local testing = require "moonlet.testing"
local init = ml.initializers

local function moments(t)
  return t:mean():item(), t:std():item(), t:min():item(), t:max():item()
end

describe("initializers", function()
  it("zeros, ones, constant and identity", function()
    testing.equal(init.zeros {} ({ 2 }, "f32"), { 0, 0 })
    testing.equal(init.ones {} ({ 2 }, "f32"), { 1, 1 })
    testing.equal(init.constant { 2.5 } ({ 2 }, "f32"), { 2.5, 2.5 })
    testing.equal(init.identity { 2 } ({ 2, 3 }, "f32"), { { 2, 0, 0 }, { 0, 2, 0 } })
    assert.equal("f64", init.zeros {} ({ 2 }, "f64").dtype)
  end)

  it("count fans as Keras does", function()
    assert.same({ 3, 5 }, { init.fans { 3, 5 } })
    assert.same({ 7, 7 }, { init.fans { 7 } })
    assert.same({ 18, 36 }, { init.fans { 3, 3, 2, 4 } })
  end)

  it("glorot_uniform stays within the root of 6 / (fan_in + fan_out)", function()
    local mean, std, min, max = moments(init.glorot_uniform {} ({ 200, 100 }, "f32"))
    local limit = math.sqrt(6 / 300)
    assert.is_true(math.abs(mean) < 0.005 and min >= -limit and max <= limit)
    assert.is_true(math.abs(std - limit / math.sqrt(3)) < 0.003)
  end)

  it("he_normal has variance 2 / fan_in and is cut at two deviations", function()
    local mean, std, min, max = moments(init.he_normal {} ({ 200, 100 }, "f32"))
    local deviation = math.sqrt(2 / 200)
    assert.is_true(math.abs(mean) < 0.005 and math.abs(std - deviation) < 0.003)
    local cut = 2 * deviation / 0.87962566103423978 * 1.00001
    assert.is_true(min >= -cut and max <= cut)
  end)

  it("lecun, random and variance_scaling follow their settings", function()
    local _, std = moments(init.lecun_uniform {} ({ 400, 50 }, "f32"))
    assert.is_true(math.abs(std - math.sqrt(1 / 400)) < 0.003)
    local mean
    mean, std = moments(init.random_normal { mean = 1, stddev = 0.1 } ({ 100, 100 }, "f32"))
    assert.is_true(math.abs(mean - 1) < 0.01 and math.abs(std - 0.1) < 0.01)
    local _, _, min, max = moments(init.random_uniform { minval = 2, maxval = 3 } ({ 1000 }, "f32"))
    assert.is_true(min >= 2 and max < 3)
    local scaled = init.variance_scaling { scale = 4, mode = "fan_out", distribution = "untruncated_normal" }
    _, std = moments(scaled({ 50, 400 }, "f32"))
    assert.is_true(math.abs(std - 0.1) < 0.01)
  end)

  it("orthogonal gives orthonormal rows or columns", function()
    local eye = { { 1, 0, 0 }, { 0, 1, 0 }, { 0, 0, 1 } }
    local tall = init.orthogonal {} ({ 5, 3 }, "f64")
    testing.allclose(tall:transpose():matmul(tall), eye, { atol = 1e-8 })
    local wide = init.orthogonal {} ({ 3, 5 }, "f64")
    testing.allclose(wide:matmul(wide:transpose()), eye, { atol = 1e-8 })
    local square = init.orthogonal { 2 } ({ 64, 64 }, "f32")
    testing.allclose(square:matmul(square:transpose()), init.identity { 4 } ({ 64, 64 }, "f32"), { atol = 1e-4 })
    assert.same({ 2, 2, 3 }, init.orthogonal {} ({ 2, 2, 3 }, "f32").shape)
    testing.raises(function() init.orthogonal {} ({ 3 }, "f32") end,
      "initializer orthogonal: needs at least 2 axes, got shape %(3,%)")
  end)

  it("give the same numbers after the same seed, others after another, and never the same twice", function()
    ml.seed(5)
    local a, b = init.glorot_uniform {} ({ 4, 4 }, "f32"), init.glorot_uniform {} ({ 4, 4 }, "f32")
    ml.seed(5)
    testing.equal(init.glorot_uniform {} ({ 4, 4 }, "f32"), a)
    ml.seed(6)
    assert.is_true((init.glorot_uniform {} ({ 4, 4 }, "f32") - a):abs():max():item() > 0)
    assert.is_true((a - b):abs():max():item() > 0)
  end)

  it("draw at once inside ml.fn and in eager mode", function()
    local inside
    local f = ml.fn(function(x)
      inside = init.random_normal {} ({ 3 }, "f32")
      return x
    end)
    f(ml.ones { 1 })
    assert.is_true(inside:abs():max():item() > 0)
    ml.eager(true)
    local a = init.random_normal {} ({ 3 }, "f32")
    local b = init.random_normal {} ({ 3 }, "f32")
    ml.eager(false)
    assert.is_true((a - b):abs():max():item() > 0)
  end)

  it("are taken by name, as objects, or as functions of shape and dtype", function()
    local layer = ml.nn.Dense { 2, kernel_initializer = init.constant { 3 }, bias_initializer = function(shape, dtype)
      return ml.full(shape, 7, dtype)
    end }
    layer(ml.ones { 1, 1 })
    testing.equal(layer:get_weights()[1], { { 3, 3 } })
    testing.equal(layer:get_weights()[2], { 7, 7 })
    testing.raises(function() init.constant { 1, 2 } end, "initializer constant: takes one value without a name, got 2")
  end)
end)
