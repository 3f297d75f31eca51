--- Behaviour cloning: `rl.BehaviorCloning`.
-- Here: a policy that learns to do as was done (Pomerleau, "ALVINN: an autonomous land vehicle in a neural network", 1989).
-- Invariant: a step learns from a batch of its own, so that what is observed meanwhile does not change it.
-- @classmod moonlet.rl.behavior_cloning

local Agent = require "moonlet.rl.agent"
local check = require "moonlet.rl.check"
local ml = require "moonlet"

--- An agent that imitates. `observe(observation, action)` shows it what to do; the rest of what is observed is not used.
-- @function rl.BehaviorCloning
-- @tparam[opt] integer|rl.Box observation_space
-- @tparam[opt] integer|rl.Discrete|rl.Box action_space
-- @tparam[opt] table env both spaces may come from it
-- @tparam[opt={64,64}] {integer,...} net_arch units of the hidden layers
-- @tparam[opt] function network makes the network instead: a model that gives a logit for each action, or the means
-- @tparam[opt=1e-3] number|function learning_rate
-- @tparam[opt=32] integer batch_size
-- @tparam[opt=50000] integer buffer_size demonstrations kept
-- @tparam[opt=1] integer gradient_steps due after each call of `observe`; 0: only `learn { gradient_steps = n }` learns
-- @tparam[opt=0.001] number ent_weight how much uncertain policies are preferred
-- @tparam[opt=10] number max_grad_norm
-- @tparam[opt=-1] number log_std_init logarithm of the deviation of actions that are lists, at first
-- @tparam[opt=false] boolean normalize_observations the network begins with an `rl.ObservationNorm`
-- @tparam[opt] integer seed
-- @usage
-- local clone = ml.rl.BehaviorCloning { observation_space = 4, action_space = 2, seed = 1 }
-- clone:observe(observation, what_the_player_did)
-- clone:learn { budget_us = 500 }
-- local action = clone:act(observation, true)
local BehaviorCloning = Agent:extend("BehaviorCloning", 1e-3, {
  { "batch_size", "count", default = 32 }, { "buffer_size", "count", default = 50000 },
  { "gradient_steps", "natural", default = 1 },
  { "ent_weight", "nonnegative", default = 0.001 }, { "max_grad_norm", "positive", default = 10 },
  { "log_std_init", "number", default = -1 },
})

function BehaviorCloning:setup()
  self:make_policy()
end

function BehaviorCloning:extra_variables()
  return { self.distribution:variables() }
end

local function constant(n, value)
  if not n then return value end
  local list = {}
  for i = 1, n do list[i] = value end
  return list
end

function BehaviorCloning:use_buffer(n_envs)
  Agent.use_buffer(self, n_envs)
  local n = n_envs > 1 and n_envs or nil
  self.no_rewards, self.no_ends = constant(n, 0), constant(n, false)
end

--- Shows what to do. For many, both arguments are lists.
-- @tparam table observation
-- @param action
function BehaviorCloning:observe(observation, action)
  local n = check.actions(self, observation, action)
  if not self.buffer or self.buffer.size == 0 and self.buffer.n_envs ~= (n or 1) then self:use_buffer(n or 1) end
  self.buffer:add(observation, action, self.no_rewards, observation, self.no_ends, self.no_ends)
  self.num_timesteps = self.num_timesteps + (n or 1)
  if self.norm then self:update_norm(observation, n or 1) end
  self.due = math.max(self.due, self.gradient_steps)
end

local function new_step(self)
  local model, d, optimizer, weight = self.model, self.distribution, self.optimizer, self.ent_weight
  local variables = model.trainable_variables
  for _, variable in ipairs(d:variables()) do variables[#variables + 1] = variable end
  return ml.fn(function(observations, actions)
    local y = model(observations)
    local loss = -d:log_prob(y, actions):mean() - weight * d:entropy(y):mean()
    optimizer:apply(ml.grad(loss, variables), variables)
    return loss
  end, { name = "clone" })
end

function BehaviorCloning:make_program()
  local b = self.buffer:batch(self.batch_size)
  self.program, self.loss = new_step(self):program(b.observations, b.actions), ml.zeros {}
  self.arguments = { b.observations, b.actions, out = { self.loss } }
end

function BehaviorCloning:begin_step()
  if self.due == 0 or not self.buffer then return false end
  self.due = self.due - 1
  if not self.program then self:make_program() end
  local b = self.buffer:sample(self.batch_size)
  self.arguments[1], self.arguments[2] = b.observations, b.actions
  return true
end

function BehaviorCloning:slice(budget_us)
  if not self:run_slice(self.program, self.arguments, budget_us) then return false end
  self.n_updates = self.n_updates + 1
  return true
end

return BehaviorCloning
