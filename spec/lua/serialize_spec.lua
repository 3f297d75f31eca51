--- Specs of saving and loading: models, weights, optimizers, files that do not fit.
local ml = require "moonlet"
local core = require "moonlet.core"
local testing = require "moonlet.testing"
local nn = ml.nn

local paths = {}
local function path()
  local name = os.tmpname()
  paths[#paths + 1] = name
  return name
end

local function make()
  local x = ml.input { nil, 4, name = "x" }
  local h = nn.Dense { 8, activation = "relu" } (x)
  h = nn.BatchNormalization {} (h)
  h = nn.Dropout { 0.3 } (h)
  return ml.Model { inputs = x, outputs = nn.Dense { 2 } (h), name = "small" }
end

local X, Y = ml.arange(24):reshape { 6, 4 } / 24, ml.arange(12):reshape { 6, 2 } / 12

describe("saving", function()
  after_each(function()
    for _, name in ipairs(paths) do os.remove(name) end
    paths = {}
  end)

  it("writes weights by path in a file that any reader of safetensors understands", function()
    local model, file = make(), path()
    model:save(file)
    local read = core.file_load(file)
    assert.same({ 4, 8 }, read.tensors["dense_1/kernel"].shape)
    testing.equal(read.tensors["batch_normalization_1/moving_variance"], ml.ones { 8 })
    assert.equal(ml.version, read.texts["moonlet.version"])
    assert.is_truthy(read.texts["moonlet.graph.predict"]:find "graph {")
    assert.is_nil(read.texts["moonlet.graph.train"])
    assert.equal("0", read.texts["moonlet.step"])
  end)

  it("gives a model back that predicts the same and knows its layers", function()
    local model, file = make(), path()
    local y = model:predict(X)
    model:save(file)
    local loaded = ml.load(file)
    testing.equal(loaded:predict(X), y)
    testing.equal(loaded(X), y)
    assert.equal("small", loaded.name)
    assert.equal(4, #loaded.layers)
    assert.equal("Dense 'dense_2'", tostring(loaded:get_layer "dense_2"))
    local before, after = {}, {}
    for i, v in ipairs(model.variables) do before[i] = v.name end
    for i, v in ipairs(loaded.variables) do after[i] = v.name end
    assert.same(before, after)
    assert.equal(#model.trainable_variables, #loaded.trainable_variables)
    local lines = {}
    loaded:summary { print = function(line) lines[#lines + 1] = line end }
    assert.is_truthy(table.concat(lines, "\n"):find "dense_1 %(Dense%) +%(%?, 8%) +40")
    testing.raises(function() loaded:get_layer "dense_2" (X) end, "belongs to a loaded model; call the model, not its layers")
  end)

  it("goes on training where it was", function()
    local file = path()
    local function fresh()
      ml.seed(4)
      local model = make()
      model:compile { optimizer = ml.optim.Adam { lr = 0.01 }, loss = "mse", metrics = { "mae" } }
      for _ = 1, 3 do model:train_on_batch(X, Y) end
      return model
    end
    local model = fresh()
    model:save(file)
    local loaded = ml.load(file)
    assert.equal(3, loaded.optimizer.iterations:read():item())
    testing.allclose(loaded.optimizer.lr, 0.01)
    local expected = model:train_on_batch(X, Y)
    local logs = loaded:train_on_batch(X, Y)
    testing.equal(logs.loss, expected.loss)
    assert.is_number(logs.mae)
    for i, v in ipairs(model.variables) do testing.equal(loaded.variables[i]:read(), v:read()) end
  end)

  it("can be compiled anew after loading", function()
    local file = path()
    make():save(file)
    local loaded = ml.load(file)
    testing.raises(function() loaded:fit(X, Y) end, "call compile before fit")
    loaded:compile { optimizer = ml.optim.SGD { lr = 0.05 }, loss = "mse" }
    local history = loaded:fit(X, Y, { epochs = 30, verbose = 0 })
    assert.is_true(history.history.loss[30] < history.history.loss[1])
    assert.is_true((loaded:get_layer "batch_normalization_1".variables[3]:read()):abs():max():item() > 0)
  end)

  it("stores the step of training when asked", function()
    local model, file = make(), path()
    testing.raises(function() model:save(file, { training = true }) end, "training = true needs a step of training")
    model:compile { optimizer = "adam", loss = "mse", metrics = { "mae" } }
    model:train_on_batch(X, Y)
    model:save(file, { training = true })
    local read = core.file_load(file)
    local text = read.texts["moonlet.graph.train"]
    local made = {}
    local graph = core.graph_parse(text, {
      variable = function(name)
        made[name] = made[name] or core.variable(read.tensors[name], name, true)
        return made[name]
      end,
      constant = function(name) return read.tensors[name] end,
    })
    -- Inputs: x, then y; outputs: the loss, then metrics. The step goes on from the same numbers.
    assert.equal(2, #graph:inputs())
    local program = graph:program { mode = "train", inputs = { X, Y } }
    local loss = program:run { X, Y, step = 2 }
    assert.equal(0, #loss.shape)
    model:train_on_batch(X, Y)
    testing.allclose(made["dense_1/kernel"]:read(), model.variables[1]:read(), { rtol = 1e-5 })
    assert.equal(2, made["optimizer/iterations"]:read():item())
  end)

  it("keeps large constants, frozen layers, several inputs and outputs", function()
    local a, b = ml.input { nil, 30, name = "a" }, ml.input { nil, 30, name = "b" }
    local big = ml.arange(30)
    local layer = nn.Dense { 1, trainable = false }
    local model = ml.Model { inputs = { first = a, second = b }, outputs = { layer(a * big), b + big } }
    local data = { first = ml.ones { 2, 30 }, second = ml.ones { 2, 30 } }
    local y, file = model:predict(data), path()
    model:save(file)
    assert.is_truthy(core.file_load(file).tensors["constant/1"])
    local loaded = ml.load(file)
    local z = loaded:predict(data)
    testing.equal(z[1], y[1])
    testing.equal(z[2], y[2])
    assert.is_false(loaded:get_layer "dense_1".trainable)
    assert.equal(0, #loaded.trainable_variables)
  end)

  it("keeps models inside models", function()
    local inner = ml.Sequential { nn.Dense { 3 }, name = "inner" }
    local x = ml.input { nil, 2 }
    local model = ml.Model { inputs = x, outputs = nn.Dense { 1 } (inner(x)) }
    local file = path()
    model:save(file)
    local loaded = ml.load(file)
    assert.equal("inner/dense_1/kernel", loaded.variables[1].name)
    assert.equal("dense_1", loaded:get_layer "inner/dense_1".name)
    testing.equal(loaded:predict(ml.ones { 1, 2 }), model:predict(ml.ones { 1, 2 }))
  end)

  it("twice gives the same bytes", function()
    local function bytes()
      ml.seed(9)
      local model, file = make(), path()
      model:save(file)
      local handle = assert(io.open(file, "rb"))
      local text = handle:read "*a"
      handle:close()
      return text
    end
    assert.equal(bytes(), bytes())
  end)
end)

describe("weights", function()
  after_each(function()
    for _, name in ipairs(paths) do os.remove(name) end
    paths = {}
  end)

  it("are saved and loaded by name", function()
    local model, other, file = make(), make(), path()
    model:save_weights(file)
    other:load_weights(file)
    testing.equal(other:predict(X), model:predict(X))
    local whole = path()
    model:save(whole)
    make():load_weights(whole)
  end)

  it("are checked before any is written", function()
    local file = path()
    local x = ml.input { nil, 4 }
    local h = nn.Dense { 8 } (x)
    local model = ml.Model { inputs = x, outputs = nn.Dense { 3 } (h), name = "m" }
    local before = model.variables[1]:read()
    make():save_weights(file)
    testing.raises(function() model:load_weights(file) end,
      "Model 'm': load_weights: 'dense_2/kernel' has shape %(8, 2%) in '.*', expected %(8, 3%)")
    testing.equal(model.variables[1]:read(), before)
    local smaller = ml.Model { inputs = x, outputs = nn.Dense { 8 } (x), name = "m" }
    testing.raises(function() smaller:load_weights(file) end, "has weights that the model lacks: batch_normalization_1/gamma")
    local other = ml.Model { inputs = x, outputs = nn.Dense { 8, name = "head" } (x), name = "m" }
    testing.raises(function() other:load_weights(file) end, "has no head/kernel, head/bias; it has dense_1/kernel")
    testing.raises(function() ml.Sequential { nn.Dense { 1 }, name = "s" }:load_weights(file) end, "has no weights yet")
  end)
end)

describe("loading", function()
  after_each(function()
    for _, name in ipairs(paths) do os.remove(name) end
    paths = {}
  end)

  local function rewritten(change)
    local file = path()
    make():save(file)
    local read = core.file_load(file)
    local list = {}
    for i, name in ipairs(read.names) do list[i] = { name, read.tensors[name] } end
    change(read.texts, list)
    core.file_save(file, list, read.texts)
    return file
  end

  it("refuses newer files and files that are no models", function()
    local file = rewritten(function(texts) texts["moonlet.version"] = "99.0.0" end)
    testing.raises(function() ml.load(file) end, "was saved by Moonlet 99.0.0, this is the older")
    file = rewritten(function(texts) texts["moonlet.version"] = "soon" end)
    testing.raises(function() ml.load(file) end, "'soon' is not a version")
    file = rewritten(function(texts) texts["moonlet.graph.predict"] = nil end)
    testing.raises(function() ml.load(file) end, "is not a saved model: it has no graph")
    testing.raises(function() ml.load(3) end, "ml.load: the path must be a string, got 3")
    testing.raises(function() ml.load "/nowhere/at/all" end, "/nowhere/at/all")
  end)

  it("refuses files whose weights are missing, and lives without a config", function()
    local file = rewritten(function(_, list) table.remove(list, 1) end)
    testing.raises(function() ml.load(file) end, "dense_1/kernel")
    file = rewritten(function(texts) texts["moonlet.config"] = nil end)
    assert.same({ 6, 2 }, ml.load(file):predict(X).shape)
    file = rewritten(function(texts) texts["moonlet.config"] = "layer=|||\noptimizer=Nothing\nloss=mse\n=\nx" end)
    assert.same({ 6, 2 }, ml.load(file):predict(X).shape)
  end)
end)
