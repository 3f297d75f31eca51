--- The formulas that algorithms are made of, by hand.
local ml = require "moonlet"
local rl, testing = ml.rl, ml.testing
local distribution = require "moonlet.rl.distribution"

describe("rl.gae", function()
  local function column(list) return ml.tensor(list):reshape { #list, 1 } end

  it("adds up what is left of an episode, not what follows it", function()
    local rewards, values, following = column { 1, 2, 3, 4 }, column { 10, 20, 30, 40 }, column { 20, 30, 35, 50 }
    local terminated, ended = column { 0, 1, 0, 0 }, column { 0, 1, 1, 0 }
    -- gamma 0.5, lambda 0.5. deltas: 1 + 10 - 10 = 1; 2 - 20 = -18; 3 + 17.5 - 30 = -9.5; 4 + 25 - 40 = -11
    local a = rl.gae(rewards, values, following, terminated, ended, 0.5, 0.5)
    testing.allclose(a, { { 1 + 0.25 * -18 }, { -18 }, { -9.5 }, { -11 } })
    -- lambda 0: the deltas; lambda 1 without values: the discounted returns
    testing.allclose(rl.gae(rewards, values, following, terminated, ended, 0.5, 0), { { 1 }, { -18 }, { -9.5 }, { -11 } })
    local zero = column { 0, 0, 0, 0 }
    testing.allclose(rl.gae(rewards, zero, zero, zero, column { 0, 0, 0, 1 }, 0.5, 1), { { 3.25 }, { 4.5 }, { 5 }, { 4 } })
  end)

  it("keeps environments apart", function()
    local zero = ml.zeros { 2, 2 }
    local a = rl.gae(ml.tensor { { 1, 10 }, { 2, 20 } }, zero, zero, zero, ml.tensor { { 0, 1 }, { 1, 1 } }, 1, 1)
    testing.allclose(a, { { 3, 10 }, { 2, 20 } })
  end)
end)

describe("rl.DQN.targets", function()
  local rewards, terminated = ml.tensor { 1, 2, 3 }, ml.tensor { 0, 0, 1 }
  local target_q = ml.tensor { { 1, 5 }, { 7, 2 }, { 9, 9 } }

  it("takes the best of the target", function()
    testing.allclose(rl.DQN.targets(rewards, terminated, 0.5, target_q), { 3.5, 5.5, 3 })
  end)

  it("lets the network choose and the target judge: double Q-learning", function()
    testing.allclose(rl.DQN.targets(rewards, terminated, 0.5, target_q, ml.tensor { { 3, 1 }, { 0, 1 }, { 0, 1 } }), { 1.5, 3, 3 })
  end)
end)

describe("rl.PPO.policy_loss", function()
  local log = math.log
  -- ratios 1.5, 1.5, 0.5, 0.5, 1.1 with advantages 2, -2, 2, -2, 1 and clip 0.2
  local old = ml.zeros { 5 }
  local log_probs = ml.tensor { log(1.5), log(1.5), log(0.5), log(0.5), log(1.1) }
  local advantages = ml.tensor { 2, -2, 2, -2, 1 }

  it("is the smaller of both objectives", function()
    testing.allclose(rl.PPO.policy_loss(log_probs, old, advantages, 0.2), { -2.4, 3, -1, 1.6, -1.1 })
  end)

  it("has a gradient only where clipping does not forbid it: -ratio * advantage", function()
    local gradient = ml.fn(function(x) return ml.grad(rl.PPO.policy_loss(x, old, advantages, 0.2):sum(), x) end)
    testing.allclose(gradient(log_probs), { 0, 3, -1, 0, -1.1 })
  end)
end)

describe("distributions", function()
  it("of choices: probabilities, entropy, draws", function()
    local d = distribution(rl.Discrete { 3 })
    local logits = ml.log(ml.tensor { { 0.2, 0.5, 0.3 }, { 1, 1, 2 } })
    testing.allclose(d:log_prob(logits, ml.tensor({ 1, 2 }, "i32")), ml.log(ml.tensor { 0.5, 0.5 }), { rtol = 1e-5 })
    local entropy = -(0.2 * math.log(0.2) + 0.5 * math.log(0.5) + 0.3 * math.log(0.3))
    testing.allclose(d:entropy(logits), { entropy, 1.5 * math.log(2) }, { rtol = 1e-5 })
    testing.equal(d:greedy(logits), { 1, 2 })
    local row = ml.log(ml.tensor { { 0.2, 0.5, 0.3 } })
    for _, case in ipairs { { 0.001, 0 }, { 0.199, 0 }, { 0.201, 1 }, { 0.699, 1 }, { 0.701, 2 }, { 0.9999999, 2 } } do
      assert.equal(case[2], d:sample(row, ml.tensor { { case[1] } }):item(), "noise " .. case[1])
    end
  end)

  it("of vectors: density, entropy, draws", function()
    local d = distribution(rl.Box { 2 }, math.log(0.5))
    local means = ml.tensor { { 1, 2 } }
    local density = 2 * (-math.log(0.5) - 0.5 * math.log(2 * math.pi)) - 0.5 * (1 + 16)
    testing.allclose(d:log_prob(means, ml.tensor { { 1.5, 0 } }), { density }, { rtol = 1e-5 })
    testing.allclose(d:entropy(means), { 2 * (math.log(0.5) + 0.5 * math.log(2 * math.pi * math.exp(1))) }, { rtol = 1e-5 })
    testing.allclose(d:sample(means, ml.tensor { { 1, -2 } }), { { 1.5, 1 } })
  end)
end)

describe("rl.ObservationNorm", function()
  it("knows mean and variance of all it saw, batch by batch", function()
    local norm = rl.ObservationNorm { clip = 3 }
    norm(ml.zeros { 1, 2 })
    local x = ml.normal({ 30, 2 }, 5, 2)
    norm:update(x:slice(1, 1, 10))
    norm:update(x:slice(1, 11, 12))
    for i = 13, 30 do norm:update(x:slice(1, i, i)) end
    testing.allclose(norm.mean:read(), x:mean(1), { rtol = 1e-5 })
    testing.allclose(norm.variance:read(), x:var(1), { rtol = 1e-4 })
    assert.equal(30, norm.count:read():item())
    testing.allclose(norm(x), ml.clip((x - x:mean(1)) / ml.sqrt(x:var(1)), -3, 3), { rtol = 1e-3, atol = 1e-4 })
    testing.equal(norm(ml.full({ 1, 2 }, 1e6)), { { 3, 3 } })
  end)

  it("is saved with a model, which then takes observations as they come", function()
    local norm = rl.ObservationNorm {}
    local model = ml.Sequential { ml.input { nil, 3 }, norm, ml.nn.Dense { 2 } }
    local x = ml.normal({ 8, 3 }, 2, 4)
    norm:update(x)
    local path = os.tmpname()
    model:save(path)
    testing.allclose(ml.load(path)(x), model(x))
    os.remove(path)
    assert.has_error(function() rl.ObservationNorm { name = "n" }:update(x) end,
      "ObservationNorm 'n': update: call the layer, or its model, once before")
  end)
end)

describe("rl.Parameters", function()
  it("reads and writes all weights as one list", function()
    local model = ml.Sequential { ml.input { nil, 2 }, ml.nn.Dense { 3 }, ml.nn.Dense { 1 } }
    local parameters = rl.Parameters { model }
    assert.equal(13, parameters.count)
    local list = parameters:get()
    assert.equal(13, #list)
    for i = 1, 13 do list[i] = i end
    parameters:set(list)
    assert.same(list, parameters:get())
    testing.equal(model.trainable_variables[1]:read(), { { 1, 2, 3 }, { 4, 5, 6 } })
    testing.allclose(model(ml.tensor { { 1, 0 } }), { { 8 * 10 + 10 * 11 + 12 * 12 + 13 } })
    assert.has_error(function() parameters:set { 1 } end, "rl.Parameters: set: expected a list of 13 numbers, got {1}")
  end)
end)
