--- Specs of what all layers share: names, arguments, building, modes, weights.
local ml = require "moonlet"
local testing = require "moonlet.testing"
local nn = ml.nn

describe("layers", function()
  it("name themselves by class and number, and keep a given name", function()
    assert.is_truthy(nn.Dense { 3 }.name:match "^dense_%d+$")
    assert.is_truthy(nn.Conv2DTranspose { 3, 2 }.name:match "^conv2d_transpose_%d+$")
    assert.is_truthy(nn.MaxPool2D {}.name:match "^max_pool2d_%d+$")
    assert.is_truthy(nn.LSTM { 2 }.name:match "^lstm_%d+$")
    assert.is_truthy(nn.RMSNormalization {}.name:match "^rms_normalization_%d+$")
    assert.equal("head", nn.Dense { 3, name = "head" }.name)
    assert.equal("Dense 'head'", tostring(nn.Dense { 3, name = "head" }))
  end)

  it("say who was called, what came and what was expected", function()
    testing.raises(function() nn.Dense { -3, name = "head" } end,
      "layer_spec.lua:%d+: Dense 'head': units must be a positive integer, got %-3$")
    testing.raises(function() nn.Dense {} end, "Dense: units is missing; it must be a positive integer")
    testing.raises(function() nn.Dense { 3, 4 } end, "Dense: takes one value without a name, got 2")
    testing.raises(function() nn.Dense { 3, units = 4 } end, "Dense: units is given twice, at place 1 and by name")
    testing.raises(function() nn.Dense(3) end, "Dense: expected one table of arguments, as in Dense { ... }, got 3")
    testing.raises(function() nn.Dense { 3, unit = 4 } end, "Dense: unknown option 'unit'; known: activation, bias_initializer, " ..
      "dtype, dtype_policy, kernel_initializer, name, trainable, units, use_bias")
    testing.raises(function() nn.Dense { 3, activation = "rellu" } end,
      "Dense: unknown activation 'rellu'; known: elu, exponential")
    testing.raises(function() nn.Dense { 3, kernel_initializer = "glorot" } end,
      "Dense: unknown initializer 'glorot'; known: constant")
    testing.raises(function() nn.Dense { 3, dtype = "i32" } end, "Dense: dtype must be 'f32' or 'f64', got 'i32'")
    testing.raises(function() nn.Dense { 3, trainable = 1 } end, "Dense: trainable must be true or false, got 1")
    testing.raises(function() nn.Dense { 3, name = "" } end, "name must be a string that is not empty, got ''")
  end)

  it("refuse inputs that are no tensors, and options that are no table", function()
    local layer = nn.Dense { 3, name = "head" }
    testing.raises(function() layer(nil) end, "Dense 'head': expected a tensor or a table of tensors, got nothing")
    testing.raises(function() layer "x" end, "Dense 'head': expected a tensor or a table of tensors, got 'x'")
    testing.raises(function() layer(ml.ones { 1, 2 }, true) end,
      "Dense 'head': the second argument must be a table of options such as { training = true }, got true")
    testing.raises(function() layer(ml.ones { 1, 2 }, { training = 1 }) end, "training must be true or false, got 1")
  end)

  it("take plain tables of numbers", function()
    local layer = nn.Dense { 1, kernel_initializer = "ones" }
    testing.allclose(layer { { 1, 2 }, { 3, 4 } }, { { 3 }, { 7 } })
  end)

  it("are built once, and refuse inputs of another size", function()
    local layer = nn.Dense { 3, name = "head" }
    assert.is_false(layer.built)
    layer(ml.ones { 2, 5 })
    assert.is_true(layer.built)
    testing.raises(function() layer(ml.ones { 2, 4 }) end,
      "Dense 'head': was built for inputs whose last axis is 5, got shape %(2, 4%)")
    assert.equal(2, #layer.variables)
  end)

  it("need known sizes where weights depend on them", function()
    local x = ml.input { nil, ml.dim "time" }
    testing.raises(function() nn.Dense { 3, name = "head" } (x) end,
      "Dense 'head': the last axis must be known to make weights, got shape %(%?, time%)")
  end)

  it("leave the path and the mode as they were after an error", function()
    local Broken = nn.Layer:extend "Broken"
    function Broken:call() error "oh" end
    local x = ml.input { nil, 2 }
    pcall(function() Broken {} (x, { training = true }) end)
    local y = nn.Dense { 2, name = "after" } (x)
    assert.equal("after", y.path)
    assert.is_nil(require("moonlet.mode").get())
  end)

  it("give weights by name, count, and copies", function()
    local layer = nn.Dense { 3, name = "head" }
    layer(ml.ones { 2, 5 })
    assert.equal("head/kernel", layer.variables[1].name)
    assert.equal("head/bias", layer.variables[2].name)
    assert.equal(18, (layer:count_params()))
    local weights = layer:get_weights()
    testing.equal(weights[2], { 0, 0, 0 })
    layer:set_weights { weights[1], { 1, 2, 3 } }
    testing.equal(layer.variables[2]:read(), { 1, 2, 3 })
    testing.raises(function() layer:set_weights { weights[1] } end, "set_weights needs a table of 2 tensors, got 1")
    testing.raises(function() layer:set_weights { weights[1], { 1, 2 } } end, "weight 'head/bias' has shape %(3,%), got %(2,%)")
  end)

  it("have trainable weights only while they train", function()
    local layer = nn.BatchNormalization {}
    layer(ml.ones { 2, 5 })
    assert.equal(4, #layer.variables)
    assert.equal(2, #layer.trainable_variables)
    assert.equal(2, #layer.non_trainable_variables)
    layer.trainable = false
    assert.equal(0, #layer.trainable_variables)
    assert.equal(4, #layer.non_trainable_variables)
  end)

  it("can be written by users", function()
    local Scale = nn.Layer:extend("Scale", { { "start", "number", default = 2 } })
    function Scale:build(shape) self.factor = self:add_weight("factor", { shape[#shape] }, { initializer = "ones" }) end
    function Scale:call(x) return x * self.factor * self.start end
    testing.allclose(Scale { start = 3 } { { 1, 2 } }, { { 3, 6 } })
    assert.is_truthy(Scale {}.name:match "^scale_%d+$")
    testing.check_layer(Scale, {}, { 2, 3 }, { 2, 3 }, { weights = 1 })
    testing.raises(function() Scale { stop = 3 } end,
      "Scale: unknown option 'stop'; known: dtype, dtype_policy, name, start, trainable")
  end)

  it("may hand several results on", function()
    local Two = nn.Layer:extend "Two"
    function Two:call(x) return x + 1, x + 2 end
    local a, b = Two {} { 1 }
    testing.equal(a, { 2 })
    testing.equal(b, { 3 })
  end)

  it("are all listed", function()
    for _, name in ipairs { "Dense", "Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "DepthwiseConv2D", "MaxPool1D", "MaxPool2D",
      "MaxPool3D", "MaxPooling2D", "AveragePool1D", "AveragePooling2D", "AveragePool3D", "GlobalMaxPool1D", "GlobalMaxPooling2D",
      "GlobalMaxPool3D", "GlobalAveragePool1D", "GlobalAveragePooling2D", "GlobalAveragePool3D", "Flatten", "Reshape",
      "Activation", "Dropout", "BatchNormalization", "LayerNormalization", "RMSNormalization", "Embedding", "LSTM", "GRU",
      "MultiHeadAttention", "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Lambda", "Layer",
      "module" } do
      assert.is_truthy(nn[name], name)
    end
    assert.is_nil(nn.Nothing)
  end)
end)
