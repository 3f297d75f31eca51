--- Q-learning with a target network: 16-64-64-4, batch 32, Adam.
local ml = require "moonlet"
local nn = ml.nn

local function network()
  return ml.Sequential {
    ml.input { nil, 16 },
    nn.Dense { 64, activation = "relu" },
    nn.Dense { 64, activation = "relu" },
    nn.Dense { 4 },
  }
end

return function()
  local q, target = network(), network()
  local optimizer = ml.optim.Adam { lr = 1e-3 }
  local step = ml.fn(function(state, action, reward, following, over)
    local best = ml.stop_gradient(target(following):max(2))
    local wanted = reward + 0.99 * (1 - over) * best
    local chosen = (q(state) * ml.one_hot(action, 4)):sum(2)
    local loss = ((chosen - wanted) ^ 2):mean()
    optimizer:apply(ml.grad(loss, q.trainable_variables), q.trainable_variables)
    return loss
  end, { training = true })
  local x = {
    ml.randn { 32, 16 }, ml.integers({ 32 }, 0, 4), ml.randn { 32 }, ml.randn { 32, 16 }, ml.integers({ 32 }, 0, 2):cast "f32",
  }
  return { models = { q, target }, step = step, x = x }
end
