--- Learning rates as functions of the step: `ml.optim.schedules`.
-- Here: Keras's schedules. Invariant: each is called with the step, counted from 0, and returns a number; it is its class and
-- settings and nothing else, so files keep it.
-- @module moonlet.optim.schedules
-- @usage ml.optim.Adam { lr = ml.optim.schedules.CosineDecay { 1e-3, decay_steps = 10000 } }

local core = require "moonlet.core"
local util = require "moonlet.util"

local START = { "initial_learning_rate", "nonnegative", at = 1, required = true }
local STEPS = { "decay_steps", "count", at = 2, required = true }

local Schedule = util.class("Schedule")

function Schedule:init(given)
  local class = getmetatable(self)
  self.settings = util.options(class.class_name, class.rows, given)
  self:setup(self.settings)
end

-- Further checks of a class's settings; nothing to do here.
function Schedule:setup() end

function Schedule:__call(step)
  return self:at(step, self.settings)
end

local schedules = { Schedule = Schedule }

-- A class whose `at(step, settings)` gives the rate.
local function define(name, rows)
  local class = util.class(name, Schedule)
  class.rows = rows
  schedules[name] = class
  return class
end

--- `initial_learning_rate * decay_rate ^ (step / decay_steps)`.
-- @tparam table given `initial_learning_rate`, `decay_steps`, `decay_rate`, `staircase` (whole powers only)
-- @function ExponentialDecay
local ExponentialDecay = define("ExponentialDecay", {
  START, STEPS, { "decay_rate", "positive", at = 3, required = true }, { "staircase", "boolean", default = false },
})

function ExponentialDecay:at(step, s)
  local power = step / s.decay_steps
  if s.staircase then power = math.floor(power) end
  return s.initial_learning_rate * s.decay_rate ^ power
end

--- Half a cosine from `initial_learning_rate` (after a linear rise, if asked for) down to `alpha` times it.
-- @tparam table given `initial_learning_rate`, `decay_steps`, `alpha` (default 0), `warmup_target`, `warmup_steps`
-- @function CosineDecay
local CosineDecay = define("CosineDecay", {
  START, STEPS, { "alpha", "nonnegative", default = 0 }, { "warmup_target", "nonnegative" },
  { "warmup_steps", "natural", default = 0 },
})

function CosineDecay:at(step, s)
  local top = s.warmup_target or s.initial_learning_rate
  local warmup = s.warmup_target and s.warmup_steps or 0
  if step < warmup then return s.initial_learning_rate + (top - s.initial_learning_rate) * step / warmup end
  local part = math.min(1, (step - warmup) / s.decay_steps)
  return top * ((1 - s.alpha) * 0.5 * (1 + math.cos(math.pi * part)) + s.alpha)
end

--- `values[i]` up to and with step `boundaries[i]`, the last value after that.
-- @tparam table given `boundaries`, `values`
-- @function PiecewiseConstantDecay
local PiecewiseConstantDecay = define("PiecewiseConstantDecay",
  { { "boundaries", "table", at = 1, required = true }, { "values", "table", at = 2, required = true } })

function PiecewiseConstantDecay:setup(s)
  if #s.values ~= #s.boundaries + 1 then
    core.fail("PiecewiseConstantDecay: there must be one value more than boundaries, got %d and %d", #s.values, #s.boundaries)
  end
end

function PiecewiseConstantDecay:at(step, s)
  for i, boundary in ipairs(s.boundaries) do
    if step <= boundary then return s.values[i] end
  end
  return s.values[#s.values]
end

--- A polynomial from `initial_learning_rate` down to `end_learning_rate`.
-- @tparam table given `initial_learning_rate`, `decay_steps`, `end_learning_rate` (default 0.0001), `power` (default 1)
-- @function PolynomialDecay
local PolynomialDecay = define("PolynomialDecay", {
  START, STEPS, { "end_learning_rate", "nonnegative", default = 1e-4 }, { "power", "positive", default = 1 },
})

function PolynomialDecay:at(step, s)
  local left = 1 - math.min(step, s.decay_steps) / s.decay_steps
  return (s.initial_learning_rate - s.end_learning_rate) * left ^ s.power + s.end_learning_rate
end

return schedules
