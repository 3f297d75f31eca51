--- A training loop written by hand: `build/moonlet examples/training_loop.lua`.
-- Two spirals, a small network made of variables, and a step that is traced once: forward, backward and update run as one
-- compiled graph. EPOCHS=1 in the environment gives a quick look.
local ml = require "moonlet"

local epochs = tonumber(os.getenv "EPOCHS") or 150
ml.seed(1)

-- Two arms of a spiral, [400, 2], with labels 0 and 1, [400].
local points, labels = {}, {}
for i = 0, 399 do
  local arm, t = i % 2, i / 400
  local angle, radius = 7 * t + math.pi * arm, 0.1 + t
  points[i + 1], labels[i + 1] = { radius * math.cos(angle), radius * math.sin(angle) }, arm
end
local data = ml.data.dataset { points, labels }:shuffle(1):batch(50)

local w1, b1 = ml.variable(ml.randn { 2, 32 }), ml.variable(ml.zeros { 32 })
local w2, b2 = ml.variable(0.3 * ml.randn { 32, 32 }), ml.variable(ml.zeros { 32 })
local w3, b3 = ml.variable(0.3 * ml.randn { 32, 1 }), ml.variable(ml.zeros { 1 })
local variables = { w1, b1, w2, b2, w3, b3 }

local function network(x)
  local h = ml.tanh(x:matmul(w1) + b1)
  h = ml.tanh(h:matmul(w2) + b2)
  return (h:matmul(w3) + b3):squeeze { 2 }
end

local optimizer = ml.optim.Adam { lr = 0.01 }
local step = ml.fn(function(x, y)
  local logits = network(x)
  local loss = (ml.softplus(logits) - logits * y):mean()       -- cross-entropy of a sigmoid
  local right = logits:gt(0):cast "f32":eq(y):cast("f32"):sum()
  optimizer:apply(ml.grad(loss, variables), variables)
  return loss, right
end)

local losses = {}
for epoch = 1, epochs do
  local total, right, batches = 0, 0, 0
  for x, y in data:batches() do
    local loss, hits = step(x, y)
    total, right, batches = total + loss:item(), right + hits:item(), batches + 1
  end
  losses[epoch] = total / batches
  if epoch % 25 == 0 or epoch == epochs then
    print(string.format("epoch %3d  loss %.4f  right %.1f %%", epoch, losses[epoch], right / 4))
  end
end
ml.plot({ loss = losses }, { height = 8 })
print(string.format("traced %d times", step:stats().traces))
