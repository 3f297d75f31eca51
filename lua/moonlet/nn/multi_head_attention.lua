--- Multi-head attention.
-- Here: `nn.MultiHeadAttention`. Invariant: weights have Keras's shapes, one axis for the heads.
-- @classmod moonlet.nn.multi_head_attention

local Dropout = require "moonlet.nn.dropout"
local Layer = require "moonlet.nn.layer"
local core = require "moonlet.core"
local mode = require "moonlet.mode"
local util = require "moonlet.util"

--- Lets each query look at all keys, in several ways at once (Vaswani et al., 2017).
--
-- Input shape: a table `{ query, value }` or `{ query, value, key }` of `(batch, t, d)`, `(batch, s, e)`, `(batch, s, f)`; one
-- tensor alone attends to itself. Without a key, the value is the key.
-- Output shape: `(batch, t, d)`, or `(batch, t, output_shape)`.
-- Weights: `query/kernel` (d, heads, key_dim), `key/kernel`, `value/kernel`, `attention_output/kernel` (heads, value_dim, d), and
-- their biases.
-- Call options: `attention_mask`, bool or numbers, broadcast to (batch, heads, t, s), or (batch, t, s), true where a key is seen;
-- `use_causal_mask = true`: query i sees keys up to i.
-- @function nn.MultiHeadAttention
-- @tparam integer num_heads may be given without a name, first
-- @tparam integer key_dim size of a head's queries and keys; may be given without a name, second
-- @tparam[opt=key_dim] integer value_dim
-- @tparam[opt=0] number dropout part of the attention weights that is dropped in training
-- @tparam[opt=true] boolean use_bias
-- @tparam[opt] integer output_shape default: the query's last size
-- @tparam[opt="glorot_uniform"] string|function kernel_initializer
-- @tparam[opt="zeros"] string|function bias_initializer
-- @usage local h = nn.MultiHeadAttention { 8, 64 } (x, { use_causal_mask = true })
local MultiHeadAttention = Layer:extend("MultiHeadAttention", {
  { "num_heads", "count", at = 1, required = true },
  { "key_dim", "count", at = 2, required = true },
  { "value_dim", "count" },
  { "dropout", "fraction", default = 0 },
  { "use_bias", "boolean", default = true },
  { "output_shape", "count" },
  { "kernel_initializer", "initializer", default = "glorot_uniform" },
  { "bias_initializer", "initializer", default = "zeros" },
})

function MultiHeadAttention:setup()
  self.value_dim = self.value_dim or self.key_dim
  self.output_dim, self.output_shape = self.output_shape, nil
end

-- query, value, key of what the layer was called with: tensors or shapes.
local function three(self, x, single)
  if single then return x, x, x end
  if #x < 2 or #x > 3 then self:fail("expected { query, value } or { query, value, key }, got a table of %d", #x) end
  return x[1], x[2], x[3] or x[2]
end

function MultiHeadAttention:make_projection(name, kernel, bias)
  self[name .. "_kernel"] = self:add_weight(name .. "/kernel", kernel, { initializer = self.kernel_initializer })
  if self.use_bias then self[name .. "_bias"] = self:add_weight(name .. "/bias", bias, { initializer = self.bias_initializer }) end
end

function MultiHeadAttention:build(shape)
  local query, value, key = three(self, shape, type(shape[1]) ~= "table")
  for _, one in ipairs({ query, value, key }) do self:expect_ndim(one, 3, "(batch, t, d)") end
  local d, h = self:known_size(query, -1, "the query's last axis"), self.num_heads
  self.output_dim = self.output_dim or d
  self:make_projection("query", { d, h, self.key_dim }, { h, self.key_dim })
  self:make_projection("key", { self:known_size(key, -1, "the key's last axis"), h, self.key_dim }, { h, self.key_dim })
  self:make_projection("value", { self:known_size(value, -1, "the value's last axis"), h, self.value_dim }, { h, self.value_dim })
  self:make_projection("attention_output", { h, self.value_dim, self.output_dim }, { self.output_dim })
end

-- x [b, t, d] -> [b, h, t, size]
local function project(self, x, name, size)
  local h, kernel = self.num_heads, self[name .. "_kernel"]
  local d = kernel.shape[1]
  self:expect_last(x, d)
  local y = core.matmul(x, core.reshape(kernel, { d, h * size }))
  if self.use_bias then y = y + core.reshape(self[name .. "_bias"], { h * size }) end
  return core.transpose(core.reshape(y, { x.shape[1], x.shape[2], h, size }), { 1, 3, 2, 4 })
end

-- The mask as bool [b or 1, h or 1, t, s].
local function read_mask(self, mask)
  if not util.is_array(mask) then mask = core.tensor(mask, "bool") end
  if mask.dtype ~= "bool" then mask = core.ne(mask, 0) end
  local shape = mask.shape
  if #shape == 3 then return core.expand_dims(mask, 2) end
  if #shape == 2 or #shape == 4 then return mask end
  return self:fail("attention_mask must have axes (batch, t, s) or (batch, heads, t, s), got shape %s", util.shape_text(shape))
end

-- The position of each of n queries or keys, for the causal mask.
local function positions(n)
  return core.cumsum(core.ones({ n }, "i64"), 1)
end

-- The way of the definition, which can drop weights: q [b, h, t, d], k [b, h, s, d], v [b, h, s, e] -> [b, h, t, e]
local function attend_with_dropout(self, q, k, v, mask, causal)
  local scores = core.matmul(q, core.swapaxes(k, 3, 4)) * (1 / math.sqrt(self.key_dim))
  if causal then
    local t, s = positions(q.shape[3]), positions(k.shape[3])
    local seen = core.le(core.expand_dims(s, 1), core.expand_dims(t, 2))
    mask = mask and core.logical_and(mask, seen) or seen
  end
  if mask then scores = core.where(mask, scores, -1e30) end
  local weights = core.softmax(scores)
  local dropped = mode.choose(q, function() return Dropout.drop(weights, self.dropout) end, function() return weights end)
  return core.matmul(dropped, v)
end

local function attend(self, q, k, v, mask, causal)
  if self.dropout > 0 and mode.of(q) ~= false then return attend_with_dropout(self, q, k, v, mask, causal) end
  local attrs = { causal = causal }
  if mask then return core.attention(q, k, v, mask, attrs) end
  return core.attention(q, k, v, attrs)
end

function MultiHeadAttention:call(x, opts)
  local query, value, key = three(self, x, util.is_array(x))
  local q = project(self, query, "query", self.key_dim)
  local k = project(self, key, "key", self.key_dim)
  local v = project(self, value, "value", self.value_dim)
  local mask = opts.attention_mask ~= nil and read_mask(self, opts.attention_mask) or nil
  local y = attend(self, q, k, v, mask, opts.use_causal_mask == true)
  local h, e = self.num_heads, self.value_dim
  y = core.reshape(core.transpose(y, { 1, 3, 2, 4 }), { query.shape[1], query.shape[2], h * e })
  y = core.matmul(y, core.reshape(self.attention_output_kernel, { h * e, self.output_dim }))
  if self.use_bias then y = y + self.attention_output_bias end
  return y
end

return MultiHeadAttention
