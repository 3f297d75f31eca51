--- Many environments at once: `rl.VecEnv`.
-- Here: lists in place of single values, so that an agent calls its network once for all. Invariant: an episode that ends is begun
-- again within the same step; what it ended with is in the third list of observations.
-- @classmod moonlet.rl.vec_env

local core = require "moonlet.core"
local util = require "moonlet.util"

--- Steps a list of environments together.
-- @function rl.VecEnv
-- @tparam table envs a list of environments of one kind, or a function that makes environment i, with `n`
-- @tparam[opt] integer n
-- @usage local envs = ml.rl.VecEnv { function(i) return ml.rl.CartPole { seed = i } end, n = 8 }
local VecEnv = util.class("VecEnv")

function VecEnv:init(given)
  local settings = util.options("rl.VecEnv", {
    { "envs", "any", at = 1, required = true, text = "a list of environments, or a function", test = function(v)
      return type(v) == "function" or type(v) == "table"
    end },
    { "n", "count" },
  }, given)
  local envs = settings.envs
  if type(envs) == "function" then
    if not settings.n then core.fail("rl.VecEnv: n is missing: how many environments the function makes") end
    envs = {}
    for i = 1, settings.n do envs[i] = settings.envs(i) end
  end
  if #envs == 0 then core.fail("rl.VecEnv: at least one environment is expected") end
  self.envs, self.num_envs = envs, #envs
  self.observation_space, self.action_space = envs[1].observation_space, envs[1].action_space
  self.observations, self.other, self.final = {}, {}, {}
  self.rewards, self.terminated, self.truncated = {}, {}, {}
  for i = 1, #envs do self.observations[i], self.other[i], self.final[i] = {}, {}, {} end
end

local function copy(from, to)
  for k = 1, #from do to[k] = from[k] end
end

--- Begins an episode everywhere.
-- @tparam[opt] integer seed environment i begins its random numbers with seed + i - 1
-- @treturn {table,...} the first observations
function VecEnv:reset(seed)
  for i, env in ipairs(self.envs) do copy(env:reset(seed and seed + i - 1), self.observations[i]) end
  return self.observations
end

--- Goes on by one step everywhere.
-- @tparam table actions a list
-- @treturn {table,...} the observations to act on next: where an episode has ended, the first of the following one
-- @treturn {number,...} the rewards
-- @treturn {boolean,...} terminated
-- @treturn {boolean,...} truncated
-- @treturn {table,...} the observations that the actions led to: where an episode has ended, its last
function VecEnv:step(actions)
  local observations = self.other
  for i = 1, self.num_envs do
    local env = self.envs[i]
    local observation
    observation, self.rewards[i], self.terminated[i], self.truncated[i] = env:step(actions[i])
    copy(observation, self.final[i])
    if self.terminated[i] or self.truncated[i] then observation = env:reset() end
    copy(observation, observations[i])
  end
  self.observations, self.other = observations, self.observations
  return observations, self.rewards, self.terminated, self.truncated, self.final
end

return VecEnv
