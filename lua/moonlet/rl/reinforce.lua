--- Policy gradients: `rl.REINFORCE`.
-- Here: Williams ("Simple statistical gradient-following algorithms for connectionist reinforcement learning", 1992) with a learnt
-- baseline. Collecting is in `on_policy`. Invariant: one gradient from each collection, of all that was collected.
-- @classmod moonlet.rl.reinforce

local OnPolicy = require "moonlet.rl.on_policy"

--- The plainest agent: whole episodes, each action made more likely by how much better than expected it went on. Takes environments
-- whose episodes are not much longer than `n_steps`: one that is cut off counts as if it went on as expected.
-- @function rl.REINFORCE
-- @tparam[opt] table env what `learn { total_timesteps = n }` plays; without it give `observation_space` and `action_space`
-- @tparam[opt] integer|rl.Box observation_space
-- @tparam[opt] integer|rl.Discrete|rl.Box action_space
-- @tparam[opt={64,64}] {integer,...} net_arch units of the hidden layers of both networks
-- @tparam[opt] function network makes the policy's network instead: a model that gives a logit for each action, or the means
-- @tparam[opt] function critic_network makes the baseline's network instead: a model that gives one number
-- @tparam[opt=1e-3] number|function learning_rate a function gets what is left of `total_timesteps`, from 1 to 0
-- @tparam[opt=8] integer n_episodes for one gradient
-- @tparam[opt=1000] integer n_steps at most so many steps of each environment for one gradient
-- @tparam[opt=0.99] number gamma
-- @tparam[opt=0] number ent_coef
-- @tparam[opt=0.5] number vf_coef
-- @tparam[opt=true] boolean normalize_advantage
-- @tparam[opt=10] number max_grad_norm
-- @tparam[opt=0] number log_std_init logarithm of the deviation of actions that are lists, at first
-- @tparam[opt=100000] integer total_timesteps what schedules reckon with; `learn { total_timesteps = n }` sets it
-- @tparam[opt=false] boolean normalize_observations the networks begin with an `rl.ObservationNorm`
-- @tparam[opt] integer seed of exploration
-- @usage local agent = ml.rl.REINFORCE { env = ml.rl.CartPole {}, seed = 1 }
local REINFORCE = OnPolicy:extend("REINFORCE", 1e-3, {
  { "n_episodes", "count", default = 8 }, { "n_steps", "count", default = 1000 }, { "gamma", "share", default = 0.99 },
  { "ent_coef", "nonnegative", default = 0 }, { "vf_coef", "nonnegative", default = 0.5 },
  { "normalize_advantage", "boolean", default = true }, { "max_grad_norm", "positive", default = 10 },
  { "log_std_init", "number", default = 0 }, { "critic_network", "function" },
})

REINFORCE.gae_lambda, REINFORCE.n_epochs = 1, 1 -- the rest of each episode, once

function REINFORCE:rows_of_batch()
  return self.buffer.capacity
end

function REINFORCE:is_complete(_, _, _, _, terminated, truncated)
  local ended = 0
  if self.buffer.n_envs == 1 then
    ended = (terminated or truncated) and 1 or 0
  else
    for i = 1, #terminated do ended = ended + ((terminated[i] or truncated[i]) and 1 or 0) end
  end
  self.ended = (self.ended or 0) + ended
  if self.ended < self.n_episodes and self.buffer.size < self.buffer.capacity then return false end
  self.ended = 0
  return true
end

function REINFORCE:loss(b)
  local count, advantages = b.weights:sum(), b.advantages
  local function mean(x) return (x * b.weights):sum() / count end
  if self.normalize_advantage then
    local centred = advantages - mean(advantages)
    advantages = centred / ((mean(centred ^ 2)) ^ 0.5 + 1e-8)
  end
  local policy = mean(-b.log_probs * advantages)
  return policy + self.vf_coef * mean((b.returns - b.values) ^ 2) - self.ent_coef * mean(b.entropy), policy
end

return REINFORCE
