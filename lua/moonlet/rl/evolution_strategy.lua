--- A plain evolution strategy: `rl.EvolutionStrategy`.
-- Here: Salimans, Ho, Chen, Sidor and Sutskever ("Evolution strategies as a scalable alternative to reinforcement learning", 2017):
-- mirrored draws, ranks in place of values, Adam (Kingma and Ba, 2014). Its cost is linear in n, so it suits networks that are too
-- large for `rl.CMAES`.
-- @classmod moonlet.rl.evolution_strategy

local Random = require "moonlet.rl.random"
local core = require "moonlet.core"
local util = require "moonlet.util"

local sqrt = math.sqrt

--- Searches for the vector that makes a function small, by values alone; `ask` and `tell` as in `rl.CMAES`.
-- @function rl.EvolutionStrategy
-- @tparam {number,...} x0 where it starts
-- @tparam[opt=0.1] number sigma deviation of what is tried
-- @tparam[opt=32] integer popsize vectors in a generation, an even number
-- @tparam[opt=0.05] number learning_rate
-- @tparam[opt=0] number weight_decay
-- @tparam[opt] integer seed
-- @usage local es = ml.rl.EvolutionStrategy { parameters:get(), sigma = 0.1, seed = 1 }
local EvolutionStrategy = util.class("EvolutionStrategy")

local ROWS = {
  { "x0", "table", at = 1, required = true }, { "sigma", "positive", default = 0.1 },
  { "popsize", "count", default = 32, text = "a positive even number", test = function(v)
    return util.is_integer(v) and v > 0 and v % 2 == 0
  end },
  { "learning_rate", "positive", default = 0.05 }, { "weight_decay", "nonnegative", default = 0 }, { "seed", "natural" },
}

function EvolutionStrategy:init(given)
  util.options("rl.EvolutionStrategy", ROWS, given, self)
  self.n, self.random, self.generation = #self.x0, Random(self.seed), 0
  self.mean, self.best, self.best_value = {}, {}, math.huge
  self.m, self.v, self.solutions, self.order, self.utility = {}, {}, {}, {}, {}
  for i = 1, self.n do
    if type(self.x0[i]) ~= "number" then
      core.fail("rl.EvolutionStrategy: x0 must be a list of numbers, entry %d is %s", i, util.describe(self.x0[i]))
    end
    self.mean[i], self.best[i], self.m[i], self.v[i] = self.x0[i], self.x0[i], 0, 0
  end
  for k = 1, self.popsize do self.solutions[k] = {} end
end

--- The vectors to judge, in pairs on either side of the mean.
-- @treturn {table,...} `popsize` lists; the next `ask` overwrites them
function EvolutionStrategy:ask()
  for k = 1, self.popsize, 2 do
    local plus, minus = self.solutions[k], self.solutions[k + 1]
    for i = 1, self.n do
      local step = self.sigma * self.random:normal()
      plus[i], minus[i] = self.mean[i] + step, self.mean[i] - step
    end
  end
  return self.solutions
end

-- Ranks from 0.5 (the best, the smallest value) down to -0.5; equal values share theirs.
local function set_utility(self, values)
  local order, n, huge = self.order, self.popsize, math.huge
  local function value(k) return values[k] == values[k] and values[k] or huge end
  for k = 1, n do order[k] = k end
  table.sort(order, function(a, b)
    if value(a) ~= value(b) then return value(a) < value(b) end
    return a < b
  end)
  local from = 1
  while from <= n do
    local to = from
    while to < n and value(order[to + 1]) == value(order[from]) do to = to + 1 end
    for r = from, to do self.utility[order[r]] = 0.5 - ((from + to) / 2 - 1) / (n - 1) end
    from = to + 1
  end
  return order[1]
end

--- Takes the values of the vectors that `ask` gave: small is good.
-- @tparam {table,...} solutions
-- @tparam {number,...} values for rewards, their negatives
function EvolutionStrategy:tell(solutions, values)
  if solutions ~= self.solutions then core.fail("rl.EvolutionStrategy: tell: expected the solutions of the last ask") end
  for k = 1, self.popsize do
    if type(values[k]) ~= "number" then
      core.fail("rl.EvolutionStrategy: tell: value %d must be a number, got %s", k, util.describe(values[k]))
    end
  end
  local first = set_utility(self, values)
  if values[first] < self.best_value then
    self.best_value = values[first]
    for i = 1, self.n do self.best[i] = solutions[first][i] end
  end
  self.generation = self.generation + 1
  local t, rate = self.generation, self.learning_rate
  rate = rate * sqrt(1 - 0.999 ^ t) / (1 - 0.9 ^ t)
  for i = 1, self.n do
    local gradient = self.weight_decay * self.mean[i]
    for k = 1, self.popsize do
      gradient = gradient - self.utility[k] * (solutions[k][i] - self.mean[i]) / (self.popsize * self.sigma * self.sigma)
    end
    self.m[i] = 0.9 * self.m[i] + 0.1 * gradient
    self.v[i] = 0.999 * self.v[i] + 0.001 * gradient * gradient
    self.mean[i] = self.mean[i] - rate * self.m[i] / (sqrt(self.v[i]) + 1e-8)
  end
end

return EvolutionStrategy
