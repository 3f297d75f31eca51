--- Both directions of a sequence.
-- Here: `nn.Bidirectional`.
-- @classmod moonlet.nn.bidirectional

local Layer = require "moonlet.nn.layer"
local Recurrent = require "moonlet.nn.recurrent"
local core = require "moonlet.core"
local util = require "moonlet.util"

local MODES = { concat = true, sum = true, mul = true, ave = true, none = true }

local function is_mode(value)
  return MODES[value] or false
end

local function is_recurrent(value)
  return util.is_a(value, Recurrent)
end

--- Reads a sequence from both ends, each with a layer of its own, and joins what they give step by step.
--
-- Input shape: `(batch, time, d)`.
-- Output shape: that of the layer, with the last axis doubled by `merge_mode = "concat"`; `"none"` gives both results.
-- Steps that do not count give zeros. With `return_state` the states of the forward layer follow, then those of the other.
-- Call options: `initial_state` (those of the forward layer, then of the other), `mask`.
-- @function nn.Bidirectional
-- @tparam Layer layer an `LSTM` or `GRU`; may be given without a name
-- @tparam[opt="concat"] string merge_mode `"concat"`, `"sum"`, `"mul"`, `"ave"` or `"none"`
-- @tparam[opt] Layer backward_layer default: one like `layer` that goes the other way
-- @usage local h = nn.Bidirectional { nn.LSTM { 32, return_sequences = true } } (sequence)
local Bidirectional = Layer:extend("Bidirectional", {
  { "layer", "any", at = 1, required = true, text = "an LSTM or a GRU", test = is_recurrent },
  { "merge_mode", "any", default = "concat", text = "concat, sum, mul, ave or none", test = is_mode },
  { "backward_layer", "any", text = "an LSTM or a GRU", test = is_recurrent },
})

function Bidirectional:setup()
  self.forward_layer = self.layer
  self.backward_layer = self.backward_layer or self.layer:reversed()
  local forward, backward = self.forward_layer, self.backward_layer
  if forward.go_backwards == backward.go_backwards then self:fail("the two layers must go in different directions") end
  for _, key in ipairs({ "return_sequences", "return_state" }) do
    if forward[key] ~= backward[key] then self:fail("the two layers must have the same %s", key) end
  end
  for _, child in ipairs(self:children()) do child.layer:set_path(self.name .. "/" .. child.name) end
end

function Bidirectional:children()
  return { { name = "forward_layer", layer = self.forward_layer }, { name = "backward_layer", layer = self.backward_layer } }
end

local function merge(mode, a, b)
  if mode == "concat" then return core.concat({ a, b }, -1) end
  if mode == "sum" then return a + b end
  if mode == "mul" then return a * b end
  return (a + b) * 0.5
end

-- The states of one of the two: the first half of those given, or the second.
local function half(self, states, second)
  if states == nil then return nil end
  if type(states) ~= "table" or util.is_array(states) or #states % 2 == 1 then
    self:fail("initial_state must be a table of the states of both layers, got %s", util.describe(states))
  end
  local part, n = {}, #states / 2
  for i = 1, n do part[i] = states[second and n + i or i] end
  return part
end

function Bidirectional:call(x, opts)
  local function run(layer, second)
    local states = half(self, opts.initial_state, second)
    return { layer(x, { initial_state = states, mask = opts.mask, in_place = true, zero_masked = true }) }
  end
  local a, b = run(self.forward_layer, false), run(self.backward_layer, true)
  local results = self.merge_mode == "none" and { a[1], b[1] } or { merge(self.merge_mode, a[1], b[1]) }
  for i = 2, #a do results[#results + 1] = a[i] end
  for i = 2, #b do results[#results + 1] = b[i] end
  return util.unpack(results)
end

function Bidirectional:compute_mask(_, mask)
  return self.forward_layer.return_sequences and mask or nil
end

return Bidirectional
