-- Masked, bidirectional and stacked recurrent layers. The numbers were computed by Keras 3.15 from the same sines.
local ml = require "moonlet"
local testing = require "moonlet.testing"
local nn = ml.nn

local function sines(shape, step, start)
  local n, list = 1, {}
  for _, size in ipairs(shape) do n = n * size end
  for i = 1, n do list[i] = math.sin((i - 1) * step + start) * 0.8 end
  return ml.tensor(list):reshape(shape)
end

local X = sines({ 2, 4, 2 }, 0.7, 0.1)
local H, C = sines({ 2, 3 }, 0.9, 0.3), sines({ 2, 3 }, 1.1, 0.6)
local MASK = ml.tensor({ { false, true, false, true }, { true, true, true, false } }, "bool")

local function weights(gates, bias)
  return { sines({ 2, gates * 3 }, 0.37, 0.5), sines({ 3, gates * 3 }, 0.53, 0.9), sines(bias, 0.29, 0.2) }
end
local LSTM, GRU = weights(4, { 12 }), weights(3, { 2, 9 })

local function halved(list)
  local half = {}
  for i, w in ipairs(list) do half[i] = w * 0.5 end
  return half
end

local function both(list)
  local all = { list[1], list[2], list[3] }
  for _, w in ipairs(halved(list)) do all[#all + 1] = w end
  return all
end

local function with(layer, values)
  layer(X)
  layer:set_weights(values)
  return layer
end

local function close(got, want)
  testing.allclose(got, want, { atol = 2e-6 })
end

local FULL = { return_sequences = true, return_state = true }
local function full(class, values, more)
  local opts = { 3 }
  for key, value in pairs(FULL) do opts[key] = value end
  for key, value in pairs(more or {}) do opts[key] = value end
  return with(class(opts), values)
end

local ZERO = { 0, 0, 0 }

describe("masked recurrent layers", function()
  it("compute what Keras does", function()
    local y, h, c = full(nn.LSTM, LSTM)(X)
    close(y[1], { { 0.2218643, 0.2203821, 0.192518 }, { 0.3234299, 0.2887816, 0.216192 }, { 0.2102641, 0.1244292, 0.009691 },
      { 0.1104675, -0.0006246, -0.069734 } })
    close(h, { { 0.1104675, -0.0006246, -0.069734 }, { 0.151925, 0.0227905, -0.0930318 } })
    close(c, { { 0.2342724, -0.0011918, -0.1239594 }, { 0.3893743, 0.0490983, -0.1787601 } })
    y, h = full(nn.GRU, GRU)(X)
    close(y[2], { { 0.0956627, 0.124895, 0.1420711 }, { 0.2294154, 0.21393, 0.1776885 }, { 0.2921402, 0.1824594, 0.0752912 },
      { 0.2536078, 0.1045995, -0.0238249 } })
    close(h, { { 0.2068676, 0.073698, -0.037658 }, { 0.2536078, 0.1045995, -0.0238249 } })
  end)

  it("keep the state and repeat the result where a step does not count", function()
    local step = { 0.2378301, 0.2121498, 0.1508686 }
    local y, h, c = full(nn.LSTM, LSTM)(X, { mask = MASK })
    close(y[1], { ZERO, step, step, { 0.0105186, -0.0179981, -0.0224406 } })
    close(h, { { 0.0105186, -0.0179981, -0.0224406 }, { 0.2885428, 0.2284885, 0.1274616 } })
    close(c, { { 0.0230928, -0.0342607, -0.0379333 }, { 0.8259798, 0.6087546, 0.3077866 } })
    y, h = full(nn.GRU, GRU)(X, { mask = MASK })
    close(y[1], { ZERO, { 0.1563149, 0.1029442, 0.041745 }, { 0.1563149, 0.1029442, 0.041745 },
      { 0.1547183, 0.0736198, -0.0053606 } })
    close(h, { { 0.1547183, 0.0736198, -0.0053606 }, { 0.2921402, 0.1824594, 0.0752912 } })
  end)

  it("begin with zeros, not with the state that was given", function()
    local states = { initial_state = { H, C }, mask = MASK }
    close(full(nn.LSTM, LSTM)(X, states)[1], { ZERO, { 0.2188019, 0.212405, -0.0660238 }, { 0.2188019, 0.212405, -0.0660238 },
      { 0.101935, 0.0477374, -0.116434 } })
    local y, h = full(nn.LSTM, LSTM, { go_backwards = true })(X, states)
    local later, sooner = { -0.1181764, -0.1575719, -0.3574231 }, { 0.0753073, 0.091719, 0.0071325 }
    close(y[1], { later, later, sooner, sooner })
    close(y[2], { ZERO, { -0.0144393, -0.083936, 0.0741506 }, { 0.2277503, 0.1543966, 0.2551506 },
      { 0.2038135, 0.1739796, 0.3154376 } })
    close(h, { { 0.0753073, 0.091719, 0.0071325 }, { 0.2038135, 0.1739796, 0.3154376 } })
    y, h = full(nn.GRU, GRU, { go_backwards = true })(X, { initial_state = { H }, mask = MASK })
    close(y[2], { ZERO, { 0.0578055, -0.471054, -0.6284608 }, { 0.0457128, -0.2753214, -0.2954868 },
      { 0.0515558, -0.0840969, -0.019498 } })
    close(h, { { 0.4164064, 0.3784473, 0.2004223 }, { 0.0515558, -0.0840969, -0.019498 } })
    local none = ml.tensor({ { false, false, false, false }, { true, false, false, false } }, "bool")
    close(with(nn.GRU { 3 }, GRU)(X, { initial_state = { H }, mask = none })[1], ZERO)
  end)

  it("reset before the product when asked to", function()
    local layer = nn.GRU { 3, return_sequences = true, reset_after = false }
    close(with(layer, { GRU[1], GRU[2], GRU[3][1] })(X, { mask = MASK }), {
      { ZERO, { 0.3309841, 0.2494581, 0.1626462 }, { 0.3309841, 0.2494581, 0.1626462 }, { 0.4368242, 0.3040572, 0.169487 } },
      { { 0.2705613, 0.2712528, 0.2517383 }, { 0.5053734, 0.4377855, 0.3459876 }, { 0.6222016, 0.4664188, 0.2955569 },
        { 0.6222016, 0.4664188, 0.2955569 } },
    })
  end)

  it("give the same by the scan that other activations take", function()
    for _, class in ipairs { nn.LSTM, nn.GRU } do
      local values = class == nn.LSTM and LSTM or GRU
      local opts = { initial_state = class == nn.LSTM and { H, C } or { H }, mask = MASK }
      for _, backwards in ipairs { false, true } do
        local usual = full(class, values, { go_backwards = backwards })
        local other = full(class, values, { go_backwards = backwards, activation = function(z) return ml.tanh(z) end })
        local a, b = { usual(X, opts) }, { other(X, opts) }
        for i = 1, #a do close(a[i], b[i]) end
      end
    end
  end)

  it("find the mask that goes with their input, through layers that let it pass", function()
    local tokens = ml.tensor({ { 0, 3, 0, 2 }, { 1, 2, 3, 0 } }, "i64")
    local embed, dense, lstm = nn.Embedding { 4, 2, mask_zero = true }, nn.Dense { 2 }, nn.LSTM { 3 }
    local function run(x, opts) return lstm(nn.Dropout { 0.1 } (dense(embed(x))), opts) end
    local all = ml.ones({ 2, 4 }, "bool")
    testing.allclose(run(tokens), run(tokens, { mask = ml.ne(tokens, 0) }))
    assert.is_true(ml.sum(ml.abs(run(tokens) - run(tokens, { mask = all }))):item() > 1e-3)
    local x = ml.input { nil, 4, dtype = "i64" }
    local model = ml.Model { inputs = x, outputs = run(x) }
    testing.allclose(model:predict(tokens), run(tokens))
    testing.allclose(ml.Sequential { embed, dense, lstm } (tokens), run(tokens))
  end)

  it("take Masking's word", function()
    local x = ml.tensor { { { 1, 2 }, { -1, -1 }, { -1, 3 } } }
    local masked = nn.Masking { mask_value = -1 }
    testing.equal(masked(x), { { { 1, 2 }, { 0, 0 }, { -1, 3 } } })
    local lstm = nn.LSTM { 2, return_sequences = true }
    testing.allclose(lstm(masked(x)), lstm(x, { mask = ml.tensor({ { true, false, true } }, "bool") }))
    testing.raises(function() masked(ml.ones { 2, 3 }) end, "Masking '.-': expected an input with axes %(batch, time, ...%)")
    testing.raises(function() lstm(x, { mask = ml.ones { 3 } }) end, "mask must be a tensor %(batch, time%)")
  end)

  it("train", function()
    local x = ml.input { nil, 4, dtype = "i64" }
    local h = nn.Embedding { 5, 6, mask_zero = true } (x)
    h = nn.Bidirectional { nn.LSTM { 4, return_sequences = true } } (h)
    h = nn.GRU { 3 } (h)
    local model = ml.Model { inputs = x, outputs = nn.Dense { 2 } (h) }
    model:compile { optimizer = "adam", loss = "sparse_categorical_crossentropy" }
    local tokens, labels = ml.tensor({ { 1, 2, 0, 0 }, { 3, 0, 0, 0 }, { 4, 3, 2, 1 } }, "i64"), ml.tensor({ 0, 1, 1 }, "i64")
    local first = model:train_on_batch(tokens, labels).loss
    for _ = 1, 30 do model:train_on_batch(tokens, labels) end
    assert.is_true(model:train_on_batch(tokens, labels).loss < first)
  end)
end)

describe("Bidirectional", function()
  it("is a proper layer", function()
    local lstm, gru = nn.LSTM { 3, return_sequences = true, dtype = "f64" }, nn.GRU { 3, dtype = "f64" }
    testing.check_layer(nn.Bidirectional, { lstm }, { 2, 4, 5 }, { 2, 4, 6 }, { weights = 6 })
    testing.check_layer(nn.Bidirectional, { gru, merge_mode = "ave" }, { 2, 4, 5 }, { 2, 3 }, { weights = 6 })
  end)

  it("merges as Keras does", function()
    local function of(mode)
      return with(nn.Bidirectional { nn.LSTM { 3, return_sequences = true }, merge_mode = mode }, both(LSTM))(X, { mask = MASK })
    end
    close(of("concat")[1], { { 0, 0, 0, 0, 0, 0 }, { 0.2378301, 0.2121498, 0.1508686, 0.1601205, 0.1360775, 0.0962136 },
      { 0, 0, 0, 0, 0, 0 }, { 0.0105186, -0.0179981, -0.0224406, 0.0048926, 0.0028994, 0.0051168 } })
    close(of("sum")[2], { { 0.3408539, 0.333132, 0.2954561 }, { 0.5541416, 0.5066401, 0.3922587 },
      { 0.4176701, 0.3279155, 0.1843843 }, ZERO })
    close(of("mul")[2][1], { 0.029044306, 0.027652007, 0.021517321 })
    close(of("ave")[1], { ZERO, { 0.1989753, 0.1741137, 0.1235411 }, ZERO, { 0.0077056, -0.0075494, -0.0086619 } })
    local a, b = of("none")
    close(ml.concat({ a, b }, -1), of("concat"))
  end)

  it("returns the states of both", function()
    local layer = with(nn.Bidirectional { nn.GRU { 3, return_state = true } }, both(GRU))
    local y, forward, backward = layer(X, { mask = MASK })
    close(forward, { { 0.1547183, 0.0736198, -0.0053606 }, { 0.2921402, 0.1824594, 0.0752912 } })
    close(backward, { { 0.1224065, 0.0741235, 0.0211426 }, { 0.113757, 0.0975855, 0.0767196 } })
    close(y, ml.concat({ forward, backward }, 2))
    local again = layer(X, { initial_state = { forward, backward } })
    close(again, ml.concat({ (with(nn.GRU { 3 }, GRU)(X, { initial_state = forward })),
      (with(nn.GRU { 3, go_backwards = true }, halved(GRU))(X, { initial_state = backward })) }, 2))
  end)

  it("names what is wrong", function()
    testing.raises(function() nn.Bidirectional { nn.Dense { 3 } } end, "must be an LSTM or a GRU")
    testing.raises(function() nn.Bidirectional { nn.GRU { 3 }, merge_mode = "max" } end, "merge_mode must be concat, sum, mul, ave")
    testing.raises(function() nn.Bidirectional { nn.GRU { 3 }, backward_layer = nn.GRU { 3 } } end, "different directions")
    testing.raises(function() nn.Bidirectional { nn.GRU { 3 } } (X, { initial_state = H }) end, "table of the states of both")
  end)
end)
