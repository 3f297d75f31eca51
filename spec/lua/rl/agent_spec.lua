--- What all agents share: slices of learning, acting meanwhile, files, one or many, messages.
local ml = require "moonlet"
local rl, testing = ml.rl, ml.testing

local KINDS = {
  DQN = { train_freq = 2, learning_starts = 50, prioritized = true, dueling = true },
  PPO = { n_steps = 128, n_epochs = 2 },
  REINFORCE = { n_episodes = 4, n_steps = 200 },
}

local function make(kind, more)
  local options = { observation_space = 4, action_space = 2, net_arch = { 16 }, seed = 5, normalize_observations = true }
  for key, value in pairs(KINDS[kind]) do options[key] = value end
  for key, value in pairs(more or {}) do options[key] = value end
  ml.seed(3)
  return rl[kind](options)
end

-- Plays; after each step the agent learns by learn().
local function play(agent, steps, learn)
  local env = rl.CartPole { seed = 3 }
  local o = env:reset()
  for _ = 1, steps do
    local action = agent:act(o)
    local following, reward, terminated, truncated = env:step(action)
    agent:observe(o, action, reward, following, terminated, truncated)
    learn(agent)
    o = (terminated or truncated) and env:reset() or following
  end
end

local function weights_of(agent)
  local list = {}
  for i, tensor in ipairs(agent.model:get_weights()) do list[i] = tensor end
  return list
end

local function same_weights(a, b)
  for i = 1, #a do testing.equal(a[i], b[i]) end
end

describe("learning in slices", function()
  for kind in pairs(KINDS) do
    it("gives what learning at once gives: " .. kind, function()
      local whole, sliced, slices = make(kind), make(kind), 0
      play(whole, 400, function(agent) assert.is_true(agent:learn()) end)
      local budget = { budget_us = 5 }
      play(sliced, 400, function(agent)
        repeat slices = slices + 1 until agent:learn(budget)
      end)
      assert.is_true(whole.n_updates > 0)
      assert.equal(whole.n_updates, sliced.n_updates)
      assert.is_true(slices > 400)
      same_weights(weights_of(whole), weights_of(sliced))
      assert.equal(whole:mean_return(), sliced:mean_return())
    end)
  end

  for kind in pairs(KINDS) do
    it("in the background gives the same: " .. kind, function()
      local whole, behind = make(kind), make(kind)
      local background, budget, looks = { background = true }, { budget_us = 5 }, 0
      play(whole, 300, function(agent) agent:learn() end)
      play(behind, 300, function(agent)
        repeat looks = looks + 1 until agent:learn(looks % 7 == 0 and budget or background)
      end)
      assert.is_true(whole.n_updates > 0)
      assert.equal(whole.n_updates, behind.n_updates)
      same_weights(weights_of(whole), weights_of(behind))
    end)
  end

  it("changes nothing that acts before a step is whole", function()
    local agent = make("DQN", { net_arch = { 128, 64 }, batch_size = 256, learning_rate = 0.1 })
    play(agent, 60, function() end)
    local before, waited = weights_of(agent), 0
    local probe = { 0.1, 0.2, 0.3, 0.4 }
    local values = agent.model(ml.tensor { probe })
    while not agent:learn { budget_us = 1 } do
      waited = waited + 1
      agent:act(probe)
      testing.equal(agent.model.variables[6]:read(), before[6])
      testing.equal(agent.model(ml.tensor { probe }), values)
      -- What is observed meanwhile does not change the step.
      agent.buffer:add({ waited, 0, 0, 0 }, 1, 1e6, probe, true)
    end
    assert.is_true(waited > 3, "slices: " .. waited)
    assert.not_equal(before[4]:sum():item(), weights_of(agent)[4]:sum():item())
  end)
end)

describe("agents", function()
  it("act for one and for many alike", function()
    for kind in pairs(KINDS) do
      local agent = make(kind)
      local many = {}
      for i = 1, 9 do many[i] = { i / 3, -i, 1, i % 2 } end
      local actions = agent:act(many, true)
      assert.equal(9, #actions)
      for i = 1, 9 do assert.equal(actions[i], agent:act(many[i], true)) end
      testing.equal(agent:act(ml.tensor(many), true), actions)
      assert.equal(actions[2], agent:act(ml.tensor(many[2]), true))
    end
    local agent = rl.PPO { observation_space = 3, action_space = rl.Box { 2 }, seed = 1 }
    local actions = agent:act({ { 1, 2, 3 }, { 3, 2, 1 } }, true)
    assert.equal(2, #actions)
    testing.allclose(actions[1], agent:act({ 1, 2, 3 }, true), { rtol = 1e-5 })
  end)

  it("draw actions as the policy says", function()
    local agent = rl.PPO { observation_space = 1, action_space = 3, seed = 2, network = function()
      return ml.Sequential { ml.nn.Lambda { function(x) return x * 0 + ml.log(ml.tensor { 0.5, 0.3, 0.2 }) end } }
    end }
    local counts = { [0] = 0, 0, 0 }
    for _ = 1, 2000 do
      local action = agent:act { 1 }
      counts[action] = counts[action] + 1
    end
    for i, p in pairs { [0] = 0.5, 0.3, 0.2 } do assert.is_true(math.abs(counts[i] - 2000 * p) < 100, "action " .. i) end
    assert.equal(0, agent:act({ 1 }, true))
  end)

  it("may act alone: rl.Policy", function()
    local agent = make "PPO"
    local path, o = os.tmpname(), { { 1, 2, 3, 4 }, { -1, 2, -3, 4 } }
    agent:save(path)
    local loaded = rl.Policy { observation_space = 4, action_space = 2, network = function() return ml.load(path) end }
    local policy = rl.Policy { observation_space = 4, action_space = 2, net_arch = { 16 }, normalize_observations = true }
    policy:load(path)
    assert.same(agent:act(o, true), loaded:act(o, true))
    testing.equal(policy.model(ml.tensor(o)), agent.model(ml.tensor(o)))
    policy:save(path)
    os.remove(path)
    os.remove(path .. ".agent")
    assert.has_error(function() policy:observe({}, 1) end, "rl.Policy: observe: a policy does not learn")
    assert.is_false((pcall(policy.learn, policy)))
  end)

  it("count returns of episodes", function()
    local agent = rl.DQN { observation_space = 1, action_space = 2, seed = 1 }
    assert.is_nil(agent:mean_return())
    local function at(rewards, terminated, truncated)
      agent:observe({ { 0 }, { 0 } }, { 0, 1 }, rewards, { { 0 }, { 0 } }, terminated, truncated)
    end
    at({ 1, 10 }, { false, false })
    at({ 2, 20 }, { true, false })
    assert.equal(3, agent:mean_return())
    at({ 5, 30 }, { false, false }, { false, true })
    assert.equal(31.5, agent:mean_return())
    assert.equal(2, agent.episodes)
    assert.equal(6, agent.num_timesteps)
  end)

  it("follow a schedule of the learning rate", function()
    local agent = rl.DQN { env = rl.GridWorld { seed = 1 }, seed = 1, learning_starts = 10, train_freq = 1, net_arch = { 4 },
      learning_rate = function(left) return 0.01 * left end }
    agent:learn { total_timesteps = 100 }
    assert.is_true(math.abs(agent.optimizer.lr) < 1e-9)
    agent:learn { total_timesteps = 100, callback = function() return false end }
    assert.is_true(math.abs(agent.optimizer.lr - 0.01 * 99 / 200) < 1e-6)
  end)
end)

describe("steady steps of agents", function()
  local function garbage(f)
    for _ = 1, 150 do f() end -- the list of the last returns is full
    collectgarbage()
    collectgarbage "stop"
    local before = collectgarbage "count"
    for _ = 1, 100 do f() end
    local grown = collectgarbage "count" - before
    collectgarbage "restart"
    return grown * 1024
  end

  it("make no garbage", function()
    local one, one_after, many, many_after, actions, rewards, ends = { 1, 2, 3, 4 }, { 2, 3, 4, 5 }, {}, {}, {}, {}, {}
    for i = 1, 8 do
      many[i], many_after[i], actions[i], rewards[i], ends[i] = { i, 2, 3, 4 }, { 1, 2, i, 4 }, i % 2, i, i == 3
    end
    for kind in pairs(KINDS) do
      local agent = make(kind, kind ~= "DQN" and { n_steps = 40 } or nil)
      assert.is_true(garbage(function()
        agent:act(one)
        agent:observe(one, 1, 0.5, one_after, false)
        agent:learn()
      end) < 100, kind)
      agent = make(kind, kind ~= "DQN" and { n_steps = 40 } or nil)
      assert.is_true(garbage(function()
        agent:act(many)
        agent:observe(many, actions, rewards, many_after, ends, ends)
        agent:learn()
      end) < 100, kind .. ", many")
      assert.is_true(agent.n_updates > 0)
    end
  end)
end)

describe("agents as files", function()
  local path = os.tmpname()
  teardown(function()
    os.remove(path)
    os.remove(path .. ".agent")
  end)

  for kind in pairs(KINDS) do
    it("go on as they were: " .. kind, function()
      local even = kind == "DQN" and { prioritized = false } or nil
      local agent = make(kind, even)
      local function learn(a) a:learn() end
      play(agent, 300, learn)
      agent:save(path, { replay = true })
      local other = make(kind, even)
      other:load(path)
      assert.equal(agent.num_timesteps, other.num_timesteps)
      assert.equal(agent.n_updates, other.n_updates)
      same_weights(weights_of(agent), weights_of(other))
      local x = ml.tensor { { 0.1, 0.2, 0.3, 0.4 } } -- the network alone is a model like any other
      testing.allclose(ml.load(path)(x), other.model(x))
      if kind ~= "DQN" then return end
      play(agent, 50, learn)
      play(other, 50, learn)
      same_weights(weights_of(agent), weights_of(other))
    end)
  end

  it("are refused where they do not fit, and nothing changes", function()
    local agent = make "DQN"
    agent:save(path)
    local before = make("DQN", { net_arch = { 8 } })
    local weights = weights_of(before)
    local ok, message = pcall(before.load, before, path)
    assert.is_false(ok)
    assert.truthy(message:find "rl.DQN: load: .*does not fit", message)
    same_weights(weights, weights_of(before))
    assert.has_error(function() make("PPO"):load(path) end, ("rl.PPO: load: '%s.agent' holds DQN, not a PPO"):format(path))
    assert.is_false((pcall(agent.load, agent, path .. ".none")))
  end)
end)

describe("messages of agents", function()
  it("say what is wrong", function()
    assert.has_error(function() rl.DQN {} end,
      "rl.DQN: observation_space must be a number, an rl.Box or an rl.Discrete, or come with env; got nothing")
    assert.has_error(function() rl.DQN { observation_space = 2, action_space = rl.Box { 2 } } end,
      "rl.DQN: action_space must be an rl.Discrete: actions are whole numbers")
    assert.has_error(function() rl.PPO { observation_space = 2, action_space = 2, network = function()
      return ml.Sequential { ml.nn.Dense { 3 } }
    end } end, "rl.PPO: network must make a model that gives 2 numbers for each observation, got shape (1, 3)")
    assert.has_error(function() rl.DQN { observation_space = 2, action_space = 2, gamma = 1.5 } end,
      "rl.DQN: gamma must be a number from 0 to 1, got 1.5")
    local agent = make "PPO"
    assert.has_error(function() agent:learn { total_timesteps = 5 } end, "rl.PPO: learn: total_timesteps needs an env")
    assert.has_error(function() agent:learn { budget_us = 0 } end, "rl.PPO: learn: budget_us must be a positive number, got 0")
    assert.has_error(function() agent:learn { budget = 1 } end,
      "rl.PPO: learn: unknown option 'budget'; known: background, budget_us, callback, gradient_steps, total_timesteps")
    assert.is_false((pcall(agent.learn, agent, { gradient_steps = 1 })))
    assert.is_false((pcall(agent.act, agent, { 1, 2 })))
    assert.is_false((pcall(agent.act, agent, "left")))
    assert.is_number(agent:act { 1, 2, 3, 4 })
    agent:observe({ 1, 2, 3, 4 }, 0, 1, { 1, 2, 3, 4 }, false)
    local many = { { 1, 2, 3, 4 }, { 1, 2, 3, 4 } }
    assert.has_error(function() agent:observe(many, { 0, 1 }, { 1, 1 }, many, { false, false }) end,
      "rl.PPO: observe: got 2 observations, before it were 1")
  end)

  it("of observe and act come before anything is noted", function()
    local o = { 1, 2, 3, 4 }
    for _, name in ipairs { "DQN", "PPO" } do
      local agent = make(name)
      local function refuses(message, f)
        local before = agent.num_timesteps
        assert.has_error(function() f(agent) end, "rl." .. name .. ": " .. message)
        assert.equal(before, agent.num_timesteps)
      end
      for _ = 1, 3 do -- explored or not
        refuses("act: an observation must be a list of 4 numbers, got nothing", agent.act)
        refuses("act: an observation must be a list of 4 numbers, got a list of 3", function(a) a:act { 1, 2, 3 } end)
        refuses("act: an observation must be a list of 4 numbers, got a list of 2", function(a) a:act { o, { 1, 2 } } end)
      end
      refuses("observe: an action must be a whole number from 0 to 1, got 5", function(a) a:observe(o, 5, 1, o, false) end)
      refuses("observe: an action must be a whole number from 0 to 1, got nothing", function(a) a:observe(o) end)
      refuses("observe: a reward must be a number, got 'x'", function(a) a:observe(o, 1, "x", o, false) end)
      refuses("observe: a reward must be a number, got nan", function(a) a:observe(o, 1, math.abs(0 / 0), o, false) end)
      refuses("observe: a next observation must be a list of 4 numbers, got a list of 1",
        function(a) a:observe(o, 1, 1, { 1 }, false) end)
      refuses("observe: terminated and truncated must be true or false, got nothing", function(a) a:observe(o, 1, 1, o) end)
      refuses("observe: rewards must be a list of 2, one for each observation, got 1",
        function(a) a:observe({ o, o }, { 0, 1 }, 1, { o, o }, { false, false }) end)
    end
    assert.has_error(function() rl.evaluate(make "DQN") end,
      "rl.evaluate: an environment with reset and step is expected, got nothing")
    assert.has_error(function() rl.evaluate(3, rl.CartPole {}) end, "rl.evaluate: the policy must be an agent or a function, got 3")
  end)
end)
