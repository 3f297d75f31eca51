--- Specs of the convolution layers: numbers against sums written out, channels first, errors.
local ml = require "moonlet"
local testing = require "moonlet.testing"
local nn = ml.nn

-- Numbers 1, 2, 3, .. in a shape.
local function counted(shape)
  local n = 1
  for _, size in ipairs(shape) do n = n * size end
  return ml.arange(1, n + 1):reshape(shape)
end

describe("convolutions", function()
  it("are proper layers", function()
    testing.check_layer(nn.Conv1D, { 3, 2 }, { 2, 7, 4 }, { 2, 6, 3 }, { weights = 2 })
    testing.check_layer(nn.Conv1D, { 3, 2, padding = "causal", dilation_rate = 2 }, { 2, 7, 4 }, { 2, 7, 3 })
    testing.check_layer(nn.Conv2D, { 3, 2, strides = 2, padding = "same" }, { 2, 7, 6, 4 }, { 2, 4, 3, 3 })
    testing.check_layer(nn.Conv2D, { 4, { 2, 3 }, groups = 2, use_bias = false }, { 2, 4, 5, 4 }, { 2, 3, 3, 4 }, { weights = 1 })
    testing.check_layer(nn.Conv3D, { 2, 2 }, { 1, 3, 4, 3, 2 }, { 1, 2, 3, 2, 2 })
    testing.check_layer(nn.Conv2DTranspose, { 3, 3, strides = 2, padding = "same" }, { 2, 4, 3, 2 }, { 2, 8, 6, 3 })
    testing.check_layer(nn.Conv2DTranspose, { 3, 2, strides = 2 }, { 1, 3, 3, 2 }, { 1, 6, 6, 3 })
    testing.check_layer(nn.DepthwiseConv2D, { 3, depth_multiplier = 2, padding = "same" }, { 2, 4, 3, 2 }, { 2, 4, 3, 4 })
  end)

  it("Conv1D slides a kernel over steps", function()
    local layer = nn.Conv1D { 1, 2 }
    layer(ml.zeros { 1, 4, 1 })
    layer:set_weights { ml.tensor { 10, 1 }:reshape { 2, 1, 1 }, { 0.5 } }
    testing.allclose(layer(counted { 1, 4, 1 }), { { { 12.5 }, { 23.5 }, { 34.5 } } })
  end)

  it("numbers as padding put so many zeros at both ends of each axis", function()
    testing.check_layer(nn.Conv2D, { 3, 3, strides = 2, padding = 1 }, { 2, 6, 5, 2 }, { 2, 3, 3, 3 })
    testing.check_layer(nn.DepthwiseConv2D, { 3, padding = { 1, 2 } }, { 2, 4, 3, 2 }, { 2, 4, 5, 2 })
    testing.check_layer(nn.Conv1D, { 2, 3, padding = { 2 } }, { 2, 4, 2 }, { 2, 6, 2 })
    testing.check_layer(nn.Conv2DTranspose, { 2, 3, padding = 1 }, { 2, 4, 4, 2 }, { 2, 4, 4, 2 })
    local x = ml.arange(9):reshape { 1, 3, 3, 1 }
    local layer = nn.Conv2D { 1, 3, strides = 2, padding = 1, kernel_initializer = "ones", use_bias = false }
    testing.allclose(layer(x):reshape { 2, 2 }, { { 8, 12 }, { 20, 24 } })
  end)

  it("Conv1D with causal padding sees no later step", function()
    local layer = nn.Conv1D { 1, 2, padding = "causal", use_bias = false }
    layer(ml.zeros { 1, 4, 1 })
    layer:set_weights { ml.tensor { 10, 1 }:reshape { 2, 1, 1 } }
    testing.allclose(layer(counted { 1, 4, 1 }), { { { 1 }, { 12 }, { 23 }, { 34 } } })
  end)

  it("Conv2D sums windows of all channels", function()
    local layer = nn.Conv2D { 1, 2, kernel_initializer = "ones", use_bias = false }
    -- x is 3 x 3 of two channels: pixel i holds 2 i - 1 and 2 i.
    testing.allclose(layer(counted { 1, 3, 3, 2 }), { { { { 44 }, { 60 } }, { { 92 }, { 108 } } } })
  end)

  it("Conv2D pads as Keras does: the odd one at the end", function()
    local layer = nn.Conv2D { 1, 2, padding = "same", kernel_initializer = "ones", use_bias = false }
    testing.allclose(layer(counted { 1, 2, 2, 1 }), { { { { 10 }, { 6 } }, { { 7 }, { 4 } } } })
  end)

  it("channels first is the same with axes moved", function()
    local x = counted { 2, 4, 5, 3 } / 100
    local last = nn.Conv2D { 2, 3, activation = "tanh" }
    local y = last(x)
    local first = nn.Conv2D { 2, 3, activation = "tanh", data_format = "channels_first" }
    first(x:transpose { 1, 4, 2, 3 })
    first:set_weights(last:get_weights())
    testing.allclose(first(x:transpose { 1, 4, 2, 3 }), y:transpose { 1, 4, 2, 3 })
    testing.check_layer(nn.Conv2D, { 3, { 2, 3 }, data_format = "channels_first" }, { 2, 4, 7, 6 }, { 2, 3, 6, 4 })
  end)

  it("Conv2DTranspose spreads each pixel over a window", function()
    local layer = nn.Conv2DTranspose { 1, 2, strides = 2, use_bias = false }
    layer(ml.zeros { 1, 2, 2, 1 })
    layer:set_weights { ml.tensor { 1, 2, 3, 4 }:reshape { 2, 2, 1, 1 } }
    testing.allclose(layer(counted { 1, 2, 2, 1 }):reshape { 4, 4 },
      { { 1, 2, 2, 4 }, { 3, 4, 6, 8 }, { 3, 6, 4, 8 }, { 9, 12, 12, 16 } })
    assert.same({ 2, 2, 1, 1 }, layer.kernel.shape)
  end)

  it("DepthwiseConv2D keeps channels apart", function()
    local layer = nn.DepthwiseConv2D { 1, depth_multiplier = 2, use_bias = false }
    layer(ml.zeros { 1, 1, 1, 2 })
    layer:set_weights { ml.tensor { 1, 10, 100, 1000 }:reshape { 1, 1, 2, 2 } }
    testing.allclose(layer(counted { 1, 1, 1, 2 }), { { { { 1, 10, 200, 2000 } } } })
  end)

  it("name what is wrong", function()
    testing.raises(function() nn.Conv2D { 8 } end,
      "Conv2D: kernel_size is missing; it must be an integer or a table of 2 integers, positive")
    testing.raises(function() nn.Conv2D { 8, { 3 } } end,
      "kernel_size must be an integer or a table of 2 integers, positive, got {3}")
    testing.raises(function() nn.Conv2D { 8, 0 } end, "kernel_size must be .*, got 0")
    testing.raises(function() nn.Conv2D { 8, 3, padding = "causal" } end,
      "padding must be 'valid', 'same' or an integer or a table of 2 integers")
    testing.raises(function() nn.Conv2D { 8, 3, padding = { 1, -1 } } end, "that is not negative, for both ends, got {1")
    testing.raises(function() nn.Conv2D { 8, 3, groups = 3 } end,
      "filters must be a multiple of groups, got 8 filters and 3 groups")
    testing.raises(function() nn.Conv2D { 8, 3, strides = 2, dilation_rate = 2 } end,
      "strides and dilation_rate cannot both be greater than 1")
    testing.raises(function() nn.Conv2D { 8, 3, name = "c" } (ml.ones { 2, 8, 8 }) end,
      "Conv2D 'c': expected an input with axes %(batch, height, width, channels%), got shape %(2, 8, 8%)")
    testing.raises(function() nn.Conv2D { 8, 3, name = "c", data_format = "channels_first" } (ml.ones { 2, 8, 8 }) end,
      "Conv2D 'c': expected an input with axes %(batch, channels, height, width%)")
    local layer = nn.Conv2D { 4, 3, groups = 2, name = "c" }
    testing.raises(function() layer(ml.ones { 2, 8, 8, 3 }) end,
      "the number of channels must be a multiple of groups, got 3 channels and 2 groups")
    layer = nn.Conv2D { 4, 3, name = "c" }
    layer(ml.ones { 1, 8, 8, 3 })
    testing.raises(function() layer(ml.ones { 1, 8, 8, 2 }) end, "was built for inputs of 3 channels, got shape %(1, 8, 8, 2%)")
    testing.raises(function() layer(ml.ones { 1, 2, 2, 3 }) end, "conv")
  end)
end)

describe("bias and activation of a convolution", function()
  it("are applied where it is computed: no launch of their own, no copy of the bias over the image", function()
    local model = ml.Sequential {
      ml.input { nil, 16, 16, 8 }, nn.Conv2D { 24, 5, activation = "relu" }, nn.DepthwiseConv2D { 3, activation = "relu6" },
    }
    local program = model:program("predict", ml.zeros { 2, 16, 16, 8 })
    assert.equal(2, program:stats().launches, program:explain())
  end)
end)
