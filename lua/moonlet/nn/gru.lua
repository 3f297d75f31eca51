--- Gated recurrent unit.
-- Here: `nn.GRU`: its gates and its cell; the loop is in `recurrent`.
-- @classmod moonlet.nn.gru

local Recurrent = require "moonlet.nn.recurrent"
local core = require "moonlet.core"
local util = require "moonlet.util"

--- Reads a sequence, keeping a state (Cho et al., 2014; the reset gate acts after the product, as Keras's default).
--
-- Input shape: `(batch, time, d)`.
-- Output shape: `(batch, units)`, or `(batch, time, units)` with `return_sequences`; with `return_state` the last state
-- (batch, units) follows as second result.
-- Weights: `kernel` (d, 3 units), `recurrent_kernel` (units, 3 units), `bias` (2, 3 units), for the input and for the state, or
-- (3 units) where `reset_after` is false; gates in the order z, r, g.
-- Call options: `initial_state = { h }`; `mask` (batch, time): steps that do not count leave the state as it is and repeat the
-- result before them.
-- @function nn.GRU
-- @tparam integer units may be given without a name
-- @tparam[opt="tanh"] string|function activation
-- @tparam[opt="sigmoid"] string|function recurrent_activation
-- @tparam[opt=true] boolean use_bias
-- @tparam[opt="glorot_uniform"] string|function kernel_initializer
-- @tparam[opt="orthogonal"] string|function recurrent_initializer
-- @tparam[opt="zeros"] string|function bias_initializer
-- @tparam[opt=false] boolean return_sequences
-- @tparam[opt=false] boolean return_state
-- @tparam[opt=false] boolean go_backwards reads from the end; a returned sequence is in the order of reading
-- @tparam[opt=true] boolean reset_after whether the reset gate acts after the product with the recurrent kernel, or before it
-- @tparam[opt=0] number dropout part of the inputs that is dropped in training
-- @tparam[opt=0] number recurrent_dropout part of the state that is dropped in training
-- @usage local h = nn.GRU { 64 } (sequence)
local GRU = Recurrent:extend("GRU", Recurrent.common_rows({ { "reset_after", "boolean", default = true } }))
GRU.gates, GRU.nstates = 3, 1

function GRU:make_bias(width)
  self.bias = self:add_weight("bias", self.reset_after and { 2, width } or { width }, { initializer = self.bias_initializer })
end

-- Row i of the bias, [1, 3 units].
local function bias_row(self, i)
  return self.bias:slice(1, i, i)
end

function GRU:sequence(x, states, mask)
  local inputs = { x, self.kernel, self.recurrent_kernel, self.bias }
  if states or mask or not self.bias then
    inputs[4] = self.bias or core.zeros({ 2, 3 * self.units }, self.dtype)
    inputs[5], inputs[6] = states and states[1] or self:zero_states(x)[1], mask
  end
  inputs[#inputs + 1] = { go_backwards = self.go_backwards }
  local y, h = core.gru(util.unpack(inputs))
  return y, { h }
end

function GRU:project(x)
  local z = core.matmul(x, self.kernel)
  if not self.bias then return z end
  return z + (self.reset_after and bias_row(self, 1) or self.bias)
end

-- The reset gate before the product: two products a step.
local function cell_reset_before(self, z, h, carry)
  local u = self.units
  local function product(state, i)
    return core.matmul(state, self.recurrent_kernel:slice(2, (i - 1) * u + 1, i * u))
  end
  local squash, step = self.activation, self.recurrent_activation
  local update = step(self:gate(z, 1) + product(h, 1))
  local reset = step(self:gate(z, 2) + product(h, 2))
  local new = squash(self:gate(z, 3) + product(reset * h, 3))
  return { new + update * (carry[1] - new) }
end

function GRU:cell(z, h, carry)
  if not self.reset_after then return cell_reset_before(self, z, h, carry) end
  local r = core.matmul(h, self.recurrent_kernel)
  if self.bias then r = r + bias_row(self, 2) end
  local squash, step = self.activation, self.recurrent_activation
  local update = step(self:gate(z, 1) + self:gate(r, 1))
  local reset = step(self:gate(z, 2) + self:gate(r, 2))
  local new = squash(self:gate(z, 3) + reset * self:gate(r, 3))
  return { new + update * (carry[1] - new) }
end

return GRU
