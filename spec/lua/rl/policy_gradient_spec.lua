--- PPO and REINFORCE solve their tasks, with a fixed seed, from weights that do not. What counts is the policy as it is learnt,
-- drawing its actions: it cannot be good by luck.
local ml = require "moonlet"
local rl, task = ml.rl, require "spec.lua.rl.task"

local function vector(n, options)
  return rl.VecEnv { function(i)
    options.seed = i
    return rl.CartPole(options)
  end, n = n }
end

local function score(agent, env)
  return (rl.evaluate(agent, env, { n_eval_episodes = 20, deterministic = false, seed = 7 }))
end

-- Plays until the mean return of the last hundred episodes reaches the goal.
local function train(agent, total, goal)
  agent:learn { total_timesteps = task.steps(total), callback = function(a) return a.episodes < 100 or a:mean_return() < goal end }
  return agent
end

describe("rl.PPO", function()
  for seed, label in task.seeds(1) do
    it("balances a pole" .. label, function()
      ml.seed(seed)
      local agent = rl.PPO {
        env = vector(8, {}), n_steps = 32, batch_size = 256, n_epochs = 20, gamma = 0.98, gae_lambda = 0.8, seed = seed,
        learning_rate = function(left) return 1e-3 * left end,
      }
      local before = score(agent, rl.CartPole {})
      assert.is_true(before < 40, tostring(before))
      local after = score(train(agent, 60000, 300), rl.CartPole {})
      task.reached(after > 250, "mean return " .. after)
    end)
  end

  for seed, label in task.seeds(2) do
    it("balances a pole by forces of any size" .. label, function()
      ml.seed(seed)
      local agent = rl.PPO {
        env = vector(8, { continuous = true }), n_steps = 128, batch_size = 256, learning_rate = 1e-3, seed = seed,
        log_std_init = -0.5, normalize_observations = true,
      }
      local env = rl.CartPole { continuous = true }
      local before = score(agent, env)
      assert.is_true(before < 60, tostring(before))
      local after = score(train(agent, 60000, 170), env)
      task.reached(after > 150, "mean return " .. after)
    end)
  end

  it("stops a round that has moved far enough", function()
    ml.seed(1)
    local function updates(target)
      local agent = rl.PPO { env = rl.CartPole { seed = 1 }, n_steps = 256, learning_rate = 3e-3, target_kl = target, seed = 1 }
      agent:learn { total_timesteps = 256 }
      return agent.n_updates
    end
    assert.equal(40, updates(nil))
    assert.is_true(updates(0.01) < 40)
  end)
end)

describe("rl.REINFORCE", function()
  for seed, label in task.seeds(1) do
    it("balances a pole" .. label, function()
      ml.seed(seed)
      local agent = rl.REINFORCE { env = rl.CartPole { seed = seed }, learning_rate = 5e-3, net_arch = { 32 }, seed = seed }
      local before = score(agent, rl.CartPole {})
      assert.is_true(before < 40, tostring(before))
      local after = score(train(agent, 80000, 170), rl.CartPole {})
      task.reached(after > 150, "mean return " .. after)
    end)
  end

  it("takes one gradient for so many episodes, of any length", function()
    ml.seed(1)
    local agent = rl.REINFORCE { observation_space = 1, action_space = 2, n_episodes = 2, n_steps = 10, seed = 1, net_arch = { 4 } }
    local function play(steps)
      for i = 1, steps do
        agent:observe({ i }, 1, 1, { i + 1 }, i == steps)
        agent:learn()
      end
    end
    play(3)
    assert.equal(0, agent.n_updates)
    play(1)
    assert.equal(1, agent.n_updates)
    play(25) -- an episode longer than the buffer: 10 steps, 10 steps, 5 wait
    assert.equal(3, agent.n_updates)
  end)
end)
