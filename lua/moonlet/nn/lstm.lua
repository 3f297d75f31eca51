--- Long short-term memory.
-- Here: `nn.LSTM`: its gates and its cell; the loop is in `recurrent`.
-- @classmod moonlet.nn.lstm

local Recurrent = require "moonlet.nn.recurrent"
local core = require "moonlet.core"
local initializers = require "moonlet.initializers"
local util = require "moonlet.util"

--- Reads a sequence, keeping a state (Hochreiter and Schmidhuber, 1997).
--
-- Input shape: `(batch, time, d)`.
-- Output shape: `(batch, units)`, or `(batch, time, units)` with `return_sequences`; with `return_state` the last h and c
-- (batch, units) follow as second and third result.
-- Weights: `kernel` (d, 4 units), `recurrent_kernel` (units, 4 units), `bias` (4 units); gates in the order i, f, g, o.
-- Call options: `initial_state = { h, c }`; `mask` (batch, time): steps that do not count leave the state as it is and repeat the
-- result before them.
-- @function nn.LSTM
-- @tparam integer units may be given without a name
-- @tparam[opt="tanh"] string|function activation
-- @tparam[opt="sigmoid"] string|function recurrent_activation
-- @tparam[opt=true] boolean use_bias
-- @tparam[opt=true] boolean unit_forget_bias whether the bias of the forget gate begins at 1
-- @tparam[opt="glorot_uniform"] string|function kernel_initializer
-- @tparam[opt="orthogonal"] string|function recurrent_initializer
-- @tparam[opt="zeros"] string|function bias_initializer
-- @tparam[opt=false] boolean return_sequences
-- @tparam[opt=false] boolean return_state
-- @tparam[opt=false] boolean go_backwards reads from the end; a returned sequence is in the order of reading
-- @tparam[opt=0] number dropout part of the inputs that is dropped in training
-- @tparam[opt=0] number recurrent_dropout part of the state that is dropped in training
-- @usage local h = nn.LSTM { 64 } (sequence)
-- local y, h, c = nn.LSTM { 64, return_sequences = true, return_state = true } (sequence)
local LSTM = Recurrent:extend("LSTM", Recurrent.common_rows({ { "unit_forget_bias", "boolean", default = true } }))
LSTM.gates, LSTM.nstates = 4, 2

function LSTM:make_bias(width)
  local start = initializers.get(self.bias_initializer, self:who() .. ": bias")
  self.bias = self:add_weight("bias", { width }, {
    initializer = function(shape, dtype)
      if not self.unit_forget_bias then return start(shape, dtype) end
      local u = self.units
      return core.concat({ start({ u }, dtype), core.ones({ u }, dtype), start({ 2 * u }, dtype) }, 1)
    end,
  })
end

function LSTM:sequence(x, states, mask)
  local inputs = { x, self.kernel, self.recurrent_kernel, self.bias }
  if states or mask or not self.bias then
    inputs[4] = self.bias or core.zeros({ 4 * self.units }, self.dtype)
    states = states or self:zero_states(x)
    inputs[5], inputs[6], inputs[7] = states[1], states[2], mask
  end
  inputs[#inputs + 1] = { go_backwards = self.go_backwards }
  local y, h, c = core.lstm(util.unpack(inputs))
  return y, { h, c }
end

function LSTM:project(x)
  local z = core.matmul(x, self.kernel)
  return self.bias and z + self.bias or z
end

function LSTM:cell(z, h, carry)
  z = z + core.matmul(h, self.recurrent_kernel)
  local squash, step = self.activation, self.recurrent_activation
  local c = step(self:gate(z, 2)) * carry[2] + step(self:gate(z, 1)) * squash(self:gate(z, 3))
  return { step(self:gate(z, 4)) * squash(c), c }
end

return LSTM
