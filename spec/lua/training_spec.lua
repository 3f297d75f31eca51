--- Specs of compile, fit, evaluate, train_on_batch: data, batches, weights, validation, callbacks, modes.
local ml = require "moonlet"
local core = require "moonlet.core"
local testing = require "moonlet.testing"
local nn = ml.nn

-- y = w x + b for numbers, w 3 and b 1: its loss and steps are easy to write out.
local function line(opts)
  local x = ml.input { nil, 1 }
  local layer = nn.Dense { 1 }
  local model = ml.Model { inputs = x, outputs = layer(x) }
  layer:set_weights { { { 3 } }, { 1 } }
  local given = { optimizer = ml.optim.SGD { lr = 0.1 }, loss = "mse" }
  for key, value in pairs(opts or {}) do given[key] = value end
  model:compile(given)
  return model, layer
end

local X, Y = ml.tensor { { 1 }, { 2 }, { 3 } }, ml.tensor { { 4 }, { 8 }, { 11 } } -- errors 0, -1, -1

local function quiet(opts)
  opts = opts or {}
  opts.verbose = false
  return opts
end

local function constant(x) return ml.ones { x, 1 } end

-- A callback that writes down what it hears.
local function recorder()
  local heard = {}
  local callback = { heard = heard }
  for _, name in ipairs { "on_train_begin", "on_epoch_begin", "on_batch_begin", "on_batch_end", "on_epoch_end", "on_train_end" } do
    callback[name] = function(_, n)
      heard[#heard + 1] = type(n) == "number" and string.format("%s %d", name, n) or name
    end
  end
  return callback
end

describe("a step of training", function()
  it("follows the gradient of the mean loss", function()
    local model, layer = line()
    -- loss = mean((3 x + 1 - y)^2); d/dw = mean(2 e x), d/db = mean(2 e), e = 0, -1, -1
    local logs = model:train_on_batch(X, Y)
    testing.allclose(logs.loss, 2 / 3)
    testing.allclose(layer:get_weights()[1], { { 3 + 0.1 * 2 * 5 / 3 } })
    testing.allclose(layer:get_weights()[2], { 1 + 0.1 * 2 * 2 / 3 })
  end)

  it("does the same for modules and stacks", function()
    for _, model in ipairs {
      ml.Sequential { nn.Dense { 1, kernel_initializer = ml.initializers.constant { 3 }, bias_initializer = "ones" } },
      nn.module("Line", function(self)
        self.d = nn.Dense { 1, kernel_initializer = ml.initializers.constant { 3 }, bias_initializer = "ones" }
        getmetatable(self).call = function(net, x) return net.d(x) end
      end)(),
    } do
      model:compile { optimizer = ml.optim.SGD { lr = 0.1 }, loss = "mse" }
      testing.allclose(model:train_on_batch(X, Y).loss, 2 / 3)
      testing.allclose(model.variables[1]:read(), { { 3 + 1 / 3 } })
    end
  end)

  it("does the same in eager mode", function()
    local compiled, eager = { line() }, { line() }
    for _ = 1, 3 do compiled[1]:train_on_batch(X, Y) end
    ml.eager(true)
    local logs
    for _ = 1, 3 do logs = eager[1]:train_on_batch(X, Y) end
    ml.eager(false)
    assert.is_number(logs.loss)
    testing.allclose(eager[2]:get_weights()[1], compiled[2]:get_weights()[1])
  end)

  it("runs a module's Lua in eager mode, with numbers and in its mode", function()
    local seen, dropped = {}, {}
    local Net = nn.module("Net", function(self) self.d, self.drop = nn.Dense { 1 }, nn.Dropout { 0.5 } end)
    function Net:call(x)
      if core.is_eager() then
        seen[#seen + 1] = x:item()
        dropped[#dropped + 1] = self.drop(ml.ones { 200 }):min():item()
      end
      return self.d(x)
    end
    local net = Net()
    net:compile { optimizer = "sgd", loss = "mse" }
    ml.eager(true)
    net:train_on_batch({ { 7 } }, { { 1 } })
    net:test_on_batch({ { 8 } }, { { 1 } })
    ml.eager(false)
    assert.same({ 7, 8 }, seen)
    assert.same({ 0, 1 }, dropped)
  end)

  it("trains only what is trainable, also when that changes", function()
    local model, layer = line()
    model:train_on_batch(X, Y)
    local w = layer:get_weights()[1]
    layer.trainable = false
    model:train_on_batch(X, Y)
    testing.equal(layer:get_weights()[1], w)
    layer.trainable = true
    model:train_on_batch(X, Y)
    assert.is_true((layer:get_weights()[1] - w):abs():item() > 0)
  end)
end)

describe("fit", function()
  it("reports the mean of all batches of an epoch, the small last one by its size", function()
    local model = line { optimizer = ml.optim.SGD { lr = 0 }, metrics = { "mae" } }
    local history = model:fit(X, Y, quiet { batch_size = 2, epochs = 2, shuffle = false })
    testing.allclose(history.history.loss, { 2 / 3, 2 / 3 })
    testing.allclose(history.history.mae, { 2 / 3, 2 / 3 })
    assert.equal(history, model.history)
  end)

  it("compiles once for each size of a batch", function()
    local model = line()
    model:fit(ml.ones { 10, 1 }, ml.ones { 10, 1 }, quiet { batch_size = 4, epochs = 1 })
    local before = core.compile_count()
    model:fit(ml.ones { 10, 1 }, ml.ones { 10, 1 }, quiet { batch_size = 4, epochs = 3, shuffle = false })
    assert.equal(before, core.compile_count())
  end)

  it("mixes the rows of each epoch by the seed", function()
    local function losses(seed, shuffle)
      ml.seed(seed)
      local model = line { optimizer = ml.optim.SGD { lr = 0.01 } }
      return model:fit(X, Y, quiet { batch_size = 1, epochs = 4, shuffle = shuffle }).history.loss
    end
    assert.same(losses(1), losses(1))
    assert.not_same(losses(1), losses(2))
    assert.same(losses(1, false), losses(2, false))
  end)

  it("takes tables of numbers", function()
    local model = line()
    local history = model:fit({ { 1 }, { 2 }, { 3 } }, { { 4 }, { 8 }, { 11 } }, quiet { batch_size = 3 })
    testing.allclose(history.history.loss[1], 2 / 3)
  end)

  it("takes a dataset, with tables of options as second argument", function()
    local model = line { optimizer = ml.optim.SGD { lr = 0 } }
    local data = ml.data.dataset { X, Y }:batch(2)
    local history = model:fit(data, quiet { epochs = 2, validation = data })
    testing.allclose(history.history.loss, { 2 / 3, 2 / 3 })
    testing.allclose(history.history.val_loss, { 2 / 3, 2 / 3 })
    testing.allclose(model:evaluate(data).loss, 2 / 3)
    testing.allclose(model:predict(data), { { 4 }, { 7 }, { 10 } })
    history = model:fit(ml.data.dataset { X, Y }, quiet { batch_size = 2 })
    testing.allclose(history.history.loss, { 2 / 3 })
    testing.raises(function() model:fit(data, Y, {}) end, "a dataset brings its own targets; give fit%(dataset, opts%)")
    testing.raises(function() model:fit(data, { batch_size = 3 }) end,
      "batch_size goes with tensors or a dataset of single examples; this dataset yields batches")
  end)

  it("validates on data of its own, or on the last rows", function()
    local model = line { optimizer = ml.optim.SGD { lr = 0 } }
    local history = model:fit(X, Y, quiet { validation = { X:slice(1, 1, 1), Y:slice(1, 1, 1) } })
    testing.allclose(history.history.val_loss, { 0 })
    history = model:fit(X, Y, quiet { validation_split = 0.34 })
    testing.allclose(history.history.loss, { 0 })
    testing.allclose(history.history.val_loss, { 1 })
  end)

  it("weighs examples and classes", function()
    local model = line { optimizer = ml.optim.SGD { lr = 0 } }
    local history = model:fit(X, Y, quiet { sample_weight = { 1, 3, 0 } })
    testing.allclose(history.history.loss, { 1 })
    local classifier = ml.Sequential { nn.Dense { 2, kernel_initializer = "zeros" } }
    classifier:compile { optimizer = ml.optim.SGD { lr = 0 }, loss = "sparse_categorical_crossentropy" }
    history = classifier:fit(X, { 0, 1, 1 }, quiet { class_weight = { [0] = 4, [1] = 1 } })
    testing.allclose(history.history.loss, { math.log(2) * (4 + 1 + 1) / 3 }, { rtol = 1e-5 })
    testing.raises(function() model:fit(X, Y, { class_weight = { a = 1 } }) end, "class_weight must be a table from classes")
  end)

  it("stops after steps_per_epoch, and goes on there", function()
    local model = line()
    local seen = {}
    local data = { size = function() return nil end }
    function data.batches()
      local i = 0
      return function()
        i = i + 1
        seen[#seen + 1] = i
        return ml.full({ 1, 1 }, i), constant(1)
      end
    end
    setmetatable(data, { __index = {} })
    model:fit(data, quiet { epochs = 2, steps_per_epoch = 3 })
    assert.same({ 1, 2, 3, 4, 5, 6 }, seen)
    model:fit(X, Y, quiet { epochs = 3, steps_per_epoch = 2, batch_size = 2 })
  end)

  it("calls its callbacks in order", function()
    local model = line()
    local callback = recorder()
    model:fit(X, Y, quiet { batch_size = 2, epochs = 2, initial_epoch = 1, callbacks = { callback } })
    assert.same({ "on_train_begin", "on_epoch_begin 2", "on_batch_begin 1", "on_batch_end 1", "on_batch_begin 2", "on_batch_end 2",
      "on_epoch_end 2", "on_train_end" }, callback.heard)
    assert.equal(model, callback.model)
    assert.same({ epochs = 2, steps = 2, batch_size = 2 }, callback.params)
  end)

  it("ends when a callback says so", function()
    local model = line()
    local callback = {}
    function callback:on_batch_end(n) if n == 2 then self.model.stop_training = true end end
    local history = model:fit(X, Y, quiet { batch_size = 1, epochs = 5, callbacks = { callback } })
    assert.equal(1, #history.history.loss)
  end)

  it("leaves the model whole when a callback raises", function()
    local model, layer = line()
    local callback = { on_batch_end = function() error "stop here" end }
    testing.raises(function() model:fit(X, Y, quiet { callbacks = { callback } }) end, "stop here")
    assert.equal(0, core.trace_depth())
    testing.allclose(layer:get_weights()[1], { { 3 + 1 / 3 } })
    model:fit(X, Y, quiet())
    assert.equal(2, model.optimizer.iterations:read():item())
  end)

  it("lets callbacks judge in between without disturbing the epoch", function()
    local model = line { optimizer = ml.optim.SGD { lr = 0 } }
    local callback = { on_batch_end = function(self) self.model:evaluate(X * 100, Y) end }
    local history = model:fit(X, Y, quiet { batch_size = 1, callbacks = { callback } })
    testing.allclose(history.history.loss, { 2 / 3 })
  end)

  it("may run in a coroutine", function()
    local model = line()
    local callback = { on_batch_end = function(_, n) coroutine.yield(n) end }
    local thread = coroutine.create(function() model:fit(X, Y, quiet { batch_size = 2, callbacks = { callback } }) end)
    local seen = {}
    while true do
      local ok, value = coroutine.resume(thread)
      assert(ok, value)
      if coroutine.status(thread) == "dead" then break end
      seen[#seen + 1] = value
    end
    assert.same({ 1, 2 }, seen)
  end)

  it("follows a schedule of the learning rate", function()
    local model = line { optimizer = ml.optim.SGD { lr = function(step) return step == 0 and 0.1 or 0 end } }
    model:fit(X, Y, quiet { batch_size = 3, epochs = 3 })
    testing.allclose(model.variables[1]:read(), { { 3 + 1 / 3 } })
    assert.equal(0, model.optimizer.lr)
    model.optimizer.lr = 0.5
    testing.allclose(model.optimizer.lr, 0.5)
  end)

  it("draws no progress when told to be quiet", function()
    local model = line()
    local written = {}
    local write = io.write
    io.write = function(...) written[#written + 1] = table.concat { ... } end -- luacheck: ignore 122
    model:fit(X, Y, { verbose = 0 })
    model:fit(X, Y, { verbose = false })
    io.write = write -- luacheck: ignore 122
    assert.same({}, written)
  end)

  it("learns", function()
    local model = ml.Sequential { nn.Dense { 16, activation = "tanh" }, nn.Dense { 2 } }
    model:compile { optimizer = ml.optim.Adam { lr = 0.05 }, loss = "sparse_categorical_crossentropy", metrics = { "accuracy" } }
    local points, labels = {}, {}
    for i = 1, 64 do
      local a, b = math.sin(i * 1.3), math.cos(i * 2.1)
      points[i], labels[i] = { a, b }, a * b > 0 and 1 or 0
    end
    model:fit(points, labels, quiet { epochs = 150 })
    assert.is_true(model:evaluate(points, labels).accuracy > 0.9)
  end)
end)

describe("losses by name", function()
  local function loss_of(activation, loss, x, y)
    local input = ml.input { nil, #x[1] }
    local model = ml.Model { inputs = input, outputs = activation and nn.Activation { activation } (input) or input * 1 }
    model:compile { optimizer = "sgd", loss = loss, metrics = { "accuracy" } }
    return model:evaluate(x, y)
  end

  it("take probabilities behind softmax or sigmoid, else logits", function()
    local e = math.exp(1)
    local logs = loss_of("softmax", "sparse_categorical_crossentropy", { { 0, 1 } }, { 1 })
    testing.allclose(logs.loss, -math.log(e / (1 + e)), { rtol = 1e-5 })
    assert.equal(1, logs.accuracy)
    testing.allclose(loss_of(nil, "sparse_categorical_crossentropy", { { 0, 1 } }, { 1 }).loss, -math.log(e / (1 + e)),
      { rtol = 1e-5 })
    testing.allclose(loss_of("sigmoid", "binary_crossentropy", { { 1 } }, { { 1 } }).loss, math.log(1 + 1 / e), { rtol = 1e-5 })
    logs = loss_of(nil, "binary_crossentropy", { { 0.2 } }, { { 1 } })
    testing.allclose(logs.loss, math.log(1 + math.exp(-0.2)), { rtol = 1e-5 })
    assert.equal(1, logs.accuracy)
    assert.equal(0, loss_of("sigmoid", "binary_crossentropy", { { -0.2 } }, { { 1 } }).accuracy)
    assert.equal(1, loss_of(nil, "categorical_crossentropy", { { 0, 1, -1 } }, { { 0, 1, 0 } }).accuracy)
  end)

  it("may be functions, and objects with settings", function()
    local model = line { loss = function(t, y) return ml.abs(t - y) end, optimizer = ml.optim.SGD { lr = 0 } }
    testing.allclose(model:evaluate(X, Y).loss, 2 / 3)
    model = line { loss = ml.losses.Huber { delta = 0.5 } }
    testing.allclose(model:evaluate(X, Y).loss, 2 / 3 * 0.5 * (1 - 0.25))
  end)
end)

describe("several outputs", function()
  local function make(opts)
    local x = ml.input { nil, 1 }
    local model = ml.Model { inputs = x, outputs = {
      nn.Lambda { function(v) return v * 1 end, name = "same" } (x), nn.Lambda { function(v) return v * 2 end, name = "twice" } (x),
    } }
    opts.optimizer = "sgd"
    model:compile(opts)
    return model
  end
  local x, y = ml.tensor { { 1 }, { 2 } }, { ml.zeros { 2, 1 }, ml.zeros { 2, 1 } }

  it("have losses by position or name, weighted", function()
    local logs = make { loss = { "mse", "mae" } }:evaluate(x, y)
    testing.allclose({ logs.same_loss, logs.twice_loss, logs.loss }, { 2.5, 3, 5.5 })
    logs = make { loss = { twice = "mae", same = "mse" }, loss_weights = { same = 2 } }:evaluate(x, { twice = y[1], same = y[2] })
    testing.allclose(logs.loss, 8)
    logs = make { loss = "mse" }:evaluate(x, y)
    testing.allclose(logs.loss, 2.5 + 10)
  end)

  it("have metrics of their own", function()
    local logs = make { loss = "mse", metrics = { same = { "mae" }, twice = { "mae", "rmse" } } }:evaluate(x, y)
    testing.allclose({ logs.same_mae, logs.twice_mae, logs.twice_rmse }, { 1.5, 3, math.sqrt(10) })
    logs = make { loss = "mse", metrics = { "mae" } }:evaluate(x, y)
    testing.allclose(logs.twice_mae, 3)
  end)

  it("may have no loss", function()
    testing.allclose(make { loss = { same = "mse" } }:evaluate(x, y).loss, 2.5)
  end)

  it("name what does not fit", function()
    local model = make { loss = { same = "mse", other = "mse" } }
    testing.raises(function() model:evaluate(x, y) end, "loss is given for output 'other'; the outputs are: same, twice")
    model = make { loss = "mse" }
    testing.raises(function() model:evaluate(x, y[1]) end, "has 2 outputs, got 1 targets")
    testing.raises(function() model:evaluate(x, { same = y[1] }) end, "y has no target 'twice'; the outputs are: same, twice")
  end)
end)

describe("train_on_batch and test_on_batch", function()
  it("report one batch, or go on counting", function()
    local model = line { optimizer = ml.optim.SGD { lr = 0 }, metrics = { "mae" } }
    model:train_on_batch(X, Y)
    testing.allclose(model:train_on_batch(X * 0, X * 0 + 1).loss, 0)
    testing.allclose(model:train_on_batch(X, Y, { reset_metrics = false }).loss, 1 / 3)
    testing.allclose(model:test_on_batch(X, Y).mae, 2 / 3)
    testing.allclose(model:test_on_batch(X, Y, { sample_weight = { 3, 0, 0 } }).loss, 0)
  end)
end)

describe("messages of training", function()
  it("say who, what came and what was expected", function()
    local x = ml.input { nil, 1 }
    local model = ml.Model { inputs = x, outputs = nn.Dense { 1 } (x), name = "m" }
    testing.raises(function() model:fit(X, Y) end, "training_spec.lua:%d+: Model 'm': call compile before fit")
    testing.raises(function() model:evaluate(X, Y) end, "Model 'm': call compile before evaluate")
    testing.raises(function() model:compile {} end, "Model 'm': compile: loss is missing")
    testing.raises(function() model:compile { loss = "msee" } end, "Model 'm': compile: unknown loss 'msee'")
    testing.raises(function() model:compile { loss = "mse", optimizer = "adan" } end, "compile: unknown optimizer 'adan'")
    testing.raises(function() model:compile { loss = "mse", metrics = { "accurate" } } end, "compile: unknown metric 'accurate'")
    testing.raises(function() model:compile { loss = "mse", metric = {} } end,
      "compile: unknown option 'metric'; known: loss, loss_weights")
    model:compile { loss = "mse" }
    testing.raises(function() model:fit(X) end, "targets are missing: y must be given")
    testing.raises(function() model:fit(X, Y, { validation = { X } }) end,
      "Model 'm': fit: validation must be a dataset or { x, y }, got a table without y")
    testing.raises(function() model:fit() end, "fit: the data is missing")
    testing.raises(function() model:fit(X, Y:slice(1, 1, 2)) end, "Model 'm': fit: x has 3 rows, but y has 2")
    testing.raises(function() model:fit(X, Y, { epoch = 3 }) end, "fit: unknown option 'epoch'; known: batch_size")
    testing.raises(function() model:fit(X, Y, { epochs = 0 }) end, "fit: epochs must be a positive integer, got 0")
    testing.raises(function() model:fit(X, Y, { validation = 3 }) end, "validation must be a dataset or { x, y }, got 3")
    testing.raises(function() model:fit(X, Y, { validation_split = 0.99 }) end, "leaves no rows on one side")
    testing.raises(function() model:fit(X, Y, { callbacks = { 3 } }) end, "callback 1 must be an object with methods")
    testing.raises(function() model:fit(X, Y, { verbose = "yes" }) end, "verbose must be true, false, or 0, 1 or 2, got 'yes'")
    testing.raises(function() model:fit(X, "y") end, "y must be tensors or tables of numbers, got 'y'")
    testing.raises(function() model:fit(ml.ones { 3, 2 }, Y) end, "Model 'm': input 'input_1' takes shape %(%?, 1%), got %(3, 2%)")
    testing.raises(function() model:fit(X, ml.ones { 3, 4, 5 }) end, "do not fit predictions of shape")
  end)
end)
