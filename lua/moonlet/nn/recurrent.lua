--- What recurrent layers share: weights, states, the loop over time, what is returned.
-- Here: the base of `LSTM` and `GRU`; each adds `gates`, `nstates`, `make_bias`, `sequence`, and for settings that its op does not
-- know `project` and `cell`. Invariant: the usual settings are one node, `lstm` or `gru`; with others the products with the input
-- are made for all steps at once and the loop is one `scan` node over time. Both mask, and order results, in the same way.
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

--- First states where none are given: a table of zeros [b, units].
function Recurrent:zero_states(x)
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

-- What drops the same for all steps, scaled so that the mean stays; nil when nothing is dropped.
local function dropping(x, rate, shape)
  if rate == 0 or mode.of(x) == false then return nil end
  local ones = core.ones(shape, x.dtype)
  return mode.choose(x, function() return Dropout.drop(ones, rate) end, function() return ones end)
end

-- Does the op of the class compute what the settings ask for?
local function is_usual(self, x)
  return self.activation == activations.tanh and self.recurrent_activation == activations.sigmoid and
    (self.recurrent_dropout == 0 or mode.of(x) == false) and self.reset_after ~= false
end

-- Where a step does not count, the state stays as it was. mask [t, b]
local function keep(following, carry, seen)
  for i, state in ipairs(following) do following[i] = core.where(seen, state, carry[i]) end
  return following
end

-- The loop for settings that no op knows: y [b, t, u], then the last states.
local function loop(self, x, states, mask)
  local dropped = dropping(x, self.recurrent_dropout, { x.shape[1], self.units })
  local xs = { core.transpose(self:project(x), { 2, 1, 3 }) }
  if mask then xs[2] = core.expand_dims(core.transpose(mask, { 2, 1 }), 3) end
  local function step(carry, z)
    local seen
    if mask then z, seen = z[1], z[2] end
    local following = self:cell(z, dropped and carry[1] * dropped or carry[1], carry)
    if seen then following = keep(following, carry, seen) end
    return following, following[1]
  end
  local last, y = core.scan(step, states, mask and xs or xs[1], { reverse = self.go_backwards })
  return core.transpose(y, { 2, 1, 3 }), last
end

local function read_mask(self, x, mask)
  if mask == nil then return nil end
  if not util.is_array(mask) or #mask.shape ~= 2 then
    self:fail("mask must be a tensor (batch, time), got %s", util.describe(mask))
  end
  return mask.dtype == "bool" and mask or core.ne(mask, 0)
end

-- y where any step so far counted, else zeros: without a result yet there is none to repeat.
local function zeros_at_first(self, y, mask)
  local any = core.cumsum(core.cast(mask, "i32"), 2, { reverse = self.go_backwards })
  return core.where(core.expand_dims(core.gt(any, 0), 3), y, 0)
end

-- y [b, t, u], each step where its input stood, and the last states.
local function whole(self, x, given, mask)
  if is_usual(self, x) then return self:sequence(x, given, mask) end
  local y, last = loop(self, x, given or self:zero_states(x), mask)
  if mask and given then y = zeros_at_first(self, y, mask) end
  return y, last
end

function Recurrent:call(x, opts)
  self:expect_ndim(x.shape, 3, "(batch, time, d)")
  self:expect_last(x, self.depth)
  local dropped = dropping(x, self.dropout, { x.shape[1], 1, self.depth })
  if dropped then x = x * dropped end
  local given, mask = opts.initial_state and given_states(self, opts.initial_state), read_mask(self, x, opts.mask)
  local sequence, last = whole(self, x, given or nil, mask)
  local y = last[1]
  if self.return_sequences then
    y = sequence
    if mask and opts.zero_masked then y = core.where(core.expand_dims(mask, 3), y, 0) end
    if self.go_backwards and not opts.in_place then y = core.flip(y, 2) end
  elseif mask and given then
    y = core.squeeze(sequence:slice(2, self.go_backwards and 1 or -1, self.go_backwards and 1 or -1), 2)
  end
  if not self.return_state then return y end
  return y, util.unpack(last)
end

function Recurrent:compute_mask(_, mask)
  return self.return_sequences and mask or nil
end

--- A layer with the same settings that reads the other way.
function Recurrent:reversed()
  local class, settings = getmetatable(self), {}
  for _, row in ipairs(class.rows) do settings[row[1]] = self[row[1]] end
  settings.name, settings.go_backwards = nil, not self.go_backwards
  return class(settings)
end

return Recurrent
