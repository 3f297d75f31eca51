--- Models as files, and back.
-- Here: what is written where, and how a model is made of a file. Bytes are the business of the core's formats. Invariant: a file
-- is checked whole before anything of the live model changes; nothing in a file is run.
-- @module moonlet.serialize

local Layer = require "moonlet.nn.layer"
local Network = require "moonlet.network"
local core = require "moonlet.core"
local partial = require "moonlet.partial"
local plain = require "moonlet.plain"
local random = require "moonlet.random"
local recipe = require "moonlet.recipe"
local step = require "moonlet.step"
local trainer = require "moonlet.trainer"
local util = require "moonlet.util"

local serialize = {}

-- ---- The text "moonlet.config": lines of key=value; in values, \ stands as \\ and a new line as \n ----

local function escape(value)
  return (tostring(value):gsub("\\", "\\\\"):gsub("\n", "\\n"))
end

local function unescape(text)
  return (text:gsub("\\(.)", function(c) return c == "n" and "\n" or c end))
end

local function put(lines, key, value)
  lines[#lines + 1] = key .. "=" .. escape(value)
end

-- Values by key, each a list in the order of the file.
local function parse_config(text)
  local values = {}
  for line in text:gmatch("[^\n]+") do
    local key, value = line:match("^([^=]+)=(.*)$")
    if key then
      values[key] = values[key] or {}
      table.insert(values[key], unescape(value))
    end
  end
  return values
end

local function first(values, key)
  return values[key] and values[key][1]
end

-- ---- What config says about a model ----

local function put_layers(lines, network, prefix)
  for _, child in ipairs(network:children()) do
    local layer = child.layer
    local shape = child.shape or layer.output_shape
    local sizes = { "?" }
    for i = 2, shape and #shape or 0 do sizes[i] = tostring(shape[i]) end
    put(lines, "layer", table.concat({ getmetatable(layer).class_name, layer.trainable == false and "0" or "1",
      shape and table.concat(sizes, ",") or "", prefix .. layer.name }, "|"))
    put_layers(lines, layer, prefix .. layer.name .. "/")
  end
end

local function put_structure(lines, key, structure)
  util.map(structure, function(leaf, path)
    put(lines, key, path)
    return leaf
  end)
end

-- What the model was compiled with, or why that cannot be kept.
local function put_compiled(lines, compiled)
  local form, odd = recipe.of(compiled)
  local text = form and plain.encode(form)
  if text then put(lines, "compile", text) else put(lines, "not_compiled", odd) end
end

local function config_of(model, entry)
  local lines = {}
  put(lines, "class", getmetatable(model).class_name)
  put(lines, "name", model.name)
  put_structure(lines, "input", entry.like)
  put_structure(lines, "output", entry.outputs)
  for _, name in ipairs(entry.names) do put(lines, "output_name", name) end
  put_layers(lines, model, "")
  model:each_weight(function(variable)
    put(lines, "weight", (variable.trainable and "1" or "0") .. "|" .. variable.name)
  end)
  if model.net.compiled then put_compiled(lines, model.net.compiled) end
  return table.concat(lines, "\n") .. "\n"
end

-- ---- Saving ----

-- Collects tensors by name; two different variables of one name are an error.
local function collector(model)
  local list, seen = {}, {}
  return list, function(variable)
    local before, identity = seen[variable.name], core.identity(variable)
    if before ~= nil then
      if before ~= identity then model:fail("save: two variables are called '%s'", variable.name) end
      return
    end
    seen[variable.name] = identity
    list[#list + 1] = { variable.name, variable:read() }
  end
end

local SAVE = { { "training", "boolean", default = false } }

local function check_path(model, method, path)
  if type(path) ~= "string" or path == "" then
    model:fail("%s: the path must be a string, got %s", method, util.describe(path))
  end
end

-- The tensors and the texts of a model's file.
local function contents(model, method, opts)
  opts = util.options(model:who() .. ": " .. method, SAVE, opts)
  model:name_layers()
  local entry, compiled = model:main_entry(), model.net.compiled
  local list, add = collector(model)
  for _, variable in ipairs(model.variables) do add(variable) end
  if compiled then
    for _, variable in ipairs(compiled.optimizer:variables()) do add(variable) end
  end
  local graphs = { entry.graph }
  if opts.training then
    if not compiled or not compiled.last_train then
      model:fail("save: training = true needs a step of training: call fit or train_on_batch before")
    end
    graphs[2] = compiled.last_train.graph
    for _, variable in ipairs(graphs[2]:variables()) do add(variable) end
  end
  for _, variable in ipairs(entry.graph:variables()) do add(variable) end
  local place = trainer.place(model)
  if compiled and place and place.batch > 0 then
    for _, variable in ipairs(step.sums(compiled)) do add(variable) end
  end
  local graph_texts, constants = core.graph_texts(graphs)
  for i, tensor in ipairs(constants) do list[#list + 1] = { "constant/" .. i, tensor } end
  local texts = {
    ["moonlet.version"] = core.version, ["moonlet.graph.predict"] = graph_texts[1], ["moonlet.graph.train"] = graph_texts[2],
    ["moonlet.step"] = string.format("%.0f", model.net.step), ["moonlet.random"] = plain.encode(random.state()),
    ["moonlet.place"] = place and plain.encode(place), ["moonlet.config"] = config_of(model, entry),
  }
  return list, texts
end

--- See `Network:save`.
function serialize.save(model, path, opts)
  check_path(model, "save", path)
  core.file_save(path, contents(model, "save", opts))
end

--- See `Network:serialize`.
function serialize.serialize(model, opts)
  return core.file_encode(contents(model, "serialize", opts))
end

--- See `Network:save_weights`.
function serialize.save_weights(model, path)
  check_path(model, "save_weights", path)
  model:name_layers()
  if #model.variables == 0 then model:fail("save_weights: has no weights yet: call it on data once, or fit it") end
  local list, add = collector(model)
  for _, variable in ipairs(model.variables) do add(variable) end
  core.file_save(path, list, {})
end

-- ---- Loading weights ----

local function is_weight(name)
  return not (name:find("^optimizer/") or name:find("^metrics/") or name:find("^constant/"))
end

local function shorten(names)
  if #names > 6 then
    local n = #names - 5
    names = { names[1], names[2], names[3], names[4], names[5], string.format("and %d more", n) }
  end
  return table.concat(names, ", ")
end

local function check_weights(model, path, file)
  local missing, wanted, extra = {}, {}, {}
  for _, variable in ipairs(model.variables) do
    local tensor = file.tensors[variable.name]
    wanted[variable.name] = true
    if not tensor then
      missing[#missing + 1] = variable.name
    else
      local have, want = util.shape_text(tensor.shape), util.shape_text(variable.shape)
      if have ~= want then
        model:fail("load_weights: '%s' has shape %s in '%s', expected %s", variable.name, have, path, want)
      end
    end
  end
  for _, name in ipairs(file.names) do
    if is_weight(name) and not wanted[name] then extra[#extra + 1] = name end
  end
  if #missing > 0 then
    model:fail("load_weights: '%s' has no %s%s", path, shorten(missing), #extra > 0 and "; it has " .. shorten(extra) or "")
  end
  if #extra > 0 then model:fail("load_weights: '%s' has weights that the model lacks: %s", path, shorten(extra)) end
end

-- Is text the bytes of a file rather than a path? They begin with the length of a header in eight bytes, then the header.
local function is_bytes(text)
  return text:byte(9) == 123 and text:sub(1, 8):find("\0", 1, true) ~= nil
end

--- See `Network:load_weights`.
function serialize.load_weights(model, source)
  check_path(model, "load_weights", source)
  model:name_layers()
  if #model.variables == 0 then model:fail("load_weights: has no weights yet: call it on data once, or fit it") end
  local file = is_bytes(source) and core.file_decode(source) or core.file_load(source)
  check_weights(model, is_bytes(source) and "the string" or source, file)
  local tensors = {}
  for i, variable in ipairs(model.variables) do tensors[i] = file.tensors[variable.name] end
  partial.cancel(model, "the weights were replaced")
  core.write_variables(model.variables, tensors)
end

-- ---- Models made of files ----

local LoadedLayer = util.class("LoadedLayer", Layer)

function LoadedLayer:children()
  return self.inner
end

local function new_loaded_layer(class_name, name, trainable, sizes)
  local layer = setmetatable({}, util.class(class_name, LoadedLayer))
  layer.name, layer.weights, layer.inner, layer.trainable, layer.built = name, {}, {}, trainable, true
  if sizes ~= "" then
    local shape = {}
    for size in sizes:gmatch("[^,]+") do shape[#shape + 1] = tonumber(size) or size end
    layer.output_shape = shape
  end
  return layer
end

function LoadedLayer:call()
  return self:fail("belongs to a loaded model; call the model, not its layers")
end

local LoadedModel = util.class("Model", require "moonlet.model")

function LoadedModel:children()
  return self.net.children
end

-- Reads "moonlet.version" as a number that compares.
local function version_number(text)
  local a, b, c = tostring(text):match("^(%d+)%.(%d+)%.(%d+)$")
  return a and tonumber(a) * 1e10 + tonumber(b) * 1e5 + tonumber(c)
end

local function check_version(path, texts)
  local theirs = texts["moonlet.version"]
  if not theirs or not texts["moonlet.graph.predict"] then
    core.fail("ml.load: '%s' is not a saved model: it has no graph", path)
  end
  if not version_number(theirs) then core.fail("ml.load: '%s': '%s' is not a version", path, theirs) end
  if version_number(theirs) > version_number(core.version) then
    core.fail("ml.load: '%s' was saved by Moonlet %s, this is the older %s", path, theirs, core.version)
  end
end

-- The structure whose leaves stand at paths such as "" or "/1" or "/image", filled from a list.
local function structure_of(paths, list)
  if #paths == 0 or paths[1] == "" then return list[1] end
  local structure = {}
  for i, path in ipairs(paths) do
    local at, keys = structure, {}
    for key in path:gmatch("[^/]+") do keys[#keys + 1] = tonumber(key) or key end
    for k = 1, #keys - 1 do
      at[keys[k]] = at[keys[k]] or {}
      at = at[keys[k]]
    end
    at[keys[#keys]] = list[i]
  end
  return structure
end

local function make_layers(model, values, variables)
  local by_path = {}
  model.net.children = {}
  for _, line in ipairs(values.layer or {}) do
    local class_name, trainable, sizes, path = line:match("^([^|]*)|([^|]*)|([^|]*)|(.+)$")
    if path then
      local parent, name = path:match("^(.*)/([^/]+)$")
      local layer = new_loaded_layer(class_name, name or path, trainable == "1", sizes)
      local around = parent and by_path[parent]
      table.insert(around and around.inner or model.net.children, { name = layer.name, layer = layer })
      by_path[path] = layer
    end
  end
  for _, variable in ipairs(variables) do
    local prefix = variable.name
    repeat
      prefix = prefix:match("^(.*)/[^/]+$")
    until not prefix or by_path[prefix]
    local rest = prefix and variable.name:sub(#prefix + 2) or variable.name
    table.insert(prefix and by_path[prefix].weights or model.weights, { name = rest, variable = variable })
  end
end

-- Parses the predict graph; variables are made of the file's tensors as it names them.
local function parse_graph(path, file, values)
  local by_name, trainable, list = {}, {}, {}
  for _, line in ipairs(values.weight or {}) do
    local flag, name = line:match("^([01])|(.*)$")
    if name then trainable[name] = flag == "1" end
  end
  local graph = core.graph_parse(file.texts["moonlet.graph.predict"], {
    variable = function(name)
      if not by_name[name] and file.tensors[name] then
        by_name[name] = core.variable(file.tensors[name], name, trainable[name] ~= false)
        list[#list + 1] = by_name[name]
      end
      return by_name[name]
    end,
    constant = function(name) return file.tensors[name] end,
  })
  -- In the order of saving, which is that of the layers.
  local ordered = {}
  for _, line in ipairs(values.weight or {}) do
    local variable = by_name[line:match("^[01]|(.*)$") or ""]
    if variable then
      ordered[#ordered + 1] = variable
      by_name[variable.name] = nil
    end
  end
  for _, variable in ipairs(list) do
    if by_name[variable.name] then ordered[#ordered + 1] = variable end
  end
  if #graph:inputs() == 0 then core.fail("ml.load: '%s' holds a graph without inputs", path) end
  return graph, ordered
end

-- ---- What a training goes on with ----

-- The plain data of a text; nil when there is no such text.
local function read_plain(path, name, text)
  if text == nil then return nil end
  local value = plain.decode(text)
  if value == nil then core.fail("ml.load: '%s': %s is malformed", path, name) end
  return value
end

local function restore_slots(model, optimizer, file, schedule)
  local by_name = {}
  for _, variable in ipairs(model.variables) do by_name[variable.name] = variable end
  for _, name in ipairs(file.names) do
    local weight, slot = name:match("^optimizer/(.*)/([^/]+)$")
    if weight and by_name[weight] then optimizer:slot(by_name[weight], slot):write(file.tensors[name]) end
  end
  optimizer:restore(file.tensors["optimizer/iterations"], file.tensors["optimizer/learning_rate"], schedule)
end

local function restore_compiled(model, path, values, file)
  model.net.not_compiled = first(values, "not_compiled")
  local form = read_plain(path, "what it was compiled with", first(values, "compile"))
  if type(form) ~= "table" then return end
  local given, schedule = recipe.read(form)
  restore_slots(model, given.optimizer, file, schedule)
  model:compile(given)
end

local PLACE = { epoch = "natural", batch = "natural", data = "table" }
local DATA = { taken = "natural", batch_size = "count" }

local function check_fields(path, fields, value)
  for name, kind in pairs(fields) do
    util.check(string.format("ml.load: '%s': place in the data", path), { name, kind }, type(value) == "table" and value[name])
  end
end

local function restore_place(model, path, file)
  local place = read_plain(path, "the place in the data", file.texts["moonlet.place"])
  if not place then return end
  check_fields(path, PLACE, place)
  check_fields(path, DATA, place.data)
  model.net.place, model.net.sums = place, {}
  for _, name in ipairs(file.names) do
    if name:find("^metrics/") then model.net.sums[name] = file.tensors[name] end
  end
end

local function restore_random(path, file)
  local state = read_plain(path, "the state of random numbers", file.texts["moonlet.random"])
  if not state then return end
  for i = 1, 3 do
    if not (type(state) == "table" and type(state[i]) == "number" and state[i] == math.floor(state[i])) then
      core.fail("ml.load: '%s': the state of random numbers is malformed", path)
    end
  end
  random.restore(state)
end

local LOAD = { { "random", "boolean", default = true } }

local function model_of(path, file, opts)
  check_version(path, file.texts)
  local values = parse_config(file.texts["moonlet.config"] or "")
  local graph, variables = parse_graph(path, file, values)
  local model = setmetatable({}, LoadedModel)
  Network.begin(model, { name = first(values, "name") or "model" })
  local formals, results = graph:inputs(), graph:outputs()
  local names = values.output_name or {}
  for i = #names + 1, #results do names[i] = "output_" .. i end
  local like = structure_of(values.input or {}, formals)
  local outputs = structure_of(values.output or {}, results)
  model.net.list = { { graph = graph, like = like, outputs = outputs, formals = formals, results = results, names = names } }
  model.net.step = tonumber(file.texts["moonlet.step"]) or 0
  model.inputs, model.outputs, model.built = like, outputs, true
  make_layers(model, values, variables)
  restore_compiled(model, path, values, file)
  restore_place(model, path, file)
  if opts.random then restore_random(path, file) end
  return model
end

--- See `ml.load`.
function serialize.load(path, opts)
  opts = util.options("ml.load", LOAD, opts)
  if type(path) ~= "string" then core.fail("ml.load: the path must be a string, got %s", util.describe(path)) end
  return model_of(path, core.file_load(path), opts)
end

--- See `ml.deserialize`.
function serialize.deserialize(bytes, opts)
  opts = util.options("ml.deserialize", LOAD, opts)
  if type(bytes) ~= "string" then core.fail("ml.deserialize: a string is expected, got %s", util.describe(bytes)) end
  return model_of("the string", core.file_decode(bytes), opts)
end

-- ---- The same model with other weights in store ----

--- See `Network:cast`.
function serialize.cast(model, dtype)
  util.check(model:who() .. ": cast", { "dtype", "string", words = { "bf16", "f16", "f32" } }, dtype)
  local list, texts = contents(model, "cast", {})
  local file = { names = {}, tensors = {}, texts = texts }
  for _, entry in ipairs(list) do
    local name, tensor = entry[1], entry[2]
    if not name:find "^optimizer/" then
      local large = is_weight(name) and #tensor.shape > 1 and (tensor.dtype == "f32" or util.is_half(tensor.dtype))
      if large then tensor = core.cast(tensor, dtype) end -- the graph is read with a cast to what it has
      file.names[#file.names + 1], file.tensors[name] = name, tensor
    end
  end
  texts["moonlet.graph.train"], texts["moonlet.place"] = nil, nil
  texts["moonlet.config"] = texts["moonlet.config"]:gsub("\ncompile=[^\n]*", "\nnot_compiled=its weights were cast for inference")
  return model_of("cast", file, { random = false })
end

-- ---- Another graph for a model that is used ----

local function same_shape(tensor, variable)
  return util.shape_text(tensor.shape) == util.shape_text(variable.shape)
end

-- What of a file fits the weights of a model, by name and shape.
local function fitting(model, file)
  local by_name, kept, new = {}, {}, {}
  for _, variable in ipairs(model.variables) do
    by_name[variable.name] = variable
    local tensor = file.tensors[variable.name]
    local list = tensor and same_shape(tensor, variable) and kept or new
    list[#list + 1] = variable.name
  end
  local fit = { names = {}, tensors = {}, texts = file.texts }
  for _, name in ipairs(file.names) do
    local variable = by_name[name:match("^optimizer/(.*)/[^/]+$") or name]
    if not variable or same_shape(file.tensors[name], variable) then
      fit.names[#fit.names + 1] = name
      fit.tensors[name] = file.tensors[name]
    end
  end
  return fit, kept, new
end

local function take_over(model, file, fit)
  local variables, tensors = {}, {}
  for _, variable in ipairs(model.variables) do
    if fit.tensors[variable.name] then
      variables[#variables + 1], tensors[#tensors + 1] = variable, fit.tensors[variable.name]
    end
  end
  core.write_variables(variables, tensors)
  model.net.step = tonumber(file.texts["moonlet.step"]) or 0
end

--- See `Network:replace`.
function serialize.replace(model, other)
  if not util.is_a(other, Network) or other == model then
    model:fail("replace: another model is expected, got %s", other == model and "the same one" or util.describe(other))
  end
  if not other.net.list[1] then other:entry_for(model:main_entry().like) end
  other:name_layers()
  local file = core.file_decode(serialize.serialize(model))
  local fit, kept, new = fitting(other, file)
  if model.net.compiled and not other.net.compiled then
    restore_compiled(other, "replace", parse_config(file.texts["moonlet.config"] or ""), fit)
    if not other.net.compiled then
      model:fail("replace: it was compiled with functions or objects of the script; compile the other model before")
    end
  end
  take_over(other, file, fit)
  partial.cancel(model, "the model was replaced")
  for key in pairs(model) do rawset(model, key, nil) end
  for key, value in pairs(other) do rawset(model, key, value) end
  setmetatable(model, getmetatable(other))
  return kept, new
end

return serialize
