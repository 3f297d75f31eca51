--- Learning rates as functions of the step: `ml.optim.schedules`.
-- Here: Keras's schedules. Invariant: each is a function of the step, counted from 0, that returns a number.
-- @module moonlet.optim.schedules
-- @usage ml.optim.Adam { lr = ml.optim.schedules.CosineDecay { 1e-3, decay_steps = 10000 } }

local core = require "moonlet.core"
local util = require "moonlet.util"

local schedules = {}

local START = { "initial_learning_rate", "nonnegative", at = 1, required = true }
local STEPS = { "decay_steps", "count", at = 2, required = true }

--- `initial_learning_rate * decay_rate ^ (step / decay_steps)`.
-- @tparam table given `initial_learning_rate`, `decay_steps`, `decay_rate`, `staircase` (whole powers only)
-- @treturn function
function schedules.ExponentialDecay(given)
  local s = util.options("ExponentialDecay",
    { START, STEPS, { "decay_rate", "positive", at = 3, required = true }, { "staircase", "boolean", default = false } }, given)
  return function(step)
    local power = step / s.decay_steps
    if s.staircase then power = math.floor(power) end
    return s.initial_learning_rate * s.decay_rate ^ power
  end
end

--- Half a cosine from `initial_learning_rate` (after a linear rise, if asked for) down to `alpha` times it.
-- @tparam table given `initial_learning_rate`, `decay_steps`, `alpha` (default 0), `warmup_target`, `warmup_steps`
-- @treturn function
function schedules.CosineDecay(given)
  local s = util.options("CosineDecay", {
    START, STEPS, { "alpha", "nonnegative", default = 0 }, { "warmup_target", "nonnegative" },
    { "warmup_steps", "natural", default = 0 },
  }, given)
  local top = s.warmup_target or s.initial_learning_rate
  local warmup = s.warmup_target and s.warmup_steps or 0
  return function(step)
    if step < warmup then return s.initial_learning_rate + (top - s.initial_learning_rate) * step / warmup end
    local part = math.min(1, (step - warmup) / s.decay_steps)
    return top * ((1 - s.alpha) * 0.5 * (1 + math.cos(math.pi * part)) + s.alpha)
  end
end

--- `values[i]` up to and with step `boundaries[i]`, the last value after that.
-- @tparam table given `boundaries`, `values`
-- @treturn function
function schedules.PiecewiseConstantDecay(given)
  local s = util.options("PiecewiseConstantDecay",
    { { "boundaries", "table", at = 1, required = true }, { "values", "table", at = 2, required = true } }, given)
  if #s.values ~= #s.boundaries + 1 then
    core.fail("PiecewiseConstantDecay: there must be one value more than boundaries, got %d and %d", #s.values, #s.boundaries)
  end
  return function(step)
    for i, boundary in ipairs(s.boundaries) do
      if step <= boundary then return s.values[i] end
    end
    return s.values[#s.values]
  end
end

--- A polynomial from `initial_learning_rate` down to `end_learning_rate`.
-- @tparam table given `initial_learning_rate`, `decay_steps`, `end_learning_rate` (default 0.0001), `power` (default 1)
-- @treturn function
function schedules.PolynomialDecay(given)
  local s = util.options("PolynomialDecay", {
    START, STEPS, { "end_learning_rate", "nonnegative", default = 1e-4 }, { "power", "positive", default = 1 },
  }, given)
  return function(step)
    local left = 1 - math.min(step, s.decay_steps) / s.decay_steps
    return (s.initial_learning_rate - s.end_learning_rate) * left ^ s.power + s.end_learning_rate
  end
end

return schedules
