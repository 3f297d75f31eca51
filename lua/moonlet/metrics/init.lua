--- Metrics: `ml.metrics`.
-- Here: the list of metrics, and how an entry of `metrics = { ... }` is read. Invariant: a metric object is made anew for each
-- name, so that two models never share state by accident.
-- @module moonlet.metrics
-- @usage model:compile { optimizer = "adam", loss = "mse", metrics = { "mae", ml.metrics.RootMeanSquaredError {} } }

local Metric = require "moonlet.metrics.metric"
local accuracy = require "moonlet.metrics.accuracy"
local confusion = require "moonlet.metrics.confusion"
local core = require "moonlet.core"
local losses = require "moonlet.losses"
local mean = require "moonlet.metrics.mean"
local util = require "moonlet.util"

local metrics = { Metric = Metric, Mean = mean.Mean, RootMeanSquaredError = mean.RootMeanSquaredError }
for name, class in pairs(accuracy) do
  if type(class) == "table" then metrics[name] = class end
end
for name, class in pairs(confusion) do metrics[name] = class end

-- Every loss is a metric too: the mean of its values.
local function define_from_loss(class_name)
  local loss_class = losses[class_name]
  local function values(y_true, y_pred, settings)
    return loss_class(settings.loss):values(y_true, y_pred)
  end
  metrics[class_name] = mean.MeanOf.define(class_name, loss_class.loss_name, { { "loss", "table", default = {} } }, values)
end
for _, class_name in ipairs({
  "MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredLogarithmicError", "BinaryCrossentropy",
  "CategoricalCrossentropy", "SparseCategoricalCrossentropy", "LogCosh", "KLDivergence", "Poisson", "Hinge", "SquaredHinge",
  "CategoricalHinge", "CosineSimilarity",
}) do
  define_from_loss(class_name)
end

local NAMES = { rmse = "RootMeanSquaredError", f1 = "F1Score" }
for class_name, class in pairs(metrics) do
  if class.metric_name and class_name ~= "Metric" then NAMES[class.metric_name] = class_name end
end
NAMES.accuracy = nil

local function known()
  local all = { accuracy = true, acc = true }
  for name in pairs(NAMES) do all[name] = true end
  return all
end

-- Losses given by name recognise logits, so metrics of that name do.
local function by_name(who, name)
  local class_name = NAMES[name]
  if class_name and losses[class_name] == nil then return metrics[class_name] {} end
  if class_name == nil and losses.full_name(name) == nil then util.find(who, "metric", known(), name) end
  local loss = losses.get(who, name)
  return mean.Wrapped(name, function(y_true, y_pred) return loss:values(y_true, y_pred) end)
end

--- Reads an entry of `metrics`: a name, a metric object, or a function of y_true and y_pred that gives one number an example.
-- @tparam string who for messages
-- @param value
-- @param loss what the model's output is trained with; "accuracy" follows it
-- @param y_true anything with a shape
-- @param y_pred likewise
function metrics.get(who, value, loss, y_true, y_pred)
  if util.is_a(value, Metric) then return value end
  if type(value) == "function" then return mean.Wrapped("metric", value) end
  if type(value) ~= "string" then
    return core.fail("%s: a metric must be a name, a function or a metric object, got %s", who, util.describe(value))
  end
  if value == "accuracy" or value == "acc" then
    local metric = accuracy.follow(loss, y_true, y_pred)
    metric.name = value
    return metric
  end
  local metric = by_name(who, value)
  metric.name = value
  return metric
end

--- Does a name mean a metric? Raises an error that lists the known ones when not; for `compile`, before shapes are known.
function metrics.check(who, value)
  if value == "accuracy" or value == "acc" then return end
  metrics.get(who, value)
end

return metrics
