--- Specs of the pooling layers.
local ml = require "moonlet"
local testing = require "moonlet.testing"
local nn = ml.nn

local function counted(shape)
  local n = 1
  for _, size in ipairs(shape) do n = n * size end
  return ml.arange(1, n + 1):reshape(shape)
end

describe("pooling", function()
  it("layers are proper layers", function()
    testing.check_layer(nn.MaxPool1D, { 2, padding = "same" }, { 2, 5, 2 }, { 2, 3, 2 })
    testing.check_layer(nn.MaxPool2D, { 2 }, { 2, 4, 6, 2 }, { 2, 2, 3, 2 })
    testing.check_layer(nn.MaxPool3D, { 2 }, { 1, 2, 4, 4, 1 }, { 1, 1, 2, 2, 1 })
    testing.check_layer(nn.AveragePool1D, { 3, strides = 1 }, { 2, 5, 2 }, { 2, 3, 2 })
    testing.check_layer(nn.AveragePool2D, { 2, padding = "same" }, { 2, 5, 6, 2 }, { 2, 3, 3, 2 })
    testing.check_layer(nn.AveragePool3D, { 2, data_format = "channels_first" }, { 1, 2, 2, 4, 4 }, { 1, 2, 1, 2, 2 })
    testing.check_layer(nn.GlobalMaxPool2D, {}, { 2, 5, 6, 2 }, { 2, 2 })
    testing.check_layer(nn.GlobalAveragePool1D, { keepdims = true }, { 2, 5, 2 }, { 2, 1, 2 })
    testing.check_layer(nn.GlobalAveragePool3D, { data_format = "channels_first" }, { 2, 3, 2, 2, 2 }, { 2, 3 })
  end)

  it("MaxPool2D takes the largest of each window", function()
    testing.equal(nn.MaxPool2D {} (counted { 1, 4, 4, 1 }), { { { { 6 }, { 8 } }, { { 14 }, { 16 } } } })
  end)

  it("numbers as padding count for nothing", function()
    testing.check_layer(nn.MaxPool2D, { 3, strides = 2, padding = 1 }, { 2, 6, 5, 2 }, { 2, 3, 3, 2 })
    local x = counted { 1, 3, 3, 1 }
    testing.allclose(nn.MaxPool2D { 3, strides = 2, padding = 1 } (x - 100):reshape { 4 } + 100, { 5, 6, 8, 9 })
    testing.raises(function() nn.MaxPool2D { 2, padding = 1.5 } end, "padding must be 'valid', 'same' or an integer")
  end)

  it("AveragePool2D does not count padding", function()
    testing.allclose(nn.AveragePool2D { 2, padding = "same" } (counted { 1, 3, 3, 1 }),
      { { { { 3 }, { 4.5 } }, { { 7.5 }, { 9 } } } })
  end)

  it("global pooling reduces all but batch and channels", function()
    testing.allclose(nn.GlobalAveragePool2D {} (counted { 1, 2, 2, 2 }), { { 4, 5 } })
    testing.equal(nn.GlobalMaxPool2D { data_format = "channels_first" } (counted { 1, 2, 2, 2 }), { { 4, 8 } })
  end)

  it("has Keras's long names too", function()
    assert.equal(nn.MaxPool2D, nn.MaxPooling2D)
    assert.equal(nn.AveragePool1D, nn.AveragePooling1D)
    assert.equal(nn.GlobalAveragePool3D, nn.GlobalAveragePooling3D)
  end)

  it("names what is wrong", function()
    testing.raises(function() nn.MaxPool2D { 0 } end, "MaxPool2D: pool_size must be")
    testing.raises(function() nn.MaxPool2D { 2, name = "p" } (ml.ones { 1, 4, 4 }) end,
      "MaxPool2D 'p': expected an input with axes %(batch, height, width, channels%), got shape %(1, 4, 4%)")
    testing.raises(function() nn.GlobalMaxPool1D { name = "p" } (ml.ones { 1, 4 }) end,
      "GlobalMaxPool1D 'p': expected an input with axes %(batch, steps, channels%), got shape %(1, 4%)")
  end)
end)
