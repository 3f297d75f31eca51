--- DQN solves its tasks, with a fixed seed, from weights that do not.
local ml = require "moonlet"
local rl, task = ml.rl, require "spec.lua.rl.task"

-- Plays until the greedy policy reaches the goal, looking each `every` steps. Gives its mean before and after.
local function train(agent, env, total, every, goal)
  local before, after = rl.evaluate(agent, env, { seed = 50 }), 0
  agent:learn { total_timesteps = task.steps(total), callback = function(a)
    if a.num_timesteps % every ~= 0 then return true end
    after = rl.evaluate(a, env, { seed = 60 })
    return after < goal
  end }
  return before, after
end

describe("rl.DQN", function()
  for seed, label in task.seeds(3) do
    it("balances a pole" .. label, function()
      ml.seed(seed)
      local agent = rl.DQN {
        env = rl.CartPole { seed = seed }, seed = seed, batch_size = 128, train_freq = 1,
        learning_rate = 5e-4, -- at 1e-3 one seed in eight has not learnt it after 40,000 steps
        learning_starts = 500, target_update_interval = 1, tau = 0.01, exploration_fraction = 4000 / task.steps(20000),
        exploration_final_eps = 0.01,
      }
      local before, after = train(agent, rl.CartPole {}, 20000, 1000, 400)
      assert.is_true(before < 100, "it balances untrained: " .. before)
      task.reached(after >= 400, "mean return " .. after)
    end)
  end

  for seed, label in task.seeds(1) do
    it("finds the way on a grid: double, dueling, prioritised" .. label, function()
      ml.seed(seed)
      local agent = rl.DQN {
        env = rl.GridWorld { seed = seed }, seed = seed, learning_rate = 2e-3, train_freq = 1, learning_starts = 100,
        net_arch = { 32 },
        target_update_interval = 50, exploration_fraction = 0.5, double = true, dueling = true, prioritized = true, gamma = 0.95,
      }
      local before, after = train(agent, rl.GridWorld {}, 4000, 250, 0.949)
      assert.is_true(before < 0)
      task.reached(after > 0.949 and after < 0.951, "mean return " .. after) -- 1 for the goal after five steps of -0.01
    end)
  end

  for seed, label in task.seeds(2) do
    it("learns from many environments at once" .. label, function()
      ml.seed(seed)
      local envs = rl.VecEnv { function(i) return rl.GridWorld { seed = i } end, n = 16 }
      local agent = rl.DQN {
        env = envs, seed = seed, learning_rate = 2e-3, train_freq = 1, learning_starts = 100, net_arch = { 32 },
        normalize_observations = true, target_update_interval = 200, exploration_fraction = 0.5, gamma = 0.95,
      }
      local before, after = train(agent, rl.GridWorld {}, 16000, 800, 0.949)
      assert.is_true(before < 0)
      task.reached(after > 0.949, "mean return " .. after)
    end)
  end

  it("lowers epsilon", function()
    local agent = rl.DQN { observation_space = 1, action_space = 2, total_timesteps = 100, exploration_fraction = 0.5, seed = 1 }
    assert.equal(1, agent:epsilon())
    agent.num_timesteps = 25
    assert.is_true(math.abs(agent:epsilon() - 0.525) < 1e-12)
    agent.num_timesteps = 80
    assert.equal(0.05, agent:epsilon())
    local counts = { [0] = 0, 0 }
    local greedy = agent:act({ 1 }, true)
    for _ = 1, 2000 do
      local action = agent:act { 1 }
      counts[action] = counts[action] + 1
    end
    assert.is_true(math.abs(counts[1 - greedy] - 50) < 25, counts[1 - greedy])
  end)

  it("copies its target, or lets it follow", function()
    for tau, share in pairs { [1] = 1, [0.25] = 0.25 } do
      local agent = rl.DQN { observation_space = 2, action_space = 2, net_arch = { 3 }, tau = tau, target_update_interval = 1,
        seed = 1, learning_starts = 1, train_freq = 1, learning_rate = 0.1 }
      local before = agent.target.variables[1]:read()
      ml.testing.equal(before, agent.model.variables[1]:read())
      agent:observe({ 1, 2 }, 0, 1, { 3, 4 }, false)
      agent:learn()
      local online = agent.model.variables[1]:read()
      assert.is_true((online - before):abs():max():item() > 0.01)
      ml.testing.allclose(agent.target.variables[1]:read(), before + share * (online - before), { rtol = 1e-5, atol = 1e-7 })
    end
  end)
end)
