--- The base of agents that learn from what their present policy did: `PPO`, `REINFORCE`.
-- Here: collecting, values and advantages of all that was collected, minibatches in a new order each epoch, all of it in slices. A
-- class derived from it gives the loss. Invariant: what is observed while a step of learning is under way is not kept, so that all
-- that is learnt from was done by the weights at its beginning.
-- @classmod moonlet.rl.on_policy

local Agent = require "moonlet.rl.agent"
local gae = require "moonlet.rl.gae"
local ml = require "moonlet"

local OnPolicy = Agent:extend("OnPolicy", 3e-4, {})

function OnPolicy:setup()
  self:make_policy()
  self.critic = self:make_network(self.critic_network, 1, "tanh")
  self.phase = "collect"
end

function OnPolicy:extra_variables()
  return { self.critic.variables, self.distribution:variables() }
end

-- ---- Collecting ----

function OnPolicy:new_buffer(n_envs)
  return Agent.new_buffer(self, n_envs, self.n_steps * n_envs)
end

function OnPolicy:use_buffer(n_envs)
  Agent.use_buffer(self, n_envs)
  self.program = nil -- it reads the buffer
end

function OnPolicy:add_steps()
  self:fail("learn: gradient_steps is for agents with a replay buffer; this one learns when enough is collected")
end

--- Is enough collected? A class may say so before the buffer is full.
function OnPolicy:is_complete()
  return self.buffer.size == self.buffer.capacity
end

function OnPolicy:keep(...)
  if self.phase ~= "collect" then return end
  self.buffer:add(...)
  if self:is_complete(...) then self.phase = "evaluate" end
end

-- ---- Values and advantages ----

-- A program over the whole buffer: log-probabilities, values, advantages; and how many rows count, as a number.
local function new_evaluation(self)
  local model, critic, d, buffer = self.model, self.critic, self.distribution, self.buffer
  local gamma, lambda, t, n = self.gamma, self.gae_lambda, buffer.slots, buffer.n_envs
  local f = ml.fn(function(observations, actions, rewards, next_observations, terminated, truncated, rows)
    local values, next_values = critic(observations):squeeze(2), critic(next_observations):squeeze(2)
    local last = ml.arange(t * n):ge(rows - n) -- of what was collected: nothing that follows belongs to it
    local ended = ml.cast(ml.logical_or(ml.logical_or(terminated, truncated), last), "f32")
    local function steps(x) return x:reshape { t, n } end
    terminated = ml.cast(terminated, "f32")
    local advantages =
      gae(steps(rewards), steps(values), steps(next_values), steps(terminated), steps(ended), gamma, lambda)
    return d:log_prob(model(observations), actions), values, advantages:reshape { t * n }
  end, { name = "advantages" })
  local inputs = {}
  for i, tensor in ipairs(buffer:tensors()) do inputs[i] = tensor end
  self.rows = ml.zeros {}
  inputs[#inputs + 1] = self.rows
  local size = buffer.capacity
  self.old = { log_probs = ml.zeros { size }, values = ml.zeros { size }, advantages = ml.zeros { size } }
  self.evaluation = f:program(inputs[1], inputs[2], inputs[3], inputs[4], inputs[5], inputs[6], self.rows)
  inputs.out = { self.old.log_probs, self.old.values, self.old.advantages }
  self.evaluation_arguments = inputs
end

-- ---- Minibatches ----

--- The rows of a minibatch: at most what was collected.
function OnPolicy:rows_of_batch()
  return self.batch_size
end

local function new_step(self)
  local model, critic, d, optimizer = self.model, self.critic, self.distribution, self.optimizer
  local variables = {}
  for _, list in ipairs({ model.trainable_variables, critic.trainable_variables, d:variables() }) do
    for _, variable in ipairs(list) do variables[#variables + 1] = variable end
  end
  local f = ml.fn(function(observations, actions, log_probs, values, advantages, indices, weights)
    local function rows(x) return ml.gather(x, indices, 1) end
    local x = rows(observations)
    local y = model(x)
    local loss, distance = self:loss({
      log_probs = d:log_prob(y, rows(actions)), old_log_probs = rows(log_probs), entropy = d:entropy(y),
      values = critic(x):squeeze(2), advantages = rows(advantages), returns = rows(advantages) + rows(values), weights = weights,
    })
    optimizer:apply(ml.grad(loss, variables), variables)
    return loss, distance
  end, { name = "step" })
  local size, tensors, old = self:rows_of_batch(), self.buffer:tensors(), self.old
  self.indices, self.index_list, self.weights, self.weight_list = ml.zeros({ size }, "i64"), {}, ml.ones { size }, {}
  local inputs = { tensors[1], tensors[2], old.log_probs, old.values, old.advantages, self.indices, self.weights }
  self.program = f:program(inputs[1], inputs[2], inputs[3], inputs[4], inputs[5], inputs[6], inputs[7])
  self.last_loss, self.distance = ml.zeros {}, ml.zeros {}
  inputs.out = { self.last_loss, self.distance }
  self.arguments = inputs
end

function OnPolicy:make_program()
  new_evaluation(self)
  new_step(self)
end

-- The next rows of this epoch's order: one more stretch of a shuffle (Fisher and Yates). Where there are fewer rows than the
-- minibatch has, the rest counts nothing.
local function fill_minibatch(self)
  local order, n, random = self.order, self.buffer.size, self.random
  for i = 1, #self.weights do
    local at = self.position + i
    if at <= n then
      local other = at + random:integer(n - at + 1)
      order[at], order[other] = order[other], order[at]
    end
    self.index_list[i] = at <= n and order[at] or 0
    self.weight_list[i] = at <= n and 1 or 0
  end
  self.position = self.position + #self.weights
  self.indices:set(self.index_list)
  self.weights:set(self.weight_list)
end

local function begin_epochs(self)
  self.phase, self.epoch, self.position = "learn", 1, 0
  self.order = self.order or {}
  for i = 1, self.buffer.size do self.order[i] = i - 1 end
end

-- Is there another minibatch? Else collecting begins again.
local function advance(self)
  if self.position >= self.buffer.size then
    self.epoch, self.position = self.epoch + 1, 0
  end
  if self.epoch <= self.n_epochs and not self:has_moved_far() then return true end
  self.phase = "collect"
  self.buffer:clear()
  return false
end

--- Should what is left of the epochs be left out?
function OnPolicy:has_moved_far()
  return false
end

function OnPolicy:begin_step()
  if self.phase == "collect" then return false end
  if not self.program then self:make_program() end
  if self.phase == "evaluate" then
    self.rows:fill(self.buffer.size)
  else
    fill_minibatch(self)
  end
  return true
end

function OnPolicy:slice(budget_us)
  if self.phase == "evaluate" then
    if not self:run_slice(self.evaluation, self.evaluation_arguments, budget_us) then return false end
    begin_epochs(self)
    return true
  end
  if not self:run_slice(self.program, self.arguments, budget_us) then return false end
  self.n_updates = self.n_updates + 1
  advance(self)
  return true
end

function OnPolicy:loaded()
  self.phase = "collect"
  if self.buffer then self.buffer:clear() end
end

return OnPolicy
