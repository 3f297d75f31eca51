--- Specs of LSTM and GRU: steps written out in Lua, what is returned, directions.
local ml = require "moonlet"
local testing = require "moonlet.testing"
local nn = ml.nn

local function sigmoid(x) return 1 / (1 + math.exp(-x)) end
local function tanh(x) return 1 - 2 / (math.exp(2 * x) + 1) end

-- One unit, one feature: weights are plain numbers. xs is a list.
local function lstm(xs, w)
  local h, c, hs = 0, 0, {}
  for i, x in ipairs(xs) do
    local z = {}
    for gate = 1, 4 do z[gate] = x * w.kernel[gate] + h * w.recurrent[gate] + w.bias[gate] end
    c = sigmoid(z[2]) * c + sigmoid(z[1]) * tanh(z[3])
    h = sigmoid(z[4]) * tanh(c)
    hs[i] = h
  end
  return hs, c
end

local function gru(xs, w)
  local h, hs = 0, {}
  for i, x in ipairs(xs) do
    local function gate(g) return x * w.kernel[g] + w.bias[g], h * w.recurrent[g] + w.bias[3 + g] end
    local zx, zh = gate(1)
    local rx, rh = gate(2)
    local nx, nh = gate(3)
    local z, r = sigmoid(zx + zh), sigmoid(rx + rh)
    h = z * h + (1 - z) * tanh(nx + r * nh)
    hs[i] = h
  end
  return hs
end

local LSTM_WEIGHTS = { kernel = { 0.3, -0.2, 0.9, 0.4 }, recurrent = { 0.1, 0.5, -0.7, 0.2 }, bias = { 0.1, 1, -0.1, 0.05 } }
local GRU_WEIGHTS = { kernel = { 0.3, -0.2, 0.9 }, recurrent = { 0.1, 0.5, -0.7 }, bias = { 0.1, 0.2, -0.1, 0.05, -0.3, 0.4 } }
local XS = { 1, -2, 0.5 }
local INPUT = ml.tensor(XS):reshape { 1, 3, 1 }

local function with_weights(layer, w, bias)
  layer(INPUT)
  layer:set_weights { { w.kernel }, { w.recurrent }, bias or w.bias }
  return layer
end

local function make_gru(opts)
  local b = GRU_WEIGHTS.bias
  return with_weights(nn.GRU(opts), GRU_WEIGHTS, { { b[1], b[2], b[3] }, { b[4], b[5], b[6] } })
end

describe("recurrent layers", function()
  it("are proper layers", function()
    testing.check_layer(nn.LSTM, { 3 }, { 2, 4, 5 }, { 2, 3 }, { weights = 3 })
    testing.check_layer(nn.LSTM, { 2, return_sequences = true, go_backwards = true }, { 2, 3, 2 }, { 2, 3, 2 })
    testing.check_layer(nn.GRU, { 3 }, { 2, 4, 5 }, { 2, 3 }, { weights = 3 })
    testing.check_layer(nn.GRU, { 2, return_sequences = true, use_bias = false }, { 2, 3, 2 }, { 2, 3, 2 }, { weights = 2 })
  end)

  it("LSTM computes its gates in the order i, f, g, o", function()
    local hs, c = lstm(XS, LSTM_WEIGHTS)
    testing.allclose(with_weights(nn.LSTM { 1 }, LSTM_WEIGHTS)(INPUT), { { hs[3] } })
    local layer = with_weights(nn.LSTM { 1, return_sequences = true, return_state = true }, LSTM_WEIGHTS)
    local sequence, h_last, c_last = layer(INPUT)
    testing.allclose(sequence, { { { hs[1] }, { hs[2] }, { hs[3] } } })
    testing.allclose(h_last, { { hs[3] } })
    testing.allclose(c_last, { { c } })
  end)

  it("GRU resets after the product, gates in the order z, r, g", function()
    local hs = gru(XS, GRU_WEIGHTS)
    testing.allclose(make_gru { 1 } (INPUT), { { hs[3] } })
    local sequence, last = make_gru { 1, return_sequences = true, return_state = true } (INPUT)
    testing.allclose(sequence, { { { hs[1] }, { hs[2] }, { hs[3] } } })
    testing.allclose(last, { { hs[3] } })
  end)

  it("read backwards, and return sequences in the order of reading", function()
    local hs = lstm({ XS[3], XS[2], XS[1] }, LSTM_WEIGHTS)
    local layer = with_weights(nn.LSTM { 1, return_sequences = true, go_backwards = true }, LSTM_WEIGHTS)
    testing.allclose(layer(INPUT), { { { hs[1] }, { hs[2] }, { hs[3] } } })
    testing.allclose(with_weights(nn.LSTM { 1, go_backwards = true }, LSTM_WEIGHTS)(INPUT), { { hs[3] } })
    local x = ml.input { nil, 3, 1 }
    local model = ml.Model { inputs = x, outputs = layer(x) }
    testing.allclose(model:predict(INPUT), { { { hs[1] }, { hs[2] }, { hs[3] } } })
  end)

  it("go on from given states", function()
    local layer = with_weights(nn.LSTM { 1, return_state = true }, LSTM_WEIGHTS)
    local _, h, c = layer(INPUT:slice(2, 1, 2))
    testing.allclose(layer(INPUT:slice(2, 3, 3), { initial_state = { h, c } }), { { lstm(XS, LSTM_WEIGHTS)[3] } })
    testing.raises(function() layer(INPUT, { initial_state = { h } }) end, "initial_state must be a table of 2 tensors")
  end)

  it("are one program for any length when it is unknown", function()
    local x = ml.input { nil, ml.dim "time", 1 }
    local model = ml.Model { inputs = x, outputs = with_weights(nn.LSTM { 1 }, LSTM_WEIGHTS)(x) }
    testing.allclose(model:predict(INPUT), { { lstm(XS, LSTM_WEIGHTS)[3] } })
    testing.allclose(model:predict(INPUT:slice(2, 1, 2)), { { lstm(XS, LSTM_WEIGHTS)[2] } })
  end)

  it("take other activations", function()
    local layer = with_weights(nn.LSTM { 1, activation = "linear", recurrent_activation = function(z) return z * 0 + 1 end },
      LSTM_WEIGHTS)
    -- All gates open: c sums the candidates, h is c.
    local w, h, c = LSTM_WEIGHTS, 0, 0
    for _, x in ipairs(XS) do
      c = c + x * w.kernel[3] + h * w.recurrent[3] + w.bias[3]
      h = c
    end
    testing.allclose(layer(INPUT), { { h } })
  end)

  it("begin with a forget bias of 1 and an orthogonal recurrent kernel", function()
    local layer = nn.LSTM { 3 }
    layer(ml.zeros { 1, 2, 2 })
    testing.equal(layer.bias:read(), { 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0 })
    local r = layer.recurrent_kernel:read()
    testing.allclose(r:matmul(r:transpose()), { { 1, 0, 0 }, { 0, 1, 0 }, { 0, 0, 1 } }, { atol = 1e-5 })
  end)

  it("drop in training only", function()
    local layer = nn.LSTM { 4, dropout = 0.5, recurrent_dropout = 0.5 }
    local x = ml.ones { 3, 5, 2 }
    testing.equal(layer(x), layer(x))
    local input = ml.input { nil, 5, 2 }
    local model = ml.Model { inputs = input, outputs = layer(input) }
    testing.allclose(model:predict(x), layer(x))
    model:compile { optimizer = "sgd", loss = "mse" }
    assert.is_number(model:train_on_batch(x, ml.zeros { 3, 4 }).loss)
  end)

  it("name what is wrong", function()
    testing.raises(function() nn.LSTM { 3, name = "r" } (ml.ones { 2, 3 }) end,
      "LSTM 'r': expected an input with axes %(batch, time, d%), got shape %(2, 3%)")
    testing.raises(function() nn.GRU { 3, dropout = 1 } end, "dropout must be a number from 0 up to, not including, 1, got 1")
  end)
end)
