--- Metrics made of counts of hits and misses.
-- Here: precision, recall, F1 and the area under the ROC curve, for targets 0 and 1. Invariant: state counts examples.
-- @module moonlet.metrics.confusion

local Metric = require "moonlet.metrics.metric"
local core = require "moonlet.core"
local losses = require "moonlet.losses"

local confusion = {}

local Counts = Metric:extend("Counts", "counts", { { "threshold", "number", default = 0.5 } })

function Counts:setup()
  self.hits = self:add_state("true_positives", {})
  self.alarms = self:add_state("false_positives", {})
  self.misses = self:add_state("false_negatives", {})
end

local function spread(weight, like)
  weight = core.cast(weight, "f32")
  for _ = #weight.shape + 1, #like.shape do weight = core.expand_dims(weight, -1) end
  return weight
end

function Counts:update(y_true, y_pred, sample_weight)
  y_true, y_pred, sample_weight = Metric.arrays(y_true, y_pred, sample_weight)
  y_true, y_pred = losses.align(y_true, y_pred)
  local is, says = core.gt(y_true, 0.5), core.gt(y_pred, self.settings.threshold)
  local function add(variable, condition)
    local ones = core.cast(condition, "f32")
    if sample_weight ~= nil then ones = ones * spread(sample_weight, ones) end
    variable:assign(variable + core.cast(core.sum(ones), "f64"))
  end
  add(self.hits, core.logical_and(is, says))
  add(self.alarms, core.logical_and(core.logical_not(is), says))
  add(self.misses, core.logical_and(is, core.logical_not(says)))
end

local ROWS = { { "threshold", "number", default = 0.5 } }

--- Part of the positive predictions that are right.
confusion.Precision = Counts:extend("Precision", "precision", ROWS)
function confusion.Precision:result()
  return Metric.divide(self.hits * 1, self.hits + self.alarms)
end

--- Part of the positive targets that are found.
confusion.Recall = Counts:extend("Recall", "recall", ROWS)
function confusion.Recall:result()
  return Metric.divide(self.hits * 1, self.hits + self.misses)
end

--- Harmonic mean of precision and recall.
confusion.F1Score = Counts:extend("F1Score", "f1_score", ROWS)
function confusion.F1Score:result()
  return Metric.divide(self.hits * 2, self.hits * 2 + self.alarms + self.misses)
end

--- Area under the ROC curve, from counts at evenly spaced thresholds as Keras makes them. Predictions are probabilities.
confusion.AUC = Metric:extend("AUC", "auc", { { "num_thresholds", "count", default = 200, text = "an integer of at least 2",
  test = function(v) return type(v) == "number" and v == math.floor(v) and v >= 2 end } })

function confusion.AUC:setup()
  local n = self.settings.num_thresholds
  local thresholds = { -1e-7 }
  for i = 1, n - 2 do thresholds[i + 1] = i / (n - 1) end
  thresholds[n] = 1 + 1e-7
  self.thresholds = core.reshape(core.tensor(thresholds, "f32"), { n, 1 })
  self.hits, self.alarms = self:add_state("true_positives", { n }), self:add_state("false_positives", { n })
  self.positives, self.negatives = self:add_state("positives", {}), self:add_state("negatives", {})
end

function confusion.AUC:update(y_true, y_pred, sample_weight)
  y_true, y_pred, sample_weight = Metric.arrays(y_true, y_pred, sample_weight)
  y_true, y_pred = losses.align(y_true, y_pred)
  local weight = core.ones(y_true.shape, "f32")
  if sample_weight ~= nil then weight = weight * spread(sample_weight, weight) end
  local is = core.gt(y_true, 0.5)
  local positive = core.reshape(core.where(is, weight, 0 * weight), { 1, -1 })
  local negative = core.reshape(core.where(is, 0 * weight, weight), { 1, -1 })
  local says = core.cast(core.gt(core.reshape(core.cast(y_pred, "f32"), { 1, -1 }), self.thresholds), "f32")
  local function add(variable, x) variable:assign(variable + core.cast(x, "f64")) end
  add(self.hits, core.sum(says * positive, 2))
  add(self.alarms, core.sum(says * negative, 2))
  add(self.positives, core.sum(positive))
  add(self.negatives, core.sum(negative))
end

function confusion.AUC:result()
  local n = self.settings.num_thresholds
  local recall = Metric.divide(self.hits * 1, self.positives * core.ones({ n }, "f64"))
  local fallout = Metric.divide(self.alarms * 1, self.negatives * core.ones({ n }, "f64"))
  local width = fallout:slice(1, 1, n - 1) - fallout:slice(1, 2, n)
  local height = (recall:slice(1, 1, n - 1) + recall:slice(1, 2, n)) * 0.5
  return core.sum(width * height)
end

return confusion
