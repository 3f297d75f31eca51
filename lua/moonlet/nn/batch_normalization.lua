--- Batch normalization.
-- Here: `nn.BatchNormalization`. Invariant: moving statistics change only in training.
-- @classmod moonlet.nn.batch_normalization

local Layer = require "moonlet.nn.layer"
local core = require "moonlet.core"
local mode = require "moonlet.mode"
local util = require "moonlet.util"

--- Brings each channel to mean 0 and deviation 1: of the batch in training, of moving averages in inference.
--
-- Input shape: any; `axis` is the one of the channels.
-- Output shape: that of the input.
-- Weights: `gamma`, `beta`, `moving_mean`, `moving_variance` (c); the last two do not train.
-- @function nn.BatchNormalization
-- @tparam[opt=-1] integer axis 2 for channels first
-- @tparam[opt=0.99] number momentum of the moving averages
-- @tparam[opt=1e-3] number epsilon
-- @tparam[opt=true] boolean center whether there is a `beta`
-- @tparam[opt=true] boolean scale whether there is a `gamma`
-- @tparam[opt="zeros"] string|function beta_initializer
-- @tparam[opt="ones"] string|function gamma_initializer
-- @tparam[opt="zeros"] string|function moving_mean_initializer
-- @tparam[opt="ones"] string|function moving_variance_initializer
-- @usage local h = nn.BatchNormalization {} (x)
local BatchNormalization = Layer:extend("BatchNormalization", {
  { "axis", "axis", default = -1 },
  { "momentum", "number", default = 0.99, text = "a number from 0 to 1", test = function(v)
    return type(v) == "number" and v >= 0 and v <= 1
  end },
  { "epsilon", "nonnegative", default = 1e-3 },
  { "center", "boolean", default = true },
  { "scale", "boolean", default = true },
  { "beta_initializer", "initializer", default = "zeros" },
  { "gamma_initializer", "initializer", default = "ones" },
  { "moving_mean_initializer", "initializer", default = "zeros" },
  { "moving_variance_initializer", "initializer", default = "ones" },
})

-- The axis as a position from 1.
local function position(self, shape)
  local axis = self.axis < 0 and #shape + self.axis + 1 or self.axis
  if axis < 1 or axis > #shape then
    self:fail("axis %d is not an axis of an input of shape %s", self.axis, util.shape_text(shape))
  end
  return axis
end

BatchNormalization.autocast = "results" -- statistics are taken in f32

function BatchNormalization:build(shape)
  self.depth = self:known_size(shape, position(self, shape), "the axis of the channels")
  local size = { self.depth }
  if self.scale then self.gamma = self:add_weight("gamma", size, { initializer = self.gamma_initializer }) end
  if self.center then self.beta = self:add_weight("beta", size, { initializer = self.beta_initializer }) end
  self.moving_mean = self:add_weight("moving_mean", size, { initializer = self.moving_mean_initializer, trainable = false })
  self.moving_variance =
    self:add_weight("moving_variance", size, { initializer = self.moving_variance_initializer, trainable = false })
end

-- gamma and beta as tensors: absent ones are what leaves numbers as they are.
local function affine(self)
  return self.gamma or core.ones({ self.depth }, self.dtype), self.beta or core.zeros({ self.depth }, self.dtype)
end

local function infer(self, x, axis)
  local gamma, beta = affine(self)
  return core.batch_norm_infer(x, gamma, beta, self.moving_mean, self.moving_variance, { axis = axis, epsilon = self.epsilon })
end

-- In a graph that holds both modes the statistics move in training only.
local function move(self, variable, batch)
  return variable:assign(variable * self.momentum + core.stop_gradient(batch) * (1 - self.momentum), { training = true })
end

local function train(self, x, axis)
  local gamma, beta = affine(self)
  local y, mean, variance = core.batch_norm_train(x, gamma, beta, { axis = axis, epsilon = self.epsilon })
  local effects = { move(self, self.moving_mean, mean), move(self, self.moving_variance, variance) }
  if core.kind(y) ~= "symbol" or core.is_eager() then return y end
  return core.depend(y, effects)
end

function BatchNormalization:call(x)
  local shape = x.shape
  local axis = position(self, shape)
  if #shape < 2 then self:fail("expected an input with a batch axis, got shape %s", util.shape_text(shape)) end
  if shape[axis] ~= self.depth then
    self:fail("was built for %d channels on axis %d, got shape %s", self.depth, self.axis, util.shape_text(shape))
  end
  if not self.trainable then return infer(self, x, axis) end -- it keeps its statistics, as in Keras
  return mode.choose(x, function() return train(self, x, axis) end, function() return infer(self, x, axis) end)
end

return BatchNormalization
