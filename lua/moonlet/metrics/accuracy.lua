--- The accuracy family: the part of the examples that are right.
-- Here: accuracies by kind of target, and the rule by which "accuracy" picks one. Invariant: a value is 1 or 0, f32.
-- @module moonlet.metrics.accuracy

local MeanOf = require("moonlet.metrics.mean").MeanOf
local core = require "moonlet.core"
local losses = require "moonlet.losses"
local util = require "moonlet.util"

local accuracy = {}

local function hits(condition)
  return core.cast(condition, "f32")
end

-- Labels [..] from labels [..] or [.., 1] of any dtype.
local function labels_of(y_true, y_pred)
  local t, p = y_true.shape, y_pred.shape
  if #t == #p and t[#t] == 1 then y_true = core.squeeze(y_true, -1) end
  return core.cast(y_true, "i64")
end

--- Equal targets and predictions.
accuracy.Accuracy = MeanOf.define("Accuracy", "accuracy", {}, function(y_true, y_pred)
  y_true, y_pred = losses.align(y_true, y_pred)
  return hits(core.eq(y_true, y_pred))
end)

--- Targets 0 or 1 against predictions beyond a threshold; the mean over the last axis.
accuracy.BinaryAccuracy = MeanOf.define("BinaryAccuracy", "binary_accuracy", { { "threshold", "number", default = 0.5 } },
  function(y_true, y_pred, settings)
    y_true, y_pred = losses.align(y_true, y_pred)
    local right = hits(core.eq(core.gt(y_pred, settings.threshold), core.gt(y_true, 0.5)))
    return #right.shape > 1 and core.mean(right, -1, false) or right
  end)

--- One-hot targets against the largest prediction.
accuracy.CategoricalAccuracy = MeanOf.define("CategoricalAccuracy", "categorical_accuracy", {}, function(y_true, y_pred)
  return hits(core.eq(core.argmax(y_true, -1), core.argmax(y_pred, -1)))
end)

--- Labels against the largest prediction.
accuracy.SparseCategoricalAccuracy = MeanOf.define("SparseCategoricalAccuracy", "sparse_categorical_accuracy", {},
  function(y_true, y_pred)
    return hits(core.eq(labels_of(y_true, y_pred), core.argmax(y_pred, -1)))
  end)

-- Is the prediction of the label among the k largest? Ties count for the label.
local function in_top(labels, y_pred, k)
  local index = core.expand_dims(labels, -1)
  local own = core.take_along_axis(y_pred, index, -1)
  local above = core.sum(core.cast(core.gt(y_pred, own), "i32"), -1, false)
  return hits(core.lt(above, k))
end

local K = { { "k", "count", at = 1, default = 5 } }

--- One-hot targets among the k largest predictions.
accuracy.TopKCategoricalAccuracy = MeanOf.define("TopKCategoricalAccuracy", "top_k_categorical_accuracy", K,
  function(y_true, y_pred, settings) return in_top(core.argmax(y_true, -1), y_pred, settings.k) end)

--- Labels among the k largest predictions.
accuracy.SparseTopKCategoricalAccuracy = MeanOf.define("SparseTopKCategoricalAccuracy", "sparse_top_k_categorical_accuracy", K,
  function(y_true, y_pred, settings) return in_top(labels_of(y_true, y_pred), y_pred, settings.k) end)

local BY_LOSS = {
  binary_crossentropy = "BinaryAccuracy",
  categorical_crossentropy = "CategoricalAccuracy",
  sparse_categorical_crossentropy = "SparseCategoricalAccuracy",
}

local function by_shapes(y_true, y_pred)
  local t, p = y_true.shape, y_pred.shape
  if #p < 2 or p[#p] == 1 then return "BinaryAccuracy" end
  if #t < #p or t[#t] == 1 then return "SparseCategoricalAccuracy" end
  return "CategoricalAccuracy"
end

--- The metric that "accuracy" means for a loss, or for the shapes where the loss does not tell. Logits are cut at 0.
-- @param loss a loss object or nil
-- @tparam table y_true anything with a shape
-- @tparam table y_pred likewise
function accuracy.follow(loss, y_true, y_pred)
  local class_name = loss and BY_LOSS[loss.name] or nil
  if loss and not class_name then
    local class = getmetatable(loss)
    class_name = class and BY_LOSS[class.loss_name]
  end
  class_name = class_name or by_shapes(y_true, y_pred)
  if class_name ~= "BinaryAccuracy" then return accuracy[class_name] {} end
  local logits = loss and loss.takes_logits and util.is_array(y_pred) and loss:takes_logits(y_pred)
  return accuracy.BinaryAccuracy { threshold = logits and 0 or 0.5 }
end

return accuracy
