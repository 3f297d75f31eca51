--- What agents remember, and the random numbers they draw by.
local ml = require "moonlet"
local rl, testing = ml.rl, ml.testing

describe("rl.Random", function()
  it("gives the numbers of MRG32k3a", function()
    -- From the state 12345 six times, the first numbers of the generator as published are 0.1270111220 and 0.3185275654.
    local random = rl.Random(0)
    for i = 1, 6 do random.state[i] = 12345 end
    assert.equal("0.1270111220", ("%.10f"):format(random:uniform()))
    assert.equal("0.3185275654", ("%.10f"):format(random:uniform()))
  end)

  it("is even, and normal", function()
    local random, n = rl.Random(5), 20000
    local counts, sum, squares = {}, 0, 0
    for _ = 1, n do
      local k = random:integer(10)
      counts[k] = (counts[k] or 0) + 1
      local z = random:normal()
      sum, squares = sum + z, squares + z * z
    end
    for k = 0, 9 do assert.is_true(math.abs(counts[k] - n / 10) < 5 * math.sqrt(n / 10), "chance of " .. k) end
    assert.is_true(math.abs(sum / n) < 0.04 and math.abs(squares / n - 1) < 0.05)
  end)

  it("depends on its seed; without one on ml.seed", function()
    local function first(seed) return rl.Random(seed):uniform() end
    assert.equal(first(1), first(1))
    assert.not_equal(first(1), first(2))
    ml.seed(3)
    local a, b = first(), first()
    ml.seed(3)
    assert.equal(a, first())
    assert.not_equal(a, b)
    assert.has_error(function() rl.Random(-1) end, "rl.Random: seed must be an integer that is not negative, got -1")
  end)
end)

describe("rl.SumTree", function()
  it("finds positions by sums", function()
    local tree = rl.SumTree(5)
    for i, weight in ipairs { 1, 0, 2, 3, 0.5 } do tree:set(i, weight) end
    assert.equal(6.5, tree:total())
    for _, case in ipairs { { 0, 1 }, { 0.999, 1 }, { 1, 3 }, { 2.9, 3 }, { 3, 4 }, { 5.99, 4 }, { 6, 5 }, { 6.49, 5 } } do
      assert.equal(case[2], tree:find(case[1]), "mass " .. case[1])
    end
    tree:set(4, 0)
    assert.equal(3.5, tree:total())
    assert.equal(5, tree:find(3.2))
    assert.equal(5, tree:find(3.5)) -- what rounding may ask for: the last that can be drawn
    assert.equal(2, tree:get(3))
  end)

  it("equals plain sums for random weights", function()
    local random = rl.Random(2)
    for n = 1, 17 do
      local tree, weights = rl.SumTree(n), {}
      for i = 1, n do weights[i] = 0 end
      for _ = 1, 40 do
        local i = random:integer(n) + 1
        weights[i] = random:integer(8)
        tree:set(i, weights[i])
        local total = 0
        for k = 1, n do total = total + weights[k] end
        assert.equal(total, tree:total())
        if total > 0 then
          local mass = random:uniform() * total
          local k, before = 1, 0
          while before + weights[k] <= mass do
            before = before + weights[k]
            k = k + 1
          end
          assert.equal(k, tree:find(mass))
        end
      end
    end
  end)
end)

local function fill(buffer, first, last)
  for i = first, last do buffer:add({ i, -i }, i % 3, i / 2, { i + 1, -i - 1 }, i % 4 == 0, i % 5 == 0) end
end

describe("rl.ReplayBuffer", function()
  it("gives back whole transitions, and forgets the oldest", function()
    local buffer = rl.ReplayBuffer { buffer_size = 8, observation_size = 2, seed = 1 }
    fill(buffer, 1, 11)
    assert.equal(8, buffer.size)
    local seen = {}
    for _ = 1, 20 do
      local batch = buffer:sample(4)
      local o, actions, rewards = batch.observations:totable(), batch.actions:totable(), batch.rewards:totable()
      local following, terminated, truncated =
        batch.next_observations:totable(), batch.terminated:totable(), batch.truncated:totable()
      for k = 1, 4 do
        local i = o[k][1]
        seen[i] = true
        assert.same({ i, -i }, o[k])
        assert.same({ i + 1, -i - 1 }, following[k])
        assert.equal(i % 3, actions[k])
        assert.equal(i / 2, rewards[k])
        assert.equal(i % 4 == 0 and 1 or 0, terminated[k])
        assert.equal(i % 5 == 0 and 1 or 0, truncated[k])
      end
    end
    for i = 1, 11 do assert.equal(i >= 4 or nil, seen[i], "transition " .. i) end
  end)

  it("draws evenly", function()
    local buffer = rl.ReplayBuffer { buffer_size = 16, observation_size = 2, seed = 7 }
    fill(buffer, 1, 10)
    local counts = {}
    for _ = 1, 500 do
      for _, row in ipairs(buffer:sample(20).list) do counts[row] = (counts[row] or 0) + 1 end
    end
    for row = 0, 9 do assert.is_true(math.abs(counts[row] - 1000) < 150, "row " .. row) end
    assert.is_nil(counts[10])
  end)

  it("takes many at a time, and actions that are lists", function()
    local buffer = rl.ReplayBuffer { buffer_size = 7, observation_size = 2, action_size = 2, n_envs = 3, seed = 1 }
    assert.equal(6, buffer.capacity)
    buffer:add({ { 1, 2 }, { 3, 4 }, { 5, 6 } }, { { 1, 0 }, { 3, 0 }, { 5, 0 } }, { 1, 3, 5 }, { { 1, 2 }, { 3, 4 }, { 5, 6 } },
      { true, false, true }, { false, false, false })
    assert.equal(3, buffer.size)
    local batch = buffer:sample(32)
    testing.equal(batch.observations:slice(2, 1, 1):squeeze(2), batch.rewards)
    testing.equal(batch.actions:slice(2, 1, 1):squeeze(2), batch.rewards)
    testing.equal(batch.weights, ml.ones { 32 })
  end)

  it("says what is wrong", function()
    local buffer = rl.ReplayBuffer { buffer_size = 4, observation_size = 2 }
    assert.has_error(function() buffer:sample(2) end, "rl.ReplayBuffer: sample: nothing was added yet")
    assert.has_error(function() buffer:add({ 1, 2, 3 }, 0, 0, { 1, 2 }, false) end)
    assert.has_error(function() rl.ReplayBuffer { buffer_size = 2, observation_size = 2, n_envs = 3 } end,
      "rl.ReplayBuffer: buffer_size must be at least n_envs (3), got 2")
    assert.has_error(function() rl.ReplayBuffer { buffer_size = 2 } end)
  end)
end)

describe("rl.PrioritizedReplayBuffer", function()
  local function buffer_of(priorities, options)
    options.buffer_size, options.observation_size, options.seed, options.epsilon = 8, 2, 3, 1e-9
    local buffer = rl.PrioritizedReplayBuffer(options)
    fill(buffer, 1, #priorities)
    local rows = {}
    for i = 1, #priorities do rows[i] = i - 1 end
    buffer:update_priorities(rows, priorities)
    return buffer
  end

  it("draws by error to the power of alpha", function()
    for _, alpha in ipairs { 1, 0.5, 0 } do
      local errors = { 1, -4, 9, 2 }
      local buffer, counts, total = buffer_of(errors, { alpha = alpha }), {}, 0
      for _ = 1, 2000 do
        for _, row in ipairs(buffer:sample(8).list) do counts[row] = (counts[row] or 0) + 1 end
      end
      for _, e in ipairs(errors) do total = total + math.abs(e) ^ alpha end
      for i, e in ipairs(errors) do
        local expected = 16000 * math.abs(e) ^ alpha / total
        assert.is_true(math.abs(counts[i - 1] - expected) < 4 * math.sqrt(expected), ("row %d: %d, expected %.0f"):format(i,
          counts[i - 1], expected))
      end
    end
  end)

  it("weighs by one over the chance, the largest weight of a batch being 1", function()
    local buffer = buffer_of({ 1, 3 }, { alpha = 1, beta = 1 })
    local batch = buffer:sample(8) -- chances 1/4 and 3/4: one draw from each eighth, so 2 and 6
    local weights = batch.weights:totable()
    for i = 1, 8 do
      assert.equal(i <= 2 and 0 or 1, batch.list[i])
      assert.is_true(math.abs(weights[i] - (i <= 2 and 1 or 1 / 3)) < 1e-6)
    end
    buffer.beta = 0
    testing.equal(buffer:sample(8).weights, ml.ones { 8 })
  end)

  it("draws what is new by the highest priority so far", function()
    local buffer = buffer_of({ 1, 5 }, { alpha = 1 })
    fill(buffer, 3, 3)
    assert.equal(buffer.tree:get(2), buffer.tree:get(3))
    buffer:update_priorities({ 0, 1 }, { 0 / 0, math.huge }) -- errors that are none leave the tree as it is
    assert.is_true(buffer.tree:total() < 12)
  end)
end)
