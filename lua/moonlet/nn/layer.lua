--- The base of all layers: names, weights, building, calling.
-- Here: what every layer shares. One class a file holds each layer; models add training to this in `model`. Invariant: a layer is
-- built once, by its first call; its weights then have names `path/weight`.
-- @module moonlet.nn.layer

local calls = require "moonlet.nn.calls"
local core = require "moonlet.core"
local initializers = require "moonlet.initializers"
local masks = require "moonlet.nn.masks"
local mode = require "moonlet.mode"
local policy = require "moonlet.policy"
local trace = require "moonlet.trace"
local util = require "moonlet.util"

require "moonlet.activations" -- defines the kind of argument "activation"

--- A layer: makes its weights when first called, and turns tensors into tensors.
-- Every layer also takes `name` (default: its class and a number), `trainable` (default true), `dtype` (of its weights: "f32" or
-- "f64") and `dtype_policy` (default that of `ml.dtype_policy`): under a mixed policy it computes in bf16 or f16 and keeps its
-- weights in f32. A class whose `autocast` is "results" reads inputs and weights as they are and rounds its results alone.
-- @type Layer
local Layer = util.class("Layer")

local COMMON = {
  { "name", "name" },
  { "trainable", "boolean", default = true },
  { "dtype", "float_dtype" },
  { "dtype_policy", "string" },
}
Layer.rows = COMMON
Layer.autocast = "all"

local next_number = {} -- class -> number in the next automatic name

--- Derives a class of layers.
-- @usage
-- local Scale = nn.Layer:extend("Scale", { { "start", "number", default = 1 } })
-- function Scale:build(shape) self.factor = self:add_weight("factor", { shape[#shape] }, { initializer = "ones" }) end
-- function Scale:call(x) return x * self.factor end
-- @tparam string name
-- @tparam[opt] table rows the constructor's arguments, each `{ name, kind, at =, default =, required = }`; see `util.options`
-- @treturn table the class; calling it with one table makes a layer
function Layer:extend(name, rows)
  local class = util.class(name, self)
  local all = {}
  for _, row in ipairs(rows or {}) do all[#all + 1] = row end
  for _, row in ipairs(COMMON) do all[#all + 1] = row end
  class.rows = all
  return class
end

--- Begins to count automatic names from 1 again; a model that has its layers calls it, so that a script run again in one state
-- gives the same names.
function Layer.restart_names()
  next_number = {}
end

--- Gives the layer a name made of its class and a number, unless it was given one.
function Layer:name_automatically(name)
  rawset(self, "made_in", trace.current())
  if name then
    rawset(self, "name", name)
    return
  end
  local prefix = util.snake(getmetatable(self).class_name)
  next_number[prefix] = (next_number[prefix] or 0) + 1
  rawset(self, "name", prefix .. "_" .. next_number[prefix])
  rawset(self, "auto_named", true)
end

--- Reads the constructor's table. A class that needs more checks overrides `setup`, which runs afterwards.
function Layer:init(given)
  local class = getmetatable(self)
  local name = type(given) == "table" and not core.kind(given) and given.name
  local who = class.class_name
  if type(name) == "string" and name ~= "" then who = who .. " '" .. name .. "'" end
  self.weights = {}
  self.built = false
  util.options(who, class.rows, given, self)
  local asked = self.dtype_policy or self.dtype
  self.policy = asked and policy.get(who, asked) or policy.current()
  self.dtype = self.dtype or self.policy.variable
  self:name_automatically(self.name)
  self:setup()
end

--- Further checks of a class's arguments; nothing to do here.
function Layer:setup() end

--- `Dense 'head'`: how messages call the layer.
function Layer:who()
  return getmetatable(self).class_name .. " '" .. self.name .. "'"
end

--- Raises an error that begins with the layer's class and name.
function Layer:fail(format, ...)
  return core.fail("%s: " .. format, self:who(), ...)
end

--- Makes a weight; for `build`.
-- @tparam string name
-- @tparam {integer,...} shape
-- @tparam[opt] table opts `initializer` (a name, a function of shape and dtype, or an initializer; default `"glorot_uniform"`),
--   `trainable` (default true), `dtype` (default the layer's)
-- @treturn Variable
function Layer:add_weight(name, shape, opts)
  opts = opts or {}
  for i = 1, #shape do
    if type(shape[i]) ~= "number" then
      self:fail("weight '%s' needs a known size on axis %d, got %s", name, i, tostring(shape[i]))
    end
  end
  local initializer = initializers.get(opts.initializer or "glorot_uniform", self:who() .. ": weight '" .. name .. "'")
  local dtype = opts.dtype or self.dtype or "f32"
  local variable = trace.once(function(before)
    if before then return trace.check_same(before, dtype, shape) end
    return core.variable(initializer(shape, dtype), (self.path or self.name) .. "/" .. name, opts.trainable ~= false)
  end)
  self.weights[#self.weights + 1] = { name = name, variable = variable }
  return variable
end

--- Makes the weights. Called once, before the first `call`.
-- @tparam table shape of the input: a table of numbers and dims; for several inputs a table of shapes
-- @param x the input: a tensor, or a table of tensors
function Layer:build(shape, x) end

--- What the layer computes.
-- @param x a tensor, or a table of tensors
-- @tparam table opts what the caller gave as second argument
function Layer:call(x, opts)
  return self:fail("the class has no method 'call'")
end

--- The mask that goes with the result of a call: that of the input, when `supports_masking` is set. A layer that makes masks, or
-- changes the steps, overrides it.
-- @param x a tensor, or a table of tensors
-- @tparam[opt] Tensor mask of x: (batch, time), which steps count
function Layer:compute_mask(x, mask)
  return self.supports_masking and mask or nil
end

local function to_array(self, value)
  if util.is_array(value) then return value end
  if type(value) == "number" or (type(value) == "table" and not getmetatable(value)) then return core.tensor(value, self.dtype) end
  return self:fail("expected a tensor or a table of tensors, got %s", util.describe(value))
end

local function holds_array(value)
  if util.is_array(value) then return true end
  if type(value) ~= "table" or getmetatable(value) then return false end
  for _, v in pairs(value) do
    if holds_array(v) then return true end
  end
  return false
end

-- Inputs as arrays; a plain table of numbers becomes a tensor.
local function read_inputs(self, x)
  if util.is_array(x) then return x end
  if x == nil then return self:fail("expected a tensor or a table of tensors, got nothing") end
  if holds_array(x) then
    return util.map(x, function(leaf) return to_array(self, leaf) end)
  end
  return to_array(self, x)
end

local function shapes_of(x)
  if util.is_array(x) then return x.shape end
  return util.map(x, function(leaf) return leaf.shape end)
end

-- ---- Policies ----

local function cast_floats(x, dtype)
  return util.map(x, function(leaf)
    local cast = util.is_array(leaf) and util.is_float(leaf.dtype) and leaf.dtype ~= dtype
    return cast and core.cast(leaf, dtype) or leaf
  end)
end

local function has_half(x)
  for _, leaf in ipairs(util.flatten(x)) do
    if util.is_half(leaf.dtype) then return true end
  end
  return false
end

-- Puts the layer's float weights into its fields as the policy computes with them. Gives what stood there, by field.
local function cast_weights(self, dtype)
  local fields, saved = {}, {}
  for key, value in pairs(self) do
    if core.kind(value) == "variable" then fields[value] = key end
  end
  for _, weight in ipairs(self.weights) do
    local key = fields[weight.variable]
    if key and util.is_float(weight.variable.dtype) and weight.variable.dtype ~= dtype then
      saved[key] = weight.variable
      rawset(self, key, core.cast(weight.variable, dtype))
    end
  end
  return saved
end

local function cast_results(self, saved, dtype, ok, ...)
  for key, variable in pairs(saved) do rawset(self, key, variable) end
  if not ok then error((...), 0) end
  local list = { ... }
  for i = 1, select("#", ...) do
    if util.is_array(list[i]) or type(list[i]) == "table" then list[i] = cast_floats(list[i], dtype) end
  end
  return util.unpack(list, 1, select("#", ...))
end

-- Calls by the layer's policy.
local function call(self, x, opts)
  local dtype = self.policy and self.policy.compute
  if not self.autocast or not dtype then return self:call(x, opts) end
  if not util.is_half(dtype) then return self:call(has_half(x) and cast_floats(x, dtype) or x, opts) end
  if self.autocast == "results" then return cast_results(self, {}, dtype, pcall(self.call, self, x, opts)) end
  x = cast_floats(x, dtype)
  return cast_results(self, cast_weights(self, dtype), dtype, pcall(self.call, self, x, opts))
end

local depth = 0 -- layer calls that are going on

local function run(self, x, opts)
  if not self.built then
    -- A layer that was made inside the function being traced is made again by each trace: its weights are those of the first.
    if self.made_in == trace.current() then
      self:build(shapes_of(x), x)
    else
      trace.within(false, self.build, self, shapes_of(x), x)
    end
    rawset(self, "built", true)
  end
  return call(self, x, opts)
end

local function results(self, x, ...)
  local first = ...
  if util.is_array(first) then
    if core.kind(first) == "symbol" or not self.output_shape then rawset(self, "output_shape", first.shape) end
  end
  if depth == 0 then
    local outputs = util.flatten({ ... })
    if calls.wanted(outputs[1]) then
      local inputs, symbols = {}, {}
      for _, leaf in ipairs(util.flatten(x)) do
        if core.kind(leaf) == "symbol" then inputs[#inputs + 1] = leaf end
      end
      for _, leaf in ipairs(outputs) do
        if core.kind(leaf) == "symbol" then symbols[#symbols + 1] = leaf end
      end
      calls.record(self, inputs, symbols)
    end
  end
  return ...
end

-- Outside of traces, weights read beside symbols must become symbols too.
local function begins_graph(x)
  if core.trace_depth() > 0 or core.is_eager() then return false end
  for _, leaf in ipairs(util.flatten(x)) do
    if core.kind(leaf) == "symbol" then return true end
  end
  return false
end

-- The mask of the result is made inside the call, so that it may read weights and make symbols.
local function with_mask(self, x, opts, ...)
  local mask = self:compute_mask(x, opts.mask)
  if mask then masks.set((...), mask) end
  return ...
end

local function run_masked(self, x, opts)
  return with_mask(self, x, opts, run(self, x, opts))
end

local function leave(self, x, saved, symbolic, ok, ...)
  if symbolic then core.symbolic_pop() end
  core.path_pop()
  depth = depth - 1
  mode.set(saved)
  if not ok then error((...), 0) end
  return results(self, x, ...)
end

--- Calls the layer: builds it if this is the first call, then computes or adds to the graph.
-- @param x a tensor, or a table of tensors
-- @tparam[opt] table opts `training = true` or `false` forces the mode for this layer and those it calls; `mask` (batch, time) says
--   which steps count, default what goes with x; what else there is depends on the layer
function Layer:__call(x, opts)
  if opts ~= nil and type(opts) ~= "table" then
    self:fail("the second argument must be a table of options such as { training = true }, got %s", util.describe(opts))
  end
  opts = opts or {}
  x = read_inputs(self, x)
  local mask = opts.mask == nil and masks.of(x)
  if mask then
    local given = opts
    opts = { mask = mask }
    for key, value in pairs(given) do opts[key] = value end
  end
  local saved = mode.get()
  if opts.training ~= nil then
    util.check(self:who(), { "training", "boolean" }, opts.training)
    mode.set(opts.training)
  end
  local symbolic = begins_graph(x)
  core.path_push(self.name)
  if symbolic then core.symbolic_push() end
  depth = depth + 1
  return leave(self, x, saved, symbolic, pcall(run_masked, self, x, opts))
end

function Layer:__tostring()
  return self:who()
end

--- Runs f as a part of a call, so that the calls of layers inside are not recorded one by one.
function Layer.hidden(f, ...)
  depth = depth + 1
  local function back(ok, ...)
    depth = depth - 1
    if not ok then error((...), 0) end
    return ...
  end
  return back(pcall(f, ...))
end

--- Checks that x is one tensor with `n` axes (a number, or `{ least =, text = }`).
function Layer:expect_ndim(shape, n, axes)
  if type(shape[1]) == "table" then self:fail("expected one input, got a table of %d", #shape) end
  if #shape ~= n then self:fail("expected an input with axes %s, got shape %s", axes, util.shape_text(shape)) end
end

--- Checks at each call that the last axis still has the size that the layer was built for.
function Layer:expect_last(x, size)
  if not util.is_array(x) then self:fail("expected one input, got a table of %d", #x) end
  local shape = x.shape
  if #shape == 0 or (type(shape[#shape]) == "number" and shape[#shape] ~= size) then
    self:fail("was built for inputs whose last axis is %d, got shape %s", size, util.shape_text(shape))
  end
end

--- The size of one axis, which must be known.
function Layer:known_size(shape, axis, what)
  local size = shape[axis < 0 and #shape + axis + 1 or axis]
  if type(size) ~= "number" then
    self:fail("%s must be known to make weights, got shape %s", what, util.shape_text(shape))
  end
  return size
end

--- The layers inside, in order: list of `{ name =, layer = }`.
function Layer:children()
  return {}
end

--- Calls visit(variable, path, trainable) for each weight: the layer's own, then those of layers inside, each once. The path is
-- relative to this layer; trainable takes the setting of all layers around into account.
function Layer:each_weight(visit)
  local seen = {}
  local function walk(layer, prefix, trainable)
    trainable = trainable and layer.trainable ~= false
    for _, weight in ipairs(layer:own_weights()) do
      if not seen[weight.variable] then
        seen[weight.variable] = true
        visit(weight.variable, prefix .. weight.name, trainable and weight.variable.trainable)
      end
    end
    for _, child in ipairs(layer:children()) do walk(child.layer, prefix .. child.name .. "/", trainable) end
  end
  walk(self, "", true)
end

--- The layer's own weights: list of `{ name =, variable = }`.
function Layer:own_weights()
  return self.weights
end

--- Names its weights and those of the layers inside after a path.
function Layer:set_path(path)
  rawset(self, "path", path)
  local prefix = path == "" and "" or path .. "/"
  self:each_weight(function(variable, relative)
    if variable.name ~= prefix .. relative then variable:rename(prefix .. relative) end
  end)
end

local function gather(self, wanted)
  local list = {}
  self:each_weight(function(variable, _, trainable)
    if wanted == nil or wanted == trainable then list[#list + 1] = variable end
  end)
  return list
end

function Layer.getters.variables(self) return gather(self) end
function Layer.getters.trainable_variables(self) return gather(self, true) end
function Layer.getters.non_trainable_variables(self) return gather(self, false) end

--- Number of weights, counted by elements.
-- @treturn integer all
-- @treturn integer those that train
function Layer:count_params()
  local all, trainable = 0, 0
  self:each_weight(function(variable, _, trains)
    local n = 1
    for _, size in ipairs(variable.shape) do n = n * size end
    all = all + n
    if trains then trainable = trainable + n end
  end)
  return all, trainable
end

--- Copies of the weights, in the order of `variables`.
-- @treturn {Tensor,...}
function Layer:get_weights()
  local list = {}
  for i, variable in ipairs(self.variables) do list[i] = variable:read() end
  return list
end

--- Sets the weights, in the order of `variables`; checks all shapes first.
-- @tparam {Tensor,...} values
function Layer:set_weights(values)
  local variables = self.variables
  if type(values) ~= "table" or #values ~= #variables then
    self:fail("set_weights needs a table of %d tensors, got %s", #variables,
      type(values) == "table" and string.format("%d", #values) or util.describe(values))
  end
  local tensors = {}
  for i, variable in ipairs(variables) do
    tensors[i] = util.is_array(values[i]) and values[i] or core.tensor(values[i], variable.dtype)
    local want, got = util.shape_text(variable.shape), util.shape_text(tensors[i].shape)
    if want ~= got then self:fail("weight '%s' has shape %s, got %s", variable.name, want, got) end
  end
  for i, variable in ipairs(variables) do variable:write(tensors[i]) end
end

return Layer
