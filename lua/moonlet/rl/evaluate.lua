--- How good a policy is: `rl.evaluate`.
-- Here: whole episodes without learning.
-- @module moonlet.rl.evaluate

local core = require "moonlet.core"
local util = require "moonlet.util"

--- Plays episodes in one environment.
-- @function rl.evaluate
-- @param policy an agent, or a function from an observation to an action
-- @tparam table env
-- @tparam[opt] table opts `n_eval_episodes` (default 10), `deterministic` (default true), `seed` (of the environment, before the
--   first)
-- @treturn number the mean of the returns
-- @treturn number their standard deviation
-- @usage local mean, deviation = ml.rl.evaluate(agent, env, { n_eval_episodes = 20 })
return function(policy, env, opts)
  opts = util.options("rl.evaluate", {
    { "n_eval_episodes", "count", default = 10 }, { "deterministic", "boolean", default = true }, { "seed", "natural" },
  }, opts)
  if type(policy) ~= "function" and not (type(policy) == "table" and policy.act) then
    core.fail("rl.evaluate: the policy must be an agent or a function, got %s", util.describe(policy))
  end
  if type(env) ~= "table" or not (env.reset and env.step) then
    core.fail("rl.evaluate: an environment with reset and step is expected, got %s", util.describe(env))
  end
  local function act(observation)
    if type(policy) == "function" then return policy(observation) end
    return policy:act(observation, opts.deterministic)
  end
  local sum, squares, seed = 0, 0, opts.seed
  for _ = 1, opts.n_eval_episodes do
    local observation, total, over = env:reset(seed), 0, false
    seed = nil
    while not over do
      local following, reward, terminated, truncated = env:step(act(observation))
      observation, total, over = following, total + reward, terminated or truncated
    end
    sum, squares = sum + total, squares + total * total
  end
  local n = opts.n_eval_episodes
  local mean = sum / n
  return mean, math.sqrt(math.max(0, squares / n - mean * mean))
end
