--- Specs of a training that goes on where it was: in the middle of an epoch, from a file, on the same data; and of what files keep
-- of `compile`.
local ml = require "moonlet"
local core = require "moonlet.core"
local plain = require "moonlet.plain"
local testing = require "moonlet.testing"
local nn = ml.nn

local paths = {}
local function path()
  local name = os.tmpname()
  paths[#paths + 1] = name
  return name
end
local function remove_files()
  for _, name in ipairs(paths) do os.remove(name) end
  paths = {}
end

local X, Y = ml.arange(22 * 4):reshape { 22, 4 } / 88, ml.arange(22 * 2):reshape { 22, 2 } / 44

-- A model with everything that could go another way: random masks, moving statistics, an optimizer with state, a schedule.
local function fresh()
  ml.seed(11)
  local x = ml.input { nil, 4, name = "x" }
  local h = nn.BatchNormalization {} (nn.Dense { 8, activation = "relu" } (x))
  local model = ml.Model { inputs = x, outputs = nn.Dense { 2 } (nn.Dropout { 0.3 } (h)), name = "small" }
  local schedule = ml.optim.schedules.CosineDecay { 0.02, decay_steps = 30 }
  return model:compile { optimizer = ml.optim.Adam { lr = schedule }, loss = "mse", metrics = { "mae" } }
end

-- Saves after the n-th batch of the training, and stops it there.
local function stop_after(n, file)
  local seen = 0
  return ml.callbacks.Lambda { on_batch_end = function(self)
    seen = seen + 1
    if seen ~= n then return end
    self.model:save(file)
    self.model.stop_training = true
  end }
end

local function options(extra)
  local opts = { epochs = 4, verbose = 0 }
  for key, value in pairs(extra or {}) do opts[key] = value end
  return opts
end

local function check_same(model, other)
  for i, v in ipairs(model.variables) do testing.equal(other.variables[i]:read(), v:read()) end
  local mine, theirs = model.optimizer:variables(), other.optimizer:variables()
  assert.equal(#mine, #theirs)
  for i, v in ipairs(mine) do testing.equal(theirs[i]:read(), v:read()) end
end

local ways = {
  ["shuffled tensors"] = { fit = function(m, o) return m:fit(X, Y, o) end, opts = { batch_size = 4 } },
  ["tensors in order"] = { fit = function(m, o) return m:fit(X, Y, o) end, opts = { batch_size = 4, shuffle = false } },
  ["tensors with a validation part"] = {
    fit = function(m, o) return m:fit(X, Y, o) end, opts = { batch_size = 3, validation_split = 0.2 } },
  ["tensors, with a number of steps an epoch"] = {
    fit = function(m, o) return m:fit(X, Y, o) end, opts = { batch_size = 4, steps_per_epoch = 5 } },
  ["a dataset of rows"] = { fit = function(m, o) return m:fit(ml.data.dataset({ X, Y }):shuffle():batch(4), o) end },
  ["a stream"] = { fit = function(m, o)
    return m:fit(ml.data.dataset({ X, Y }):shuffle(3):batch(4):map(function(x, y) return x * 2, y end), o)
  end },
  ["a stream, with a number of steps an epoch"] = { opts = { steps_per_epoch = 5 }, fit = function(m, o)
    return m:fit(ml.data.dataset({ X, Y }):shuffle(3):batch(4):map(function(x, y) return x, y end), o)
  end },
}

describe("fit with resume = true", function()
  after_each(remove_files)

  for name, way in pairs(ways) do
    it("goes on with the next batch, bit for bit: " .. name, function()
      local whole = fresh()
      local history = way.fit(whole, options(way.opts)).history
      for _, n in ipairs({ 1, 9, 12, 15 }) do
        local file = path()
        local opts = options(way.opts)
        opts.callbacks = { stop_after(n, file) }
        way.fit(fresh(), opts)
        ml.seed(99)
        local loaded = ml.load(file)
        opts = options(way.opts)
        opts.resume = true
        local rest = way.fit(loaded, opts).history
        check_same(whole, loaded)
        local k = #rest.loss
        assert.is_true(k > 0)
        for i = 1, k do
          testing.equal(rest.loss[i], history.loss[#history.loss - k + i])
          testing.equal(rest.mae[i], history.mae[#history.mae - k + i])
        end
      end
    end)
  end

  it("goes on with more epochs, and where a live training stopped", function()
    local whole = fresh()
    whole:fit(X, Y, options { batch_size = 4, epochs = 6 })
    local model, file = fresh(), path()
    model:fit(X, Y, options { batch_size = 4, epochs = 2, callbacks = { stop_after(8, file) } })
    model:fit(X, Y, options { batch_size = 4, epochs = 3, resume = true })
    model:save(file)
    local loaded = ml.load(file)
    loaded:fit(X, Y, options { batch_size = 4, epochs = 6, resume = true })
    check_same(whole, loaded)
  end)

  it("refuses other data, other batches, and models that were not trained", function()
    local file = path()
    fresh():fit(X, Y, options { batch_size = 4, callbacks = { stop_after(7, file) } })
    local model = ml.load(file)
    local other = Y:clone()
    other[22][2] = 7
    testing.raises(function() model:fit(X, other, { batch_size = 4, resume = true }) end,
      "resume: the data are not those of the training so far: their hash is %x+, it was %x+; give the same data")
    testing.raises(function() model:fit(X, Y, { batch_size = 8, resume = true }) end,
      "resume: batch_size was 4 in the training so far, got 8")
    testing.raises(function() model:fit(X, Y, { batch_size = 4, resume = true, shuffle = false }) end,
      "shuffle was true .* got false")
    testing.raises(function() model:fit(X, Y, { batch_size = 4, resume = true, initial_epoch = 1 }) end, "leave initial_epoch out")
    testing.raises(function() fresh():fit(X, Y, { resume = true }) end, "this model has none: fit it, or load a file of one")
    model:fit(X, other, options { batch_size = 8 })
    assert.equal(4, #model.history.history.loss)
  end)

  it("comes again to a batch that failed", function()
    local whole = fresh()
    whole:fit(X, Y, options { batch_size = 4 })
    local model = fresh()
    local fails = true
    local callback = ml.callbacks.Lambda { on_batch_begin = function(_, n)
      if fails and n == 3 then error("stop here", 0) end
    end }
    testing.raises(function() model:fit(X, Y, options { batch_size = 4, callbacks = { callback } }) end, "stop here")
    fails = false
    model:fit(X, Y, options { batch_size = 4, resume = true })
    check_same(whole, model)
  end)
end)

describe("random numbers", function()
  after_each(remove_files)

  it("go on from the saved state, unless the script keeps its own", function()
    local model, file = fresh(), path()
    ml.randn { 3 }
    model:save(file)
    local expected = ml.randn { 5 }
    ml.load(file)
    testing.equal(ml.randn { 5 }, expected)
    ml.seed(5)
    local own = ml.randn { 5 }
    ml.seed(5)
    ml.load(file, { random = false })
    testing.equal(ml.randn { 5 }, own)
    testing.raises(function() ml.load(file, { rng = 1 }) end, "unknown option 'rng'; known: random")
  end)
end)

describe("what a model was compiled with", function()
  after_each(remove_files)

  local function saved(given)
    local a, b = ml.input { nil, 4, name = "a" }, ml.input { nil, 4, name = "b" }
    local both = nn.Concatenate {} { a, b }
    local model = ml.Model { inputs = { a, b }, outputs = { left = nn.Dense { 2, name = "left" } (both),
      right = nn.Dense { 1, activation = "sigmoid", name = "right" } (both) } }
    model:compile(given)
    local file = path()
    local x, y = { X, X }, { left = Y, right = ml.ones { 22, 1 } }
    model:train_on_batch(x, y)
    model:save(file)
    return model, ml.load(file), x, y
  end

  it("comes back: tables of losses, weights, metrics, objects with settings", function()
    local model, loaded, x, y = saved {
      optimizer = ml.optim.AdamW { lr = ml.optim.schedules.PiecewiseConstantDecay { { 2, 4 }, { 0.1, 0.01, 0.001 } },
        weight_decay = 0.01, exclude_from_weight_decay = { "bias" }, clipnorm = 0.5 },
      loss = { left = ml.losses.Huber { delta = 0.3 }, right = "bce" }, loss_weights = { left = 0.25 },
      metrics = { left = { "mae", ml.metrics.RootMeanSquaredError { name = "root" } }, right = { "accuracy" } },
    }
    for _ = 1, 4 do
      local expected, got = model:train_on_batch(x, y), loaded:train_on_batch(x, y)
      for name, value in pairs(expected) do testing.equal(got[name], value) end
      assert.is_number(got.left_root)
    end
    check_same(model, loaded)
    testing.allclose(loaded.optimizer.lr, 0.01)
    assert.same({ "bias" }, loaded.optimizer.settings.exclude_from_weight_decay)
  end)

  it("is compiled anew where it was code", function()
    local _, loaded, x, y = saved { loss = function(t, p) return ((t - p) ^ 2):mean(2) end }
    testing.raises(function() loaded:train_on_batch(x, y) end,
      "call compile before train_on_batch: it was compiled with a function of the script, which files do not hold")
    loaded:compile { loss = "mse" }
    assert.is_number(loaded:train_on_batch(x, y).loss)
    local Own = ml.metrics.Metric:extend("Own", "own")
    function Own:setup() self.n = self:add_state("n", {}) end
    function Own:update() self.n:assign(self.n + 1) end
    function Own:result() return self.n + 0 end
    _, loaded, x, y = saved { loss = "mse", metrics = { Own {} } }
    testing.raises(function() loaded:train_on_batch(x, y) end, "an object of the script's own class Own")
  end)

  it("asks for a learning rate that was a function", function()
    local model, loaded, x, y = saved { optimizer = ml.optim.SGD { lr = function(step) return 0.1 / (step + 1) end }, loss = "mse" }
    testing.raises(function() loaded:train_on_batch(x, y) end, "the learning rate followed a function of the script")
    loaded.optimizer.lr = function(step) return 0.1 / (step + 1) end
    model:train_on_batch(x, y)
    loaded:train_on_batch(x, y)
    check_same(model, loaded)
  end)

  it("is refused when a file names what is not ours", function()
    local model, file = fresh(), path()
    model:train_on_batch(X, Y)
    model:save(file)
    local read = core.file_load(file)
    local function with(key, change)
      local list, texts = {}, {}
      for i, name in ipairs(read.names) do list[i] = { name, read.tensors[name] } end
      for name, text in pairs(read.texts) do texts[name] = text end
      texts[key] = change(texts[key])
      local other = path()
      core.file_save(other, list, texts)
      return function() return ml.load(other) end
    end
    local config = "moonlet.config"
    testing.raises(with(config, function(t) return (t:gsub("CosineDecay", "Schedule")) end), "there is no schedule 'Schedule'")
    testing.raises(with(config, function(t) return (t:gsub('"Adam"', '"get"')) end), "the optimizer is not known")
    testing.raises(with(config, function(t) return (t:gsub('"beta_1":0.9', '"beta_1":7')) end), "Adam: beta_1 must be")
    testing.raises(with(config, function(t) return (t:gsub("compile={", "compile={{")) end), "compiled with is malformed")
    testing.raises(with("moonlet.place", function() return "{" end), "the place in the data is malformed")
    testing.raises(with("moonlet.place", function() return '{"epoch":-1,"batch":0,"data":{}}' end), "must be an integer")
    testing.raises(with("moonlet.random", function() return '{1:1.5,2:1,3:0}' end), "state of random numbers is malformed")
    assert.is_table(with("moonlet.random", function() return nil end)())
  end)
end)

describe("plain data", function()
  it("come back as they were", function()
    for _, value in ipairs({
      0, -0.1, 1e300, 2 ^ 52, math.huge, -math.huge, true, false, "", 'a "quoted" \\ text\nof\tlines', {}, { 1, 2, { "x" } },
      { a = { b = { [3] = false, [-1] = 0.25 } }, ["odd key = \\\""] = "{" },
    }) do
      assert.same(value, plain.decode(plain.encode(value)))
    end
    local nan = plain.decode(plain.encode(0 / 0))
    assert.is_true(nan ~= nan)
  end)

  it("are told from what is none", function()
    local _, odd = plain.encode { f = print }
    assert.equal("a function", odd)
    assert.is_nil(plain.encode { [true] = 1 })
    assert.is_nil(plain.encode(setmetatable({}, {})))
    for _, text in ipairs({
      "", "{", "}", "{1", "{1:", "{1:2", "{1:2,", "{1 2}", '"', '"\\', "x", "{nan:1}", "{true:1}", "1 2", "os.exit()",
      ("{1:"):rep(100) .. "1" .. ("}"):rep(100), "{1:{}:2}",
    }) do
      assert.is_nil(plain.decode(text), text)
    end
  end)
end)
