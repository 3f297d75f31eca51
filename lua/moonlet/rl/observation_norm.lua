--- A layer that brings observations to mean 0 and deviation 1: `rl.ObservationNorm`.
-- Here: running mean and variance, joined batch by batch (Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
-- computing sample variances", 1979). They are weights that do not train, so a saved model takes observations as they come.
-- Invariant: only `update` changes them.
-- @classmod moonlet.rl.observation_norm

local Layer = require "moonlet.nn.layer"
local core = require "moonlet.core"
local ml = require "moonlet"
local util = require "moonlet.util"

--- Normalises by what `update` has seen.
--
-- Input shape: `(n, size)`.
-- Output shape: that of the input.
-- Weights: `mean`, `variance` (size) and `count`.
-- @function rl.ObservationNorm
-- @tparam[opt=10] number clip results are cut to [-clip, clip]
-- @tparam[opt=1e-8] number epsilon added to the variance
-- @usage
-- local norm = ml.rl.ObservationNorm {}
-- local model = ml.Sequential { norm, nn.Dense { 64, activation = "tanh" }, nn.Dense { 2 } }
-- model(observations)
-- norm:update(observations)
local ObservationNorm = Layer:extend("ObservationNorm", {
  { "clip", "positive", default = 10 }, { "epsilon", "positive", default = 1e-8 },
})

function ObservationNorm:build(shape)
  local size = self:known_size(shape, -1, "the size of an observation")
  self.mean = self:add_weight("mean", { size }, { initializer = "zeros", trainable = false })
  self.variance = self:add_weight("variance", { size }, { initializer = "ones", trainable = false })
  self.count = self:add_weight("count", {}, { initializer = "zeros", trainable = false })
end

function ObservationNorm:call(x)
  local y = (x - self.mean) / ml.sqrt(self.variance + self.epsilon)
  return ml.clip(y, -self.clip, self.clip)
end

local function new_update(self)
  return ml.fn(function(x)
    local n = #x
    local total = self.count + n
    local delta = x:mean(1) - self.mean
    local squares = self.variance * self.count + ((x - x:mean(1)) ^ 2):sum(1) + delta ^ 2 * (self.count * n / total)
    local mean = self.mean + delta * (n / total)
    self.variance:assign(squares / total)
    self.mean:assign(mean)
    self.count:assign(total)
  end, { name = "observation_norm" })
end

--- Takes observations into account. The layer must have been called once.
-- @tparam Tensor x `(n, size)`
function ObservationNorm:update(x)
  if not self.built then self:fail("update: call the layer, or its model, once before") end
  if core.kind(x) ~= "tensor" then self:fail("update: expected a Tensor, got %s", util.describe(x)) end
  self.updates = self.updates or {}
  local n = #x
  local update = self.updates[n]
  if not update then
    self.updater = self.updater or new_update(self)
    update = { program = self.updater:program(x), arguments = { x } }
    self.updates[n] = update
  end
  update.arguments[1] = x
  update.program:run(update.arguments)
end

return ObservationNorm
