--- Spec of a layer of your own: `busted examples/swish_layer_spec.lua`.
local ml = require "moonlet"
local testing = require "moonlet.testing"
local Swish = require "examples.swish_layer"

describe("Swish", function()
  testing.each { seed = 1, leaks = true }

  it("is a proper layer", function()
    testing.check_layer(Swish, {}, { 2, 5 }, { 2, 5 }, { weights = 1 })
    testing.check_layer(Swish, { slope = 3 }, { 2, 4, 4, 3 }, { 2, 4, 4, 3 })
  end)

  it("computes x * sigmoid(slope * x)", function()
    local x = ml.tensor { { -1, 0, 2 } }
    testing.allclose(Swish { slope = 2 } (x), { { -1 / (1 + math.exp(2)), 0, 2 / (1 + math.exp(-4)) } })
  end)

  it("names what is wrong with its arguments", function()
    testing.raises(function() Swish { slope = "steep" } end, "Swish: slope must be a number, got 'steep'")
    testing.raises(function() Swish { slop = 1 } end, "unknown option 'slop'; known: dtype, dtype_policy, name, slope, trainable")
  end)
end)
