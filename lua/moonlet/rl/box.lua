--- Vectors of numbers: `rl.Box`.
-- Here: the space of observations, and of actions that are vectors.
-- @classmod moonlet.rl.box

local util = require "moonlet.util"

--- A space of lists of `size` numbers.
-- @function rl.Box
-- @tparam integer size
-- @tparam[opt=-1] number low bound of each number; agents draw random actions between the bounds
-- @tparam[opt=1] number high
-- @usage env.observation_space = ml.rl.Box { 4 }
local Box = util.class("Box")

function Box:init(given)
  util.options("rl.Box", {
    { "size", "count", at = 1, required = true }, { "low", "number", default = -1 }, { "high", "number", default = 1 },
  }, given, self)
end

--- A random element, written to a list.
function Box:sample(random, into)
  into = into or {}
  for i = 1, self.size do into[i] = self.low + (self.high - self.low) * random:uniform() end
  return into
end

return Box
