--- Specs of losses: values against formulas, weights, reduction, names, errors.
local ml = require "moonlet"
local testing = require "moonlet.testing"
local losses = ml.losses

local log, exp = math.log, math.exp
local T, Y = { { 0, 1 }, { 1, 0.5 } }, { { 0.2, 0.6 }, { 0.9, 0.4 } }

-- Mean over the last axis of f(t, y), one number an example.
local function mean_of(f, t, y)
  local out = {}
  for i = 1, #t do
    local sum = 0
    for j = 1, #t[i] do sum = sum + f(t[i][j], y[i][j]) end
    out[i] = sum / #t[i]
  end
  return out
end

local function check(name, f, t, y)
  testing.allclose(losses[name](ml.tensor(t or T), ml.tensor(y or Y)), mean_of(f, t or T, y or Y), { rtol = 2e-5 })
end

describe("losses", function()
  it("of regression", function()
    check("mean_squared_error", function(t, y) return (t - y) ^ 2 end)
    check("mean_absolute_error", function(t, y) return math.abs(t - y) end)
    check("mean_absolute_percentage_error", function(t, y) return 100 * math.abs(t - y) / math.max(math.abs(t), 1e-7) end,
      { { 2, 1 } }, { { 1, 3 } })
    check("mean_squared_logarithmic_error", function(t, y) return (log(1 + t) - log(1 + y)) ^ 2 end)
    check("log_cosh", function(t, y) return log((exp(y - t) + exp(t - y)) / 2) end)
    check("poisson", function(t, y) return y - t * log(y) end)
  end)

  it("huber is square near 0 and straight beyond delta", function()
    testing.allclose(losses.Huber { delta = 1 } ({ { 0, 0 } }, { { 0.5, 3 } }), (0.125 + 2.5) / 2)
    testing.allclose(losses.Huber { delta = 2 } ({ { 0, 0 } }, { { 0.5, 3 } }), (0.125 + 4) / 2)
  end)

  it("binary_crossentropy of probabilities and of logits", function()
    local function f(t, y) return -(t * log(y) + (1 - t) * log(1 - y)) end
    check("binary_crossentropy", f)
    local logits = { { -2, 3 }, { 0, 50 } }
    local function g(t, z) return math.max(z, 0) - z * t + log(1 + exp(-math.abs(z))) end
    testing.allclose(losses.binary_crossentropy(ml.tensor(T), ml.tensor(logits), { from_logits = true }), mean_of(g, T, logits))
    testing.allclose(losses.BinaryCrossentropy { label_smoothing = 0.2 } ({ { 1, 0 } }, { { 0.7, 0.7 } }),
      (f(0.9, 0.7) + f(0.1, 0.7)) / 2, { rtol = 1e-5 })
  end)

  it("categorical_crossentropy of probabilities and of logits", function()
    local t, y = ml.tensor { { 0, 1, 0 }, { 0.5, 0, 0.5 } }, ml.tensor { { 0.1, 0.7, 0.2 }, { 0.2, 0.2, 0.6 } }
    testing.allclose(losses.categorical_crossentropy(t, y), { -log(0.7), -0.5 * (log(0.2) + log(0.6)) })
    testing.allclose(losses.categorical_crossentropy(t, y:log(), { from_logits = true }),
      { -log(0.7), -0.5 * (log(0.2) + log(0.6)) }, { rtol = 1e-5 })
    local smooth = losses.CategoricalCrossentropy { label_smoothing = 0.3 } ({ { 0, 1, 0 } }, { { 0.1, 0.7, 0.2 } })
    testing.allclose(smooth, -(0.1 * log(0.1) + 0.8 * log(0.7) + 0.1 * log(0.2)), { rtol = 1e-5 })
  end)

  it("sparse_categorical_crossentropy takes labels of any dtype and with a last axis of 1", function()
    local y = ml.tensor { { 0.1, 0.7, 0.2 }, { 0.2, 0.2, 0.6 } }
    local expected = { -log(0.7), -log(0.6) }
    testing.allclose(losses.sparse_categorical_crossentropy(ml.tensor({ 1, 2 }, "i32"), y), expected)
    testing.allclose(losses.sparse_categorical_crossentropy(ml.tensor { 1, 2 }, y), expected)
    testing.allclose(losses.sparse_categorical_crossentropy(ml.tensor { { 1 }, { 2 } }, y), expected)
    testing.allclose(losses.sparse_categorical_crossentropy(ml.tensor { 1, 2 }, y:log(), { from_logits = true }), expected)
  end)

  it("of margins, angles and distributions", function()
    testing.allclose(losses.hinge(ml.tensor { { -1, 1 } }, ml.tensor { { 0.5, 0.5 } }), { (1.5 + 0.5) / 2 })
    testing.allclose(losses.hinge(ml.tensor { { 0, 1 } }, ml.tensor { { 0.5, 0.5 } }), { (1.5 + 0.5) / 2 })
    testing.allclose(losses.squared_hinge(ml.tensor { { -1, 1 } }, ml.tensor { { 0.5, 0.5 } }), { (2.25 + 0.25) / 2 })
    testing.allclose(losses.squared_hinge(ml.tensor { { 0, 1 } }, ml.tensor { { 0.5, 0.5 } }), { (2.25 + 0.25) / 2 })
    testing.allclose(losses.categorical_hinge(ml.tensor { { 0, 1, 0 } }, ml.tensor { { 0.3, 0.5, 0.9 } }), { 0.9 - 0.5 + 1 })
    testing.allclose(losses.cosine_similarity(ml.tensor { { 3, 4 } }, ml.tensor { { 4, 3 } }), { -24 / 25 })
    testing.allclose(losses.kl_divergence(ml.tensor { { 0.3, 0.7 } }, ml.tensor { { 0.5, 0.5 } }),
      { 0.3 * log(0.3 / 0.5) + 0.7 * log(0.7 / 0.5) }, { rtol = 1e-5 })
  end)

  it("reduce to a mean, a sum or not at all", function()
    local t, y = ml.tensor { { 0 }, { 0 } }, ml.tensor { { 1 }, { 3 } }
    testing.allclose(losses.MeanSquaredError {} (t, y), 5)
    testing.allclose(losses.MeanSquaredError { reduction = "sum" } (t, y), 10)
    testing.allclose(losses.MeanSquaredError { reduction = "none" } (t, y), { 1, 9 })
  end)

  it("weigh examples: the weighted sum over the number of examples", function()
    local t, y = ml.tensor { { 0 }, { 0 } }, ml.tensor { { 1 }, { 3 } }
    testing.allclose(losses.MeanSquaredError {} (t, y, { 2, 0.5 }), (2 + 4.5) / 2)
    testing.allclose(losses.MeanSquaredError {} (t, y, ml.tensor { { 2 }, { 0.5 } }), (2 + 4.5) / 2)
  end)

  it("fit targets of one axis less to predictions, and integers to floats", function()
    local y = ml.tensor { { 1 }, { 3 } }
    testing.allclose(losses.mean_squared_error(ml.tensor { 0, 0 }, y), { 1, 9 })
    testing.allclose(losses.mean_squared_error(ml.tensor({ 0, 0 }, "i32"), y), { 1, 9 })
    testing.allclose(losses.mean_absolute_error(ml.tensor { { 0 }, { 0 } }, ml.tensor { 1, 3 }), { 1, 3 })
  end)

  it("are found by short and full names", function()
    for short, long in pairs { mse = "mean_squared_error", mae = "mean_absolute_error", bce = "binary_crossentropy",
      mape = "mean_absolute_percentage_error", msle = "mean_squared_logarithmic_error", kld = "kl_divergence" } do
      assert.equal(long, losses.full_name(short))
      assert.equal(long, losses.get("x", short).name)
    end
    testing.raises(function() losses.get("Model 'm': compile", "msee") end,
      "Model 'm': compile: unknown loss 'msee'; known: bce, binary")
    testing.raises(function() losses.get("compile", 3) end, "compile: loss must be a name, a function or a loss object, got 3")
  end)

  it("name what does not fit", function()
    testing.raises(function() losses.mean_squared_error(ml.ones { 2, 3 }, ml.ones { 2, 4 }) end,
      "loss mean_squared_error: targets of shape %(2, 3%) do not fit predictions of shape %(2, 4%)")
    testing.raises(function() losses.sparse_categorical_crossentropy(ml.ones { 2, 3 }, ml.ones { 2, 3 }) end,
      "labels of shape %(2, 3%) do not fit predictions of shape %(2, 3%); expected %(2,%)")
    testing.raises(function() losses.huber(ml.tensor(T)) end,
      "loss huber: targets and predictions are expected, got a tensor.* and nothing")
    testing.raises(function() losses.Huber { delta = -1 } end, "Huber: delta must be a positive number, got %-1")
    testing.raises(function() losses.MeanSquaredError { from_logits = true } end, "MeanSquaredError: unknown option 'from_logits'")
  end)
end)
