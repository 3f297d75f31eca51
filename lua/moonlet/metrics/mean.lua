--- Metrics that are means of one value an example.
-- Here: `Mean` of given values, the base `MeanOf` of metrics with a formula, and those made of a loss. Invariant: state is the
-- weighted sum and the sum of weights.
-- @classmod moonlet.metrics.mean

local Metric = require "moonlet.metrics.metric"
local core = require "moonlet.core"
local util = require "moonlet.util"

--- Mean of the values it is given.
-- @usage local mean = ml.metrics.Mean {}; mean:update({ 1, 2, 3 }); print(mean:result():item())
local Mean = Metric:extend("Mean", "mean")

function Mean:setup()
  self.total, self.count = self:add_state("total", {}), self:add_state("count", {})
end

-- The weights spread over the values: f32 or f64 of the values' shape.
local function spread(values, weight)
  weight = core.cast(weight, values.dtype)
  local v, w = values.shape, weight.shape
  if #w == #v + 1 and w[#w] == 1 then weight = core.squeeze(weight, -1) end
  for _ = #weight.shape + 1, #v do weight = core.expand_dims(weight, -1) end
  return weight + core.zeros(v, values.dtype)
end

--- Adds values.
-- @param values [..]
-- @param[opt] sample_weight broadcast to the values from the left
function Mean:update(values, sample_weight)
  values, sample_weight = Metric.arrays(values, sample_weight)
  if values.dtype ~= "f32" and values.dtype ~= "f64" then values = core.cast(values, "f32") end
  local weight = sample_weight ~= nil and spread(values, sample_weight) or core.ones(values.shape, values.dtype)
  if sample_weight ~= nil then values = values * weight end
  self.total:assign(self.total + core.cast(core.sum(values), "f64"))
  self.count:assign(self.count + core.cast(core.sum(weight), "f64"))
end

function Mean:result()
  return Metric.divide(self.total, self.count)
end

--- The base of metrics whose class has `values(y_true, y_pred, settings)`: one number an example.
local MeanOf = Mean:extend("MeanOf", "mean_of")

function MeanOf:update(y_true, y_pred, sample_weight)
  y_true, y_pred = Metric.arrays(y_true, y_pred)
  Mean.update(self, getmetatable(self).values(y_true, y_pred, self.settings), sample_weight)
end

--- A metric class from a formula.
function MeanOf.define(class_name, name, rows, values)
  local class = MeanOf:extend(class_name, name, rows)
  class.values = values
  return class
end

--- Root of the mean squared error.
local RootMeanSquaredError = MeanOf.define("RootMeanSquaredError", "root_mean_squared_error", {}, function(y_true, y_pred)
  local losses = require "moonlet.losses"
  y_true, y_pred = losses.align(y_true, y_pred)
  return core.square(y_pred - y_true)
end)

function RootMeanSquaredError:result()
  return core.sqrt(Metric.divide(self.total, self.count))
end

--- A metric made of a loss object, or of a function f(y_true, y_pred) that gives one number an example.
local Wrapped = MeanOf:extend("Wrapped", "wrapped")

function Wrapped:init(name, f)
  self.f, self.name, self.settings = f, name, {}
  self.state, self.zeros = {}, {}
  self:setup()
end

function Wrapped:copy()
  return Wrapped(self.name, self.f)
end

function Wrapped:update(y_true, y_pred, sample_weight)
  y_true, y_pred = Metric.arrays(y_true, y_pred)
  local values = self.f(y_true, y_pred)
  if not util.is_array(values) then
    core.fail("metric %s: the function must return a tensor, got %s", self.name, util.describe(values))
  end
  Mean.update(self, values, sample_weight)
end

return { Mean = Mean, MeanOf = MeanOf, RootMeanSquaredError = RootMeanSquaredError, Wrapped = Wrapped }
