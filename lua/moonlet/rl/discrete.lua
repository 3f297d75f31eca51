--- One of n choices: `rl.Discrete`.
-- Here: the space of actions that are whole numbers.
-- @classmod moonlet.rl.discrete

local util = require "moonlet.util"

--- The space of the whole numbers 0 to n - 1.
-- @function rl.Discrete
-- @tparam integer n
-- @usage env.action_space = ml.rl.Discrete { 2 }
local Discrete = util.class("Discrete")

function Discrete:init(given)
  util.options("rl.Discrete", { { "n", "count", at = 1, required = true } }, given, self)
end

--- A random element.
function Discrete:sample(random)
  return random:integer(self.n)
end

return Discrete
