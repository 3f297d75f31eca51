--- Specs of metrics: values over several batches, weights, names.
local ml = require "moonlet"
local testing = require "moonlet.testing"
local metrics = ml.metrics

local function result(metric, ...)
  for _, batch in ipairs { ... } do metric:update(batch[1], batch[2], batch[3]) end
  return metric:result():item()
end

local function near(a, b) testing.allclose(a, b, { rtol = 1e-5 }) end

describe("metrics", function()
  it("Mean adds values up over batches, and begins again", function()
    local mean = metrics.Mean {}
    mean:update { 1, 2, 3 }
    mean:update(ml.tensor { 10 })
    near(mean:result():item(), 4)
    mean:reset()
    assert.equal(0, mean:result():item())
    mean:update({ 1, 5 }, { 3, 1 })
    near(mean:result():item(), 2)
  end)

  it("of regression are means over examples, not over batches", function()
    local a, b = { { { 0 }, { 0 } }, { { 1 }, { 3 } } }, { { { 0 } }, { { 5 } } }
    near(result(metrics.MeanSquaredError {}, a, b), 35 / 3)
    near(result(metrics.MeanAbsoluteError {}, a, b), 3)
    near(result(metrics.RootMeanSquaredError {}, a, b), math.sqrt(35 / 3))
  end)

  it("Accuracy counts equal values", function()
    near(result(metrics.Accuracy {}, { { 1, 2, 3 }, { 1, 2, 4 } }), 2 / 3)
  end)

  it("BinaryAccuracy cuts at its threshold", function()
    near(result(metrics.BinaryAccuracy {}, { { { 1 }, { 0 }, { 1 } }, { { 0.6 }, { 0.7 }, { 0.4 } } }), 1 / 3)
    near(result(metrics.BinaryAccuracy { threshold = 0.65 }, { { { 1 }, { 0 }, { 1 } }, { { 0.6 }, { 0.7 }, { 0.4 } } }), 0)
    near(result(metrics.BinaryAccuracy {}, { { 1, 0 }, { { 0.6 }, { 0.2 } } }), 1)
  end)

  it("CategoricalAccuracy and SparseCategoricalAccuracy look at the largest", function()
    local y = { { 0.1, 0.8, 0.1 }, { 0.5, 0.2, 0.3 } }
    near(result(metrics.CategoricalAccuracy {}, { { { 0, 1, 0 }, { 0, 0, 1 } }, y }), 0.5)
    near(result(metrics.SparseCategoricalAccuracy {}, { { 1, 2 }, y }), 0.5)
    near(result(metrics.SparseCategoricalAccuracy {}, { { { 1 }, { 0 } }, y }), 1)
  end)

  it("top k accuracies look at the k largest", function()
    local y = { { 0.1, 0.6, 0.3 }, { 0.5, 0.2, 0.3 } }
    near(result(metrics.SparseTopKCategoricalAccuracy { 2 }, { { 2, 1 }, y }), 0.5)
    near(result(metrics.TopKCategoricalAccuracy { k = 2 }, { { { 0, 0, 1 }, { 0, 0, 1 } }, y }), 1)
  end)

  it("Precision, Recall and F1Score count hits and misses", function()
    local batch = { { 1, 1, 0, 0, 1 }, { 0.9, 0.2, 0.8, 0.1, 0.7 } }
    near(result(metrics.Precision {}, batch), 2 / 3)
    near(result(metrics.Recall {}, batch), 2 / 3)
    near(result(metrics.F1Score {}, batch, { { 1 }, { 0.1 } }), 2 * 2 / (2 * 2 + 1 + 2))
    assert.equal(0, result(metrics.Precision {}, { { 1 }, { 0 } }))
    near(result(metrics.Precision {}, { { 1, 0 }, { 0.9, 0.9 }, { 3, 1 } }), 0.75)
  end)

  it("AUC is 1 for a perfect order, 0.5 for none", function()
    near(result(metrics.AUC {}, { { 0, 0, 1, 1 }, { 0.1, 0.2, 0.8, 0.9 } }), 1)
    near(result(metrics.AUC {}, { { 0, 0, 1, 1 }, { 0, 0.5, 0.3, 0.9 } }), 0.75)
    near(result(metrics.AUC {}, { { 0, 1 }, { 0.5, 0.5 } }), 0.5)
    testing.raises(function() metrics.AUC { num_thresholds = 1 } end, "AUC: num_thresholds must be an integer of at least 2, got 1")
  end)

  it("weigh examples", function()
    near(result(metrics.MeanSquaredError {}, { { { 0 }, { 0 } }, { { 1 }, { 3 } }, { 3, 1 } }), 3)
    near(result(metrics.SparseCategoricalAccuracy {}, { { 0, 0 }, { { 1, 0 }, { 0, 1 } }, { 3, 1 } }), 0.75)
  end)

  it("copies have the same settings and state of their own", function()
    local metric = metrics.BinaryAccuracy { threshold = 0.9, name = "sure" }
    local copy = metric:copy()
    metric:update({ 1 }, { 0.95 })
    assert.equal("sure", copy.name)
    assert.equal(0, copy:result():item())
    near(result(copy, { { 1 }, { 0.8 } }), 0)
  end)

  it("add up inside a compiled function", function()
    local metric = metrics.MeanAbsoluteError {}
    local f = ml.fn(function(t, y)
      metric:update(t, y)
      return metric:result()
    end)
    near(f(ml.tensor { { 0 } }, ml.tensor { { 2 } }):item(), 2)
    near(f(ml.tensor { { 0 } }, ml.tensor { { 4 } }):item(), 3)
    near(metric:result():item(), 3)
  end)

  it("are found by name", function()
    assert.equal("mae", metrics.get("compile", "mae").name)
    assert.equal("auc", metrics.get("compile", "auc").name)
    testing.raises(function() metrics.get("Model 'm': compile", "accurate") end,
      "Model 'm': compile: unknown metric 'accurate'; known: acc, accuracy, auc")
    testing.raises(function() metrics.get("compile", 3) end, "a metric must be a name, a function or a metric object, got 3")
  end)

  it("accuracy follows the loss, else the shapes", function()
    local function class_of(loss, t, y)
      local object = loss and ml.losses.get("x", loss)
      return getmetatable(require("moonlet.metrics.accuracy").follow(object, ml.zeros(t), ml.zeros(y))).class_name
    end
    assert.equal("BinaryAccuracy", class_of("binary_crossentropy", { 2, 3 }, { 2, 3 }))
    assert.equal("CategoricalAccuracy", class_of("categorical_crossentropy", { 2, 3 }, { 2, 3 }))
    assert.equal("SparseCategoricalAccuracy", class_of("sparse_categorical_crossentropy", { 2 }, { 2, 3 }))
    assert.equal("BinaryAccuracy", class_of("mse", { 2, 1 }, { 2, 1 }))
    assert.equal("SparseCategoricalAccuracy", class_of("mse", { 2, 1 }, { 2, 3 }))
    assert.equal("CategoricalAccuracy", class_of("mse", { 2, 3 }, { 2, 3 }))
  end)
end)
