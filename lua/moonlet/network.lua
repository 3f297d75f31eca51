--- What all models share: their graph, names, and the methods that train, judge and save.
-- Here: the base of `Model`, `Sequential` and classes made by `nn.module`. Training is in `trainer`, files in `serialize`, the
-- table of layers in `summary`. Invariant: a network has one graph for each kind of input, with both modes in it; training,
-- inference and files all start from that graph.
-- @classmod moonlet.network

local Layer = require "moonlet.nn.layer"
local core = require "moonlet.core"
local input = require "moonlet.input"
local mode = require "moonlet.mode"
local trace = require "moonlet.trace"
local util = require "moonlet.util"

local Network = util.class("Network", Layer)

local NAME_ROWS = { { "name", "name" }, { "trainable", "boolean", default = true } }

Network.autocast = false -- its layers have policies of their own

--- Begins an instance: its name and empty state. rawset, because instances of `nn.module` note what a script assigns.
function Network:begin(given)
  local settings = util.options(getmetatable(self).class_name, NAME_ROWS, given)
  rawset(self, "weights", {})
  rawset(self, "built", false)
  rawset(self, "trainable", settings.trainable)
  rawset(self, "stop_training", false)
  rawset(self, "net", { list = {}, step = 0 })
  self:name_automatically(settings.name)
end

function Network.getters.optimizer(self) return self.net and self.net.compiled and self.net.compiled.optimizer end

function Network.getters.layers(self)
  local list = {}
  for i, child in ipairs(self:children()) do list[i] = child.layer end
  return list
end

-- ---- Names ----

local function taken_names(self, children)
  local used = {}
  for _, child in ipairs(children) do
    local layer = child.layer
    if not layer.auto_named then
      if used[layer.name] and used[layer.name] ~= layer then
        self:fail("two layers have the name '%s': names of layers in a model must differ", layer.name)
      end
      used[layer.name] = layer
    end
  end
  return used
end

local function number_children(self)
  local children = self:children()
  local used, counts = taken_names(self, children), {}
  for _, child in ipairs(children) do
    local layer = child.layer
    if layer.auto_named then
      local prefix = util.snake(getmetatable(layer).class_name)
      local n = counts[prefix] or 0
      repeat
        n = n + 1
      until not used[prefix .. "_" .. n]
      counts[prefix] = n
      rawset(layer, "name", prefix .. "_" .. n)
      used[layer.name] = layer
    end
    if util.is_a(layer, Network) then number_children(layer) end
  end
end

--- Numbers automatic names from 1 and names all weights by path, `dense_1/kernel`. Runs whenever names begin to matter.
function Network:name_layers()
  number_children(self)
  self:set_path("")
end

--- The layer of that name.
-- @tparam string name such as "dense_1", or with the models around it: "encoder/dense_1"
-- @treturn Layer
function Network:get_layer(name)
  util.check(self:who() .. ": get_layer", { "name", "name" }, name)
  self:name_layers()
  local layer = self
  for part in name:gmatch("[^/]+") do
    local found
    local names = {}
    for _, child in ipairs(layer:children()) do
      names[#names + 1] = child.layer.name
      if child.layer.name == part then found = child.layer end
    end
    if not found then self:fail("no layer '%s'; there are: %s", name, table.concat(names, ", ")) end
    layer = found
  end
  return layer
end

-- ---- Graphs ----
-- An entry is { graph =, inputs = structure of input names, outputs = structure, formals = list of symbols, names = output names }.

local function placeholder_name(path)
  if path == "" then return "input_1" end
  local name = path:gsub("^/", ""):gsub("/", "_")
  return name:match("^%d") and "input_" .. name or name
end

-- A placeholder like leaf, of any batch. A symbol keeps its unknown sizes and its name.
local function placeholder(self, leaf, path)
  local shape, name = leaf.shape, placeholder_name(path)
  if #shape == 0 then self:fail("inputs need a batch axis, got rank 0") end
  shape[1] = core.dim("batch")
  if core.kind(leaf) == "symbol" and not input.is_automatic(leaf) then name = leaf.name end
  return core.placeholder(name, leaf.dtype, shape, #shape)
end

-- Can the graph of an entry be called on x?
local function fits(entry, x)
  local at, good = 0, true
  util.map(x, function(leaf, path)
    at = at + 1
    local formal = entry.formals[at]
    if not formal or entry.paths[at] ~= path or formal.dtype ~= leaf.dtype then
      good = false
      return leaf
    end
    local want, have = formal.shape, leaf.shape
    if #want ~= #have then good = false end
    for i = 2, #want do
      if type(want[i]) == "number" and want[i] ~= have[i] then good = false end
    end
    return leaf
  end)
  return good and at == #entry.formals
end

-- What a call gave, as one value: several results become a list.
local function one_value(...)
  if select("#", ...) > 1 then return { ... } end
  return (...)
end

local function check_outputs(self, outputs)
  local list = util.flatten(outputs)
  if #list == 0 then self:fail("call returned nothing; expected a tensor or a table of tensors") end
  for _, symbol in ipairs(list) do
    if core.kind(symbol) ~= "symbol" then
      self:fail("call must return tensors that depend on its input, got %s", util.describe(symbol))
    end
  end
  return list
end

local function output_names(outputs)
  local names = {}
  util.map(outputs, function(leaf, path)
    names[#names + 1] = path == "" and "output" or (path:sub(2):match("^%d+$") and "output_" .. path:sub(2) or path:sub(2))
    return leaf
  end)
  return names
end

-- Builds the graph by calling the network on placeholders, outside of any trace, with both modes.
local function make_entry(self, x)
  local paths = {}
  local formals = util.map(x, function(leaf, path)
    paths[#paths + 1] = path
    return placeholder(self, leaf, path)
  end)
  number_children(self)
  local eager = 0
  while core.is_eager() do
    core.eager_pop()
    eager = eager + 1
  end
  local ok, outputs = pcall(mode.with, nil, trace.within, false, Layer.hidden, function()
    return one_value(self(formals))
  end)
  for _ = 1, eager do core.eager_push() end
  if not ok then error(outputs, 0) end
  local list, inputs = check_outputs(self, outputs), util.flatten(formals)
  return {
    graph = core.graph(inputs, list, {}), like = formals, outputs = outputs, formals = inputs, results = list,
    names = output_names(outputs), paths = paths,
  }
end

--- The entry for inputs like x: a tensor or a table of tensors. Made when first asked for, which must be outside of traces.
function Network:entry_for(x)
  local list = self.net.list
  for _, entry in ipairs(list) do
    if fits(entry, x) then return entry end
  end
  if core.trace_depth() > 0 then self:fail("cannot be compiled inside ml.fn; call it there instead") end
  local entry = make_entry(self, x)
  list[#list + 1] = entry
  self:name_layers()
  return entry
end

--- The first call notes what the network was called on: its graph is made of that when it is first asked for.
function Network:build(_, x)
  for _, leaf in ipairs(util.flatten(x)) do
    if not util.is_array(leaf) or #leaf.shape == 0 then return end
  end
  self.net.like = util.map(x, function(leaf, path) return placeholder(self, leaf, path) end)
end

--- The first graph that was made: the one that is saved and described. Raises when the network was never called.
function Network:main_entry()
  local entry = self.net.list[1]
  if not entry and self.net.like then entry = self:entry_for(self.net.like) end
  if not entry then self:fail("has no graph yet: call it on data once, or fit it") end
  return entry
end

--- The graph of the model, from inputs to outputs, with both modes: `graph():text()` prints it.
-- @treturn Graph
function Network:graph()
  return self:main_entry().graph
end

--- Adds what an entry's graph computes of inputs (a list) to the graph being built; training nil keeps both modes.
-- @treturn table list of symbols
function Network.apply_entry(entry, inputs, training)
  local side = nil
  if training ~= nil then side = training and "train" or "infer" end
  return core.graph_call(entry.graph, Network.cast_inputs(entry, inputs), side)
end

--- The list of inputs with the dtypes that the graph takes.
function Network.cast_inputs(entry, inputs)
  local list = {}
  for i, x in ipairs(inputs) do
    local want = entry.formals[i] and entry.formals[i].dtype or x.dtype
    list[i] = x.dtype == want and x or core.cast(x, want)
  end
  return list
end

-- ---- Data in and out ----

--- Data as tensors in the structure of the network's inputs: tables of numbers become tensors.
-- @param x a tensor, a table of numbers, or a table of tensors
-- @tparam string what its name, for messages
function Network:read_data(x, what)
  local function read(value)
    if util.is_array(value) then return value end
    if type(value) == "number" or type(value) == "boolean" then return core.tensor(value) end
    if type(value) ~= "table" or getmetatable(value) then
      self:fail("%s must be tensors or tables of numbers, got %s", what, util.describe(value))
    end
    local first = value[1]
    while type(first) == "table" and not getmetatable(first) do first = first[1] end
    if type(first) == "number" or type(first) == "boolean" then return core.tensor(value) end
    local copy = {}
    for key, entry in pairs(value) do copy[key] = read(entry) end
    return copy
  end
  return read(x)
end

--- Inputs in the order of the graph. A class with named inputs overrides it.
function Network:order_inputs(x)
  return x
end

-- ---- Training: see trainer.lua ----

local function trainer()
  return require "moonlet.trainer"
end

--- Says how to train: optimizer, loss, metrics.
-- @usage model:compile { optimizer = "adam", loss = "mse", metrics = { "mae" } }
-- @tparam table opts `optimizer` (a name or an optimizer; default "rmsprop"), `loss` (a name, loss object, or function of y_true
--   and y_pred; for several outputs a table of them by position or name), `loss_weights`, `metrics`, `weighted_metrics`
function Network:compile(opts)
  return trainer().compile(self, opts)
end

--- Trains.
-- @usage local history = model:fit(x, y, { epochs = 10, batch_size = 32, validation_split = 0.2 })
-- local history = model:fit(dataset, { epochs = 10, validation = other })
-- @param x a tensor, a table of tensors, tables of numbers; or a dataset of `ml.data`
-- @param[opt] y targets likewise; not with a dataset
-- @tparam[opt] table opts `batch_size` (32), `epochs` (1), `shuffle` (true), `validation` (a dataset or `{ x, y }`),
--   `validation_split`, `callbacks`, `verbose` (default: when the output is a terminal), `initial_epoch` (0), `steps_per_epoch`,
--   `validation_steps`, `validation_batch_size`, `sample_weight`, `class_weight`; `resume` (false): go on where the training so far
--   was, also one that a file was saved in, within an epoch too: with the same data and batch size the following batches and all
--   numbers are those of a training that never stopped (an error when the hash of the data differs)
-- @treturn History `history.history.loss[epoch]`
function Network:fit(x, y, opts)
  return trainer().fit(self, x, y, opts)
end

--- Loss and metrics over a data set.
-- @usage print(model:evaluate(x, y).loss)
-- @param x as in `fit`
-- @param[opt] y as in `fit`
-- @tparam[opt] table opts `batch_size` (32), `steps`, `sample_weight`, `verbose`
-- @treturn table numbers by name: `loss`, and the metrics
function Network:evaluate(x, y, opts)
  return trainer().evaluate(self, x, y, opts)
end

--- Outputs for inputs, computed in batches.
-- @param x as in `fit`; of a dataset, only the inputs are used
-- @tparam[opt] table opts `batch_size` (32), `steps`
-- @return a Tensor, or a table of them for several outputs
function Network:predict(x, opts)
  return trainer().predict(self, x, opts)
end

--- One step of training on one batch: whole, in slices, or in the background.
--
-- `budget_us = n` computes for n microseconds and returns false, or true and the numbers once the step is done. Called again, it
-- goes on with the step that has begun, whatever x and y are; after the last slice the next call begins another step.
-- `background = true` returns a ticket with `done()`, `result()` and `cancel()` (see `moonlet.partial`). Until the step is over the
-- weights are those of the last whole step. Whatever else trains the model or replaces its weights gives the step up.
-- @usage if model:train_on_batch(x, y, { budget_us = 500 }) then x, y = sample() end -- once a frame
-- local ticket = model:train_on_batch(x, y, { background = true })
-- @param x as in `fit`
-- @param y as in `fit`
-- @tparam[opt] table opts `sample_weight`, `class_weight`, `reset_metrics` (true), `budget_us`, `background`
-- @treturn table numbers by name: `loss`, and the metrics
function Network:train_on_batch(x, y, opts)
  return trainer().train_on_batch(self, x, y, opts)
end

--- Gives up a step of `train_on_batch` that has begun and is not over. The weights stay as they are.
function Network:cancel()
  require("moonlet.partial").cancel(self)
end

--- Loss and metrics of one batch.
-- @param x as in `fit`
-- @param y as in `fit`
-- @tparam[opt] table opts `sample_weight`, `reset_metrics` (true)
-- @treturn table
function Network:test_on_batch(x, y, opts)
  return trainer().test_on_batch(self, x, y, opts)
end

--- The compiled program of a step: "train" and "test" take inputs and targets and give the loss, then the metrics; "predict" takes
-- inputs and gives outputs.
-- @tparam string kind "train", "test" or "predict"
-- @param x one batch, or anything of its shape
-- @param[opt] y
-- @treturn Program
function Network:program(kind, x, y)
  return trainer().program(self, kind, x, y)
end

--- The graph of a step, as `program` compiles it.
-- @treturn Graph
function Network:step_graph(kind, x, y)
  return trainer().step_graph(self, kind, x, y)
end

-- ---- Files: see serialize.lua ----

--- Writes the model to a file that `ml.load` reads, and any reader of safetensors: weights, graph, what it was compiled with, the
-- optimizer's state, random numbers, the step, the place in the data and their hash (of large data, of blocks that lie evenly).
-- @tparam string path
-- @tparam[opt] table opts `training = true` stores the training step as well, for training on without Lua
function Network:save(path, opts)
  return require("moonlet.serialize").save(self, path, opts)
end

--- Writes the weights alone.
-- @tparam string path
function Network:save_weights(path)
  return require("moonlet.serialize").save_weights(self, path)
end

--- The bytes that `save` would write, as a string for a save game or another thread; `ml.deserialize` makes a model of it.
-- @tparam[opt] table opts as in `save`
-- @treturn string
function Network:serialize(opts)
  return require("moonlet.serialize").serialize(self, opts)
end

--- A model for inference that computes the same and keeps its weights of two axes and more in another dtype: half the bytes in
-- files and, where its layers have the policy `"mixed_bf16"`, half the bytes to read. `load_weights` takes what it saves.
-- @tparam string dtype `"bf16"`, `"f16"` or `"f32"`
-- @treturn Network a new model, not compiled
-- @usage model:cast("bf16"):save "small.moon"
function Network:cast(dtype)
  return require("moonlet.serialize").cast(self, dtype)
end

--- Reads weights from a file of `save` or `save_weights`, or from a string of `serialize`. All names and shapes are checked before
-- anything changes; then all weights change at once. A run that has begun ends with the old ones; a step of training that has begun
-- in slices or in the background is given up.
-- @usage model:load_weights "weights.moon"
-- model:load_weights(channel:demand()) -- what another thread's model:serialize() gave
-- @tparam string source a path, or the bytes
function Network:load_weights(source)
  return require("moonlet.serialize").load_weights(self, source)
end

--- Becomes another model, keeping the weights whose names and shapes are the same, with the optimizer's state for them and the
-- step: for code that was changed while the program runs. It stays compiled as it was, unless the other one is compiled. A step of
-- training that has begun is given up. The other model must not be used afterwards.
-- @usage model:replace(build_model())
-- @tparam Network other if it was never called, it is built for the inputs of this one
-- @treturn table names of the weights that were kept
-- @treturn table names of those that begin anew
function Network:replace(other)
  return require("moonlet.serialize").replace(self, other)
end

--- Prints a table of the layers, their output shapes and numbers of weights.
-- @tparam[opt] table opts `print`: a function that takes each line; default writes to the output
function Network:summary(opts)
  return require("moonlet.summary").print(self, opts)
end

return Network
