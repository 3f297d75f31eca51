--- GPT-2 small writes one token more, having kept the keys and values of the 128 before it.
local ml = require "moonlet"
local nn = ml.nn

local LAYERS, WIDTH, HEADS, BEFORE = 12, 768, 12, 128

local function dense(x, units, activation) return nn.Dense { units, activation = activation } (x) end
local function normal(x) return nn.LayerNormalization { epsilon = 1e-5 } (x) end
local function gelu(x) return ml.gelu(x, { approximate = true }) end
-- [1, 1, width] -> [1, heads, 1, width / heads]
local function heads(x) return x:reshape { 1, HEADS, 1, WIDTH / HEADS } end

return function()
  local token, place = ml.input { 1, 1, dtype = "i32" }, ml.input { 1, 1, dtype = "i32" }
  local tokens = nn.Embedding { 50257, WIDTH }
  local h = tokens(token) + nn.Embedding { 1024, WIDTH } (place)
  local inputs, outputs = { token, place }, {}
  for _ = 1, LAYERS do
    local kept = { 1, HEADS, BEFORE, WIDTH / HEADS, dtype = h.dtype }
    local keys, values = ml.input(kept), ml.input(kept)
    local n = normal(h)
    local q, k, v = heads(dense(n, WIDTH)), heads(dense(n, WIDTH)), heads(dense(n, WIDTH))
    local seen = ml.attention(q, ml.concat({ keys, k }, 3), ml.concat({ values, v }, 3))
    h = h + dense(seen:reshape { 1, 1, WIDTH }, WIDTH)
    h = h + dense(dense(normal(h), 4 * WIDTH, gelu), WIDTH)
    inputs[#inputs + 1], inputs[#inputs + 2] = keys, values
    outputs[#outputs + 1], outputs[#outputs + 2] = k, v
  end
  h = normal(h)
  table.insert(outputs, 1, h:matmul(tokens.embeddings:cast(h.dtype):transpose()))
  local x = { ml.integers({ 1, 1 }, 0, 50257, "i32"), ml.full({ 1, 1 }, BEFORE, "i32") }
  for i = 3, #inputs do x[i] = ml.randn({ 1, HEADS, BEFORE, WIDTH / HEADS }, h.dtype) end
  -- All weights are read, and what was kept.
  local bytes = (h.dtype == "bf16" and 2 or 4) * (LAYERS * (12 * WIDTH ^ 2 + 2 * BEFORE * WIDTH) + 50257 * WIDTH)
  return { model = ml.Model { inputs = inputs, outputs = outputs }, x = x, bytes = bytes }
end
