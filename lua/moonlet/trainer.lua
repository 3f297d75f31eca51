--- Compile, fit, evaluate, predict.
-- Here: what these methods of a network take, and the loops over epochs and batches. One step's graph is in `step`, batches come
-- from `feed`. Invariant: Lua runs once a step; loss and metrics are read from the step at most ten times a second, and at the end
-- of an epoch. An error of a callback leaves the model as the last whole step left it.
-- @module moonlet.trainer

local callbacks = require "moonlet.callbacks"
local core = require "moonlet.core"
local feed = require "moonlet.feed"
local host = require "moonlet.host"
local losses = require "moonlet.losses"
local metrics = require "moonlet.metrics"
local optim = require "moonlet.optim"
local partial = require "moonlet.partial"
local step = require "moonlet.step"
local util = require "moonlet.util"

local trainer = {}

-- ---- compile ----

local COMPILE = {
  { "optimizer", "any", default = "rmsprop" },
  { "loss", "any" },
  { "loss_weights", "table" },
  { "metrics", "table", default = {} },
  { "weighted_metrics", "table", default = {} },
}

-- The entry of a table for output i of that name: by name, or by position.
local function pick(value, head)
  local found = value[head.name]
  if found == nil then found = value[head.index] end
  return found
end

local function is_list(value)
  return type(value) == "table" and not getmetatable(value)
end

-- Turns names in an argument `loss` into objects, keeping its structure.
local function read_losses(who, value)
  if not is_list(value) then return losses.get(who, value) end
  local read = {}
  for key, entry in pairs(value) do read[key] = losses.get(who, entry) end
  return read
end

local function check_metrics(who, list)
  for _, value in pairs(list) do
    if is_list(value) then check_metrics(who, value) else metrics.check(who, value) end
  end
end

-- The metrics of one output: a list applies to every output, a table of lists to each by name or position.
local function metrics_for(list)
  local nested = false
  for key, value in pairs(list) do
    if type(key) == "string" or is_list(value) then nested = true end
  end
  return function(head)
    if not nested then return list end
    local found = pick(list, head)
    if found ~= nil and not is_list(found) then found = { found } end
    return found
  end
end

local function heads_of(self, compiled)
  return function(entry)
    local heads = {}
    for i, name in ipairs(entry.names) do
      local head = { index = i, name = name }
      if is_list(compiled.loss) then head.loss = pick(compiled.loss, head) else head.loss = compiled.loss end
      head.weight = compiled.loss_weights and pick(compiled.loss_weights, head) or 1
      heads[i] = head
    end
    if is_list(compiled.loss) then
      for key in pairs(compiled.loss) do
        local known = type(key) == "number" and heads[key] ~= nil
        for _, head in ipairs(heads) do known = known or head.name == key end
        if not known then
          self:fail("compile: loss is given for output %s; the outputs are: %s", util.describe(key),
            table.concat(entry.names, ", "))
        end
      end
    end
    return heads
  end
end

--- See `Network:compile`.
function trainer.compile(self, opts)
  local who = self:who() .. ": compile"
  local settings = util.options(who, COMPILE, opts)
  if settings.loss == nil then core.fail("%s: loss is missing; it must be a name, a function or a loss object", who) end
  check_metrics(who, settings.metrics)
  check_metrics(who, settings.weighted_metrics)
  local compiled = {
    optimizer = optim.get(who, settings.optimizer), loss = read_losses(who, settings.loss),
    loss_weights = settings.loss_weights, given = settings, sets = {}, steps = {},
    metrics_of = metrics_for(settings.metrics), weighted_metrics_of = metrics_for(settings.weighted_metrics),
  }
  compiled.heads_of = heads_of(self, compiled)
  partial.cancel(self, "the model was compiled again")
  self.net.compiled = compiled
  return self
end

local function need_compiled(self, method)
  if not self.net.compiled then
    local odd = self.net.not_compiled
    self:fail("call compile before %s%s", method, odd and ": it was compiled with " .. odd .. ", which files do not hold" or "")
  end
  return self.net.compiled
end

-- ---- Data ----

-- Lists of tensors in the order of the graph's inputs and outputs, and the inputs' structure.
local function read_example(self, x, y, w)
  local data = self:read_data(x, "x")
  data = self:order_inputs(data)
  local batch = { x = util.flatten(data), y = {}, w = {}, structure = data }
  if y ~= nil then
    y = self:read_data(y, "y")
    batch.named_y = is_list(y) and #y == 0 and y or nil
    batch.y = util.flatten(y)
  end
  if w ~= nil then batch.w = util.flatten(self:read_data(w, "sample_weight")) end
  return batch
end

-- Targets given by the names of outputs, in the order of the outputs.
local function order_targets(self, batch, entry)
  if not batch.named_y then return end
  local list = {}
  for i, name in ipairs(entry.names) do
    if batch.named_y[name] == nil then
      self:fail("y has no target '%s'; the outputs are: %s", name, table.concat(entry.names, ", "))
    end
    list[i] = batch.named_y[name]
  end
  batch.y = list
end

local function check_targets(self, batch, entry)
  if #batch.y == 0 then self:fail("targets are missing: y must be given") end
  if #batch.y ~= #entry.names then self:fail("has %d outputs, got %d targets", #entry.names, #batch.y) end
end

local function complete(self, batch, need_y)
  local entry = self:entry_for(batch.structure)
  order_targets(self, batch, entry)
  if need_y then check_targets(self, batch, entry) end
  return entry
end

-- A source: { feed =, entry_of = function(batch) -> entry }.
local function dataset_source(self, who, dataset, need_y, batch_size)
  local entry
  if feed.is_unbatched(dataset) then dataset = dataset:batch(batch_size or 32) end
  local how = dataset.batched_rows and dataset:batched_rows()
  if how then
    local all = read_example(self, how.columns[1], need_y and how.columns[2] or nil, need_y and how.columns[3] or nil)
    entry = complete(self, all, need_y)
    return { feed = feed.rows(who, all, dataset.batch_size, how), entry = function() return entry end }
  end
  local made = feed.stream(who, dataset, function(x, y, w)
    local batch = read_example(self, x, need_y and y or nil, need_y and w or nil)
    entry = complete(self, batch, need_y)
    return batch.x, batch.y, batch.w
  end)
  return { feed = made, entry = function() return entry end }
end

local function rows_source(who, parts, entry, batch_size, shuffle)
  return { feed = feed.rows(who, parts, batch_size, { shuffle = shuffle }), entry = function() return entry end }
end

local function source_of(self, who, x, y, opts, shuffle, need_y)
  if feed.is_dataset(x) then return dataset_source(self, who, x, need_y, opts.batch_size) end
  local batch = read_example(self, x, y, opts.sample_weight)
  return rows_source(who, batch, complete(self, batch, need_y), opts.batch_size or 32, shuffle)
end

-- fit(dataset, opts) or fit(x, y, opts): y and opts.
local function read_arguments(self, method, x, y, opts)
  if x == nil then self:fail("%s: the data is missing", method) end
  if not feed.is_dataset(x) then return y, opts end
  if opts ~= nil then self:fail("%s: a dataset brings its own targets; give %s(dataset, opts)", method, method) end
  return nil, y
end

-- ---- Running epochs ----

local READ_US = 100000 -- at most ten times a second

-- Runs the batches of one epoch: following() gives them. loop: `most` batches; `done` of them before (0); begun(step) comes once a
-- step is made; on_batch(n, logs) after each, and ends the epoch by true. Returns the logs, the number of batches, and whether the
-- epoch was run to its end.
local function run_batches(self, kind, source, following, loop)
  local net, logs, steps = self.net, {}, {}
  local count, due, current = loop.done or 0, -1, nil
  local most, on_batch = loop.most, loop.on_batch
  while not most or count < most do
    local batch = following()
    if not batch then break end
    current = steps[batch.key]
    if not current then
      current = step.of(self, kind, batch, source.entry(), loop.class_weight)
      if loop.begun and next(steps) == nil then loop.begun() end
      steps[batch.key] = current
    end
    if kind == "train" then net.step = net.step + 1 end
    current:run(batch, net.step)
    count = count + 1
    local now = core.clock_us()
    if now >= due then
      current:read(logs)
      due = now + READ_US
    end
    if on_batch and on_batch(count, logs) then
      current:read(logs)
      return logs, count, false
    end
  end
  if current then current:read(logs) end
  return logs, count, true
end

local function need_batches(self, method, count)
  if count == 0 then self:fail("%s: the data has no batches", method) end
end

-- ---- evaluate ----

local EVALUATE = {
  { "batch_size", "count", default = 32 },
  { "steps", "count" },
  { "sample_weight", "any" },
  { "verbose", "any" },
}

local function judge(self, source, steps)
  step.reset(self.net.compiled, "test")
  local logs, count = run_batches(self, "test", source, source.feed:open(), { most = steps })
  need_batches(self, "evaluate", count)
  return logs
end

--- See `Network:evaluate`.
function trainer.evaluate(self, x, y, opts)
  need_compiled(self, "evaluate")
  y, opts = read_arguments(self, "evaluate", x, y, opts)
  local who = self:who() .. ": evaluate"
  opts = util.options(who, EVALUATE, opts)
  return judge(self, source_of(self, who, x, y, opts, false, true), opts.steps)
end

-- ---- fit ----

local FIT = {
  { "batch_size", "count" },
  { "epochs", "count", default = 1 },
  { "initial_epoch", "natural", default = 0 },
  { "shuffle", "boolean", default = true },
  { "validation", "any" },
  { "validation_split", "fraction", default = 0 },
  { "validation_batch_size", "count" },
  { "validation_steps", "count" },
  { "steps_per_epoch", "count" },
  { "sample_weight", "any" },
  { "class_weight", "any", text = "a table from classes, counted from 0, to numbers", test = function(value)
    if type(value) ~= "table" then return false end
    for class, weight in pairs(value) do
      if not util.is_integer(class) or class < 0 or type(weight) ~= "number" then return false end
    end
    return true
  end },
  { "callbacks", "table", default = {} },
  { "resume", "boolean", default = false },
  { "verbose", "any", text = "true, false, or 0, 1 or 2", test = function(value)
    if value == 2 then return 2 end
    return value == true or value == false or value == 0 or value == 1
  end },
}

-- The sources of fit: training data, and validation data or nil.
local function fit_sources(self, who, x, y, opts)
  local function validation_of(given)
    local size = opts.validation_batch_size or opts.batch_size
    if feed.is_dataset(given) then return dataset_source(self, who, given, true, size) end
    if not is_list(given) or given[1] == nil then
      self:fail("fit: validation must be a dataset or { x, y }, got %s", util.describe(given))
    end
    if given[2] == nil and not feed.is_dataset(given[1]) then
      self:fail("fit: validation must be a dataset or { x, y }, got a table without y")
    end
    return source_of(self, who, given[1], given[2], { batch_size = size, sample_weight = given[3] }, false, true)
  end
  local validation = opts.validation ~= nil and validation_of(opts.validation) or nil
  if feed.is_dataset(x) then
    if opts.sample_weight ~= nil then self:fail("fit: sample_weight goes with tensors; a dataset yields x, y, sample_weight") end
    if opts.batch_size ~= nil and not feed.is_unbatched(x) then
      self:fail("fit: batch_size goes with tensors or a dataset of single examples; this dataset yields batches")
    end
    if opts.validation_split > 0 then
      self:fail("fit: validation_split goes with tensors, not with a dataset; split the dataset")
    end
    return dataset_source(self, who, x, true, opts.batch_size), validation
  end
  local batch = read_example(self, x, y, opts.sample_weight)
  local entry = complete(self, batch, true)
  local parts, size = batch, opts.batch_size or 32
  if opts.validation_split > 0 and not validation then
    local tail
    parts, tail = feed.split(who, batch, opts.validation_split)
    validation = rows_source(who, tail, entry, opts.validation_batch_size or size, false)
  end
  return rows_source(who, parts, entry, size, opts.shuffle), validation
end

-- A function that gives batches for ever, opening the data again at its end; for `steps_per_epoch`.
local function endless(self, source)
  local following = source.feed:open()
  return function()
    local batch = following()
    if batch then return batch end
    following = source.feed:open()
    batch = following()
    if not batch then need_batches(self, "fit", 0) end
    return batch
  end
end

local function notify(list, method, ...)
  for _, callback in ipairs(list) do
    if callback[method] then callback[method](callback, ...) end
  end
end

local function read_callbacks(self, opts, source)
  local list = {}
  local given = opts.callbacks
  if not is_list(given) then given = { given } end
  for i, callback in ipairs(given) do
    if type(callback) ~= "table" then
      self:fail("fit: callback %d must be an object with methods such as on_epoch_end, got %s", i, util.describe(callback))
    end
    list[i] = callback
  end
  local history = callbacks.History {}
  list[#list + 1] = history
  local verbose = opts.verbose
  if verbose == nil then verbose = host.is_terminal() end
  if verbose == 2 then
    list[#list + 1] = callbacks.ProgressBar { terminal = false }
  elseif verbose == true or verbose == 1 then
    list[#list + 1] = callbacks.ProgressBar {}
  end
  local params = { epochs = opts.epochs, steps = opts.steps_per_epoch or source.feed.size, batch_size = opts.batch_size }
  for _, callback in ipairs(list) do
    if callback.set_model then callback:set_model(self) else callback.model = self end
    if callback.set_params then callback:set_params(params) else callback.params = params end
  end
  return list, history
end

-- The same batches; the callbacks hear of each before it is trained.
local function announced(run, following, n)
  return function()
    local batch = following()
    if batch then
      n = n + 1
      notify(run.callbacks, "on_batch_begin", n, {})
    end
    return batch
  end
end

-- ---- Where a training is: in `net.place` between calls of fit, in `net.run` during one ----

--- Epochs that are complete, batches of the one that is not, where the data are, and their hash: plain data, for files. nil before
-- the first fit.
function trainer.place(self)
  local run = self.net.run
  if not run then return self.net.place end
  run.hash = run.hash or run.source.feed:hash()
  local data = run.source.feed:position()
  data.taken = run.taken -- a batch that was taken, but not trained, comes again
  return { epoch = run.epoch, batch = run.batch, data = data, hash = run.hash }
end

local function check_place(self, place, feed_now)
  if not place then
    self:fail("fit: resume = true goes on where a training was, but this model has none: fit it, or load a file of one")
  end
  local hash = feed_now:hash()
  if place.hash ~= hash then
    self:fail("fit: resume: the data are not those of the training so far: their hash is %s, it was %s; give the same data, or " ..
      "leave resume out to begin with these", hash or "not known", place.hash or "not known")
  end
  local now = feed_now:position()
  for _, key in ipairs({ "batch_size", "shuffle" }) do
    if now[key] ~= place.data[key] then
      self:fail("fit: resume: %s was %s in the training so far, got %s", key, tostring(place.data[key]), tostring(now[key]))
    end
  end
  return hash
end

-- Goes on where the last fit was, or the one that a file was saved in.
local function resume(self, opts, run)
  local place = self.net.place
  if opts.initial_epoch > 0 then self:fail("fit: resume = true knows the epoch to go on with; leave initial_epoch out") end
  run.hash = check_place(self, place, run.source.feed)
  run.epoch, run.batch, run.taken = place.epoch, place.batch, place.data.taken
  run.source.feed:resume(place.data, place.batch > 0 or opts.steps_per_epoch ~= nil)
end

-- The sums of a file, once there are variables for them.
local function restore_sums(self)
  local sums = self.net.sums
  if not sums then return end
  for _, variable in ipairs(step.sums(self.net.compiled)) do
    if sums[variable.name] then variable:write(sums[variable.name]) end
  end
  self.net.sums = nil
end

local function run_epoch(self, opts, run, epoch)
  local done = run.batch
  if done == 0 then step.reset(self.net.compiled, "train") end
  notify(run.callbacks, "on_epoch_begin", epoch, {})
  local following = run.endless or run.source.feed:open()
  if run.begins_batches then following = announced(run, following, done) end
  local logs, count, whole = run_batches(self, "train", run.source, following, {
    most = opts.steps_per_epoch, done = done, class_weight = opts.class_weight,
    begun = done > 0 and function() restore_sums(self) end or nil,
    on_batch = function(n, logs)
      run.batch, run.taken = n, run.source.feed.taken
      notify(run.callbacks, "on_batch_end", n, logs)
      return self.stop_training
    end,
  })
  need_batches(self, "fit", count)
  if whole then run.epoch, run.batch = epoch, 0 end
  if done > 0 and count == done then return logs end -- it was stopped after its last batch
  if run.validation then
    for name, value in pairs(judge(self, run.validation, opts.validation_steps)) do logs["val_" .. name] = value end
  end
  notify(run.callbacks, "on_epoch_end", epoch, logs)
  return logs
end

-- Callbacks whose on_batch_begin does something; most inherit an empty one, which is not worth a call a batch.
local function wants_batch_begin(list)
  local empty = callbacks.Callback and callbacks.Callback.on_batch_begin
  for _, callback in ipairs(list) do
    if callback.on_batch_begin and callback.on_batch_begin ~= empty then return true end
  end
  return false
end

--- See `Network:fit`.
function trainer.fit(self, x, y, opts)
  need_compiled(self, "fit")
  y, opts = read_arguments(self, "fit", x, y, opts)
  local who = self:who() .. ": fit"
  opts = util.options(who, FIT, opts)
  self.net.place, self.net.run = trainer.place(self), nil
  local run = { epoch = opts.initial_epoch, batch = 0, taken = 0 }
  run.source, run.validation = fit_sources(self, who, x, y, opts)
  if opts.resume then resume(self, opts, run) else self.net.sums = nil end
  if opts.steps_per_epoch then run.endless = endless(self, run.source) end
  local history
  run.callbacks, history = read_callbacks(self, opts, run.source)
  run.begins_batches = wants_batch_begin(run.callbacks)
  partial.cancel(self, "fit was called")
  rawset(self, "stop_training", false)
  rawset(self, "history", history)
  self.net.run = run
  notify(run.callbacks, "on_train_begin", {})
  local logs = {}
  for epoch = run.epoch + 1, opts.epochs do
    logs = run_epoch(self, opts, run, epoch)
    if self.stop_training then break end
  end
  notify(run.callbacks, "on_train_end", logs)
  self.net.place = trainer.place(self)
  self.net.run = nil
  return history
end

-- ---- One batch ----

local ON_BATCH = { { "sample_weight", "any" }, { "class_weight", "table" }, { "reset_metrics", "boolean", default = true } }
local TRAIN_ON_BATCH = { ON_BATCH[1], ON_BATCH[2], ON_BATCH[3], { "budget_us", "positive" }, { "background", "boolean" } }

-- One batch as `feed` gives them.
local function single_batch(self, method, x, y, opts)
  local who = self:who() .. ": " .. method
  local batch = read_example(self, x, y, opts.sample_weight)
  local entry = complete(self, batch, true)
  return feed.single(who, batch), entry
end

local function on_batch(self, kind, method, x, y, opts)
  local began = core.clock_us()
  local compiled = need_compiled(self, method)
  opts = util.options(self:who() .. ": " .. method, kind == "train" and TRAIN_ON_BATCH or ON_BATCH, opts)
  local batch, entry = single_batch(self, method, x, y, opts)
  local made = step.of(self, kind, batch, entry, opts.class_weight)
  if kind == "train" then partial.cancel(self, "another one was begun") end
  if opts.reset_metrics then step.reset(compiled, kind) end
  if opts.background and not made.graph then self:fail("train_on_batch: in eager mode nothing runs in the background") end
  if opts.background then return partial.start(self, made, batch) end
  if opts.budget_us and made.graph then return partial.begin(self, made, batch, began + opts.budget_us) end
  if kind == "train" then self.net.step = self.net.step + 1 end
  made:run(batch, self.net.step)
  if opts.budget_us then return true, made:read({}) end
  return made:read({})
end

--- See `Network:train_on_batch`.
function trainer.train_on_batch(self, x, y, opts)
  if self.net.pending and type(opts) == "table" and opts.budget_us then
    if self.net.pending.ticket then self:fail("train_on_batch: a step is running in the background; finish it first") end
    return partial.go_on(self, opts.budget_us)
  end
  return on_batch(self, "train", "train_on_batch", x, y, opts)
end

--- See `Network:test_on_batch`.
function trainer.test_on_batch(self, x, y, opts)
  return on_batch(self, "test", "test_on_batch", x, y, opts)
end

-- ---- predict ----

local PREDICT = { { "batch_size", "count", default = 32 }, { "steps", "count" }, { "verbose", "any" } }

local function predict_program(entry, batch)
  local types = {}
  for i, formal in ipairs(entry.formals) do types[i] = { dtype = formal.dtype, shape = batch.x[i].shape } end
  return entry.graph:program({ mode = "infer", inputs = types })
end

-- Tensors for all rows, when each output has a row for each row of a batch; else nil.
local function room_for(program, rows, count)
  local whole = {}
  for i, output in ipairs(program:outputs()) do
    if output.shape[1] ~= rows then return nil end
    local shape = { count }
    for axis = 2, #output.shape do shape[axis] = output.shape[axis] end
    whole[i] = core.zeros(shape, output.dtype)
  end
  return whole
end

-- Runs the batches of a feed; collects their outputs, in place where the number of rows is known.
local function run_predictions(self, source, most, total)
  local following, programs, pieces, whole = source.feed:open(), {}, {}, nil
  local at, count, entry = 0, 0, nil
  while not most or count < most do
    local batch = following()
    if not batch then break end
    entry = source.entry()
    local program = programs[batch.key]
    if not program then
      program = predict_program(entry, batch)
      programs[batch.key] = program
      if count == 0 and total then whole = room_for(program, batch.rows, total) end
    end
    local arguments = require("moonlet.network").cast_inputs(entry, batch.x)
    arguments.step = self.net.step
    if whole then
      arguments.out = {}
      for i, t in ipairs(whole) do arguments.out[i] = t:slice(1, at + 1, at + batch.rows) end
      program:run(arguments)
    else
      pieces[#pieces + 1] = { program:run(arguments) }
    end
    at, count = at + batch.rows, count + 1
  end
  need_batches(self, "predict", count)
  return entry, whole, pieces, at
end

local function joined(pieces)
  local results = {}
  for i = 1, #pieces[1] do
    local list = {}
    for k, piece in ipairs(pieces) do list[k] = piece[i] end
    results[i] = #list == 1 and list[1] or core.concat(list, 1)
  end
  return results
end

--- See `Network:predict`.
function trainer.predict(self, x, opts, extra)
  if x == nil then self:fail("predict: the data is missing") end
  if extra ~= nil then self:fail("predict: takes the data and a table of options") end
  local who = self:who() .. ": predict"
  opts = util.options(who, PREDICT, opts)
  local source = source_of(self, who, x, nil, { batch_size = opts.batch_size }, false, false)
  local total = source.feed.count
  if total and opts.steps then total = math.min(total, opts.steps * opts.batch_size) end
  local entry, whole, pieces, rows = run_predictions(self, source, opts.steps, total)
  local results = whole or joined(pieces)
  if whole and rows < total then self:fail("predict: %d rows of %d were computed", rows, total) end
  return util.unflatten(entry.outputs, results)
end

-- ---- Programs and graphs ----

local function read_kind(self, kind)
  util.check(self:who() .. ": program", { "the first argument", "string", words = { "train", "test", "predict" } }, kind)
end

local function made_for(self, kind, x, y)
  read_kind(self, kind)
  if kind == "predict" then
    local batch = read_example(self, x)
    return nil, batch, complete(self, batch, false)
  end
  need_compiled(self, "program")
  local batch, entry = single_batch(self, "program", x, y, {})
  return step.of(self, kind, batch, entry), batch, entry
end

--- See `Network:program`.
function trainer.program(self, kind, x, y)
  local made, batch, entry = made_for(self, kind, x, y)
  if not made then return predict_program(entry, batch) end
  if not made.graph then self:fail("program: in eager mode there are no programs; call ml.eager(false) first") end
  return made:program(batch)
end

--- See `Network:step_graph`.
function trainer.step_graph(self, kind, x, y)
  local made, _, entry = made_for(self, kind, x, y)
  if made and not made.graph then self:fail("step_graph: in eager mode there are no graphs; call ml.eager(false) first") end
  return made and made.graph or entry.graph
end

return trainer
