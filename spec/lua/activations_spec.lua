--- Specs of activations by name, against their definitions.
local ml = require "moonlet"
local testing = require "moonlet.testing"

local function sigmoid(x) return 1 / (1 + math.exp(-x)) end
local function tanh(x) return 1 - 2 / (math.exp(2 * x) + 1) end
local function softplus(x) return math.log(1 + math.exp(x)) end

local DEFINITIONS = {
  linear = function(x) return x end,
  relu = function(x) return math.max(x, 0) end,
  relu6 = function(x) return math.min(math.max(x, 0), 6) end,
  sigmoid = sigmoid,
  tanh = tanh,
  softplus = softplus,
  softsign = function(x) return x / (1 + math.abs(x)) end,
  exponential = math.exp,
  elu = function(x) return x > 0 and x or math.exp(x) - 1 end,
  selu = function(x) return 1.0507009873554805 * (x > 0 and x or 1.6732632423543772 * (math.exp(x) - 1)) end,
  silu = function(x) return x * sigmoid(x) end,
  swish = function(x) return x * sigmoid(x) end,
  mish = function(x) return x * tanh(softplus(x)) end,
  leaky_relu = function(x) return x > 0 and x or 0.2 * x end,
  hard_sigmoid = function(x) return math.min(math.max(x / 6 + 0.5, 0), 1) end,
  hard_silu = function(x) return x * math.min(math.max(x / 6 + 0.5, 0), 1) end,
  log_sigmoid = function(x) return -softplus(-x) end,
}

describe("activations", function()
  local xs = { -7, -3, -0.5, 0, 0.25, 2, 6.5 }

  for name, f in pairs(DEFINITIONS) do
    it(name, function()
      local expected = {}
      for i, x in ipairs(xs) do expected[i] = f(x) end
      testing.allclose(ml.activations[name](ml.tensor(xs)), expected, { rtol = 2e-5, atol = 1e-6 })
    end)
  end

  it("gelu is x times the normal distribution function", function()
    testing.allclose(ml.activations.gelu(ml.tensor { -1, 0, 1 }), { -0.15865525, 0, 0.84134475 }, { rtol = 1e-5 })
  end)

  it("softmax sums to 1 along the last axis", function()
    local e = math.exp(1)
    local small, large = 1 / (1 + e), e / (1 + e)
    testing.allclose(ml.activations.softmax(ml.tensor { { 0, 1 }, { 1, 0 } }), { { small, large }, { large, small } })
    testing.allclose(ml.activations.log_softmax(ml.tensor { { 0, 1 } }), { { -math.log(1 + e), 1 - math.log(1 + e) } })
  end)

  it("are found by name, and say which names there are", function()
    testing.raises(function() ml.nn.Activation { "rel" } end, "Activation: unknown activation 'rel'; known: elu, exponential, gelu")
    testing.raises(function() ml.nn.Activation { 3 } end, "activation must be a name or a function, got 3")
  end)
end)
