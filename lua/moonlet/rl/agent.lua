--- The base of agents that learn by gradients.
-- Here: spaces, acting for one or many, keeping what happened, the loop over an environment, slices of learning, files. A class
-- derived from it says what is learnt from. Invariant: a step of learning that is under way changes nothing that `act` uses until
-- it is whole.
-- @classmod moonlet.rl.agent

local Box = require "moonlet.rl.box"
local Discrete = require "moonlet.rl.discrete"
local ObservationNorm = require "moonlet.rl.observation_norm"
local Random = require "moonlet.rl.random"
local ReplayBuffer = require "moonlet.rl.replay_buffer"
local core = require "moonlet.core"
local check = require "moonlet.rl.check"
local distribution = require "moonlet.rl.distribution"
local ml = require "moonlet"
local util = require "moonlet.util"

local clock = core.clock_us

local Agent = util.class("Agent")

local RATE = "a number that is not negative, or a function of what is left of total_timesteps, from 1 to 0"

local COMMON = {
  { "env", "table" }, { "observation_space", "any" }, { "action_space", "any" }, { "network", "function" },
  { "net_arch", "table", default = { 64, 64 } }, { "normalize_observations", "boolean", default = false },
  { "total_timesteps", "count", default = 100000 }, { "seed", "natural" },
}

--- Derives a class of agents; `rate` is its default learning rate, rows are further arguments.
function Agent:extend(name, rate, rows)
  local class = util.class(name, self)
  local all = { { "learning_rate", "any", default = rate, text = RATE, test = function(v)
    return type(v) == "function" or type(v) == "number" and v >= 0 and v < math.huge
  end } }
  for _, row in ipairs(rows) do all[#all + 1] = row end
  for _, row in ipairs(COMMON) do all[#all + 1] = row end
  class.rows = all
  return class
end

function Agent:fail(format, ...)
  return core.fail("rl.%s: " .. format, getmetatable(self).class_name, ...)
end

local function read_space(self, name, class, value)
  if value == nil and self.env then value = self.env[name] end
  if util.is_integer(value) and value > 0 then return class { value } end
  if type(value) == "table" and (value.size or value.n) then return value end
  return self:fail("%s must be a number, an rl.Box or an rl.Discrete, or come with env; got %s", name, util.describe(value))
end

function Agent:init(given)
  local class = getmetatable(self)
  util.options("rl." .. class.class_name, class.rows, given, self)
  self.observation_space = read_space(self, "observation_space", Box, self.observation_space)
  self.action_space = read_space(self, "action_space", Discrete, self.action_space)
  self.observation_size = self.observation_space.size
  if not self.observation_size then self:fail("observation_space must be an rl.Box: observations are lists of numbers") end
  self.random = Random(self.seed)
  self.optimizer = ml.optim.Adam({
    lr = type(self.learning_rate) == "number" and self.learning_rate or self.learning_rate(1), epsilon = 1e-5,
    global_clipnorm = self.max_grad_norm,
  })
  if self.normalize_observations then self.norm = ObservationNorm {} end
  self.num_timesteps, self.n_updates, self.due = 0, 0, 0
  self.calls, self.since_target = 0, 0 -- of observe, and steps since the last update of a target
  self.actors, self.learning = {}, false
  self.episodes, self.returns, self.last_returns = 0, {}, {}
  self:setup()
end

-- ---- Networks ----

--- A network of Dense layers from observations, with `outputs` numbers at its end; head(h) may make them instead.
function Agent:mlp(outputs, activation, head)
  local x = ml.input { nil, self.observation_size, name = "observation" }
  local h = self.norm and self.norm(x) or x
  for _, units in ipairs(self.net_arch) do h = ml.nn.Dense { units, activation = activation } (h) end
  return ml.Model { inputs = x, outputs = head and head(h) or ml.nn.Dense { outputs } (h) }
end

--- What a function of the script makes, its outputs checked; or, without one, the default.
function Agent:make_network(make, outputs, activation, head)
  if not make then return self:mlp(outputs, activation, head) end
  local model = make(self.norm)
  local shape = model(ml.zeros { 1, self.observation_size }).shape
  if #shape ~= 2 or shape[2] ~= outputs then
    self:fail("network must make a model that gives %d numbers for each observation, got shape %s", outputs, util.shape_text(shape))
  end
  return model
end

--- Makes `model`, a network that gives a distribution over actions, and the policy that draws from it.
function Agent:make_policy()
  local d = distribution(self.action_space, self.log_std_init)
  self.distribution, self.noise_size = d, d.noise_size
  self.model = self:make_network(self.network, d.outputs, "tanh")
  local model = self.model
  self.policy = ml.fn(function(x, noise)
    local y = model(x)
    return d:greedy(y), d:sample(y, noise)
  end, { name = "policy" })
end

-- ---- Acting ----

-- Is it a list of observations?
local function is_many(observation)
  if type(observation) == "table" then return type(observation[1]) == "table" end
  return core.kind(observation) == "tensor" and observation.ndim == 2
end

local function new_actor(self, n)
  local x = ml.zeros { n, self.observation_size }
  local actor = { observations = x, row = n == 1 and x:reshape { self.observation_size }, list = {}, noise_list = {} }
  local inputs = { x }
  if self.noise_size then
    actor.noise = ml.zeros { n * self.noise_size }
    inputs[2] = actor.noise:reshape { n, self.noise_size }
  end
  actor.program = self.policy:program(util.unpack(inputs))
  actor.out = {}
  for i, output in ipairs(actor.program:outputs()) do actor.out[i] = ml.zeros(output.shape, output.dtype) end
  inputs.out = actor.out
  actor.arguments = inputs
  return actor
end

--- The actor for n observations: the policy's program and its tensors.
function Agent:actor(n)
  local actor = self.actors[n]
  if not actor then
    actor = new_actor(self, n)
    self.actors[n] = actor
  end
  return actor
end

-- Calls the network; out[1] of the actor then has the greedy actions, out[2] (if any) those drawn.
local function run_actor(self, actor, observation, many, deterministic)
  if many or not actor.row then actor.observations:set(observation) else actor.row:set(observation) end
  if actor.noise and not deterministic then
    local list = actor.noise_list
    for i = 1, #actor.observations * self.noise_size do list[i] = self.distribution.draw_noise(self.random) end
    actor.noise:set(list)
  end
  actor.program:run(actor.arguments)
end

local function read_actions(self, actor, many, deterministic)
  local out = actor.out[deterministic and 1 or #actor.out]
  if many then return out:totable(actor.list) end
  if self.action_space.n then return out:item() end
  return out:totable(actor.list)[1]
end

--- An action for an observation, or a list of actions for a list of observations: one call of the network for all. A list is the
-- agent's own; the next call with as many observations overwrites it.
-- @tparam table observation
-- @tparam[opt=false] boolean deterministic what is thought best; else the agent explores
function Agent:act(observation, deterministic)
  local many = check.observations(self, "act", "an observation", observation)
  local actor = self:actor(many or 1)
  run_actor(self, actor, observation, many, deterministic)
  return read_actions(self, actor, many, deterministic)
end

-- ---- What happened ----

--- A buffer for n_envs transitions at a time.
function Agent:new_buffer(n_envs, size)
  return ReplayBuffer {
    buffer_size = size or self.buffer_size, observation_size = self.observation_size, action_size = self.action_space.size,
    n_envs = n_envs, random = self.random,
  }
end

local SCORES = 100 -- episodes in the mean

local function count_reward(self, i, reward, over)
  local sum = (self.returns[i] or 0) + reward
  if over then
    self.episodes = self.episodes + 1
    self.last_returns[(self.episodes - 1) % SCORES + 1] = sum
    sum = 0
  end
  self.returns[i] = sum
end

local function count_rewards(self, n, reward, terminated, truncated)
  if not n then return count_reward(self, 1, reward, terminated or truncated) end
  for i = 1, n do count_reward(self, i, reward[i], terminated[i] or truncated[i]) end
end

local function all_false(n)
  local list = {}
  for i = 1, n do list[i] = false end
  return list
end

--- The layer of normalisation sees what is acted on.
function Agent:update_norm(observation, n)
  local at = self.norm_input
  if not at or #at ~= n then
    at = ml.zeros { n, self.observation_size }
    self.norm_input = at
    self.norm_row = at:reshape { n * self.observation_size }
  end
  if is_many(observation) then at:set(observation) else self.norm_row:set(observation) end
  self.norm:update(at)
end

--- Begins an empty buffer for n_envs transitions at a time.
function Agent:use_buffer(n_envs)
  self.buffer = self:new_buffer(n_envs)
end

--- Makes all programs now, so that no frame of a game has to. Else they are made when first needed.
-- @tparam[opt] integer n_envs how many act at a time; default what `env` has
function Agent:prepare(n_envs)
  n_envs = n_envs or self.buffer and self.buffer.n_envs or self.env and self.env.num_envs or 1
  if not self.buffer then self:use_buffer(n_envs) end
  self:actor(n_envs)
  if not self.program then self:make_program() end
end

--- Takes in what an action led to. For many, each argument is a list.
-- @tparam table observation what was acted on
-- @param action
-- @tparam number reward
-- @tparam table next_observation what the action led to, also where the episode ended
-- @tparam boolean terminated the episode has ended by its own rules
-- @tparam[opt=false] boolean truncated it was cut off
function Agent:observe(observation, action, reward, next_observation, terminated, truncated)
  local n = check.step(self, observation, action, reward, next_observation, terminated, truncated)
  if n and truncated == nil then
    if not self.never or #self.never ~= n then self.never = all_false(n) end
    truncated = self.never
  end
  if not self.buffer or self.buffer.size == 0 and self.buffer.n_envs ~= (n or 1) then self:use_buffer(n or 1) end
  if self.buffer.n_envs ~= (n or 1) then
    self:fail("observe: got %d observations, before it were %d", n or 1, self.buffer.n_envs)
  end
  self.num_timesteps, self.calls = self.num_timesteps + (n or 1), self.calls + 1
  count_rewards(self, n, reward, terminated, truncated)
  if self.norm then self:update_norm(observation, n or 1) end
  self:keep(observation, action, reward, next_observation, terminated, truncated or false)
end

--- The mean return of the last episodes, at most 100; nil before the first has ended.
function Agent:mean_return()
  local n, sum = #self.last_returns, 0
  if n == 0 then return nil end
  for i = 1, n do sum = sum + self.last_returns[i] end
  return sum / n
end

-- ---- Learning ----

local WAIT_US = 100 -- for a step that began in slices, when it is asked for in the background

-- A step in the background: begins it, or looks whether it is over.
local function run_behind(self, program, arguments, budget_us)
  arguments.budget_us = nil
  self.ticket = self.ticket or program:start(arguments)
  if not budget_us and not self.in_background then
    self.ticket:result()
  elseif not self.ticket:done(budget_us) then
    return false
  end
  local ticket = self.ticket
  self.ticket = nil
  ticket:result() -- raises what went wrong
  return true
end

--- Runs a step's program whole, for so long, or in the background; `arguments` must be the same table until it is done.
-- @treturn boolean is it done
function Agent:run_slice(program, arguments, budget_us)
  if self.ticket or self.in_background and not self.begun then return run_behind(self, program, arguments, budget_us) end
  if self.in_background then budget_us = WAIT_US end
  arguments.budget_us = budget_us
  self.begun = true
  local first = program:run(arguments)
  self.begun = not (budget_us == nil or first == true)
  return not self.begun
end

local function set_rate(self)
  if type(self.learning_rate) ~= "function" then return end
  local rate = self.learning_rate(math.max(0, 1 - self.num_timesteps / self.total_timesteps))
  if rate == self.rate then return end
  self.rate, self.optimizer.lr = rate, rate
end

-- Does what is due, for so long.
local function work(self, budget_us)
  local deadline = budget_us and clock() + budget_us
  while self.learning or self:begin_step() do
    if not self.learning then
      self.learning = true
      set_rate(self)
    end
    local left = deadline and deadline - clock()
    if left and left <= 0 then return false end
    if self:slice(left) then
      self.learning = false
    elseif self.in_background then
      return false
    end
  end
  return true
end

local function play(self, opts)
  local env = self.env
  if not env then self:fail("learn: total_timesteps needs an env") end
  local last = self.num_timesteps + opts.total_timesteps
  self.total_timesteps = last
  local observation = self.observation or env:reset()
  while self.num_timesteps < last do
    local action = self:act(observation)
    local following, reward, terminated, truncated, final = env:step(action)
    self:observe(observation, action, reward, final or following, terminated, truncated)
    if not final and (terminated or truncated) then following = env:reset() end
    observation = following
    work(self)
    if opts.callback and opts.callback(self) == false then break end
  end
  self.observation = observation
  return self
end

local LEARN = { total_timesteps = true, callback = true, budget_us = true, gradient_steps = true, background = true }

-- So many steps more on what was observed.
function Agent:add_steps(n)
  self.due = self.due + n
end

--- Ends the step that is under way, if there is one.
function Agent:finish()
  self.in_background = false
  while self.learning do self.learning = not self:slice() end
end

--- Learns: `learn { total_timesteps = n }` plays that many steps in the agent's environment; without it, does what is due from what
-- was observed, to its end or for `budget_us` microseconds.
-- @tparam[opt] table opts `total_timesteps`; `callback`: called with the agent after each of these steps, false ends it;
--   `budget_us`; `gradient_steps`: so many more are due, for agents with a replay buffer; `background = true`: worker threads do
--   the step, a call only begins it or looks whether it is over
-- @return with `total_timesteps` the agent; else true when nothing more is due, false when the time was over before
function Agent:learn(opts)
  self.in_background = opts ~= nil and type(opts) == "table" and opts.background == true
  if opts == nil then return work(self) end
  if type(opts) ~= "table" then self:fail("learn: expected a table of options, got %s", util.describe(opts)) end
  for key, value in pairs(opts) do
    if not LEARN[key] then
      self:fail("learn: unknown option %s; known: %s", util.describe(key), table.concat(util.sorted_keys(LEARN), ", "))
    end
    if key ~= "callback" and key ~= "background" and not (type(value) == "number" and value > 0) then
      self:fail("learn: %s must be a positive number, got %s", key, util.describe(value))
    end
  end
  if opts.total_timesteps then return play(self, opts) end
  if opts.gradient_steps then self:add_steps(opts.gradient_steps) end
  return work(self, opts.budget_us)
end

-- ---- Files ----

local COUNTERS = { "num_timesteps", "n_updates", "episodes", "calls", "since_target", "due" }

local function counters(self)
  local list, n = {}, #COUNTERS
  for i, name in ipairs(COUNTERS) do list[i] = self[name] end
  for i, x in ipairs(self.random.state) do list[n + i] = x end
  return list
end

-- Variables that are not in the model's own file: by position, as names of several networks may be equal.
local function state_variables(self)
  self:prepare()
  local list = {}
  for _, variables in ipairs(self:extra_variables()) do
    for _, variable in ipairs(variables) do list[#list + 1] = variable end
  end
  for _, variable in ipairs(self.optimizer:variables()) do list[#list + 1] = variable end
  return list
end

--- Writes the agent: the network to `path`, a model file that `ml.load` reads, and the rest to `path` .. ".agent".
-- @tparam string path
-- @tparam[opt] table opts `replay = true`: what was observed as well, without priorities
function Agent:save(path, opts)
  opts = util.options("rl." .. getmetatable(self).class_name .. ": save", { { "replay", "boolean", default = false } }, opts)
  util.check("rl: save", { "path", "name" }, path)
  self:finish()
  local tensors = { counters = ml.tensor(counters(self), "f64") }
  for i, variable in ipairs(state_variables(self)) do tensors[string.format("variable/%d", i)] = variable end
  if opts.replay and self.buffer then
    local buffer = self.buffer
    tensors["replay/at"] = ml.tensor({ buffer.size, buffer.at, buffer.n_envs }, "f64")
    for i, tensor in ipairs(buffer:tensors()) do tensors[string.format("replay/%d", i)] = tensor end
  end
  ml.data.safetensors_save(path .. ".agent", tensors, { class = getmetatable(self).class_name })
  self.model:save(path)
end

local function check_state(self, path, tensors, texts, variables)
  local class = getmetatable(self).class_name
  if texts.class ~= class then self:fail("load: '%s' holds %s, not a %s", path, tostring(texts.class), class) end
  for i, variable in ipairs(variables) do
    local tensor = tensors[string.format("variable/%d", i)]
    if not tensor or util.shape_text(tensor.shape) ~= util.shape_text(variable.shape) then
      self:fail("load: '%s' does not fit: '%s' has shape %s here, %s there", path, variable.name, util.shape_text(variable.shape),
        tensor and util.shape_text(tensor.shape) or "nothing")
    end
  end
  if not tensors.counters or tensors.counters.count ~= #counters(self) then self:fail("load: '%s' has no counters", path) end
end

local function load_replay(self, path, tensors)
  local at = tensors["replay/at"]
  if not at then return end
  at = at:totable()
  local buffer, list = self:new_buffer(at[3]), {}
  for i, tensor in ipairs(buffer:tensors()) do
    list[i] = tensors[string.format("replay/%d", i)]
    if not list[i] or util.shape_text(list[i].shape) ~= util.shape_text(tensor.shape) then
      self:fail("load: the replay in '%s' has another size", path)
    end
  end
  self:use_buffer(buffer.n_envs)
  self.buffer:restore(list, at[1], at[2])
end

--- Reads what `save` wrote, into an agent made with the same arguments. Everything is checked before anything changes.
-- @tparam string path
function Agent:load(path)
  util.check("rl: load", { "path", "name" }, path)
  local tensors, texts = ml.data.safetensors(path .. ".agent")
  self:finish()
  local variables = state_variables(self)
  check_state(self, path .. ".agent", tensors, texts, variables)
  self.model:load_weights(path)
  for i, variable in ipairs(variables) do variable:write(tensors[string.format("variable/%d", i)]) end
  local list, n = tensors.counters:totable(), #COUNTERS
  for i, name in ipairs(COUNTERS) do self[name] = list[i] end
  for i = 1, #list - n do self.random.state[i] = list[n + i] end
  self.observation = nil
  load_replay(self, path .. ".agent", tensors)
  self:loaded()
end

--- Told that `load` has changed the weights; nothing to do here.
function Agent:loaded() end

--- Makes the program of a learning step. A class defines it, and `setup`, `keep(...)`, `begin_step()` (is
-- there a step to do, then its data is taken), `slice(budget_us)` (is it done), `extra_variables()` (lists).
function Agent:make_program() end

return Agent
