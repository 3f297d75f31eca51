--- What recurrent layers share: weights, states, the loop over time, what is returned.
-- Here: the base of `LSTM` and `GRU`; each adds `gates`, `nstates`, `make_bias`, `project`, `cell`. Invariant: products with the
-- input are made for all steps at once, before the loop; the loop is one `scan` node over time.
-- @classmod moonlet.nn.recurrent

local Dropout = require "moonlet.nn.dropout"
local Layer = require "moonlet.nn.layer"
local activations = require "moonlet.activations"
local core = require "moonlet.core"
local mode = require "moonlet.mode"
local util = require "moonlet.util"

local Recurrent = Layer:extend("Recurrent")

--- The rows of arguments of all recurrent layers, and those of one class.
function Recurrent.common_rows(extra)
  local rows = {
    { "units", "count", at = 1, required = true },
    { "activation", "activation", default = activations.tanh },
    { "recurrent_activation", "activation", default = activations.sigmoid },
    { "use_bias", "boolean", default = true },
    { "kernel_initializer", "initializer", default = "glorot_uniform" },
    { "recurrent_initializer", "initializer", default = "orthogonal" },
    { "bias_initializer", "initializer", default = "zeros" },
    { "return_sequences", "boolean", default = false },
    { "return_state", "boolean", default = false },
    { "go_backwards", "boolean", default = false },
    { "dropout", "fraction", default = 0 },
    { "recurrent_dropout", "fraction", default = 0 },
  }
  for _, row in ipairs(extra or {}) do rows[#rows + 1] = row end
  return rows
end

function Recurrent:build(shape)
  self:expect_ndim(shape, 3, "(batch, time, d)")
  self.depth = self:known_size(shape, -1, "the last axis")
  local width = self.gates * self.units
  self.kernel = self:add_weight("kernel", { self.depth, width }, { initializer = self.kernel_initializer })
  self.recurrent_kernel = self:add_weight("recurrent_kernel", { self.units, width }, { initializer = self.recurrent_initializer })
  if self.use_bias then self:make_bias(width) end
end

--- Part i (from 1) of the gates in z [b, gates * units].
function Recurrent:gate(z, i)
  return z:slice(2, (i - 1) * self.units + 1, i * self.units)
end

local function zero_states(self, x)
  local states = {}
  for i = 1, self.nstates do states[i] = core.zeros({ x.shape[1], self.units }, x.dtype) end
  return states
end

local function given_states(self, given)
  if util.is_array(given) then given = { given } end
  if type(given) ~= "table" or #given ~= self.nstates then
    self:fail("initial_state must be a table of %d tensors (batch, %d), got %s", self.nstates, self.units, util.describe(given))
  end
  local states = {}
  for i = 1, self.nstates do
    local shape = util.is_array(given[i]) and given[i].shape or {}
    if #shape ~= 2 or shape[2] ~= self.units then
      self:fail("initial_state must be tensors (batch, %d), got %s", self.units, util.describe(given[i]))
    end
    states[i] = given[i]
  end
  return states
end

-- A mask that is the same for all steps, scaled so that the mean stays; nil when nothing is dropped.
local function mask(x, rate, shape)
  if rate == 0 or mode.of(x) == false then return nil end
  local ones = core.ones(shape, x.dtype)
  return mode.choose(x, function() return Dropout.drop(ones, rate) end, function() return ones end)
end

local function loop(self, x, states)
  local seen = mask(x, self.recurrent_dropout, { x.shape[1], self.units })
  local function step(carry, z)
    local following = self:cell(z, seen and carry[1] * seen or carry[1], carry)
    if self.return_sequences then return following, following[1] end
    return following
  end
  return core.scan(step, states, core.transpose(self:project(x), { 2, 1, 3 }), { reverse = self.go_backwards })
end

function Recurrent:call(x, opts)
  self:expect_ndim(x.shape, 3, "(batch, time, d)")
  self:expect_last(x, self.depth)
  local dropped = mask(x, self.dropout, { x.shape[1], 1, self.depth })
  if dropped then x = x * dropped end
  local states = opts.initial_state and given_states(self, opts.initial_state) or zero_states(self, x)
  local last, sequence = loop(self, x, states)
  local y = last[1]
  if self.return_sequences then
    y = core.transpose(sequence, { 2, 1, 3 })
    if self.go_backwards then y = core.flip(y, 2) end
  end
  if not self.return_state then return y end
  return y, util.unpack(last)
end

return Recurrent
