--- Models made of symbols: `ml.Model { inputs =, outputs = }`.
-- Here: the functional model. Invariant: its graph is fixed when it is made; automatic names of inputs and layers are numbered
-- from 1 in it.
-- @classmod moonlet.model

local Network = require "moonlet.network"
local calls = require "moonlet.nn.calls"
local core = require "moonlet.core"
local inputs_of = require "moonlet.input"
local mode = require "moonlet.mode"
local util = require "moonlet.util"

--- A model from inputs to outputs.
-- @function ml.Model
-- @tparam table given `inputs`: a symbol of `ml.input`, or a table of them; `outputs`: symbols that depend on them; `name`
-- @usage
-- local x = ml.input { nil, 4 }
-- local model = ml.Model { inputs = x, outputs = nn.Dense { 3 } (x) }
local Model = util.class("Model", Network)

local function symbols_of(self, value, what)
  local list = util.flatten(value)
  if #list == 0 then self:fail("%s must be a symbol or a table of symbols, got %s", what, util.describe(value)) end
  for _, symbol in ipairs(list) do
    if core.kind(symbol) ~= "symbol" then
      self:fail("%s must be symbols, made from ml.input; got %s", what, util.describe(symbol))
    end
  end
  return list
end

-- The name of each output: that of the layer that made it.
local function name_outputs(self, outputs, records)
  local names, used = {}, {}
  for i, symbol in ipairs(outputs) do
    local name
    for _, record in ipairs(records) do
      for _, id in ipairs(record.outputs) do
        if id == core.symbol_id(symbol) then name = record.layer.name end
      end
    end
    name = name or (#outputs == 1 and "output" or "output_" .. i)
    names[i] = used[name] and name .. "_" .. i or name
    used[names[i]] = true
  end
  return names, self
end

-- The graph on placeholders whose automatic names count from 1.
local function renamed(graph, inputs)
  local formals, count, changed = {}, 0, false
  for i, symbol in ipairs(inputs) do
    formals[i] = symbol
    if inputs_of.is_automatic(symbol) then
      count = count + 1
      local name = "input_" .. count
      if symbol.name ~= name then
        formals[i] = core.placeholder(name, symbol.dtype, symbol.shape, #symbol.shape)
        changed = true
      end
    end
  end
  if not changed then return graph, inputs, graph:outputs() end
  local results = core.graph_call(graph, formals)
  return core.graph(formals, results, {}), formals, results
end

local function unique_layers(records)
  local list, seen = {}, {}
  for _, record in ipairs(records) do
    if not seen[record.layer] then
      seen[record.layer] = true
      list[#list + 1] = { layer = record.layer, shape = record.shapes[1] }
    end
  end
  return list
end

-- Variables of the graph that no layer has: those that a script used between layers.
local function own_variables(self, graph)
  local known, list = {}, {}
  for _, variable in ipairs(self.variables) do known[core.identity(variable)] = true end
  for _, variable in ipairs(graph:variables()) do
    if not known[core.identity(variable)] then list[#list + 1] = { name = variable.name, variable = variable } end
  end
  return list
end

function Model:init(given)
  if type(given) ~= "table" then
    core.fail("Model: expected one table, as in ml.Model { inputs = x, outputs = y }, got %s", util.describe(given))
  end
  local settings = util.options("Model", {
    { "inputs", "any", required = true, text = "a symbol or a table of symbols" },
    { "outputs", "any", required = true, text = "a symbol or a table of symbols" },
    { "name", "name" },
    { "trainable", "boolean", default = true },
  }, given)
  self:begin({ name = settings.name, trainable = settings.trainable })
  self:set_graph(settings.inputs, settings.outputs)
end

--- Takes inputs and outputs; `Sequential` calls it when its first shape is known.
function Model:set_graph(inputs, outputs)
  self.inputs, self.outputs = inputs, outputs
  local from, to = symbols_of(self, inputs, "inputs"), symbols_of(self, outputs, "outputs")
  local records = calls.between(from, to)
  self.net.children = unique_layers(records)
  local graph, formals, results = renamed(core.graph(from, to, {}), from)
  self:name_layers()
  local entry = {
    graph = graph, like = util.unflatten(inputs, formals), outputs = util.unflatten(outputs, results), formals = formals,
    results = results, names = name_outputs(self, to, records),
  }
  self.net.list = { entry }
  rawset(self, "weights", own_variables(self, graph))
  Network.restart_names()
  self.built = true
end

function Model:children()
  local list = {}
  for i, child in ipairs(self.net.children) do list[i] = { name = child.layer.name, layer = child.layer, shape = child.shape } end
  return list
end

--- The one graph, whatever the data; its inputs are checked when it is called.
function Model:entry_for()
  return self.net.list[1]
end

local function check_shape(self, formal, x)
  local want, have = formal.shape, x.shape
  local fits = #want == #have
  for i = 1, #want do
    if type(want[i]) == "number" and type(have[i]) == "number" and want[i] ~= have[i] then fits = false end
  end
  if not fits then
    self:fail("input '%s' takes shape %s, got %s", formal.name, util.shape_text(want), util.shape_text(have))
  end
end

-- The list of inputs in the order of the graph's: a named table by its names, a list by position.
local function ordered(self, x)
  local entry = self.net.list[1]
  local formals = entry.formals
  if util.is_array(x) then
    if #formals ~= 1 then self:fail("takes %d inputs, got one tensor", #formals) end
    return { x }
  end
  local list, given = {}, util.flatten(x)
  if #given ~= #formals then self:fail("takes %d inputs, got %d", #formals, #given) end
  for i, formal in ipairs(formals) do
    list[i] = x[formal.name]
    if list[i] == nil then list[i] = given[i] end
  end
  return list
end

--- Inputs in the structure of the graph's inputs, their shapes checked.
function Model:order_inputs(x)
  local entry, list = self.net.list[1], ordered(self, x)
  for i, formal in ipairs(entry.formals) do check_shape(self, formal, list[i]) end
  return util.unflatten(entry.like, list)
end

local function is_concrete(list)
  for _, leaf in ipairs(list) do
    if core.kind(leaf) == "symbol" then return false end
  end
  return core.trace_depth() == 0
end

-- Numbers at once, through the compiled program.
local function run_now(entry, list, training)
  local inputs = Network.cast_inputs(entry, list)
  for i, leaf in ipairs(inputs) do
    if core.kind(leaf) == "variable" then inputs[i] = leaf:read() end
  end
  return { entry.graph:program({ mode = training and "train" or "infer", inputs = inputs }):run(inputs) }
end

function Model:call(x)
  local entry, training = self.net.list[1], mode.get()
  local list = util.flatten(self:order_inputs(x))
  if is_concrete(list) then return util.unflatten(entry.outputs, run_now(entry, list, training == true)) end
  for i, leaf in ipairs(list) do
    if core.kind(leaf) == "tensor" then list[i] = core.constant(leaf) end
  end
  return util.unflatten(entry.outputs, Network.apply_entry(entry, list, training))
end

return Model
