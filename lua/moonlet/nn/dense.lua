--- Fully connected layer.
-- Here: `nn.Dense`. Invariant: only the last axis of the input is mixed.
-- @classmod moonlet.nn.dense

local Layer = require "moonlet.nn.layer"
local core = require "moonlet.core"
local util = require "moonlet.util"

--- `activation(x @ kernel + bias)`.
--
-- Input shape: `(batch, ..., d)`.
-- Output shape: `(batch, ..., units)`.
-- Weights: `kernel` (d, units), `bias` (units).
-- @function nn.Dense
-- @tparam integer units size of the output's last axis; may be given without a name
-- @tparam[opt] string|function activation
-- @tparam[opt=true] boolean use_bias
-- @tparam[opt="glorot_uniform"] string|function kernel_initializer
-- @tparam[opt="zeros"] string|function bias_initializer
-- @usage local h = nn.Dense { 32, activation = "relu" } (x)
local Dense = Layer:extend("Dense", {
  { "units", "count", at = 1, required = true },
  { "activation", "activation" },
  { "use_bias", "boolean", default = true },
  { "kernel_initializer", "initializer", default = "glorot_uniform" },
  { "bias_initializer", "initializer", default = "zeros" },
})
Dense.supports_masking = true

function Dense:build(shape)
  if type(shape[1]) == "table" then self:fail("expected one input, got a table of %d", #shape) end
  if #shape < 2 then self:fail("expected an input with axes (batch, ..., d), got shape %s", util.shape_text(shape)) end
  self.depth = self:known_size(shape, -1, "the last axis")
  self.kernel = self:add_weight("kernel", { self.depth, self.units }, { initializer = self.kernel_initializer })
  if self.use_bias then self.bias = self:add_weight("bias", { self.units }, { initializer = self.bias_initializer }) end
end

function Dense:call(x)
  self:expect_last(x, self.depth)
  local y = core.matmul(x, self.kernel)
  if self.bias then y = y + self.bias end
  if self.activation then y = self.activation(y) end
  return y
end

return Dense
