--- Proximal policy optimisation: `rl.PPO`.
-- Here: Schulman, Wolski, Dhariwal, Radford and Klimov ("Proximal policy optimization algorithms", 2017), the clipped form, with
-- advantages of `rl.gae`. Collecting and minibatches are in `on_policy`.
-- @classmod moonlet.rl.ppo

local OnPolicy = require "moonlet.rl.on_policy"
local ml = require "moonlet"

--- An agent that improves its policy a little at a time. Actions are whole numbers, or lists of numbers, which are not cut to the
-- bounds of their space: the environment does that.
-- @function rl.PPO
-- @tparam[opt] table env what `learn { total_timesteps = n }` plays; without it give `observation_space` and `action_space`
-- @tparam[opt] integer|rl.Box observation_space
-- @tparam[opt] integer|rl.Discrete|rl.Box action_space
-- @tparam[opt={64,64}] {integer,...} net_arch units of the hidden layers of both networks
-- @tparam[opt] function network makes the policy's network instead: a model that gives a logit for each action, or the means
-- @tparam[opt] function critic_network makes the network of values instead: a model that gives one number
-- @tparam[opt=3e-4] number|function learning_rate a function gets what is left of `total_timesteps`, from 1 to 0
-- @tparam[opt=2048] integer n_steps steps of each environment between rounds of learning
-- @tparam[opt=64] integer batch_size
-- @tparam[opt=10] integer n_epochs
-- @tparam[opt=0.99] number gamma
-- @tparam[opt=0.95] number gae_lambda
-- @tparam[opt=0.2] number clip_range
-- @tparam[opt=true] boolean normalize_advantage
-- @tparam[opt=0] number ent_coef
-- @tparam[opt=0.5] number vf_coef
-- @tparam[opt=0.5] number max_grad_norm
-- @tparam[opt] number target_kl a round ends when the policy has moved 1.5 times so far
-- @tparam[opt=0] number log_std_init logarithm of the deviation of actions that are lists, at first
-- @tparam[opt=100000] integer total_timesteps what schedules reckon with; `learn { total_timesteps = n }` sets it
-- @tparam[opt=false] boolean normalize_observations the networks begin with an `rl.ObservationNorm`
-- @tparam[opt] integer seed of exploration and the order of minibatches
-- @usage
-- local envs = ml.rl.VecEnv { function(i) return ml.rl.CartPole { seed = i } end, n = 8 }
-- local agent = ml.rl.PPO { env = envs, n_steps = 128, batch_size = 256, seed = 1 }
-- agent:learn { total_timesteps = 50000 }
local PPO = OnPolicy:extend("PPO", 3e-4, {
  { "n_steps", "count", default = 2048 }, { "batch_size", "count", default = 64 }, { "n_epochs", "count", default = 10 },
  { "gamma", "share", default = 0.99 }, { "gae_lambda", "share", default = 0.95 },
  { "clip_range", "positive", default = 0.2 }, { "normalize_advantage", "boolean", default = true },
  { "ent_coef", "nonnegative", default = 0 }, { "vf_coef", "nonnegative", default = 0.5 },
  { "max_grad_norm", "positive", default = 0.5 }, { "target_kl", "positive" }, { "log_std_init", "number", default = 0 },
  { "critic_network", "function" },
})

--- The clipped objective, to be made small: -min(r A, clip(r, 1 - c, 1 + c) A), with r = exp(log_probs - old_log_probs).
-- @param log_probs `(n)` of the actions, now
-- @param old_log_probs `(n)` when they were done
-- @param advantages `(n)`
-- @tparam number clip_range
-- @return `(n)`
function PPO.policy_loss(log_probs, old_log_probs, advantages, clip_range)
  local ratio = ml.exp(log_probs - old_log_probs)
  return -ml.minimum(ratio * advantages, ml.clip(ratio, 1 - clip_range, 1 + clip_range) * advantages)
end

function PPO:loss(b)
  local count, advantages = b.weights:sum(), b.advantages
  local function mean(x) return (x * b.weights):sum() / count end
  if self.normalize_advantage then
    local centred = advantages - mean(advantages)
    advantages = centred / (ml.sqrt(mean(centred ^ 2)) + 1e-8)
  end
  local loss = mean(PPO.policy_loss(b.log_probs, b.old_log_probs, advantages, self.clip_range))
    + self.vf_coef * mean((b.returns - b.values) ^ 2) - self.ent_coef * mean(b.entropy)
  local log_ratio = b.log_probs - b.old_log_probs
  return loss, mean(ml.exp(log_ratio) - 1 - log_ratio)
end

function PPO:has_moved_far()
  return self.target_kl ~= nil and self.distance:item() > 1.5 * self.target_kl
end

return PPO
