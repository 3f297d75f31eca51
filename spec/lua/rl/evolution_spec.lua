--- Searches without gradients: on functions whose minimum is known, and on networks that play.
local ml = require "moonlet"
local rl, nn, task = ml.rl, ml.nn, require "spec.lua.rl.task"

local function sphere(x)
  local sum = 0
  for i = 1, #x do sum = sum + x[i] ^ 2 end
  return sum
end

local function rosenbrock(x)
  local sum = 0
  for i = 1, #x - 1 do sum = sum + 100 * (x[i + 1] - x[i] ^ 2) ^ 2 + (1 - x[i]) ^ 2 end
  return sum
end

-- Generations until f(x) <= goal; counts the calls of f.
local function minimise(es, f, goal, limit)
  local calls, values = 0, {}
  while es.best_value > goal and calls < limit do
    local solutions = es:ask()
    for i, x in ipairs(solutions) do values[i] = f(x) end
    es:tell(solutions, values)
    calls = calls + #solutions
  end
  return calls
end

local function start(n, x)
  local list = {}
  for i = 1, n do list[i] = x end
  return list
end

describe("rl.CMAES", function()
  it("goes down a sphere fast", function()
    for _, n in ipairs { 1, 2, 10 } do
      local es = rl.CMAES { start(n, 1), 0.5, seed = 1 }
      local calls = minimise(es, sphere, 1e-12, 4000)
      assert.is_true(es.best_value <= 1e-12 and calls < 3000, ("n = %d: %g after %d"):format(n, es.best_value, calls))
    end
  end)

  it("follows Rosenbrock's valley, which needs the covariance", function()
    for seed = 1, 3 do
      local es = rl.CMAES { start(8, 0), 0.5, seed = seed }
      local calls = minimise(es, rosenbrock, 1e-10, 9000)
      assert.is_true(es.best_value <= 1e-10, ("%g after %d"):format(es.best_value, calls))
      for i = 1, 8 do assert.is_true(math.abs(es.best[i] - 1) < 1e-3) end
    end
  end)

  it("does not mind which way the axes point: a long ellipsoid, turned", function()
    local function ellipsoid(x)
      local a, b, c = x[1] + x[2] + x[3], x[1] - x[2], x[1] + x[2] - 2 * x[3]
      return a ^ 2 + 1e3 * b ^ 2 + 1e6 * c ^ 2
    end
    local es = rl.CMAES { { 3, -2, 1 }, 1, seed = 2 }
    minimise(es, ellipsoid, 1e-10, 4000)
    assert.is_true(es.best_value <= 1e-10, tostring(es.best_value))
  end)

  it("keeps A A' the covariance that the rule says", function()
    local es = rl.CMAES { { 1, 2, 3 }, 0.7, seed = 3, popsize = 6 }
    for _ = 1, 4 do es:tell(es:ask(), { 3, 1, 2, 6, 5, 4 }) end
    local function covariance()
      local c = {}
      for i = 1, 3 do
        c[i] = {}
        for j = 1, 3 do
          c[i][j] = 0
          for k = 1, math.min(i, j) do c[i][j] = c[i][j] + es.factor[i][k] * es.factor[j][k] end
        end
      end
      return c
    end
    local before, solutions, mean, sigma = covariance(), es:ask(), {}, es.sigma
    for i = 1, 3 do mean[i] = es.mean[i] end
    es:tell(solutions, { 3, 1, 2, 6, 5, 4 })
    local order, after = { 2, 3, 1 }, covariance()
    for i = 1, 3 do
      for j = 1, 3 do
        local expected = (1 - es.c_1 - es.c_mu) * before[i][j] + es.c_1 * es.path_c[i] * es.path_c[j]
        for p, k in ipairs(order) do
          expected = expected + es.c_mu * es.weights[p] * (solutions[k][i] - mean[i]) * (solutions[k][j] - mean[j]) / sigma ^ 2
        end
        assert.is_true(math.abs(after[i][j] - expected) < 1e-9, ("%d %d: %g, expected %g"):format(i, j, after[i][j], expected))
      end
    end
  end)

  it("takes values that are no numbers for the worst, and checks the rest", function()
    local es = rl.CMAES { { 1, 1 }, 0.5, seed = 1 }
    local function f(x) return x[1] < 0.5 and 0 / 0 or sphere(x) end
    minimise(es, f, 1.2501, 3000)
    assert.is_true(es.best_value < 0.2501 + 1, tostring(es.best_value))
    assert.has_error(function() es:tell({}, {}) end, "rl.CMAES: tell: expected the solutions of the last ask")
    assert.has_error(function() es:tell(es:ask(), { 1 }) end, "rl.CMAES: tell: value 2 must be a number, got nothing")
    assert.has_error(function() rl.CMAES { {} } end)
    assert.has_error(function() rl.CMAES { { 1, "a" } } end, "rl.CMAES: x0 must be a list of numbers, entry 2 is 'a'")
  end)

  it("depends on its seed alone", function()
    local function first(seed) return rl.CMAES({ { 1, 2 }, seed = seed }):ask()[1] end
    assert.same(first(1), first(1))
    assert.not_same(first(1), first(2))
  end)
end)

describe("rl.EvolutionStrategy", function()
  it("goes down a sphere, in many dimensions", function()
    local es = rl.EvolutionStrategy { start(50, 1), sigma = 0.1, learning_rate = 0.05, popsize = 32, seed = 1 }
    minimise(es, sphere, 0.5, 32 * 150)
    assert.is_true(sphere(es.mean) < 1, tostring(sphere(es.mean)))
  end)

  it("does not move when all are equally good", function()
    local es = rl.EvolutionStrategy { { 1, 2 }, popsize = 4, seed = 1 }
    es:tell(es:ask(), { 5, 5, 5, 5 })
    assert.is_true(math.abs(es.mean[1] - 1) < 1e-9 and math.abs(es.mean[2] - 2) < 1e-9)
    es:tell(es:ask(), { 1, 2, 3, 0 / 0 })
    assert.equal(es.mean[1], es.mean[1])
  end)
end)

-- Generations until the mean of the search is as good as wanted; judge(policy) is to be made large. Gives the last judgement.
local function evolve(es, parameters, policy, judge, good, generations)
  local values = {}
  for _ = 1, task.steps(generations) do
    local solutions = es:ask()
    for i, x in ipairs(solutions) do
      parameters:set(x)
      values[i] = -judge(policy)
    end
    es:tell(solutions, values)
    parameters:set(es.mean)
    local now = good(policy)
    if now then return now end
  end
  return nil
end

local function at_least(env, goal)
  return function(policy)
    local mean = rl.evaluate(policy, env, { n_eval_episodes = 10, seed = 5 })
    return mean >= goal and mean or nil
  end
end

describe("networks without gradients", function()
  local function cart_pole(seed, make)
    ml.seed(seed)
    local env = rl.CartPole { seed = seed }
    local policy = rl.Policy { env = env, net_arch = { 8 } }
    local parameters = rl.Parameters { policy.model }
    assert.is_nil(at_least(env, 200)(policy))
    local function judge(p) return (rl.evaluate(p, env, { n_eval_episodes = 3 })) end
    local mean = evolve(make(parameters:get()), parameters, policy, judge, at_least(rl.CartPole {}, 450), 60)
    task.reached(mean ~= nil, "it does not balance")
  end

  for seed, label in task.seeds(1) do
    it("balance a pole by CMA-ES" .. label, function()
      cart_pole(seed, function(x) return rl.CMAES { x, 0.5, seed = seed } end)
    end)
  end

  for seed, label in task.seeds(1) do
    it("balance a pole by a plain evolution strategy" .. label, function()
      cart_pole(seed, function(x)
        return rl.EvolutionStrategy { x, sigma = 0.3, learning_rate = 0.2, popsize = 16, seed = seed }
      end)
    end)
  end

  for seed, label in task.seeds(1) do
    it("swing a car up a hill by CMA-ES" .. label, function()
      ml.seed(seed)
      local env, scale = rl.MountainCar { seed = seed }, ml.tensor { 1, 50 } -- speeds are small
      local policy = rl.Policy { env = env, network = function()
        local function scaled(x) return x * scale end
        return ml.Sequential { ml.input { nil, 2 }, scaled, nn.Dense { 4, activation = "tanh" }, nn.Dense { 3 } }
      end }
      local parameters = rl.Parameters { policy.model }
      assert.is_nil(at_least(env, -120)(policy))
      local function judge(p) return (rl.evaluate(p, env, { n_eval_episodes = 2 })) end
      local mean = evolve(rl.CMAES { parameters:get(), 1, popsize = 16, seed = seed }, parameters, policy, judge,
        at_least(rl.MountainCar {}, -115), 60)
      task.reached(mean ~= nil, "it does not come up")
    end)
  end
end)
