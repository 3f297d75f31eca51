--- A network that acts and does not learn: `rl.Policy`.
-- Here: for searches such as `rl.CMAES`, which change its weights themselves, and for playing with what was learnt elsewhere.
-- @classmod moonlet.rl.policy

local Agent = require "moonlet.rl.agent"

--- Acts as agents do.
-- @function rl.Policy
-- @tparam[opt] integer|rl.Box observation_space
-- @tparam[opt] integer|rl.Discrete|rl.Box action_space
-- @tparam[opt] table env both spaces may come from it
-- @tparam[opt={64,64}] {integer,...} net_arch units of the hidden layers
-- @tparam[opt] function network gives the network instead: a model that gives a logit for each action, or the means
-- @tparam[opt=0] number log_std_init logarithm of the deviation of actions that are lists
-- @tparam[opt=false] boolean normalize_observations the network begins with an `rl.ObservationNorm`, in the field `norm`
-- @tparam[opt] integer seed of what is drawn
-- @usage
-- local policy = ml.rl.Policy { env = env, net_arch = { 8 } }
-- local parameters = ml.rl.Parameters { policy.model }
-- parameters:set(x)
-- print(ml.rl.evaluate(policy, env))
-- local bot = ml.rl.Policy { env = env, network = function() return ml.load "bot.moon" end }
local Policy = Agent:extend("Policy", 0, { { "log_std_init", "number", default = 0 } })

function Policy:setup()
  self:make_policy()
end

--- Writes the model to a file that `ml.load` reads.
function Policy:save(path)
  self.model:save(path)
end

--- Reads the weights of such a file.
function Policy:load(path)
  self.model:load_weights(path)
end

--- It does not take in what happened.
function Policy:observe()
  return self:fail("observe: a policy does not learn")
end

--- It does not learn.
function Policy:learn()
  return self:fail("learn: a policy does not learn; search its weights with rl.Parameters and rl.CMAES or rl.EvolutionStrategy")
end

return Policy
