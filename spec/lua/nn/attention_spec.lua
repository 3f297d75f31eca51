--- Specs of nn.MultiHeadAttention.
local ml = require "moonlet"
local testing = require "moonlet.testing"
local nn = ml.nn

-- One head of size 1 whose projections are the identity.
local function plain(opts)
  local given = { 1, 1, use_bias = false }
  for key, value in pairs(opts or {}) do given[key] = value end
  local layer = nn.MultiHeadAttention(given)
  layer(ml.zeros { 1, 2, 1 })
  local one = ml.ones { 1, 1, 1 }
  layer:set_weights { one, one, one, one }
  return layer
end

local X = ml.tensor { { { 1 }, { 2 } } }

-- softmax(q k) v for queries 1 and 2, keys and values 1 and 2.
local function expected(seen)
  local out = {}
  for i = 1, 2 do
    local total, sum = 0, 0
    for j = 1, 2 do
      if seen(i, j) then
        total = total + math.exp(i * j)
        sum = sum + math.exp(i * j) * j
      end
    end
    out[i] = { sum / total }
  end
  return { out }
end

describe("nn.MultiHeadAttention", function()
  it("is a proper layer", function()
    testing.check_layer(nn.MultiHeadAttention, { 2, 3 }, { 2, 4, 6 }, { 2, 4, 6 }, { weights = 8 })
    testing.check_layer(nn.MultiHeadAttention, { 2, 3, value_dim = 4, output_shape = 5 }, { { 2, 4, 6 }, { 2, 3, 5 } }, { 2, 4, 5 })
    testing.check_layer(nn.MultiHeadAttention, { 1, 2, use_bias = false }, { { 1, 2, 3 }, { 1, 4, 2 }, { 1, 4, 5 } }, { 1, 2, 3 },
      { weights = 4 })
  end)

  it("mixes values by softmax of products", function()
    testing.allclose(plain()(X), expected(function() return true end))
  end)

  it("sees only earlier keys with use_causal_mask", function()
    testing.allclose(plain()(X, { use_causal_mask = true }), expected(function(i, j) return j <= i end))
  end)

  it("sees only keys that the mask names", function()
    local mask = ml.tensor({ { { true, false }, { true, true } } }, "bool")
    testing.allclose(plain()(X, { attention_mask = mask }), expected(function(i, j) return j <= i end))
    local numbers = ml.tensor { { { 0, 1 }, { 1, 0 } } }
    testing.allclose(plain()(X, { attention_mask = numbers }), expected(function(i, j) return i ~= j end))
    testing.raises(function() plain()(X, { attention_mask = ml.ones { 2 } }) end, "attention_mask must have axes")
  end)

  it("scales by the root of key_dim", function()
    local layer = nn.MultiHeadAttention { 1, 4, use_bias = false }
    layer(ml.zeros { 1, 2, 1 })
    layer:set_weights { ml.ones { 1, 1, 4 }, ml.ones { 1, 1, 4 }, ml.ones { 1, 1, 4 }, ml.full({ 1, 4, 1 }, 0.25) }
    -- Products are 4 i j, divided by 2.
    local out = {}
    for i = 1, 2 do
      local a, b = math.exp(2 * i), math.exp(4 * i)
      out[i] = { (a + 2 * b) / (a + b) }
    end
    testing.allclose(layer(X), { out })
  end)

  it("has Keras's shapes", function()
    local layer = nn.MultiHeadAttention { 2, 3, name = "m", value_dim = 4 }
    layer(ml.zeros { 1, 2, 6 })
    local shapes = {}
    for _, v in ipairs(layer.variables) do shapes[v.name] = v.shape end
    assert.same({ 6, 2, 3 }, shapes["m/query/kernel"])
    assert.same({ 2, 3 }, shapes["m/key/bias"])
    assert.same({ 6, 2, 4 }, shapes["m/value/kernel"])
    assert.same({ 2, 4, 6 }, shapes["m/attention_output/kernel"])
    assert.same({ 6 }, shapes["m/attention_output/bias"])
  end)

  it("with dropout gives the same in inference, and drops in training", function()
    testing.allclose(plain { dropout = 0.5 } (X), expected(function() return true end))
    local x = ml.input { nil, 2, 1 }
    local model = ml.Model { inputs = x, outputs = plain { dropout = 0.5 } (x, { use_causal_mask = true }) }
    testing.allclose(model:predict(X), expected(function(i, j) return j <= i end))
    local dropped = plain { dropout = 0.9 } (ml.ones { 64, 2, 1 }, { training = true })
    assert.is_true((dropped - 1):abs():max():item() > 0.5)
  end)

  it("names what is wrong", function()
    testing.raises(function() nn.MultiHeadAttention { 2 } end, "MultiHeadAttention: key_dim is missing")
    testing.raises(function() nn.MultiHeadAttention { 2, 3, name = "m" } { X } end,
      "MultiHeadAttention 'm': expected { query, value } or { query, value, key }, got a table of 1")
    testing.raises(function() nn.MultiHeadAttention { 2, 3, name = "m" } (ml.ones { 2, 3 }) end, "expected an input with axes")
  end)
end)
