--- Covariance matrix adaptation: `rl.CMAES`.
-- Here: the CMA-ES of Hansen ("The CMA evolution strategy: a tutorial", 2016: constants, table 1; step size and covariance), with
-- the Cholesky factor of the covariance in place of its eigenvectors (Krause, Arbones and Igel, "CMA-ES with optimal covariance
-- update and storage complexity", 2016, algorithm 2), so that a generation costs n^2 for each parent. Invariant: `factor` is the
-- lower triangle A, row by row, with A A' the covariance.
-- @classmod moonlet.rl.cmaes

local Random = require "moonlet.rl.random"
local core = require "moonlet.core"
local util = require "moonlet.util"

local floor, sqrt, log, exp, max, min = math.floor, math.sqrt, math.log, math.exp, math.max, math.min

--- Searches for the vector that makes a function small, by values alone. Names are those of pycma.
-- @function rl.CMAES
-- @tparam {number,...} x0 where it starts
-- @tparam[opt=0.5] number sigma0 how far it looks at first, in each direction
-- @tparam[opt] integer popsize vectors in a generation; default 4 + 3 ln(n)
-- @tparam[opt] integer seed
-- @usage
-- local es = ml.rl.CMAES { { 0, 0, 0 }, 0.5, seed = 1 }
-- while es.sigma > 1e-8 do
--   local solutions, values = es:ask(), {}
--   for i, x in ipairs(solutions) do values[i] = f(x) end
--   es:tell(solutions, values)
-- end
-- print(es.best_value, es.best[1])
local CMAES = util.class("CMAES")

local ROWS = {
  { "x0", "table", at = 1, required = true }, { "sigma0", "positive", at = 2, default = 0.5 }, { "popsize", "count" },
  { "seed", "natural" },
}

local function zeros(n)
  local list = {}
  for i = 1, n do list[i] = 0 end
  return list
end

-- Strategy parameters: weights of the better half, and the constants of table 1.
local function set_constants(self)
  local n, lambda = self.n, self.popsize
  local mu, sum, squares = floor(lambda / 2), 0, 0
  self.mu, self.weights = mu, {}
  for i = 1, mu do
    self.weights[i] = log((lambda + 1) / 2) - log(i)
    sum = sum + self.weights[i]
  end
  for i = 1, mu do
    self.weights[i] = self.weights[i] / sum
    squares = squares + self.weights[i] ^ 2
  end
  local mueff = 1 / squares
  self.mueff = mueff
  self.c_sigma = (mueff + 2) / (n + mueff + 5)
  self.d_sigma = 1 + 2 * max(0, sqrt((mueff - 1) / (n + 1)) - 1) + self.c_sigma
  self.c_c = (4 + mueff / n) / (n + 4 + 2 * mueff / n)
  self.c_1 = 2 / ((n + 1.3) ^ 2 + mueff)
  self.c_mu = min(1 - self.c_1, 2 * (mueff - 2 + 1 / mueff) / ((n + 2) ^ 2 + mueff))
  self.chi_n = sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n)) -- the expected length of n normal numbers
end

function CMAES:init(given)
  util.options("rl.CMAES", ROWS, given, self)
  self.n = #self.x0
  for i = 1, max(self.n, 1) do
    if type(self.x0[i]) ~= "number" then
      core.fail("rl.CMAES: x0 must be a list of numbers, entry %d is %s", i, util.describe(self.x0[i]))
    end
  end
  self.popsize = max(4, self.popsize or 4 + floor(3 * log(self.n)))
  set_constants(self)
  self.random, self.sigma, self.generation = Random(self.seed), self.sigma0, 0
  self.mean, self.best, self.best_value = {}, {}, math.huge
  self.path_sigma, self.path_c, self.factor = zeros(self.n), zeros(self.n), {}
  self.solutions, self.draws, self.order, self.scratch = {}, {}, {}, {}
  for i = 1, self.n do
    self.mean[i], self.best[i] = self.x0[i], self.x0[i]
    self.factor[i] = zeros(i)
    self.factor[i][i] = 1
  end
  for k = 1, self.popsize do self.solutions[k], self.draws[k] = {}, {} end
end

--- The vectors to judge: mean + sigma A z with normal z.
-- @treturn {table,...} `popsize` lists; the next `ask` overwrites them
function CMAES:ask()
  for k = 1, self.popsize do
    local x, z = self.solutions[k], self.draws[k]
    for i = 1, self.n do z[i] = self.random:normal() end
    for i = 1, self.n do
      local row, sum = self.factor[i], 0
      for j = 1, i do sum = sum + row[j] * z[j] end
      x[i] = self.mean[i] + self.sigma * sum
    end
  end
  return self.solutions
end

-- A A' becomes A A' + beta v v'; v is overwritten (Krause, Arbones and Igel, algorithm 1).
local function add_square(factor, n, beta, v)
  local b = 1
  for j = 1, n do
    local row = factor[j]
    local a, w = row[j], v[j]
    local length = sqrt(a * a + beta / b * w * w)
    local gamma = a * a * b + beta * w * w
    row[j] = length
    for k = j + 1, n do
      local below = factor[k]
      v[k] = v[k] - w / a * below[j]
      below[j] = length / a * below[j] + length * beta * w / gamma * v[k]
    end
    b = b + beta * w * w / (a * a)
  end
end

-- Sorts by value; what is no number comes last, equals keep their order.
local function rank(self, values)
  local order, huge = self.order, math.huge
  for k = 1, self.popsize do order[k] = k end
  table.sort(order, function(a, b)
    local x, y = values[a], values[b]
    if x ~= x then x = huge end
    if y ~= y then y = huge end
    if x ~= y then return x < y end
    return a < b
  end)
  return order
end

local function move_mean(self, order)
  local step = {} -- (new mean - mean) / sigma
  for i = 1, self.n do
    local sum = 0
    for p = 1, self.mu do sum = sum + self.weights[p] * self.solutions[order[p]][i] end
    step[i] = (sum - self.mean[i]) / self.sigma
  end
  return step
end

-- The path of the step size is made of the draws themselves; returns its length.
local function move_path(self, order)
  local c, length = self.c_sigma, 0
  local push = sqrt(c * (2 - c) * self.mueff)
  for i = 1, self.n do
    local sum = 0
    for p = 1, self.mu do sum = sum + self.weights[p] * self.draws[order[p]][i] end
    local s = (1 - c) * self.path_sigma[i] + push * sum
    self.path_sigma[i] = s
    length = length + s * s
  end
  return sqrt(length)
end

local function adapt_covariance(self, order, step, length)
  local n, c, scratch = self.n, self.c_c, self.scratch
  local steady = length / sqrt(1 - (1 - self.c_sigma) ^ (2 * self.generation)) < (1.4 + 2 / (n + 1)) * self.chi_n
  local push = steady and sqrt(c * (2 - c) * self.mueff) or 0
  local lost = steady and 0 or self.c_1 * c * (2 - c)
  local shrink = sqrt(1 - self.c_1 - self.c_mu + lost)
  for i = 1, n do
    self.path_c[i] = (1 - c) * self.path_c[i] + push * step[i]
    scratch[i] = self.path_c[i]
    local row = self.factor[i]
    for j = 1, i do row[j] = shrink * row[j] end
  end
  add_square(self.factor, n, self.c_1, scratch)
  for p = 1, self.mu do
    local x = self.solutions[order[p]]
    for i = 1, n do scratch[i] = (x[i] - self.mean[i]) / self.sigma end
    add_square(self.factor, n, self.c_mu * self.weights[p], scratch)
  end
end

local function check_values(self, solutions, values)
  if solutions ~= self.solutions then core.fail("rl.CMAES: tell: expected the solutions of the last ask") end
  for k = 1, self.popsize do
    if type(values[k]) ~= "number" then
      core.fail("rl.CMAES: tell: value %d must be a number, got %s", k, util.describe(values[k]))
    end
  end
end

--- Takes the values of the vectors that `ask` gave: small is good.
-- @tparam {table,...} solutions
-- @tparam {number,...} values for rewards, their negatives
function CMAES:tell(solutions, values)
  check_values(self, solutions, values)
  self.generation = self.generation + 1
  local order = rank(self, values)
  local first = order[1]
  if values[first] < self.best_value then
    self.best_value = values[first]
    for i = 1, self.n do self.best[i] = solutions[first][i] end
  end
  local step, length = move_mean(self, order), move_path(self, order)
  adapt_covariance(self, order, step, length)
  for i = 1, self.n do self.mean[i] = self.mean[i] + self.sigma * step[i] end
  self.sigma = self.sigma * exp(min(1, self.c_sigma / self.d_sigma * (length / self.chi_n - 1)))
end

return CMAES
