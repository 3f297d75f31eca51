--- Deep Q-learning: `rl.DQN`.
-- Here: Mnih et al. ("Human-level control through deep reinforcement learning", 2015), with the double target of van Hasselt, Guez
-- and Silver (2016), the dueling network of Wang et al. (2016), prioritised replay of Schaul et al. (2016). Invariant: a step
-- learns from a batch of its own, so that what is observed meanwhile does not change it.
-- @classmod moonlet.rl.dqn

local Agent = require "moonlet.rl.agent"
local PrioritizedReplayBuffer = require "moonlet.rl.prioritized_replay_buffer"
local check = require "moonlet.rl.check"
local ml = require "moonlet"

--- An agent that learns what each action is worth. Actions are whole numbers.
-- @function rl.DQN
-- @tparam[opt] table env what `learn { total_timesteps = n }` plays; without it give `observation_space` and `action_space`
-- @tparam[opt] integer|rl.Box observation_space
-- @tparam[opt] integer|rl.Discrete action_space
-- @tparam[opt={64,64}] {integer,...} net_arch units of the hidden layers
-- @tparam[opt] function network makes the network instead, twice (the target too): a model from observations to a number for each
--   action
-- @tparam[opt=1e-4] number|function learning_rate a function gets what is left of `total_timesteps`, from 1 to 0
-- @tparam[opt=50000] integer buffer_size
-- @tparam[opt=100] integer learning_starts steps before the first gradient
-- @tparam[opt=32] integer batch_size
-- @tparam[opt=1] number tau share of the new weights in an update of the target: 1 copies them
-- @tparam[opt=0.99] number gamma
-- @tparam[opt=4] integer train_freq calls of `observe` between rounds of learning
-- @tparam[opt=1] integer gradient_steps in a round. A round that is not done when the next is due replaces it.
-- @tparam[opt=1000] integer target_update_interval steps between updates of the target
-- @tparam[opt=0.1] number exploration_fraction of `total_timesteps`, over which epsilon falls
-- @tparam[opt=1] number exploration_initial_eps
-- @tparam[opt=0.05] number exploration_final_eps
-- @tparam[opt=100000] integer total_timesteps what schedules reckon with; `learn { total_timesteps = n }` sets it
-- @tparam[opt=10] number max_grad_norm
-- @tparam[opt=true] boolean double
-- @tparam[opt=false] boolean dueling
-- @tparam[opt=false] boolean prioritized
-- @tparam[opt=0.6] number alpha of the prioritised buffer
-- @tparam[opt=0.4] number beta of the prioritised buffer at first; it rises to 1 over `total_timesteps`
-- @tparam[opt=false] boolean normalize_observations the network begins with an `rl.ObservationNorm`
-- @tparam[opt] integer seed of exploration and replay
-- @usage
-- local agent = ml.rl.DQN { observation_space = 6, action_space = 3, learning_rate = 1e-3, seed = 1 }
-- -- in each frame of a game
-- local action = agent:act(observation)
-- agent:observe(observation, action, reward, next_observation, terminated)
-- agent:learn { budget_us = 500 }
local DQN = Agent:extend("DQN", 1e-4, {
  { "buffer_size", "count", default = 50000 }, { "learning_starts", "natural", default = 100 },
  { "batch_size", "count", default = 32 },
  { "tau", "positive", default = 1 }, { "gamma", "share", default = 0.99 }, { "train_freq", "count", default = 4 },
  { "gradient_steps", "count", default = 1 }, { "target_update_interval", "count", default = 1000 },
  { "exploration_fraction", "nonnegative", default = 0.1 }, { "exploration_initial_eps", "nonnegative", default = 1 },
  { "exploration_final_eps", "nonnegative", default = 0.05 }, { "max_grad_norm", "positive", default = 10 },
  { "double", "boolean", default = true }, { "dueling", "boolean", default = false }, { "prioritized", "boolean", default = false },
  { "alpha", "nonnegative", default = 0.6 }, { "beta", "nonnegative", default = 0.4 },
})

--- What Q should be: r + gamma Q'(s', a), nothing after a termination. With `next_q` the action is the one that it likes best
-- (double Q-learning), else the one that Q' itself does.
-- @param rewards `(n)`
-- @param terminated `(n)`, 0 or 1
-- @tparam number gamma
-- @param target_q `(n, actions)`: Q' of the next observations
-- @param[opt] next_q `(n, actions)`: Q of the next observations
-- @return `(n)`
function DQN.targets(rewards, terminated, gamma, target_q, next_q)
  local best = ml.argmax(next_q or target_q, 2)
  local value = ml.take_along_axis(target_q, ml.expand_dims(best, 2), 2):squeeze(2)
  return rewards + gamma * (1 - terminated) * value
end

local function dueling_head(n)
  return function(h)
    local value, advantage = ml.nn.Dense { 1, name = "value" } (h), ml.nn.Dense { n, name = "advantage" } (h)
    return value + advantage - advantage:mean { axes = { 2 }, keepdims = true }
  end
end

function DQN:setup()
  local n = self.action_space.n
  if not n then self:fail("action_space must be an rl.Discrete: actions are whole numbers") end
  local head = self.dueling and dueling_head(n) or nil
  self.model = self:make_network(self.network, n, "relu", head)
  self.target = self:make_network(self.network, n, "relu", head)
  local model = self.model
  self.policy = ml.fn(function(x) return ml.argmax(model(x), 2) end, { name = "policy" })
  local online, target = model.variables, self.target.variables
  local function move(tau)
    return ml.fn(function()
      for i, w in ipairs(target) do w:assign(tau == 1 and online[i] * 1 or w + tau * (online[i] - w)) end
    end, { name = "target" }):program()
  end
  self.move_target, self.no_arguments = move(self.tau), {}
  move(1):run {}
end

-- ---- Acting ----

--- How often `act` does anything at all, now.
-- @treturn number
function DQN:epsilon()
  local first, last = self.exploration_initial_eps, self.exploration_final_eps
  local steps = self.exploration_fraction * self.total_timesteps
  if self.num_timesteps >= steps then return last end
  return first + (last - first) * self.num_timesteps / steps
end

--- As every agent's, with epsilon-greedy exploration.
function DQN:act(observation, deterministic)
  local epsilon, random, n = deterministic and 0 or self:epsilon(), self.random, self.action_space.n
  local many = type(observation) == "table" and type(observation[1]) == "table"
  if not many then
    if epsilon > 0 and random:uniform() < epsilon then
      check.observations(self, "act", "an observation", observation)
      return random:integer(n)
    end
    return Agent.act(self, observation, true)
  end
  local actions = Agent.act(self, observation, true)
  for i = 1, epsilon > 0 and #actions or 0 do
    if random:uniform() < epsilon then actions[i] = random:integer(n) end
  end
  return actions
end

-- ---- Learning ----

function DQN:new_buffer(n_envs)
  if not self.prioritized then return Agent.new_buffer(self, n_envs) end
  return PrioritizedReplayBuffer {
    buffer_size = self.buffer_size, observation_size = self.observation_size, n_envs = n_envs, random = self.random,
    alpha = self.alpha, beta = self.beta,
  }
end

function DQN:keep(...)
  self.buffer:add(...)
  self.since_target = self.since_target + self.buffer.n_envs
  if self.num_timesteps >= self.learning_starts and self.calls % self.train_freq == 0 then self.due = self.gradient_steps end
end

local function new_step(self)
  local model, target, optimizer, gamma, double = self.model, self.target, self.optimizer, self.gamma, self.double
  local variables = model.trainable_variables
  return ml.fn(function(observations, actions, rewards, next_observations, terminated, weights)
    local next_q = double and model(next_observations) or nil
    local wanted = ml.stop_gradient(DQN.targets(rewards, terminated, gamma, target(next_observations), next_q))
    local q = ml.take_along_axis(model(observations), ml.expand_dims(actions, 2), 2):squeeze(2)
    local errors = q - wanted
    local size = ml.abs(errors)
    local huber = ml.where(size:le(1), 0.5 * errors ^ 2, size - 0.5)
    local loss = (huber * weights):mean()
    optimizer:apply(ml.grad(loss, variables), variables)
    return loss, errors
  end, { name = "dqn" })
end

function DQN:make_program()
  local b = self.buffer:batch(self.batch_size)
  local inputs = { b.observations, b.actions, b.rewards, b.next_observations, b.terminated, b.weights }
  self.program = new_step(self):program(b.observations, b.actions, b.rewards, b.next_observations, b.terminated, b.weights)
  self.loss, self.errors, self.error_list = ml.zeros {}, ml.zeros { self.batch_size }, {}
  inputs.out = { self.loss, self.errors }
  self.arguments = inputs
end

function DQN:begin_step()
  if self.due == 0 or not self.buffer or self.buffer.size == 0 then return false end
  self.due = self.due - 1
  if not self.program then self:make_program() end
  if self.prioritized then
    self.buffer.beta = self.beta + (1 - self.beta) * math.min(1, self.num_timesteps / self.total_timesteps)
  end
  local b, a = self.buffer:sample(self.batch_size), self.arguments
  self.batch = b
  a[1], a[2], a[3], a[4], a[5], a[6] = b.observations, b.actions, b.rewards, b.next_observations, b.terminated, b.weights
  return true
end

function DQN:slice(budget_us)
  if not self:run_slice(self.program, self.arguments, budget_us) then return false end
  self.n_updates = self.n_updates + 1
  if self.prioritized then self.buffer:update_priorities(self.batch.list, self.errors:totable(self.error_list)) end
  if self.since_target >= self.target_update_interval then
    self.since_target = 0
    self.move_target:run(self.no_arguments)
  end
  return true
end

function DQN:extra_variables()
  return { self.target.variables }
end

return DQN
