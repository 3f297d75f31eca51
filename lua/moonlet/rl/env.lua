--- The base of environments: `rl.Env`.
-- Here: what every environment shares: the limit of steps, the seed, two tables for observations in turn, checks of actions. A
-- class derived from it defines `begin()` and `advance(action)`. Agents need no more than `reset` and `step`, so a game's own
-- objects may do without this. Invariant: an observation stays as it is until the step after the next.
-- @classmod moonlet.rl.env

local Random = require "moonlet.rl.random"
local core = require "moonlet.core"
local util = require "moonlet.util"

local Env = util.class("Env")

local COMMON = { { "max_episode_steps", "count" }, { "seed", "natural" } }

--- Derives a class of environments.
-- @tparam string name
-- @tparam[opt] table rows further arguments of the constructor; see `util.options`. All take `max_episode_steps` and `seed` too.
-- @treturn table the class; it defines `setup()` (optional), `begin()` and `advance(action)`, which returns the reward and whether
--   the episode has terminated. Both of the latter write to `self.observation`. `observation_space` and `action_space` describe
--   them.
function Env:extend(name, rows)
  local class = util.class(name, self)
  local all = {}
  for _, row in ipairs(rows or {}) do all[#all + 1] = row end
  for _, row in ipairs(COMMON) do all[#all + 1] = row end
  class.rows = all
  return class
end

function Env:init(given)
  local class = getmetatable(self)
  util.options("rl." .. class.class_name, class.rows, given, self)
  self.random = Random(self.seed)
  self.observation, self.other = {}, {}
  self.steps, self.over = 0, true
  self:setup()
end

--- Further steps of construction; nothing to do here.
function Env:setup() end

local function turn(self)
  self.observation, self.other = self.other, self.observation
end

--- Begins an episode.
-- @tparam[opt] integer seed begins the random numbers anew
-- @treturn {number,...} the first observation
function Env:reset(seed)
  if seed then self.random = Random(seed) end
  turn(self)
  self.steps, self.over = 0, false
  self:begin()
  return self.observation
end

local function check_action(self, action)
  local n = self.action_space.n
  if not n then
    if type(action) == "table" and type(action[1]) == "number" and #action == self.action_space.size then return end
  elseif util.is_integer(action) and action >= 0 and action < n then
    return
  end
  core.fail("%s: an action must be %s, got %s", getmetatable(self).class_name,
    n and string.format("a whole number from 0 to %d", n - 1) or string.format("a list of %d numbers", self.action_space.size),
    util.describe(action))
end

--- Goes on by one step.
-- @tparam integer|table action
-- @treturn {number,...} the next observation
-- @treturn number the reward
-- @treturn boolean terminated: the episode has ended by its own rules
-- @treturn boolean truncated: it was cut off, by the limit of steps
function Env:step(action)
  if self.over then core.fail("%s: the episode is over, call reset", getmetatable(self).class_name) end
  check_action(self, action)
  turn(self)
  self.steps = self.steps + 1
  local reward, terminated = self:advance(action)
  local truncated = not terminated and self.max_episode_steps ~= nil and self.steps >= self.max_episode_steps
  self.over = terminated or truncated
  return self.observation, reward, terminated, truncated
end

return Env
