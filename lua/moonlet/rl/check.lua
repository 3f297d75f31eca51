--- Checks of what a game tells an agent: observations, actions, rewards. They come before anything is noted, so a wrong call leaves
-- the agent as it was; they make no garbage.
-- @module moonlet.rl.check

local core = require "moonlet.core"
local util = require "moonlet.util"

local check = {}

local function fail_row(agent, who, what, row)
  local got = type(row) == "table" and not getmetatable(row) and "a list of " .. #row or util.describe(row)
  agent:fail("%s: %s must be a list of %d numbers, got %s", who, what, agent.observation_size, got)
end

local function check_row(agent, who, what, row)
  if type(row) ~= "table" or #row ~= agent.observation_size then fail_row(agent, who, what, row) end
  for i = 1, #row do
    if type(row[i]) ~= "number" then fail_row(agent, who, what, row) end
  end
end

--- An observation, or a list of them. A tensor is checked where it is copied: asking for its shape makes a table.
-- @treturn integer|nil how many; nil for a single one
function check.observations(agent, who, what, x)
  if core.kind(x) == "tensor" then return x.ndim == 2 and #x or nil end
  if type(x) ~= "table" or type(x[1]) ~= "table" then
    check_row(agent, who, what, x)
    return nil
  end
  for i = 1, #x do check_row(agent, who, what, x[i]) end
  return #x
end

local function check_action(agent, action)
  local n = agent.action_space.n
  if n and not (type(action) == "number" and action >= 0 and action < n and action % 1 == 0) then
    agent:fail("observe: an action must be a whole number from 0 to %d, got %s", n - 1, util.describe(action))
  end
end

local function check_reward(agent, reward)
  if type(reward) ~= "number" or reward ~= reward then
    agent:fail("observe: a reward must be a number, got %s", util.describe(reward))
  end
end

local function check_end(agent, over)
  if type(over) ~= "boolean" then
    agent:fail("observe: terminated and truncated must be true or false, got %s", util.describe(over))
  end
end

local function check_each(agent, n, what, list, test)
  if not n then return test(agent, list) end
  if type(list) ~= "table" or #list < n then
    agent:fail("observe: %s must be a list of %d, one for each observation, got %s", what, n, util.describe(list))
  end
  for i = 1, n do test(agent, list[i]) end
end

--- Observations and what to do; actions that are lists of numbers are checked where they are kept.
-- @treturn integer|nil how many; nil for a single one
function check.actions(agent, observation, action)
  local n = check.observations(agent, "observe", "an observation", observation)
  if agent.action_space.n then check_each(agent, n, "actions", action, check_action) end
  return n
end

--- The arguments of `observe`.
-- @treturn integer|nil how many; nil for a single one
function check.step(agent, observation, action, reward, following, terminated, truncated)
  local n = check.actions(agent, observation, action)
  if check.observations(agent, "observe", "a next observation", following) ~= n then
    agent:fail("observe: there must be as many next observations as observations")
  end
  check_each(agent, n, "rewards", reward, check_reward)
  check_each(agent, n, "terminated", terminated, check_end)
  if truncated ~= nil then check_each(agent, n, "truncated", truncated, check_end) end
  return n
end

return check
