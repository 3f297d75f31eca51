-- Callbacks, driven by a stand-in for fit, so that each is proved alone.
local ml = require "moonlet"
local callbacks = require "moonlet.callbacks"
local progress = require "moonlet.progress"
local testing = require "moonlet.testing"

local NAN = 0 / 0

-- Does what fit does with callbacks: one epoch per entry of `epochs`, `steps` batches in each.
local function train(model, list, epochs, steps)
  steps = steps or 1
  model.stop_training = false
  local function call(method, ...)
    for _, callback in ipairs(list) do
      if callback[method] then callback[method](callback, ...) end
    end
  end
  call("set_model", model)
  call("set_params", { epochs = #epochs, steps = steps })
  call("on_train_begin", {})
  local last = {}
  for epoch, logs in ipairs(epochs) do
    call("on_epoch_begin", epoch, {})
    for batch = 1, steps do
      call("on_batch_begin", batch, {})
      call("on_batch_end", batch, { loss = logs.loss })
      if model.stop_training then break end
    end
    last = {}
    for key, value in pairs(logs) do last[key] = value end
    model.epoch = epoch
    if model.on_epoch then model:on_epoch(epoch) end
    call("on_epoch_end", epoch, last)
    if model.stop_training then break end
  end
  call("on_train_end", last)
  return model.epoch
end

local function losses(name, list)
  local epochs = {}
  for i, value in ipairs(list) do epochs[i] = { loss = value, [name] = value } end
  return epochs
end

local function read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

describe("callbacks.Callback", function()
  it("makes classes of callbacks", function()
    local Count = callbacks.Callback:extend "Count"
    function Count:init(opts) self.step = opts[1] or 1 end
    function Count:on_batch_end() self.n = (self.n or 0) + self.step end
    local count = Count { 2 }
    train({}, { count }, { { loss = 1 }, { loss = 2 } }, 3)
    assert.equal(12, count.n)
    assert.equal("Count", tostring(count))
    assert.same({ epochs = 2, steps = 3 }, count.params)
  end)

  it("is any table with some of the methods", function()
    local seen = {}
    train({}, { { on_epoch_end = function(_, epoch, logs) seen[epoch] = logs.loss end } }, losses("x", { 3, 2 }))
    assert.same({ 3, 2 }, seen)
  end)
end)

describe("callbacks.Lambda", function()
  it("calls its functions", function()
    local seen = {}
    train({}, {
      callbacks.Lambda {
        on_train_begin = function() seen[#seen + 1] = "begin" end,
        on_epoch_end = function(_, epoch, logs) seen[#seen + 1] = epoch + logs.loss end,
        on_train_end = function() seen[#seen + 1] = "end" end,
      },
    }, losses("x", { 10, 20 }))
    assert.same({ "begin", 11, 22, "end" }, seen)
  end)

  it("lists the methods there are", function()
    assert.error_matches(function() callbacks.Lambda { on_epoch = print } end, "unknown option 'on_epoch'; known: .*on_epoch_begin")
    assert.error_matches(function() callbacks.Lambda { on_epoch_end = 3 } end, "on_epoch_end must be a function, got 3")
  end)
end)

describe("callbacks.History", function()
  it("records each epoch", function()
    local history = callbacks.History()
    train({}, { history }, { { loss = 3, val_loss = 4 }, { loss = 2, val_loss = 3 } })
    assert.same({ loss = { 3, 2 }, val_loss = { 4, 3 } }, history.history)
    assert.same({ 1, 2 }, history.epoch)
    train({}, { history }, { { loss = 1 } })
    assert.same({ loss = { 1 } }, history.history)
  end)

  it("keeps lists in step when a metric comes late", function()
    local history = callbacks.History()
    train({}, { history }, { { loss = 3 }, { loss = 2, extra = 5 } })
    local extra = history.history.extra
    assert.equal(2, #extra)
    assert.is_true(extra[1] ~= extra[1])
    assert.equal(5, extra[2])
  end)
end)

describe("callbacks.EarlyStopping", function()
  local function stops_after(opts, values, name)
    local stopping = callbacks.EarlyStopping(opts)
    return train({}, { stopping }, losses(name or "val_loss", values)), stopping
  end

  it("stops when the loss no longer falls", function()
    local epoch, stopping = stops_after({ patience = 2 }, { 5, 4, 4.5, 4.2, 3, 2 })
    assert.equal(4, epoch)
    assert.equal(4, stopping.stopped_epoch)
    assert.equal(2, stopping.best_epoch)
  end)

  it("goes on while there is progress", function()
    local epoch, stopping = stops_after({ patience = 2 }, { 5, 4, 4.5, 3, 3.5, 2 })
    assert.equal(6, epoch)
    assert.is_nil(stopping.stopped_epoch)
  end)

  it("knows that accuracy should grow", function()
    assert.equal(3, (stops_after({ monitor = "val_accuracy" }, { 0.5, 0.6, 0.6, 0.9 }, "val_accuracy")))
    assert.equal(2, (stops_after({ monitor = "score", mode = "max" }, { 0.5, 0.4, 0.6 }, "score")))
  end)

  it("asks for an improvement of min_delta", function()
    assert.equal(2, (stops_after({ min_delta = 0.5 }, { 5, 4.8, 4 })))
    assert.equal(3, (stops_after({ min_delta = 0.5 }, { 5, 4.4, 4.2 })))
  end)

  it("never takes NaN for an improvement", function()
    assert.equal(4, (stops_after({ patience = 2 }, { NAN, 5, NAN, NAN, 4 })))
  end)

  it("waits for a baseline and a first epoch", function()
    assert.equal(1, (stops_after({ baseline = 3 }, { 5, 4 })))
    assert.equal(4, (stops_after({ start_from_epoch = 3 }, { 1, 2, 3, 4, 5 })))
  end)

  it("restores the best weights", function()
    local variable = { value = 0 }
    function variable:read() return self.value end
    function variable:write(value) self.value = value end
    local model = { variables = { variable } }
    function model:on_epoch(epoch) variable.value = epoch * 10 end
    local stopping = callbacks.EarlyStopping { patience = 2, restore_best_weights = true }
    train(model, { stopping }, losses("val_loss", { 3, 2, 4, 5, 6 }))
    assert.equal(20, variable.value)
    assert.is_nil(stopping.best_weights)
  end)

  it("starts afresh with each training", function()
    local stopping = callbacks.EarlyStopping {}
    assert.equal(2, train({}, { stopping }, losses("val_loss", { 1, 2, 3 })))
    assert.equal(3, train({}, { stopping }, losses("val_loss", { 9, 8, 7 })))
  end)

  it("blames what is wrong", function()
    assert.error_matches(function() stops_after({ monitor = "val_acc" }, { 1 }) end,
      "EarlyStopping: there is no 'val_acc' to monitor; the logs have: loss, val_loss")
    assert.error_matches(function() callbacks.EarlyStopping { patience = -1 } end, "patience must be")
    assert.error_matches(function() callbacks.EarlyStopping { mode = "up" } end, "mode must be 'auto', 'min' or 'max', got 'up'")
    assert.error_matches(function() callbacks.EarlyStopping { patince = 1 } end, "unknown option 'patince'")
  end)
end)

describe("callbacks.ModelCheckpoint", function()
  local function saver()
    local model = { saved = {} }
    function model:save(path, opts) self.saved[#self.saved + 1] = path .. (opts and opts.training and "+training" or "") end
    function model:save_weights(path) self.saved[#self.saved + 1] = path .. "+weights" end
    return model
  end

  it("saves each epoch, with numbers in the name", function()
    local model = saver()
    train(model, { callbacks.ModelCheckpoint { "m-{epoch}-{val_loss}.moon" } }, losses("val_loss", { 0.5, 0.25 }))
    assert.same({ "m-1-0.5000.moon", "m-2-0.2500.moon" }, model.saved)
  end)

  it("saves the best only", function()
    local model = saver()
    local checkpoint = callbacks.ModelCheckpoint { "best.moon", save_best_only = true }
    train(model, { checkpoint }, losses("val_loss", { 3, 2, 4, 1 }))
    assert.same({ "best.moon", "best.moon", "best.moon" }, model.saved)
    assert.equal(4, checkpoint.saved_epoch)
  end)

  it("saves weights, or the training graph too", function()
    local model = saver()
    train(model, { callbacks.ModelCheckpoint { path = "w", save_weights_only = true } }, { { loss = 1 } })
    train(model, { callbacks.ModelCheckpoint { path = "t", training = true } }, { { loss = 1 } })
    assert.same({ "w+weights", "t+training" }, model.saved)
  end)

  it("blames what is wrong", function()
    assert.error_matches(function() callbacks.ModelCheckpoint {} end, "path is missing")
    assert.error_matches(function() train(saver(), { callbacks.ModelCheckpoint { "{val_acc}" } }, { { loss = 1 } }) end,
      "there is no 'val_acc'")
  end)
end)

describe("callbacks.CSVLogger", function()
  local path
  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  it("writes a row per epoch", function()
    local epochs = { { loss = 0.5, accuracy = 0.25, val_loss = 1 }, { loss = 0.25, accuracy = 1, val_loss = 2 } }
    train({}, { callbacks.CSVLogger(path) }, epochs)
    assert.equal("epoch,loss,accuracy,val_loss\n1,0.5,0.25,1\n2,0.25,1,2\n", read_file(path))
  end)

  it("appends rows to a file in the order of its columns", function()
    train({}, { callbacks.CSVLogger { path, separator = ";" } }, { { loss = 1, b = 2 } })
    train({}, { callbacks.CSVLogger { path, separator = ";", append = true } }, { { b = 4, loss = 3, c = 5 } })
    assert.equal("epoch;loss;b\n1;1;2\n1;3;4\n", read_file(path))
  end)

  it("blames a path that cannot be written", function()
    local logger = callbacks.CSVLogger "no/such/folder/log.csv"
    assert.error_matches(function() train({}, { logger }, { { loss = 1 } }) end, "CSVLogger: cannot write no/such/folder")
  end)
end)

describe("callbacks.LearningRateScheduler", function()
  it("sets the rate before each epoch and logs it", function()
    local model = { optimizer = { lr = 1 } }
    local history = callbacks.History()
    local scheduler = callbacks.LearningRateScheduler(function(epoch, lr) return epoch == 1 and lr or lr / 2 end)
    train(model, { scheduler, history }, losses("x", { 1, 1, 1 }))
    assert.same({ 1, 0.5, 0.25 }, history.history.lr)
    assert.equal(0.25, model.optimizer.lr)
  end)

  it("wants a number", function()
    local scheduler = callbacks.LearningRateScheduler { function() return "x" end }
    assert.error_matches(function() train({ optimizer = { lr = 1 } }, { scheduler }, { { loss = 1 } }) end, "must return a number")
    assert.error_matches(function() callbacks.LearningRateScheduler {} end, "schedule is missing")
  end)
end)

describe("callbacks.TerminateOnNaN", function()
  it("stops at once", function()
    local batches = 0
    local stop = callbacks.TerminateOnNaN {}
    local count = { on_batch_end = function() batches = batches + 1 end }
    assert.equal(2, train({}, { stop, count }, { { loss = 1 }, { loss = NAN }, { loss = 1 } }, 4))
    assert.equal(5, batches)
    assert.equal(1, train({}, { callbacks.TerminateOnNaN() }, { { loss = math.huge }, { loss = 1 } }))
    assert.equal(2, train({}, { callbacks.TerminateOnNaN() }, { { loss = 1 }, { loss = 1 } }))
  end)
end)

describe("callbacks.ProgressBar", function()
  local function run(opts, epochs, steps, step_us)
    local now, out = 0, {}
    opts.write = function(text) out[#out + 1] = text end
    opts.clock = function() return now end
    local tick = { on_batch_begin = function() now = now + step_us end }
    train({}, { tick, callbacks.ProgressBar(opts) }, epochs, steps)
    return out
  end

  it("draws at most ten times a second", function()
    local out = run({ terminal = true, width = 120 }, { { loss = 0.5 } }, 1000, 1000)
    assert.is_true(#out <= 12 and #out >= 9, #out)
  end)

  it("shows bar, time left and numbers, and ends the line", function()
    local out = run({ terminal = true, width = 120 }, { { loss = 0.5, accuracy = 0.75 } }, 4, 1000000)
    local first = out[1]
    assert.equal("\r", first:sub(1, 1))
    assert.truthy(first:find("epoch 1/1  █████░", 1, true))
    assert.truthy(first:find("1/4  ETA 3.0s  loss 0.5000", 1, true))
    local last = out[#out]
    assert.truthy(last:find("4/4  4.0s  loss 0.5000  accuracy 0.7500", 1, true))
    assert.equal("\n", last:sub(-1))
  end)

  it("stays within the width while it is drawn again, and ends whole", function()
    local out = run({ terminal = true, width = 30 }, { { loss = 0.5 } }, 4, 1000000)
    for i = 1, #out - 1 do
      local plain = out[i]:gsub("\r", ""):gsub("\27%[K", ""):gsub("[\128-\191]", "")
      assert.is_true(#plain <= 29, plain)
    end
    assert.equal("\repoch 1/1  4/4  4.0s  loss 0.5000\27[K\n", out[#out])
  end)

  it("writes a plain line per epoch where there is no terminal", function()
    local out = run({ terminal = false }, { { loss = 0.5, val_loss = 1 }, { loss = 0.25, val_loss = 2 } }, 3, 500000)
    assert.same({
      "epoch 1/2  1.5s  loss 0.5000  val_loss 1.0000\n",
      "epoch 2/2  1.5s  loss 0.2500  val_loss 2.0000\n",
    }, out)
  end)

  it("is quiet there when told", function()
    assert.same({}, run({ terminal = false, lines = false }, { { loss = 0.5 } }, 3, 500000))
  end)
end)

describe("progress", function()
  it("writes times", function()
    assert.equal("0.5s", progress.duration(0.5))
    assert.equal("59s", progress.duration(59.9))
    assert.equal("1m05s", progress.duration(65))
    assert.equal("2h01m", progress.duration(7290))
    assert.equal("?", progress.duration(NAN))
  end)

  it("writes numbers", function()
    assert.equal("0.1235", progress.number(0.12345))
    assert.equal("1.00e-05", progress.number(1e-5))
    assert.equal("0.0000", progress.number(0))
    assert.equal("2.50e+06", progress.number(2.5e6))
    assert.equal("string", type(progress.number(NAN)))
  end)

  it("draws bars", function()
    assert.equal("░░░░", progress.bar(0, 4))
    assert.equal("██░░", progress.bar(0.5, 4))
    assert.equal("█▌░░", progress.bar(0.375, 4))
    assert.equal("████", progress.bar(1.5, 4))
  end)

  it("counts without a total", function()
    local out = {}
    local bar = progress.new {
      terminal = true, width = 80, label = "read", clock = function() return 0 end, write = function(text) out[#out + 1] = text end,
    }
    bar:update(3)
    bar:finish "done"
    assert.equal("\rread  3  0.0s\27[K", out[1])
    assert.equal("\rread  3  0.0s  done\27[K\n", out[2])
  end)
end)

describe("callbacks in fit", function()
  local x = ml.linspace(-1, 1, 64):reshape { 64, 1 }
  local y = x * 3 + 1

  local function model_with(lr)
    local model = ml.Sequential { ml.nn.Dense { 1 } }
    model:compile { optimizer = ml.optim.SGD { lr = lr }, loss = "mse", metrics = { "mae" } }
    return model
  end

  local function fit(model, list, epochs)
    return model:fit(x, y, { epochs = epochs, batch_size = 16, validation = { x, y }, callbacks = list, verbose = 0 })
  end

  it("are called in order, with numbers", function()
    local calls = {}
    local function note(name)
      return function(_, n, logs)
        calls[#calls + 1] = name .. (type(n) == "number" and n or "")
        if name == "batch" or name == "epoch" then assert.equal("number", type(logs.loss)) end
        if name == "epoch" then assert.equal("number", type(logs.val_mae)) end
      end
    end
    fit(model_with(0.1), {
      callbacks.Lambda {
        on_train_begin = note "begin", on_epoch_begin = note "first", on_batch_begin = note "before", on_batch_end = note "batch",
        on_epoch_end = note "epoch", on_train_end = note "end",
      },
    }, 1)
    assert.equal("begin first1 before1 batch1 before2 batch2 before3 batch3 before4 batch4 epoch1 end", table.concat(calls, " "))
  end)

  it("History is what fit returns", function()
    local history = fit(model_with(0.1), {}, 3)
    for _, name in ipairs { "loss", "mae", "val_loss", "val_mae" } do assert.equal(3, #history.history[name], name) end
    assert.is_true(history.history.loss[3] < history.history.loss[1])
  end)

  it("EarlyStopping restores the best weights", function()
    local model = model_with(0.1)
    local best
    -- From epoch 4 on the rate is so large that the loss grows.
    local scheduler = callbacks.LearningRateScheduler(function(epoch) return epoch > 3 and 5 or 0.1 end)
    local watch = callbacks.Lambda { on_epoch_end = function(_, epoch) if epoch == 3 then best = model:get_weights() end end }
    local stopping = callbacks.EarlyStopping { patience = 2, restore_best_weights = true }
    local history = fit(model, { scheduler, watch, stopping }, 20)
    assert.equal(5, #history.epoch)
    assert.equal(3, stopping.best_epoch)
    for i, weight in ipairs(model:get_weights()) do testing.equal(weight, best[i]) end
    assert.same({ 0.1, 5 }, { history.history.lr[3], history.history.lr[4] })
  end)

  it("TerminateOnNaN ends a training that diverges", function()
    local history = fit(model_with(1e30), { callbacks.TerminateOnNaN() }, 50)
    assert.is_true(#history.epoch < 50)
  end)

  it("ModelCheckpoint saves what can be loaded", function()
    local model, path = model_with(0.1), os.tmpname()
    fit(model, { callbacks.ModelCheckpoint { path, save_best_only = true } }, 3)
    local loaded = ml.load(path)
    os.remove(path)
    testing.equal(loaded:predict(x), model:predict(x))
  end)

  it("CSVLogger and ProgressBar show the same numbers", function()
    local path, out = os.tmpname(), {}
    local bar = callbacks.ProgressBar { terminal = false, write = function(text) out[#out + 1] = text end }
    local history = fit(model_with(0.1), { callbacks.CSVLogger(path), bar }, 2)
    local text = read_file(path)
    os.remove(path)
    assert.truthy(text:find("^epoch,loss,mae,val_loss,val_mae\n1,"))
    assert.equal(2, #out)
    assert.truthy(out[2]:find("epoch 2/2", 1, true))
    assert.truthy(out[2]:find("loss " .. progress.number(history.history.loss[2]), 1, true))
  end)

  it("an error of a callback ends the training and leaves the model usable", function()
    local model = model_with(0.1)
    assert.error_matches(function()
      fit(model, { callbacks.Lambda { on_epoch_end = function() error("no more", 0) end } }, 2)
    end, "no more")
    fit(model, {}, 1)
    assert.equal("number", type(model:evaluate(x, y).loss))
  end)
end)
