--- Environments: their equations by hand, their ends, many at once, seeds.
local ml = require "moonlet"
local rl = ml.rl

local function near(expected, actual, tolerance)
  assert.is_true(math.abs(expected - actual) <= (tolerance or 1e-6), ("expected %.9g, got %.9g"):format(expected, actual))
end

-- Puts an environment into a state.
local function at(env, ...)
  env:reset()
  for i, x in ipairs { ... } do env.observation[i] = x end
  return env
end

describe("rl.CartPole", function()
  it("moves as its equations say", function()
    -- force 10 N at angle 0.1: drive 10 / 1.1; turn rate (9.8 sin 0.1 - cos 0.1 * 9.0909) / (0.5 (4/3 - 0.1 cos^2 0.1 / 1.1))
    local env = at(rl.CartPole { seed = 1 }, 0, 0, 0.1, 0)
    local o, reward, terminated, truncated = env:step(1)
    near(0, o[1])
    near(0.19355606, o[2])
    near(0.1, o[3])
    near(-0.25953283, o[4])
    assert.equal(1, reward)
    assert.is_false(terminated or truncated)
    -- no force in the middle of a continuous range; the pole falls by itself: 9.8 sin 0.1 / 0.62166516
    o = at(rl.CartPole { continuous = true }, 0, 1, 0.1, 0):step { 0 }
    near(0.02, o[1])
    near(0.02 * 0.97836738 / 0.62166516, o[4])
  end)

  it("is its own mirror image", function()
    local a = at(rl.CartPole {}, 0.3, -0.5, 0.05, 0.7):step(1)
    local b = at(rl.CartPole {}, -0.3, 0.5, -0.05, -0.7):step(0)
    for i = 1, 4 do near(a[i], -b[i], 1e-12) end
  end)

  it("ends where the pole or the cart is too far, and at the limit of steps", function()
    local _, _, terminated, truncated = at(rl.CartPole {}, 0, 0, 0.2095, 0.1):step(0)
    assert.is_true(terminated)
    assert.is_false(truncated)
    _, _, terminated = at(rl.CartPole {}, 2.39, 1, 0, 0):step(0)
    assert.is_true(terminated)
    local env = rl.CartPole { max_episode_steps = 3 }
    env:reset()
    for i = 1, 3 do
      _, _, terminated, truncated = env:step(i % 2)
      assert.is_false(terminated)
      assert.equal(i == 3, truncated)
    end
    assert.has_error(function() env:step(0) end, "CartPole: the episode is over, call reset")
  end)

  it("cuts continuous actions to their range", function()
    local a = at(rl.CartPole { continuous = true }, 0, 0, 0, 0):step { 5 }
    local b = at(rl.CartPole {}, 0, 0, 0, 0):step(1)
    for i = 1, 4 do near(a[i], b[i], 0) end
  end)

  it("depends on its seed alone", function()
    local a, b, c = rl.CartPole { seed = 4 }:reset(), rl.CartPole { seed = 4 }:reset(), rl.CartPole { seed = 5 }:reset()
    assert.same(a, b)
    assert.not_same(a, c)
    local env = rl.CartPole { seed = 9 }
    env:reset()
    assert.same(a, env:reset(4))
    for i = 1, 4 do assert.is_true(math.abs(a[i]) <= 0.05) end
  end)

  it("checks what it is given", function()
    local env = rl.CartPole {}
    env:reset()
    for _, action in ipairs { 2, -1, 0.5, "left", {} } do
      assert.is_false((pcall(env.step, env, action)))
    end
    assert.has_error(function() env:step(7) end, "CartPole: an action must be a whole number from 0 to 1, got 7")
    assert.has_error(function() rl.CartPole { speed = 1 } end)
    local continuous = rl.CartPole { continuous = true }
    continuous:reset()
    assert.has_error(function() continuous:step(1) end, "CartPole: an action must be a list of 1 numbers, got 1")
  end)
end)

describe("rl.MountainCar", function()
  it("moves as its equations say", function()
    local o, reward, terminated = at(rl.MountainCar {}, -0.5, 0):step(2)
    near(0.001 - 0.0025 * math.cos(-1.5), o[2], 1e-12)
    near(-0.5 + o[2], o[1], 1e-12)
    assert.equal(-1, reward)
    assert.is_false(terminated)
    o = at(rl.MountainCar {}, -1.19, -0.07):step(0)
    assert.equal(-1.2, o[1])
    assert.equal(0, o[2])
    o, reward, terminated = at(rl.MountainCar {}, 0.49, 0.05):step(2)
    assert.is_true(o[1] > 0.5)
    assert.equal(-1, reward)
    assert.is_true(terminated)
  end)

  it("is not solved by driving on, but by swinging", function()
    local always = rl.evaluate(function() return 2 end, rl.MountainCar { seed = 1 }, { n_eval_episodes = 5 })
    assert.equal(-200, always)
    local swing = rl.evaluate(function(o) return o[2] < 0 and 0 or 2 end, rl.MountainCar { seed = 1 }, { n_eval_episodes = 20 })
    assert.is_true(swing > -130, tostring(swing))
  end)
end)

describe("rl.GridWorld", function()
  local function walk(env, moves)
    local o, reward, terminated, truncated = env:reset(), 0, false, false
    for move in moves:gmatch "." do
      o, reward, terminated, truncated = env:step(("URDL"):find(move) - 1)
    end
    return o, reward, terminated, truncated
  end

  local function place(o)
    local found
    for i, x in ipairs(o) do
      if x == 1 then
        assert.is_nil(found)
        found = i
      end
    end
    return found
  end

  it("walks, stops at walls, ends at the goal and in holes", function()
    local env = rl.GridWorld {}
    assert.equal(1, place(env:reset()))
    assert.equal(16, env.observation_space.size)
    local o, reward, terminated = walk(env, "DR")
    assert.equal(5, place(o))
    assert.equal(-0.01, reward)
    assert.is_false(terminated)
    assert.equal(1, place((walk(env, "UL"))))
    o, reward, terminated = walk(env, "DDRRDR")
    assert.equal(16, place(o))
    assert.equal(1, reward)
    assert.is_true(terminated)
    o, reward, terminated = walk(env, "RRD")
    assert.equal(7, place(o))
    assert.equal(-1, reward)
    assert.is_true(terminated)
    local _, _, _, truncated = walk(rl.GridWorld { max_episode_steps = 4 }, "UUUU")
    assert.is_true(truncated)
  end)

  it("slips now and then", function()
    local env = rl.GridWorld { map = { "..........", "....S.....", ".........." }, slip = 0.5, seed = 1, max_episode_steps = 1 }
    local right = 0
    for _ = 1, 1000 do
      if place((walk(env, "R"))) == 16 then right = right + 1 end
    end
    assert.is_true(right > 560 and right < 690, tostring(right)) -- 0.5 + 0.5 / 4
  end)

  it("refuses maps that are none", function()
    assert.has_error(function() rl.GridWorld { map = { "..", "..." } } end,
      "rl.GridWorld: row 2 of map must be 2 of the letters S, G, H, # and ., got '...'")
    assert.has_error(function() rl.GridWorld { map = { ".G" } } end, "rl.GridWorld: map must have a start S")
    assert.has_error(function() rl.GridWorld { map = { "S?" } } end)
  end)
end)

describe("rl.VecEnv", function()
  it("does what the environments do one by one, and begins episodes again", function()
    local envs = rl.VecEnv { function(i) return rl.CartPole { seed = i, max_episode_steps = 7 } end, n = 3 }
    local singles = {}
    local o = envs:reset()
    for i = 1, 3 do
      singles[i] = rl.CartPole { seed = i, max_episode_steps = 7 }
      assert.same(singles[i]:reset(), o[i])
    end
    for step = 1, 30 do
      local before = { o[1][1], o[2][2], o[3][3] }
      local rewards, terminated, truncated, final
      local previous = o
      o, rewards, terminated, truncated, final = envs:step { step % 2, 1, 0 }
      assert.same(before, { previous[1][1], previous[2][2], previous[3][3] }) -- what was acted on is still there
      for i = 1, 3 do
        local s, r, te, tr = singles[i]:step(({ step % 2, 1, 0 })[i])
        assert.same(s, final[i])
        assert.same({ r, te, tr }, { rewards[i], terminated[i], truncated[i] })
        if te or tr then s = singles[i]:reset() end
        assert.same(s, o[i])
      end
    end
    assert.equal(3, envs.num_envs)
    assert.equal(2, envs.action_space.n)
  end)

  it("checks what it is given", function()
    assert.has_error(function() rl.VecEnv { {} } end, "rl.VecEnv: at least one environment is expected")
    assert.has_error(function() rl.VecEnv { function() end } end)
  end)
end)

describe("rl.evaluate", function()
  it("gives mean and deviation of whole episodes", function()
    local env = { reset = function(self)
      self.n = (self.n or 0) + 1
      return { 0 }
    end, step = function(self) return { 0 }, self.n, true, false end }
    local mean, deviation = rl.evaluate(function() return 0 end, env, { n_eval_episodes = 3 })
    assert.equal(2, mean)
    near(math.sqrt(2 / 3), deviation)
  end)
end)
