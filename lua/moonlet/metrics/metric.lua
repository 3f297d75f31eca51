--- The base of all metrics: state that adds up over batches.
-- Here: state variables, reset, copies. Invariant: state lives in variables, so that `update` and `result` work on Tensors at once
-- and inside a compiled step alike.
-- @classmod moonlet.metrics.metric

local core = require "moonlet.core"
local util = require "moonlet.util"

local Metric = util.class("Metric")

--- Derives a class; rows are its arguments besides `name`.
function Metric:extend(class_name, name, rows)
  local class = util.class(class_name, self)
  class.metric_name = name
  class.rows = {}
  for _, row in ipairs(rows or {}) do class.rows[#class.rows + 1] = row end
  class.rows[#class.rows + 1] = { "name", "name" }
  return class
end

function Metric:init(given)
  local class = getmetatable(self)
  self.settings = util.options(class.class_name, class.rows, given)
  self.given = given
  self.name = self.settings.name or class.metric_name
  self.state, self.zeros = {}, {}
  self:setup()
end

--- Makes the state; a class defines it.
function Metric:setup() end

--- A state variable of zeros, f64 because an epoch may have more examples than f32 can count.
function Metric:add_state(name, shape)
  local zeros = core.zeros(shape, "f64")
  local variable = core.variable(zeros, "metrics/" .. self.name .. "/" .. name, false)
  self.state[#self.state + 1], self.zeros[#self.zeros + 1] = variable, zeros
  return variable
end

--- Names the state after a place in a model, `metrics/<place>/<state>`.
function Metric:place_state(place)
  for _, variable in ipairs(self.state) do variable:rename("metrics/" .. place .. "/" .. variable.name:match("[^/]+$")) end
end

--- A metric of the same settings with state of its own.
function Metric:copy()
  local class = getmetatable(self)
  local copy = class(self.given)
  copy.name = self.name
  return copy
end

--- Adds a batch: y_true targets, y_pred predictions, sample_weight one number an example or nil. A class defines it.
function Metric:update(y_true, y_pred, sample_weight)
  return core.fail("metric %s: the class has no method 'update'", self.name)
end

--- The metric of all batches since the last reset: rank 0. A class defines it.
function Metric:result()
  return core.fail("metric %s: the class has no method 'result'", self.name)
end

--- Begins again. A step that resets its metrics allocates nothing for that.
function Metric:reset()
  for i, variable in ipairs(self.state) do variable:write(self.zeros[i]) end
end

--- What a formula takes: tensors, also where tables of numbers came.
function Metric.arrays(...)
  local list = { ... }
  for i = 1, select("#", ...) do
    if list[i] ~= nil and not util.is_array(list[i]) then list[i] = core.tensor(list[i]) end
  end
  return util.unpack(list, 1, select("#", ...))
end

--- a / b, 0 where b is 0.
function Metric.divide(a, b)
  local empty = core.eq(b, 0)
  return core.where(empty, 0 * a, a / core.where(empty, b + 1, b))
end

function Metric:__tostring()
  return "metric " .. self.name
end

return Metric
