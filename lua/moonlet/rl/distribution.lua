--- Distributions over actions.
-- Here: what a policy's network says about actions: choices for `rl.Discrete`, a normal distribution for `rl.Box`. Draws take their
-- random numbers as an input, so they are the agent's own. Invariant: all functions build on Symbols of n rows.
-- @module moonlet.rl.distribution

local ml = require "moonlet"
local util = require "moonlet.util"

local log, pi, exp = math.log, math.pi, math.exp

-- ---- Choices: the network gives logits ----

local Categorical = util.class("Categorical")

function Categorical:init(n)
  self.outputs, self.noise_size = n, 1
end

function Categorical:variables() return {} end

function Categorical.draw_noise(random) return random:uniform() end

function Categorical:greedy(logits) return ml.argmax(logits, 2) end

-- The first choice at which the sum of chances passes the noise, which is even in (0, 1).
function Categorical:sample(logits, noise)
  local sums = ml.cumsum(ml.softmax(logits, 2), 2)
  return ml.minimum(ml.cast(sums:le(noise), "i64"):sum(2), self.outputs - 1)
end

function Categorical:log_prob(logits, actions)
  return ml.take_along_axis(ml.log_softmax(logits, 2), ml.expand_dims(actions, 2), 2):squeeze(2)
end

function Categorical:entropy(logits)
  local logs = ml.log_softmax(logits, 2)
  return -(ml.exp(logs) * logs):sum(2)
end

-- ---- Vectors: the network gives the means; the deviations are variables ----

local Normal = util.class("Normal")

function Normal:init(n, log_std)
  self.outputs, self.noise_size = n, n
  self.log_std = ml.variable(ml.full({ n }, log_std), { name = "log_std" })
end

function Normal:variables() return { self.log_std } end

function Normal.draw_noise(random) return random:normal() end

function Normal:greedy(means) return means * 1 end

function Normal:sample(means, noise) return means + ml.exp(self.log_std) * noise end

function Normal:log_prob(means, actions)
  local z = (actions - means) / ml.exp(self.log_std)
  return (-0.5 * z ^ 2 - self.log_std - 0.5 * log(2 * pi)):sum(2)
end

function Normal:entropy(means)
  return (self.log_std + 0.5 * log(2 * pi * exp(1))):sum() + 0 * means:sum(2)
end

--- The distribution for a space of actions.
return function(space, log_std)
  if space.n then return Categorical(space.n) end
  return Normal(space.size, log_std)
end
