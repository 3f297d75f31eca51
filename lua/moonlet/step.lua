--- One step of training or judging as a graph: forward, loss, backward, optimizer, metrics.
-- Here: building that graph for a compiled model, and running it on batches. What a model is trained with is read in `trainer`.
-- Invariant: a step changes state by variables only; its outputs are the loss of the batch, the metrics so far, and the mean losses
-- so far.
-- @module moonlet.step

local Mean = require("moonlet.metrics.mean").Mean
local Network = require "moonlet.network"
local core = require "moonlet.core"
local losses = require "moonlet.losses"
local metrics = require "moonlet.metrics"
local mode = require "moonlet.mode"
local policy = require "moonlet.policy"
local trace = require "moonlet.trace"
local util = require "moonlet.util"

local step = {}

-- ---- Trackers: what adds up over the batches of an epoch; one set for training, one for judging ----

local function head_name(heads, head, name)
  return #heads > 1 and head.name .. "_" .. name or name
end

local function add_metrics(set, compiled, heads, i, y_true, y_pred)
  local head = heads[i]
  local function add(list, weighted)
    for _, value in ipairs(list or {}) do
      local metric = metrics.get("compile", value, head.loss, y_true, y_pred)
      if metric == value and set.kind ~= "train" then metric = metric:copy() end
      local name = head_name(heads, head, metric.name)
      metric:place_state(name)
      set.metrics[#set.metrics + 1] = { metric = metric, head = i, weighted = weighted, name = name }
    end
  end
  add(compiled.metrics_of(head), false)
  add(compiled.weighted_metrics_of(head), true)
end

local function new_set(compiled, kind, heads, y_true, y_pred)
  local set = { kind = kind, loss = Mean { name = "loss" }, head_losses = {}, metrics = {} }
  for i in ipairs(heads) do
    if y_true[i] and heads[i].loss then
      if #heads > 1 then set.head_losses[i] = Mean { name = heads[i].name .. "_loss" } end
      add_metrics(set, compiled, heads, i, y_true[i], y_pred[i])
    end
  end
  return set
end

local function tracker_set(compiled, kind, heads, y_true, y_pred)
  if not compiled.sets[kind] then compiled.sets[kind] = new_set(compiled, kind, heads, y_true, y_pred) end
  return compiled.sets[kind]
end

--- Begins to count again.
function step.reset(compiled, kind)
  local set = compiled.sets[kind]
  if not set then return end
  set.loss:reset()
  for _, mean in pairs(set.head_losses) do mean:reset() end
  for _, entry in ipairs(set.metrics) do entry.metric:reset() end
end

--- The variables in which the sums of a training epoch stand, which a file keeps when it is saved within one.
-- @treturn {Variable,...}
function step.sums(compiled)
  local list, set = {}, compiled.sets.train
  local function visit(metric)
    for _, variable in ipairs(metric.state) do list[#list + 1] = variable end
  end
  if not set then return list end
  visit(set.loss)
  for i = 1, util.max_index(set.head_losses) do
    if set.head_losses[i] then visit(set.head_losses[i]) end
  end
  for _, entry in ipairs(set.metrics) do visit(entry.metric) end
  return list
end

-- ---- The body of a step ----

local function class_weights(table_of, y_true)
  local n = 0
  for class in pairs(table_of) do n = math.max(n, class + 1) end
  local list = {}
  for i = 1, n do list[i] = table_of[i - 1] or 1 end
  local labels, shape = y_true, y_true.shape
  if #shape > 1 and shape[#shape] ~= 1 then labels = core.argmax(y_true, -1)
  elseif #shape > 1 then labels = core.squeeze(y_true, -1) end
  return core.gather(core.tensor(list, "f32"), core.cast(labels, "i64"), 1)
end

-- The weight of each example for output i: sample weight, class weight, both, or nil.
local function weight_of(spec, formals, y_true, i)
  local weight = formals.w[i] or formals.w[1]
  if spec.class_weight then
    local by_class = class_weights(spec.class_weight, y_true)
    weight = weight and core.cast(weight, "f32") * by_class or by_class
  end
  return weight
end

local function rows_of(x)
  return core.sum(core.ones({ x.shape[1] }, "f32"))
end

local function head_losses(spec, formals, y_pred)
  local total, values, weights = nil, {}, {}
  for i, head in ipairs(spec.heads) do
    if head.loss and formals.y[i] then
      weights[i] = weight_of(spec, formals, formals.y[i], i)
      local value = losses.reduce(head.loss:values(formals.y[i], y_pred[i]), weights[i], head.loss.reduction)
      if #value.shape > 0 then value = core.mean(value) end
      values[i] = value
      local share = head.weight == 1 and value or value * head.weight
      total = total and total + share or share
    end
  end
  if not total then core.fail("compile: no output has a loss and a target") end
  return total, values, weights
end

local function track(set, spec, formals, y_pred, total, values, weights)
  local outputs, names = { total }, {}
  local rows = rows_of(formals.x[1])
  for _, entry in ipairs(set.metrics) do
    local i = entry.head
    entry.metric:update(formals.y[i], policy.widened(y_pred[i]), entry.weighted and weights[i] or nil)
    outputs[#outputs + 1] = entry.metric:result()
    names[#outputs] = entry.name
  end
  set.loss:update(total, rows)
  outputs[#outputs + 1] = set.loss:result()
  names[#outputs] = "loss"
  for i, head in ipairs(spec.heads) do
    local mean = set.head_losses[i]
    if mean then
      mean:update(values[i], rows)
      outputs[#outputs + 1] = mean:result()
      names[#outputs] = head.name .. "_loss"
    end
  end
  return outputs, names
end

local function leave_scope(ok, ...)
  core.path_pop()
  if not ok then error((...), 0) end
  return ...
end

-- What f builds belongs to this part of the step, as what a layer builds belongs to the layer.
local function scoped(name, f, ...)
  core.path_push(name)
  return leave_scope(pcall(f, ...))
end

-- Gradients of f16 become 0 without a scaled loss.
local function refuse_f16(layer)
  local name = layer.policy and layer.policy.compute == "f16" and layer.autocast and layer:who()
  if name then core.fail("%s: dtype policy mixed_f16 is for inference; train with mixed_bf16", name) end
  for _, child in ipairs(layer:children()) do refuse_f16(child.layer) end
end

local function update(spec, total)
  refuse_f16(spec.model)
  local variables = spec.model.trainable_variables
  if #variables > 0 then spec.compiled.optimizer:apply(core.gradients(total, variables), variables) end
end

-- spec: { model, compiled, entry, heads, kind, class_weight }; formals: { x, y, w } lists of symbols.
local function body(spec, formals)
  local training = spec.kind == "train"
  local y_pred = spec.forward(formals.x, training)
  local set = tracker_set(spec.compiled, spec.kind, spec.heads, formals.y, y_pred)
  local total, values, weights = scoped("loss", head_losses, spec, formals, y_pred)
  if training then scoped("optimizer", update, spec, total) end
  return scoped("metrics", track, set, spec, formals, y_pred, total, values, weights)
end

-- ---- Building ----

local PLACEHOLDER = { x = "input_", y = "target_", w = "sample_weight_" }

local function placeholders(spec, batch)
  local formals, list = { x = {}, y = {}, w = {} }, {}
  for _, part in ipairs({ "x", "y", "w" }) do
    for i, t in ipairs(batch[part]) do
      local shape, dims = t.shape, nil
      if part == "x" and spec.entry.formals[i] then dims = spec.entry.formals[i].shape end
      for axis = 2, #shape do
        if dims and #dims == #shape then shape[axis] = dims[axis] end
      end
      shape[1] = core.dim("batch")
      local name = part == "x" and spec.entry.formals[i] and spec.entry.formals[i].name or PLACEHOLDER[part] .. i
      formals[part][i] = core.placeholder(name, t.dtype, shape, #shape)
      list[#list + 1] = formals[part][i]
    end
  end
  return formals, list
end

local Step = util.class("Step")

function Step:init(spec, batch)
  self.spec, self.owner, self.bound = spec, trace.owner(spec.kind), {}
  local formals
  self.graph = trace.graph(self.owner, function()
    local list
    formals, list = placeholders(spec, batch)
    return list
  end, function()
    local outputs
    outputs, self.names = body(spec, formals)
    return outputs
  end)
  self.hooks = self.owner.hooks
  self.out = {}
  for i, symbol in ipairs(self.graph:outputs()) do self.out[i] = core.zeros({}, symbol.dtype) end
end

--- The program for batches like this one.
function Step:program(batch)
  local types = {}
  for i, t in ipairs(batch.list) do types[i] = { dtype = t.dtype, shape = t.shape } end
  return self.graph:program({ mode = self.spec.kind == "train" and "train" or "infer", inputs = types })
end

-- The tensors of a batch as arguments of a program.
local function fill(arguments, batch)
  for i = 1, #batch.list do arguments[i] = batch.list[i] end
  return arguments
end

local function bound_to(self, batch)
  local bound = self.bound[batch.key]
  if not bound then
    bound = { program = self:program(batch), arguments = { out = self.out } }
    self.bound[batch.key] = bound
  end
  return bound
end

--- Runs on one batch. number: of the step, for random numbers.
function Step:run(batch, number)
  local bound = bound_to(self, batch)
  local arguments = fill(bound.arguments, batch)
  arguments.step = number
  trace.run_hooks(self.hooks)
  bound.program:run(arguments)
end

--- Compiles anew when it runs next. A run that has begun goes on with the program it has.
function Step:recompile()
  self.bound = {}
end

--- The program for a batch, and arguments of its own for a run that is not over at once.
function Step:bind(batch, number)
  local bound = bound_to(self, batch)
  bound.held = fill(bound.held or { out = self.out }, batch)
  bound.held.step = number
  trace.run_hooks(self.hooks)
  return bound.program, bound.held
end

--- Reads what has added up into logs.
function Step:read(logs)
  for i, name in pairs(self.names) do logs[name] = self.out[i]:item() end
  return logs
end

-- ---- Eager mode: the body runs on each batch ----

local EagerStep = util.class("EagerStep")

function EagerStep:init(spec)
  self.spec, self.owner, self.values = spec, trace.owner(spec.kind), {}
end

local function run_eagerly(self, batch)
  local formals = { x = {}, y = {}, w = {} }
  for part, list in pairs(formals) do
    for i, t in ipairs(batch[part]) do list[i] = core.constant(t:clone()) end
  end
  local outputs, names = mode.with(self.spec.kind == "train", body, self.spec, formals)
  for i, name in pairs(names) do self.values[name] = outputs[i]:tensor():item() end
end

function EagerStep:run(batch)
  trace.eager(self.owner, run_eagerly, self, batch)
end

function EagerStep:read(logs)
  for name, value in pairs(self.values) do logs[name] = value end
  return logs
end

-- ---- Finding the step for a batch ----

local function trailing(list)
  local parts = {}
  for i, t in ipairs(list) do
    local shape = t.shape
    if #shape > 0 then shape[1] = "?" end
    parts[i] = t.dtype .. util.shape_text(shape)
  end
  return table.concat(parts, ",")
end

local function trains(model)
  local flags = {}
  model:each_weight(function(_, _, trainable) flags[#flags + 1] = trainable and "1" or "0" end)
  return table.concat(flags)
end

local function class_text(weights)
  if not weights then return "" end
  local keys, parts = {}, {}
  for class in pairs(weights) do keys[#keys + 1] = class end
  table.sort(keys)
  for i, class in ipairs(keys) do parts[i] = class .. "=" .. weights[class] end
  return table.concat(parts, ",")
end

-- Forward: in eager mode a network whose code is Lua runs that code, else its graph is called.
local function forward_of(model, entry)
  return function(inputs, training)
    if core.is_eager() and model.inputs == nil then
      return util.flatten(mode.with(training, function() return model(util.unflatten(entry.like, inputs)) end))
    end
    return Network.apply_entry(entry, inputs, training)
  end
end

--- The step of a model for batches like this one; made when first asked for.
-- @tparam Network model
-- @tparam string kind "train" or "test"
-- @tparam table batch
-- @tparam table entry of the model's graph
-- @tparam[opt] table class_weight
function step.of(model, kind, batch, entry, class_weight)
  local compiled = model.net.compiled
  local key = table.concat({ kind, trailing(batch.x), trailing(batch.y), trailing(batch.w), class_text(class_weight),
    kind == "train" and trains(model) or "", tostring(core.is_eager()) }, "|")
  local steps = compiled.steps[entry] or {}
  compiled.steps[entry] = steps
  if not steps[key] then
    local spec = {
      model = model, compiled = compiled, entry = entry, heads = compiled.heads_of(entry), kind = kind, class_weight = class_weight,
      forward = forward_of(model, entry),
    }
    steps[key] = core.is_eager() and EagerStep(spec) or Step(spec, batch)
  end
  if kind == "train" and steps[key].graph then compiled.last_train = steps[key] end
  return steps[key]
end

--- All steps of a compiled model are compiled anew when they run next.
function step.recompile(compiled)
  for _, steps in pairs(compiled.steps) do
    for _, made in pairs(steps) do
      if made.graph then made:recompile() end
    end
  end
end

return step
