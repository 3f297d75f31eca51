--- Generalised advantage estimation: `rl.gae`.
-- Here: the formula of Schulman, Moritz, Levine, Jordan and Abbeel ("High-dimensional continuous control using generalized
-- advantage estimation", 2016, equation 16), for episodes that lie one after the other.
-- @module moonlet.rl.gae

local ml = require "moonlet"

--- Advantages A[t] = delta[t] + gamma lambda A[t + 1], with delta[t] = r[t] + gamma V(s'[t]) - V(s[t]). What follows an end is not
-- counted; V(s') counts unless the episode has terminated.
-- @function rl.gae
-- @param rewards `(t, n)`: t steps of n environments; Tensors or Symbols, all of one shape and of 32-bit floats
-- @param values V(s)
-- @param next_values V(s')
-- @param terminated 1 where the episode ended by its own rules
-- @param ended 1 where it ended, or was cut off
-- @tparam number gamma
-- @tparam number lambda 0: one step; 1: the whole rest of the episode
-- @return `(t, n)`; added to `values` they are what V should be
return function(rewards, values, next_values, terminated, ended, gamma, lambda)
  local deltas = rewards + gamma * (1 - terminated) * next_values - values
  local decay = gamma * lambda * (1 - ended)
  local _, advantages = ml.scan(function(following, x)
    local advantage = x[1] + x[2] * following
    return advantage, advantage
  end, ml.zeros_like(values[1]), { deltas, decay }, { reverse = true })
  return advantages
end
