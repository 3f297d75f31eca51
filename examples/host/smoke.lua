--- What every host runs to see that the library works in it: trains a little, saves, loads, and says so in one line.
-- Plain Lua 5.1, no argument; in a host that has no `print` of its own the line is what the script returns.
local ml = require "moonlet"
local nn = ml.nn

ml.seed(1)
local x = ml.linspace(-1, 1, 64):reshape { 64, 1 }
local y = ml.sin(x * 3)
local model = ml.Sequential { nn.Dense { 16, activation = "tanh" }, nn.Dense { 1 } }
model:compile { optimizer = ml.optim.Adam { lr = 0.02 }, loss = "mse" }
local history = model:fit(x, y, { epochs = 60, batch_size = 16, verbose = 0 }).history
assert(history.loss[60] < 0.1 * history.loss[1], "the loss did not fall")

-- A slice a frame, as a game would.
local frames = 0
while not model:train_on_batch(x, y, { budget_us = 50 }) do
  frames = frames + 1
  assert(frames < 100000, "a step in slices did not end")
end

local path = os.tmpname()
model:save(path)
local again = ml.load(path, { random = false })
os.remove(path)
local far = (again:predict(x) - model:predict(x)):abs():max():item()
assert(far == 0, "the loaded model says something else")
local ok, message = pcall(function() return ml.ones { 2, 3 }:matmul(ml.ones { 2, 3 }) end)
assert(not ok and message:find "inner sizes differ", "an error lost its message")

local jit = rawget(_G, "jit")
local line = string.format("moonlet %s works in %s", ml.version, jit and jit.version or _VERSION)
print(line)
return line
