--- Specs of batch, layer and root mean square normalization.
local ml = require "moonlet"
local testing = require "moonlet.testing"
local nn = ml.nn

describe("normalization", function()
  it("layers are proper layers", function()
    testing.check_layer(nn.BatchNormalization, {}, { 4, 5, 2 }, { 4, 5, 2 }, { weights = 4 })
    testing.check_layer(nn.BatchNormalization, { axis = 2 }, { 4, 5, 2 }, { 4, 5, 2 }, { training = true })
    testing.check_layer(nn.LayerNormalization, {}, { 4, 5, 3 }, { 4, 5, 3 }, { weights = 2 })
    testing.check_layer(nn.LayerNormalization, { axis = { -2, -1 }, scale = false }, { 4, 5, 3 }, { 4, 5, 3 }, { weights = 1 })
    testing.check_layer(nn.LayerNormalization, { axis = 2 }, { 4, 5, 3 }, { 4, 5, 3 })
    testing.check_layer(nn.RMSNormalization, {}, { 4, 5, 3 }, { 4, 5, 3 }, { weights = 1 })
  end)
end)

describe("nn.BatchNormalization", function()
  local x = ml.tensor { { 1, 10 }, { 3, 30 } }
  local function off(variance) return 1 / math.sqrt(variance + 1e-3) end

  it("takes the statistics of the batch in training, and moves the averages", function()
    local layer = nn.BatchNormalization { momentum = 0.9 }
    local y = layer(x, { training = true })
    testing.allclose(y, { { -off(1), -10 * off(100) }, { off(1), 10 * off(100) } })
    testing.allclose(layer.moving_mean:read(), { 0.2, 2 })
    testing.allclose(layer.moving_variance:read(), { 0.9 + 0.1, 0.9 + 10 })
  end)

  it("takes the averages in inference, and leaves them", function()
    local layer = nn.BatchNormalization {}
    layer(x)
    layer:set_weights { { 2, 3 }, { 0.5, -0.5 }, { 1, 20 }, { 4, 25 } }
    local y = layer(x)
    testing.allclose(y, { { 0.5, -0.5 - 30 * off(25) }, { 0.5 + 4 * off(4), -0.5 + 30 * off(25) } })
    testing.equal(layer.moving_mean:read(), { 1, 20 })
  end)

  it("does both in one model: fit moves, predict does not", function()
    local input = ml.input { nil, 2 }
    local layer = nn.BatchNormalization { momentum = 0.5 }
    local model = ml.Model { inputs = input, outputs = layer(input) }
    testing.allclose(model:predict(x), { { off(1), 10 * off(1) }, { 3 * off(1), 30 * off(1) } })
    testing.equal(layer.moving_mean:read(), { 0, 0 })
    model:compile { optimizer = ml.optim.SGD { lr = 0 }, loss = "mse" }
    model:fit(x, x, { batch_size = 2, shuffle = false, verbose = 0 })
    testing.allclose(layer.moving_mean:read(), { 1, 10 })
    testing.allclose(layer.moving_variance:read(), { 1, 50.5 })
    model:evaluate(x, x)
    testing.allclose(layer.moving_mean:read(), { 1, 10 })
  end)

  it("twice in one graph moves twice in training and never in inference", function()
    local input = ml.input { nil, 1 }
    local layer = nn.BatchNormalization { momentum = 0.5 }
    local model = ml.Model { inputs = input, outputs = layer(layer(input) + 5) }
    local ones = ml.tensor { { 1 }, { 3 } }
    testing.allclose(model:predict(ones), { { (off(1) + 5) * off(1) }, { (3 * off(1) + 5) * off(1) } })
    model:compile { optimizer = ml.optim.SGD { lr = 0 }, loss = "mse" }
    model:train_on_batch(ones, ones)
    testing.allclose(layer.moving_mean:read(), { (0 + 2) / 4 + 5 / 2 }, { rtol = 1e-4 })
  end)

  it("that does not train keeps its statistics", function()
    local layer = nn.BatchNormalization { trainable = false }
    layer(x, { training = true })
    testing.equal(layer.moving_mean:read(), { 0, 0 })
  end)

  it("names what is wrong", function()
    testing.raises(function() nn.BatchNormalization { momentum = 2 } end, "momentum must be a number from 0 to 1, got 2")
    testing.raises(function() nn.BatchNormalization { axis = 0 } end, "axis must be an axis: an integer, counted from 1")
    testing.raises(function() nn.BatchNormalization { axis = 4, name = "b" } (x) end,
      "BatchNormalization 'b': axis 4 is not an axis of an input of shape %(2, 2%)")
    local layer = nn.BatchNormalization { name = "b" }
    layer(x)
    testing.raises(function() layer(ml.ones { 2, 3 }) end, "was built for 2 channels on axis %-1, got shape %(2, 3%)")
  end)
end)

describe("nn.LayerNormalization", function()
  it("brings each sample to mean 0 and deviation 1", function()
    local y = nn.LayerNormalization { epsilon = 0 } { { 1, 3 }, { 10, 30 } }
    testing.allclose(y, { { -1, 1 }, { -1, 1 } })
  end)

  it("scales and shifts", function()
    local layer = nn.LayerNormalization { epsilon = 0 }
    layer { { 1, 3 } }
    layer:set_weights { { 2, 3 }, { 0.5, 1 } }
    testing.allclose(layer { { 1, 3 } }, { { -1.5, 4 } })
  end)

  it("works over axes that are not the last", function()
    local y = nn.LayerNormalization { axis = 2, epsilon = 0 } (ml.tensor { { { 1, 5 }, { 3, 9 } } })
    testing.allclose(y, { { { -1, -1 }, { 1, 1 } } })
  end)
end)

describe("nn.RMSNormalization", function()
  it("divides by the root mean square", function()
    testing.allclose(nn.RMSNormalization { epsilon = 0 } { { 3, 4 } }, { { 3 / math.sqrt(12.5), 4 / math.sqrt(12.5) } })
  end)
end)
