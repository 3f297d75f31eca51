--- Behaviour cloning does as was done.
local ml = require "moonlet"
local rl = ml.rl

-- The shortest ways on the default grid: an action for each square, found backwards from the goal.
local function teacher(env)
  local moves, width = { [0] = { 0, -1 }, { 1, 0 }, { 0, 1 }, { -1, 0 } }, env.width
  local function cell(x, y)
    return x >= 1 and x <= width and y >= 1 and y <= env.height and env.cells[(y - 1) * width + x] or "#"
  end
  local best, queue = {}, {}
  for i, c in ipairs(env.cells) do
    if c == "G" then queue[1] = { (i - 1) % width + 1, math.floor((i - 1) / width) + 1 } end
  end
  local at = 1
  while queue[at] do
    local x, y = queue[at][1], queue[at][2]
    for action = 0, 3 do
      local fx, fy = x - moves[action][1], y - moves[action][2]
      local from = (fy - 1) * width + fx
      if (cell(fx, fy) == "." or cell(fx, fy) == "S") and not best[from] then
        best[from] = action
        queue[#queue + 1] = { fx, fy }
      end
    end
    at = at + 1
  end
  return function(o)
    for i, x in ipairs(o) do
      if x == 1 then return best[i] end
    end
    return nil
  end
end

-- Shows what a policy does in an environment that slips, so that many squares are seen.
local function show(clone, env, policy, steps)
  local o = env:reset()
  for _ = 1, steps do
    local action = policy(o)
    clone:observe(o, action)
    local following, _, terminated, truncated = env:step(action)
    o = (terminated or truncated) and env:reset() or following
  end
end

describe("rl.BehaviorCloning", function()
  it("finds the way on a grid as it was shown", function()
    ml.seed(1)
    local env = rl.GridWorld { slip = 0.4, seed = 1 }
    local policy = teacher(env)
    local clone = rl.BehaviorCloning { env = env, seed = 1, net_arch = { 32 }, learning_rate = 3e-3, gradient_steps = 0 }
    show(clone, env, policy, 600)
    assert.is_true(rl.evaluate(clone, rl.GridWorld {}) < 0)
    clone:learn { gradient_steps = 400 }
    local mean = rl.evaluate(clone, rl.GridWorld {})
    assert.is_true(math.abs(mean - 0.95) < 1e-6, "mean return " .. mean)
    assert.equal(400, clone.n_updates)
  end)

  it("imitates forces of any size", function()
    ml.seed(2)
    local env = rl.CartPole { continuous = true, seed = 2 }
    local out = { 0 }
    local function policy(o)
      out[1] = math.max(-1, math.min(1, 3 * o[3] + o[4] + 0.1 * o[1] + 0.2 * o[2]))
      return out
    end
    local clone = rl.BehaviorCloning { env = env, seed = 2, net_arch = { 32 }, gradient_steps = 0, normalize_observations = true }
    show(clone, env, function(o) -- a little off now and then, so that the way back is seen
      local action = policy(o)
      if clone.random:uniform() < 0.3 then action[1] = clone.random:uniform() * 2 - 1 end
      return action
    end, 3000)
    clone:learn { gradient_steps = 1500 }
    local mean = rl.evaluate(clone, rl.CartPole { continuous = true, seed = 9 })
    assert.is_true(mean > 400, "mean return " .. mean)
  end)

  it("learns as it is shown, many at a time", function()
    ml.seed(3)
    local clone = rl.BehaviorCloning { observation_space = 2, action_space = 2, seed = 3, net_arch = { 8 }, learning_rate = 0.01 }
    local random = rl.Random(1)
    for _ = 1, 300 do
      local o, actions = {}, {}
      for i = 1, 8 do
        o[i] = { random:normal(), random:normal() }
        actions[i] = o[i][1] > o[i][2] and 1 or 0
      end
      clone:observe(o, actions)
      assert.is_true(clone:learn { budget_us = 1e6 })
    end
    assert.equal(300, clone.n_updates)
    assert.same({ 1, 0 }, clone:act({ { 1, -1 }, { -1, 1 } }, true))
  end)
end)
