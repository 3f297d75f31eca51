--- Fits a curve to noisy points: `build/moonlet examples/regression.lua`.
-- The shortest complete program: data, model, fit, predict, plot. EPOCHS=1 in the environment gives a quick look.
local ml = require "moonlet"
local nn = ml.nn

local epochs = tonumber(os.getenv "EPOCHS") or 600
ml.seed(1)

-- 200 points of y = sin(3 x) + x / 2 with some noise.
local x = ml.linspace(-2, 2, 200):reshape { 200, 1 }
local y = ml.sin(x * 3) + x / 2 + 0.1 * ml.randn { 200, 1 }

local model = ml.Sequential {
  nn.Dense { 64, activation = "tanh" },
  nn.Dense { 64, activation = "tanh" },
  nn.Dense { 1 },
}
model:compile { optimizer = ml.optim.Adam { lr = 0.01 }, loss = "mse", metrics = { "mae" } }

local stop = ml.callbacks.EarlyStopping { monitor = "loss", patience = 40, restore_best_weights = true }
local history = model:fit(x, y, { epochs = epochs, batch_size = 32, callbacks = { stop }, verbose = 0 })
history:plot { metrics = { "loss" } }

local fitted = model:predict(x)
local at = x:reshape { 200 }
ml.plot({
  { name = "points", x = at, y = y:reshape { 200 } },
  { name = "fitted", x = at, y = fitted:reshape { 200 } },
}, { title = "y = sin(3 x) + x / 2 + noise" })
print(string.format("mean absolute error: %.3f", model:evaluate(x, y).mae))
