--- What was experienced: `rl.ReplayBuffer`.
-- Here: a ring of transitions in tensors, and batches drawn evenly from it (Lin, "Self-improving reactive agents based on
-- reinforcement learning, planning and teaching", 1992). Invariant: what `add` was given is copied; a batch's tensors are the same
-- ones each time, and stay as they are until the next `sample`.
-- @classmod moonlet.rl.replay_buffer

local Random = require "moonlet.rl.random"
local core = require "moonlet.core"
local ml = require "moonlet"
local util = require "moonlet.util"

--- A ring of transitions. `n_envs` of them come at a time.
-- @function rl.ReplayBuffer
-- @tparam integer buffer_size transitions kept, rounded down to a multiple of n_envs
-- @tparam integer observation_size numbers in an observation
-- @tparam[opt] integer action_size numbers in an action; none: actions are whole numbers
-- @tparam[opt=1] integer n_envs with more than one, `add` takes lists
-- @tparam[opt] integer seed of what is drawn
-- @usage
-- local buffer = ml.rl.ReplayBuffer { buffer_size = 10000, observation_size = 4 }
-- buffer:add(observation, action, reward, next_observation, terminated, truncated)
-- local batch = buffer:sample(32)
local ReplayBuffer = util.class("ReplayBuffer")

ReplayBuffer.rows = {
  { "buffer_size", "count", required = true }, { "observation_size", "count", required = true }, { "action_size", "count" },
  { "n_envs", "count", default = 1 }, { "seed", "natural" }, { "random", "table" },
}

-- What is kept of a transition: name -> entries of one, nil for a number; and the dtype.
local function fields(self)
  return {
    { "observations", self.observation_size, "f32" }, { "actions", self.action_size, self.action_size and "f32" or "i32" },
    { "rewards", nil, "f32" }, { "next_observations", self.observation_size, "f32" }, { "terminated", nil, "bool" },
    { "truncated", nil, "bool" },
  }
end

function ReplayBuffer:init(given)
  local class = getmetatable(self)
  util.options("rl." .. class.class_name, class.rows, given, self)
  self.random = self.random or Random(self.seed)
  self.slots = math.floor(self.buffer_size / self.n_envs)
  if self.slots == 0 then
    core.fail("rl.%s: buffer_size must be at least n_envs (%d), got %d", class.class_name, self.n_envs, self.buffer_size)
  end
  self.capacity = self.slots * self.n_envs
  self.size, self.at = 0, 0 -- transitions kept; the slot written last, from 1
  self.slabs, self.flat = {}, {}
  for i, field in ipairs(fields(self)) do
    local name, width, dtype = field[1], field[2], field[3]
    self.flat[i] = ml.zeros({ self.capacity, width }, dtype)
    self.slabs[name] = self.n_envs == 1 and self.flat[i] or self.flat[i]:reshape({ self.slots, self.n_envs, width })
  end
  self.batches = {}
  self:setup()
end

--- Further steps of construction; nothing to do here.
function ReplayBuffer:setup() end

--- Keeps what happened, in place of what is oldest when it is full. With `n_envs` above 1 each argument is a list.
-- @tparam table observation
-- @param action
-- @tparam number reward
-- @tparam table next_observation
-- @tparam boolean terminated
-- @tparam[opt=false] boolean truncated
function ReplayBuffer:add(observation, action, reward, next_observation, terminated, truncated)
  local at, slabs = self.at % self.slots + 1, self.slabs
  slabs.observations[at] = observation
  slabs.actions[at] = action
  slabs.rewards[at] = reward
  slabs.next_observations[at] = next_observation
  slabs.terminated[at] = terminated
  slabs.truncated[at] = truncated or false
  self.at = at
  self.size = math.max(self.size, at * self.n_envs)
  self:added((at - 1) * self.n_envs)
end

--- Told of what was just added, from row `first` (counted from 0) on; nothing to do here.
function ReplayBuffer:added(first) end

--- Forgets everything.
function ReplayBuffer:clear()
  self.size, self.at = 0, 0
end

--- All that is kept: tensors `observations, actions, rewards, next_observations, terminated, truncated` of `capacity` rows. They
-- are the buffer's own memory.
-- @treturn {Tensor,...} in this order
function ReplayBuffer:tensors()
  return self.flat
end

-- A function of a buffer's own: what it keeps goes with the buffer.
local function new_gather()
  return ml.fn(function(observations, actions, rewards, next_observations, terminated, truncated, indices)
    local function rows(x) return ml.gather(x, indices, 1) end
    return rows(observations), rows(actions), rows(rewards), rows(next_observations), ml.cast(rows(terminated), "f32"),
      ml.cast(rows(truncated), "f32")
  end, { name = "replay" })
end

-- The tensors of a batch of n, and the program that fills them.
local function new_batch(self, n)
  local function zeros(width, dtype) return ml.zeros({ n, width }, dtype) end
  local batch = { list = {}, weight_list = {}, indices = zeros(nil, "i64"), weights = ml.ones { n } }
  local inputs, out = {}, {}
  for i, field in ipairs(fields(self)) do
    inputs[i] = self.flat[i]
    out[i] = zeros(field[2], field[3] == "bool" and "f32" or field[3])
    batch[field[1]] = out[i]
  end
  inputs[#inputs + 1] = batch.indices
  self.gather = self.gather or new_gather()
  batch.program = self.gather:program(util.unpack(inputs))
  inputs.out = out
  batch.arguments = inputs
  for i = 1, n do batch.weight_list[i] = 1 end
  return batch
end

--- Writes the rows to draw, counted from 0, to `list`.
function ReplayBuffer:draw(list, n)
  for i = 1, n do list[i] = self.random:integer(self.size) end
end

--- The tensors of batches of n, which `sample` fills.
function ReplayBuffer:batch(n)
  local batch = self.batches[n]
  if not batch then
    batch = new_batch(self, n)
    self.batches[n] = batch
  end
  return batch
end

--- Draws a batch, with repetition.
-- @tparam integer n how many
-- @treturn table tensors `observations`, `actions`, `rewards`, `next_observations`, `terminated`, `truncated` (the last two as 0
--   and 1), `weights` (what the loss of each counts; ones here), `indices` (rows, counted from 0; as a Lua list in `list`)
function ReplayBuffer:sample(n)
  if self.size == 0 then core.fail("rl.%s: sample: nothing was added yet", getmetatable(self).class_name) end
  local batch = self:batch(n)
  self:draw(batch.list, n, batch)
  batch.indices:set(batch.list)
  batch.program:run(batch.arguments)
  return batch
end

--- Takes over what another buffer's `tensors` held, for loading.
function ReplayBuffer:restore(tensors, size, at)
  for i, tensor in ipairs(tensors) do self.flat[i]:copy_from(tensor) end
  self.size, self.at = size, at
  for first = 0, size - self.n_envs, self.n_envs do self:added(first) end
end

return ReplayBuffer
