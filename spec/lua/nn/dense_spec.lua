--- Specs of nn.Dense.
local ml = require "moonlet"
local testing = require "moonlet.testing"
local nn = ml.nn

describe("nn.Dense", function()
  it("is a proper layer", function()
    testing.check_layer(nn.Dense, { 3 }, { 2, 5 }, { 2, 3 }, { weights = 2 })
    testing.check_layer(nn.Dense, { 3, activation = "tanh", use_bias = false }, { 2, 4, 5 }, { 2, 4, 3 }, { weights = 1 })
  end)

  it("computes activation(x kernel + bias)", function()
    local layer = nn.Dense { 2, activation = "relu" }
    layer(ml.zeros { 1, 3 })
    layer:set_weights { { { 1, -1 }, { 2, 0 }, { 3, 1 } }, { 0.5, -0.5 } }
    testing.allclose(layer { { 1, 1, 1 }, { -1, 0, 1 } }, { { 6.5, 0 }, { 2.5, 1.5 } })
  end)

  it("has Keras's shapes under path names", function()
    local layer = nn.Dense { 7, name = "d" }
    layer(ml.zeros { 1, 4 })
    assert.same({ 4, 7 }, layer.kernel.shape)
    assert.same({ 7 }, layer.bias.shape)
  end)

  it("wants a batch axis", function()
    testing.raises(function() nn.Dense { 2, name = "d" } (ml.ones { 3 }) end,
      "Dense 'd': expected an input with axes %(batch, ..., d%), got shape %(3,%)")
    testing.raises(function() nn.Dense { 2, name = "d" } { ml.ones { 1, 3 }, ml.ones { 1, 3 } } end,
      "Dense 'd': expected one input, got a table of 2")
  end)

  it("takes an activation as a function", function()
    local layer = nn.Dense { 1, kernel_initializer = "ones", activation = function(x) return x * x end }
    testing.allclose(layer { { 1, 2 } }, { { 9 } })
  end)
end)
