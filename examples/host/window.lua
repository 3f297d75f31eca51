--- What the window shows: a network that learns a curve while it is drawn. The host calls `frame` once a frame.
-- It has `budget_us` microseconds for learning; the rest of the frame belongs to the game.
local ml = require "moonlet"
local nn = ml.nn

ml.seed(1)
local POINTS = 64
local x = ml.linspace(-1, 1, POINTS):reshape { POINTS, 1 }
local y = ml.sin(x * 6) * 0.6 + x * 0.3
local model = ml.Sequential { nn.Dense { 32, activation = "tanh" }, nn.Dense { 32, activation = "tanh" }, nn.Dense { 1 } }
model:compile { optimizer = ml.optim.Adam { lr = 0.01 }, loss = "mse" }
model:fit(x, y, { epochs = 1, batch_size = POINTS, verbose = 2 }) -- the line goes to the host's log

local fitted = ml.zeros { POINTS, 1 }
local program = model:program("predict", x)
local arguments = { x, out = { fitted } }
local wanted, drawn = y:reshape({ POINTS }):totable(), {}
local steps, loss = 0, nil

-- Learns for budget_us; returns the heights of both curves, -1 to 1, the steps so far, and the loss of the last one.
function frame(budget_us) -- luacheck: globals frame
  local done, logs = model:train_on_batch(x, y, { budget_us = budget_us })
  if done then steps, loss = steps + 1, logs.loss end
  program:run(arguments)
  fitted:reshape({ POINTS }):totable(drawn)
  return wanted, drawn, steps, loss
end
