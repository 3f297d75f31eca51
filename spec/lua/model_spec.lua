--- Specs of ml.input, ml.Model and ml.Sequential: graphs, names, layers, calls, summary.
local ml = require "moonlet"
local testing = require "moonlet.testing"
local nn = ml.nn

local function names(model)
  local list = {}
  for i, v in ipairs(model.variables) do list[i] = v.name end
  return list
end

local function layer_names(model)
  local list = {}
  for i, layer in ipairs(model.layers) do list[i] = layer.name end
  return list
end

describe("ml.input", function()
  it("makes symbols of unknown sizes", function()
    assert.equal("Symbol 'image' f32 (?, 8, 8, 1)", tostring(ml.input { nil, 8, 8, 1, name = "image" }))
    local x = ml.input { nil, nil, 3, name = "words", dtype = "i32" }
    assert.equal("i32", x.dtype)
    assert.equal("Symbol 'words' i32 (?, words.2, 3)", tostring(x))
    assert.equal(3, #ml.input { 2, ml.dim "time", 4 }.shape)
    assert.equal(0, #ml.input { shape = {} }.shape)
  end)

  it("names what is wrong", function()
    testing.raises(function() ml.input(3) end, "ml.input: expected a table of sizes, as in ml.input { nil, 4 }, got 3")
    testing.raises(function() ml.input { nil, -4, name = "x" } end,
      "ml.input 'x': size 2 must be a whole number, nil, a name or ml.dim, got %-4")
    testing.raises(function() ml.input { nil, 4, dtyp = "i32" } end, "ml.input: unknown option 'dtyp'; known: dtype, name, shape")
    testing.raises(function() ml.input { nil, 4, dtype = "float" } end, "ml.input: dtype must be a dtype")
    testing.raises(function() ml.input {} end, "at least one size is expected, and the last one must not be nil")
  end)
end)

describe("ml.Model", function()
  local function make()
    local x = ml.input { nil, 4 }
    local h = nn.Dense { 3, activation = "relu" } (x)
    h = nn.Dropout { 0.5 } (h)
    return ml.Model { inputs = x, outputs = nn.Dense { 2 } (h) }
  end

  it("numbers automatic names from 1, also the second time", function()
    for _ = 1, 2 do
      local model = make()
      assert.same({ "dense_1/kernel", "dense_1/bias", "dense_2/kernel", "dense_2/bias" }, names(model))
      assert.same({ "dense_1", "dropout_1", "dense_2" }, layer_names(model))
      assert.is_truthy(model:graph():text():find('input "input_1"', 1, true))
    end
  end)

  it("finds layers behind ops that are no layers", function()
    local x = ml.input { nil, 4 }
    local a = nn.Dense { 4, name = "a" } (x)
    local b = ml.tanh(a + x) * 2
    local model = ml.Model { inputs = x, outputs = nn.Dense { 1, name = "b" } (b) }
    assert.same({ "a", "b" }, layer_names(model))
  end)

  it("keeps given names beside automatic ones, and refuses two of one name", function()
    local x = ml.input { nil, 4 }
    local model = ml.Model { inputs = x, outputs = nn.Dense { 2 } (nn.Dense { 3, name = "dense_1" } (x)) }
    assert.same({ "dense_1", "dense_2" }, layer_names(model))
    local y = nn.Dense { 2, name = "same" } (nn.Dense { 3, name = "same" } (x))
    testing.raises(function() ml.Model { inputs = x, outputs = y, name = "m" } end, "Model 'm': two layers have the name 'same'")
  end)

  it("computes what its layers compute, whatever the batch", function()
    local model = make()
    local x = ml.randn { 5, 4 }
    local expected = model.layers[3](model.layers[1](x))
    testing.allclose(model(x), expected)
    testing.allclose(model:predict(x), expected)
    testing.allclose(model:predict(x, { batch_size = 2 }), expected)
    testing.allclose(model(x:slice(1, 1, 1)), expected:slice(1, 1, 1))
  end)

  it("shares layers that are called twice", function()
    local x = ml.input { nil, 3 }
    local layer = nn.Dense { 3 }
    local model = ml.Model { inputs = x, outputs = layer(layer(x)) }
    assert.equal(2, #model.variables)
    assert.equal(1, #model.layers)
    local t = ml.randn { 2, 3 }
    testing.allclose(model:predict(t), layer(layer(t)))
  end)

  it("takes several inputs by position or by name, and gives several outputs", function()
    local a, b = ml.input { nil, 2, name = "a" }, ml.input { nil, 2, name = "b" }
    local model = ml.Model { inputs = { a, b }, outputs = { nn.Add {} { a, b }, nn.Subtract {} { a, b } } }
    local x, y = ml.tensor { { 1, 2 } }, ml.tensor { { 5, 5 } }
    local out = model:predict { x, y }
    testing.equal(out[1], { { 6, 7 } })
    testing.equal(out[2], { { -4, -3 } })
    testing.equal(model { x, y }[1], { { 6, 7 } })
    testing.equal(model:predict { b = y, a = x }[2], { { -4, -3 } })
    testing.raises(function() model:predict { x } end, "takes 2 inputs, got 1")
    testing.raises(function() model:predict(x) end, "takes 2 inputs, got one tensor")
    local named = ml.Model { inputs = { p = a, q = b }, outputs = { s = a + b } }
    testing.equal(named:predict { p = x, q = y }.s, { { 6, 7 } })
  end)

  it("can be a layer of another model, with its own mode", function()
    local inner = make()
    local x = ml.input { nil, 4 }
    local outer = ml.Model { inputs = x, outputs = nn.Dense { 1 } (inner(x * 2)) }
    assert.equal(6, #outer.variables)
    local t = ml.randn { 3, 4 }
    testing.allclose(outer:predict(t), outer.layers[2](inner(t * 2)))
    assert.equal(inner.layers[1], outer:get_layer(inner.name .. "/dense_1"))
  end)

  it("is called in a mode inside ml.fn", function()
    local x = ml.input { nil, 40 }
    local model = ml.Model { inputs = x, outputs = nn.Dropout { 0.5 } (x) }
    local f = ml.fn(function(t) return model(t), model(t, { training = true }), model(t, { training = false }) end)
    local ones = ml.ones { 2, 40 }
    local a, b, c = f(ones)
    testing.equal(a, ones)
    testing.equal(c, ones)
    assert.equal(0, b:min():item())
    assert.equal(0, model(ones, { training = true }):min():item())
  end)

  it("knows variables that were used between layers", function()
    local w = ml.variable({ 1, 2 }, { name = "scale" })
    local x = ml.input { nil, 2 }
    local model = ml.Model { inputs = x, outputs = nn.Dense { 1 } (x * w) }
    assert.equal(3, #model.variables)
    model:compile { optimizer = ml.optim.SGD { lr = 0.1 }, loss = "mse" }
    model:train_on_batch(ml.ones { 2, 2 }, ml.ones { 2, 1 } * 9)
    assert.is_true((w:read() - ml.tensor { 1, 2 }):abs():max():item() > 0)
  end)

  it("works with sizes that are known late", function()
    local x = ml.input { nil, ml.dim "time", 3 }
    local model = ml.Model { inputs = x, outputs = nn.GlobalAveragePool1D {} (x) }
    testing.allclose(model:predict(ml.ones { 2, 4, 3 }), ml.ones { 2, 3 })
    testing.allclose(model:predict(ml.ones { 2, 7, 3 }), ml.ones { 2, 3 })
  end)

  it("casts data to the dtype of its inputs", function()
    local model = make()
    local x = ml.tensor({ { 1, 2, 3, 4 } }, "i32")
    testing.allclose(model:predict(x), model:predict(x:cast "f32"))
    testing.allclose(model:predict(x:cast "f64"), model:predict(x:cast "f32"))
    testing.allclose(model:predict { { 1, 2, 3, 4 } }, model:predict(x))
  end)

  it("gives layers by name", function()
    local model = make()
    assert.equal(model.layers[3], model:get_layer "dense_2")
    testing.raises(function() model:get_layer "dense_9" end, "no layer 'dense_9'; there are: dense_1, dropout_1, dense_2")
  end)

  it("prints a summary", function()
    local lines = {}
    local model = make()
    model:summary { print = function(line) lines[#lines + 1] = line end }
    local text = table.concat(lines, "\n")
    for _, part in ipairs { "Model '" .. model.name .. "'", "input_1 %(input%) +%(%?, 4%) +0", "dense_1 %(Dense%) +%(%?, 3%) +15",
      "dropout_1 %(Dropout%) +%(%?, 3%) +0", "dense_2 %(Dense%) +%(%?, 2%) +8", "Total: 23 weights %(92 B%), 23 of them train" } do
      assert.is_truthy(text:find(part), part .. " is not in\n" .. text)
    end
  end)

  it("gives its graph and programs", function()
    local model = make()
    assert.is_truthy(model:graph():text():find "matmul")
    model:compile { optimizer = "adam", loss = "mse" }
    local x, y = ml.ones { 2, 4 }, ml.zeros { 2, 2 }
    local program = model:program("predict", x)
    testing.allclose(program:run { x }, model:predict(x))
    assert.is_true(model:program("train", x, y):stats().launches > 0)
    assert.is_truthy(model:step_graph("train", x, y):text():find "assign")
    testing.raises(function() model:program("fit", x) end, "the first argument must be 'train', 'test' or 'predict', got 'fit'")
  end)

  it("names what is wrong", function()
    local x = ml.input { nil, 4, name = "x" }
    testing.raises(function() ml.Model { inputs = x } end, "Model: outputs is missing")
    testing.raises(function() ml.Model(3) end, "Model: expected one table, as in ml.Model { inputs = x, outputs = y }, got 3")
    testing.raises(function() ml.Model { inputs = ml.ones { 1 }, outputs = x } end,
      "inputs must be symbols, made from ml.input; got a tensor")
    testing.raises(function() ml.Model { inputs = ml.input { nil, 2 }, outputs = x * 2 } end,
      "outputs depend on input 'x', which is not among the inputs")
    local model = make()
    testing.raises(function() model:predict(ml.ones { 2, 5 }) end, "input 'input_1' takes shape %(%?, 4%), got %(2, 5%)")
    testing.raises(function() model:predict() end, "predict: the data is missing")
    testing.raises(function() model:predict(ml.ones { 2, 4 }, { batch = 3 }) end,
      "predict: unknown option 'batch'; known: batch_size")
  end)
end)

describe("ml.Sequential", function()
  it("builds when it is first called, or at once from an input", function()
    local model = ml.Sequential { nn.Dense { 3, activation = "relu" }, nn.Dense { 2 } }
    assert.equal(0, #model.variables)
    assert.same({ 4, 2 }, model:predict(ml.ones { 4, 5 }).shape)
    assert.same({ "dense_1/kernel", "dense_1/bias", "dense_2/kernel", "dense_2/bias" }, names(model))
    local early = ml.Sequential { ml.input { nil, 5 }, nn.Dense { 3 } }
    assert.equal(2, #early.variables)
  end)

  it("is called on tensors, symbols and inside functions", function()
    local model = ml.Sequential { nn.Dense { 3 }, nn.Activation { "tanh" } }
    local x = ml.randn { 2, 4 }
    local y = model(x)
    testing.allclose(model:predict(x), y)
    testing.allclose(ml.fn(function(t) return model(t) end)(x), y)
    local input = ml.input { nil, 4 }
    testing.allclose(ml.Model { inputs = input, outputs = model(input) }:predict(x), y)
  end)

  it("takes functions as layers, and models", function()
    local model = ml.Sequential { function(x) return x * 2 end, ml.Sequential { nn.Dense { 1, kernel_initializer = "ones" } } }
    testing.allclose(model:predict { { 1, 2 } }, { { 6 } })
  end)

  it("grows by add and shrinks by pop, until it is called", function()
    local model = ml.Sequential { name = "s" }
    model:add(nn.Dense { 3 })
    model:add(nn.Dense { 2 })
    model:pop()
    assert.same({ 1, 3 }, model:predict(ml.ones { 1, 2 }).shape)
    testing.raises(function() model:add(nn.Dense { 2 }) end, "Sequential 's': layers cannot be added after the model was called")
    testing.raises(function() model:pop() end, "layers cannot be taken off after the model was called")
  end)

  it("has a graph and can be saved once it was called on data", function()
    for _, x in ipairs { ml.ones { 2, 3 }, ml.ones({ 2, 3 }, "i32") } do
      local m = ml.Sequential { nn.Dense { 3 }, nn.Dense { 2 } }
      local want = m(x)
      assert.equal(x.dtype, m:graph():inputs()[1].dtype)
      testing.equal(ml.deserialize(m:serialize()):predict(x), want)
    end
  end)

  it("names what is wrong", function()
    testing.raises(function() ml.Sequential { 3, name = "s" } end, "Sequential 's': entry 1 must be a layer, got 3")
    testing.raises(function() ml.Sequential(3) end,
      "Sequential: expected a table of layers, as in ml.Sequential { nn.Dense { 3 } }, got 3")
    testing.raises(function() ml.Sequential { nn.Dense { 3 }, nam = "s" } end,
      "Sequential: unknown option 'nam'; known: name, trainable")
    testing.raises(function() ml.Sequential { name = "s" } (ml.ones { 1, 2 }) end, "Sequential 's': has no layers")
    testing.raises(function() ml.Sequential { nn.Dense { 3 }, name = "s" }:graph() end,
      "has no graph yet: call it on data once, or fit it")
  end)
end)
