--- Losses: how wrong predictions are, as one number that training makes small.
-- Here: Keras's losses by name and as objects, the fitting of targets to predictions, weights and reduction. Formulas that matter
-- for speed are ops of the core. Invariant: `values` gives one number an example; a loss object gives one number.
-- @module moonlet.losses
-- @usage model:compile { optimizer = "adam", loss = "mse" }
-- model:compile { optimizer = "adam", loss = ml.losses.Huber { delta = 0.5 } }

local core = require "moonlet.core"
local policy = require "moonlet.policy"
local util = require "moonlet.util"

local losses = {}

--- @type Loss
local Loss = util.class("Loss")

local REDUCTIONS = { "sum_over_batch_size", "mean", "sum", "none" }

-- ---- Fitting targets to predictions ----

local function same_rank(y_true, y_pred)
  local t, p = y_true.shape, y_pred.shape
  if #t == #p + 1 and t[#t] == 1 then return core.squeeze(y_true, -1), y_pred end
  if #p == #t + 1 and p[#p] == 1 then return y_true, core.squeeze(y_pred, -1) end
  return y_true, y_pred
end

--- The target with the dtype, and if one of them has a last axis of size 1 too many, the rank of the prediction.
-- @return y_true
-- @return y_pred
function losses.align(y_true, y_pred)
  y_true, y_pred = same_rank(y_true, y_pred)
  if y_true.dtype ~= y_pred.dtype then y_true = core.cast(y_true, y_pred.dtype) end
  return y_true, y_pred
end

local function check_shapes(who, y_true, y_pred)
  local t, p = y_true.shape, y_pred.shape
  local fits = #t == #p
  for i = 1, math.min(#t, #p) do
    if type(t[i]) == "number" and type(p[i]) == "number" and t[i] ~= p[i] and t[i] ~= 1 and p[i] ~= 1 then fits = false end
  end
  if not fits then
    core.fail("loss %s: targets of shape %s do not fit predictions of shape %s", who, util.shape_text(t), util.shape_text(p))
  end
end

local function check_labels(who, y_true, y_pred)
  local t, p = y_true.shape, y_pred.shape
  local labels = #t == #p and t[#t] == 1 and #t - 1 or #t
  local fits = labels == #p - 1
  for i = 1, math.min(labels, #p - 1) do
    if type(t[i]) == "number" and type(p[i]) == "number" and t[i] ~= p[i] then fits = false end
  end
  if not fits then
    core.fail("loss %s: labels of shape %s do not fit predictions of shape %s; expected %s", who, util.shape_text(t),
      util.shape_text(p), util.shape_text({ util.unpack(p, 1, #p - 1) }))
  end
end

-- A prediction of rank 1 is a batch of single numbers; the losses reduce a last axis.
local function with_last_axis(y_true, y_pred)
  if #y_pred.shape < 2 then
    y_pred = core.expand_dims(y_pred, -1)
    if #y_true.shape < 2 then y_true = core.expand_dims(y_true, -1) end
  end
  return y_true, y_pred
end

-- ---- Formulas: f(y_true, y_pred, settings) -> one number an example ----

local formulas = {}

local function mean_last(x)
  return core.mean(x, -1, false)
end

local function paired(op)
  return function(t, y) return core[op](y, t) end
end

local EPSILON = 1e-7

formulas.mean_squared_error = paired("mean_squared_error")
formulas.mean_absolute_error = paired("mean_absolute_error")
formulas.kl_divergence = paired("kl_divergence")
formulas.hinge = paired("hinge")
function formulas.huber(t, y, s) return core.huber(y, t, { delta = s.delta }) end
function formulas.binary_crossentropy(t, y, s)
  if s.label_smoothing > 0 then t = t * (1 - s.label_smoothing) + 0.5 * s.label_smoothing end
  return core.binary_crossentropy(y, t, { from_logits = s.from_logits })
end
function formulas.categorical_crossentropy(t, y, s)
  if s.label_smoothing > 0 then
    local classes = y.shape[#y.shape]
    t = t * (1 - s.label_smoothing) + s.label_smoothing / classes
  end
  return core.categorical_crossentropy(y, t, { from_logits = s.from_logits })
end
function formulas.sparse_categorical_crossentropy(t, y, s)
  return core.sparse_categorical_crossentropy(y, t, { from_logits = s.from_logits })
end
function formulas.mean_absolute_percentage_error(t, y)
  return mean_last(core.abs((t - y) / core.maximum(core.abs(t), EPSILON))) * 100
end
function formulas.mean_squared_logarithmic_error(t, y)
  local function log1p(x) return core.log1p(core.maximum(x, EPSILON)) end
  return mean_last(core.square(log1p(t) - log1p(y)))
end
function formulas.log_cosh(t, y)
  local d = y - t
  return mean_last(d + core.softplus(d * -2) - math.log(2))
end
function formulas.poisson(t, y) return mean_last(y - t * core.log(y + EPSILON)) end
function formulas.squared_hinge(t, y)
  local least, most = core.min(t), core.max(t)
  local zero_one = core.logical_and(core.eq(least, 0), core.eq(most, 1))
  t = core.where(zero_one, t * 2 - 1, t)
  return mean_last(core.square(core.maximum(1 - t * y, 0)))
end
function formulas.categorical_hinge(t, y)
  local hit = core.sum(t * y, -1, false)
  local miss = core.max((1 - t) * y, -1, false)
  return core.maximum(miss - hit + 1, 0)
end
function formulas.cosine_similarity(t, y)
  local function unit(x) return x * core.rsqrt(core.maximum(core.sum(core.square(x), -1, true), 1e-12)) end
  return -core.sum(unit(t) * unit(y), -1, false)
end

-- ---- Loss objects ----

local COMMON = { { "name", "name" }, { "reduction", "string", words = REDUCTIONS, default = "sum_over_batch_size" } }

--- Derives a loss class from a formula f(y_true, y_pred, settings).
local function define(class_name, name, rows, labels)
  local class = util.class(class_name, Loss)
  class.loss_name, class.formula, class.labels = name, formulas[name], labels
  class.rows = {}
  for _, row in ipairs(rows) do class.rows[#class.rows + 1] = row end
  for _, row in ipairs(COMMON) do class.rows[#class.rows + 1] = row end
  losses[class_name] = class
  return class
end

local LOGITS = { "from_logits", "boolean", default = false }
local SMOOTHING = { "label_smoothing", "fraction", default = 0 }

define("MeanSquaredError", "mean_squared_error", {})
define("MeanAbsoluteError", "mean_absolute_error", {})
define("MeanAbsolutePercentageError", "mean_absolute_percentage_error", {})
define("MeanSquaredLogarithmicError", "mean_squared_logarithmic_error", {})
define("BinaryCrossentropy", "binary_crossentropy", { LOGITS, SMOOTHING })
define("CategoricalCrossentropy", "categorical_crossentropy", { LOGITS, SMOOTHING })
define("SparseCategoricalCrossentropy", "sparse_categorical_crossentropy", { LOGITS }, true)
define("Huber", "huber", { { "delta", "positive", default = 1 } })
define("LogCosh", "log_cosh", {})
define("KLDivergence", "kl_divergence", {})
define("Poisson", "poisson", {})
define("Hinge", "hinge", {})
define("SquaredHinge", "squared_hinge", {})
define("CategoricalHinge", "categorical_hinge", {})
define("CosineSimilarity", "cosine_similarity", {})

function Loss:init(given)
  local class = getmetatable(self)
  util.options(class.class_name, class.rows, given, self)
  self.name = self.name or class.loss_name
end

-- Settings of one call: logits are recognised by the op that made the prediction, if that was asked for.
local function settings_of(self, y_pred)
  if not self.recognises_logits then return self end
  local op = core.kind(y_pred) == "symbol" and y_pred.op
  local logits = op ~= "softmax" and op ~= "sigmoid"
  return setmetatable({ from_logits = logits }, { __index = self })
end

--- Does the loss take predictions made by this output as logits?
function Loss:takes_logits(y_pred)
  return settings_of(self, y_pred).from_logits == true
end

--- One number an example. y_true and y_pred [batch, ..] -> [batch, ..] without the last axis.
function Loss:values(y_true, y_pred)
  local class = getmetatable(self)
  if y_true == nil or y_pred == nil then
    local t, y = util.describe(y_true), util.describe(y_pred)
    core.fail("loss %s: targets and predictions are expected, got %s and %s", self.name, t, y)
  end
  if not util.is_array(y_true) then y_true = core.tensor(y_true) end
  if not util.is_array(y_pred) then y_pred = core.tensor(y_pred) end
  local settings = settings_of(self, y_pred)
  y_pred = policy.widened(y_pred)
  if class.labels then
    check_labels(self.name, y_true, y_pred)
  else
    y_true, y_pred = losses.align(y_true, y_pred)
    check_shapes(self.name, y_true, y_pred)
    y_true, y_pred = with_last_axis(y_true, y_pred)
  end
  return class.formula(y_true, y_pred, settings)
end

-- Weights [batch] or of the values' shape, ready to be multiplied.
local function weigh(values, weight)
  if not util.is_array(weight) then weight = core.tensor(weight) end
  if weight.dtype ~= values.dtype then weight = core.cast(weight, values.dtype) end
  local v, w = #values.shape, #weight.shape
  if w == v + 1 and weight.shape[w] == 1 then return values * core.squeeze(weight, -1) end
  for _ = w + 1, v do weight = core.expand_dims(weight, -1) end
  return values * weight
end

--- Values of a batch to one number, by Keras's rule: weighted sum over the number of values.
-- @param values [batch, ..]
-- @param weight [batch, ..] or nil
-- @tparam string reduction
function losses.reduce(values, weight, reduction)
  if weight ~= nil then values = weigh(values, weight) end
  if reduction == "sum" then return core.sum(values) end
  if reduction == "none" then return values end
  return core.mean(values)
end

--- The loss of a batch: one number, unless reduction is "none".
-- @param y_true targets
-- @param y_pred predictions
-- @param[opt] sample_weight one number an example
function Loss:__call(y_true, y_pred, sample_weight)
  return losses.reduce(self:values(y_true, y_pred), sample_weight, self.reduction)
end

function Loss:__tostring()
  return "loss " .. self.name
end

for _, class in pairs(losses) do
  if type(class) == "table" then class.__call, class.__tostring = Loss.__call, Loss.__tostring end
end

-- ---- Names ----

local NAMES = {}
for class_name, class in pairs(losses) do
  if type(class) == "table" then NAMES[class.loss_name] = class_name end
end
local SHORT = {
  mse = "mean_squared_error", mae = "mean_absolute_error", mape = "mean_absolute_percentage_error",
  msle = "mean_squared_logarithmic_error", bce = "binary_crossentropy", kld = "kl_divergence", logcosh = "log_cosh",
}
for short, long in pairs(SHORT) do NAMES[short] = NAMES[long] end

--- The full name of a loss, or nil.
function losses.full_name(name)
  local class_name = NAMES[name]
  return class_name and losses[class_name].loss_name
end

local CustomLoss = util.class("CustomLoss", Loss)

function CustomLoss:init(f)
  self.f, self.name, self.reduction = f, "loss", "sum_over_batch_size"
end

function CustomLoss:values(y_true, y_pred)
  local values = self.f(y_true, policy.widened(y_pred))
  if not util.is_array(values) then
    core.fail("loss function: must return a tensor, got %s", util.describe(values))
  end
  return values
end

--- Reads an argument `loss`: a name (which recognises logits), a loss object, or a function of y_true and y_pred that returns one
-- number an example.
-- @tparam string who for messages
-- @param value
function losses.get(who, value)
  if util.is_a(value, Loss) then return value end
  if type(value) == "function" then return CustomLoss(value) end
  if type(value) ~= "string" then
    return core.fail("%s: loss must be a name, a function or a loss object, got %s", who, util.describe(value))
  end
  local loss = losses[util.find(who, "loss", NAMES, value)] {}
  loss.recognises_logits = loss.from_logits ~= nil
  return loss
end

losses.Loss = Loss

-- So that `ml.losses.mean_squared_error(y_true, y_pred)` and so on work: one number an example. The crossentropies take a third
-- argument, a table of settings such as `{ from_logits = true }`.
return setmetatable(losses, {
  __index = function(t, name)
    local class_name = NAMES[name]
    if not class_name then return nil end
    local f = function(y_true, y_pred, settings) return losses[class_name](settings):values(y_true, y_pred) end
    rawset(t, name, f)
    return f
  end,
})
