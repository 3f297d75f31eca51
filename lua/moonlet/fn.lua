--- Functions that are traced once per signature, differentiated and compiled: `ml.fn`.
-- Here: signatures, the cache of traces, the call. What a trace is lives in `trace`. Invariant: a call gives what the plain Lua
-- function would give, with Tensors in place of Symbols.
-- @module moonlet.fn

local core = require "moonlet.core"
local mode = require "moonlet.mode"
local trace = require "moonlet.trace"
local util = require "moonlet.util"

local concat = table.concat

local Function = util.class("Function")

local ROWS = {
  { "static", "any", text = "an argument's number or a table of them", test = function(v)
    if util.is_integer(v) and v > 0 then return { v } end
    if type(v) ~= "table" then return false end
    for i = 1, #v do
      if not util.is_integer(v[i]) or v[i] < 1 then return false end
    end
    return true
  end },
  { "name", "name", default = "fn" },
  { "training", "boolean" },
  { "limit", "count" },
  { "keep", "count", default = 64 },
}

function Function:init(f, opts)
  if type(f) ~= "function" then core.fail("ml.fn: the first argument must be a function, got %s", util.describe(f)) end
  util.options("ml.fn", ROWS, opts, self)
  self.f = f
  self.owner = trace.owner(self.name)
  self.static_at = {}
  for _, i in ipairs(self.static or {}) do self.static_at[i] = true end
  self.entries, self.count, self.step = {}, 0, 0
  self.paths = {}
  self.counts = { traces = 0, compiles = 0, calls = 0 }
end

-- ---- Signatures: text that two calls share exactly when one trace serves both ----

local ids = setmetatable({}, { __mode = "k" })
local last_id = 0

local function identity(value)
  if not ids[value] then
    last_id = last_id + 1
    ids[value] = last_id
  end
  return "@" .. ids[value]
end

local sign

local function sign_table(parts, leaves, value)
  parts[#parts + 1] = "{"
  local n = util.max_index(value)
  for i = 1, n do sign(parts, leaves, value[i], false) end
  for _, key in ipairs(util.sorted_keys(value)) do
    parts[#parts + 1] = string.format("%q=", key)
    sign(parts, leaves, value[key], false)
  end
  parts[#parts + 1] = "}"
end

-- Adds the signature of one argument to parts, and its tensors to leaves.
sign = function(parts, leaves, value, static)
  local t = type(value)
  local at = #parts + 1
  if t == "userdata" then
    local kind = core.kind(value)
    if kind == "tensor" then
      leaves[#leaves + 1] = value
      parts[at] = value.dtype
      parts[at + 1] = util.shape_text(value.shape)
    else
      parts[at] = identity(value)
    end
  elseif t == "number" and not static then
    leaves[#leaves + 1] = value
    parts[at] = "number"
  elseif t == "number" then
    parts[at] = string.format("=%.17g", value)
  elseif t == "string" then
    parts[at] = string.format("%q", value)
  elseif t == "table" and not getmetatable(value) then
    sign_table(parts, leaves, value)
  elseif t == "table" or t == "function" or t == "thread" then
    parts[at] = identity(value)
  else
    parts[at] = tostring(value)
  end
  parts[#parts + 1] = ";"
end

function Function:sign(arguments)
  local parts, leaves = {}, {}
  for i = 1, arguments.n do sign(parts, leaves, arguments[i], self.static_at[i]) end
  return concat(parts), leaves
end

-- ---- The short way to an entry: paths of keys, for calls without tables ----

local type_key = core.type_key

-- What stands for one argument in a path; nil: take the long way.
local function key_of(value, static)
  local t = type(value)
  if t == "userdata" then return type_key(value) end
  if t == "number" then return not static and "number" or nil end
  if t == "boolean" or t == "nil" then return t == "nil" and "nil" or value end
  if t == "string" then return "=" .. value end
  return nil
end

-- The entry that an earlier call with such arguments found, and their leaves; or nil, and where to note it.
local function look_up(self, arguments)
  local at, leaves, n = self.paths, {}, 0
  local missing = false
  for i = 0, arguments.n do
    local value, key = arguments[i], arguments.n
    if i > 0 then
      key = key_of(value, self.static_at[i])
      if key == nil then return nil end
      local t = type(value)
      if t == "userdata" or t == "number" then
        n = n + 1
        leaves[n] = value
      end
    end
    local following = at[key]
    if not following then
      missing = true
      following = {}
      at[key] = following
    end
    at = following
  end
  return not missing and at.entry or nil, leaves, at
end

-- ---- Arguments in, results out ----

-- The argument with its tensors replaced by symbols, taken in the order of `sign`.
local function replace(value, static, following)
  local t = type(value)
  if t == "number" then
    if static then return value end
    return following()
  end
  if t == "userdata" then return core.kind(value) == "tensor" and following() or value end
  if t ~= "table" or getmetatable(value) then return value end
  local copy = {}
  for i = 1, util.max_index(value) do copy[i] = replace(value[i], false, following) end
  for _, key in ipairs(util.sorted_keys(value)) do copy[key] = replace(value[key], false, following) end
  return copy
end

-- Calls f on the arguments with symbols in place of tensors, and packs its results.
function Function:apply(arguments, symbols)
  local at, replaced = 0, { n = arguments.n }
  local function following()
    at = at + 1
    return symbols[at]
  end
  for i = 1, arguments.n do replaced[i] = replace(arguments[i], self.static_at[i], following) end
  local training = mode.get()
  if training == nil then training = self.training == true end
  return util.pack(mode.with(training, self.f, util.unpack(replaced, 1, replaced.n)))
end

-- Calls visit(symbol) for the symbols in a result and gives a copy with what visit returned; other values stay.
local function map_symbols(value, visit)
  if type(value) == "userdata" then return core.kind(value) == "symbol" and visit(value) or value end
  if type(value) ~= "table" or getmetatable(value) then return value end
  local copy = {}
  for key, v in pairs(value) do copy[key] = map_symbols(v, visit) end
  return copy
end

local Hole = {} -- stands for output `index` in the structure of results

local function dig(results)
  local outputs = {}
  local structure = { n = results.n }
  for i = 1, results.n do
    structure[i] = map_symbols(results[i], function(symbol)
      outputs[#outputs + 1] = symbol
      return setmetatable({ index = #outputs }, Hole)
    end)
  end
  return structure, outputs
end

local function fill(value, tensors)
  if type(value) ~= "table" then return value end
  local mt = getmetatable(value)
  if mt == Hole then return tensors[value.index] end
  if mt then return value end
  local copy = {}
  for key, v in pairs(value) do copy[key] = fill(v, tensors) end
  return copy
end

-- ---- Tracing ----

local function placeholder(leaf, i)
  if type(leaf) == "number" then return core.placeholder("argument_" .. i, "f32", {}, 0) end
  local shape = leaf.shape
  return core.placeholder("argument_" .. i, leaf.dtype, shape, #shape)
end

local function traced(self, arguments, leaves)
  local structure
  local graph = trace.graph(self.owner, function()
    local formals = {}
    for i, leaf in ipairs(leaves) do formals[i] = placeholder(leaf, i) end
    return formals
  end, function(formals)
    local outputs
    structure, outputs = dig(self:apply(arguments, formals))
    return outputs
  end)
  self.counts.traces = self.counts.traces + 1
  return { graph = graph, structure = structure, hooks = self.owner.hooks, numbers = {}, inputs = {} }
end

-- Forgets the signature that was used longest ago.
local function forget_one(self)
  local oldest
  for signature, entry in pairs(self.entries) do
    if not oldest or entry.used < self.entries[oldest].used then oldest = signature end
  end
  self.entries[oldest] = nil
  self.count = self.count - 1
  self.paths = {}
end

local function compile(self, entry, leaves)
  local types = {}
  for i, leaf in ipairs(leaves) do
    types[i] = type(leaf) == "number" and { dtype = "f32", shape = {} } or { dtype = leaf.dtype, shape = leaf.shape }
    if type(leaf) == "number" then entry.numbers[i] = core.tensor(leaf, "f32") end
  end
  entry.program = entry.graph:program({ mode = self.training and "train" or "infer", inputs = types })
  self.counts.compiles = self.counts.compiles + 1
end

-- The entry for these arguments, and their tensors and numbers.
function Function:entry(arguments)
  local entry, leaves, place = look_up(self, arguments)
  if entry then
    entry.used = self.step
    return entry, leaves
  end
  local signature
  signature, leaves = self:sign(arguments)
  entry = self.entries[signature]
  if not entry then
    if self.limit and self.count >= self.limit then
      core.fail("%s: a trace for the signature %s would be number %d, but limit is %d", self.name, signature, self.count + 1,
        self.limit)
    end
    entry = traced(self, arguments, leaves)
    compile(self, entry, leaves)
    if self.count >= self.keep then forget_one(self) end
    self.entries[signature] = entry
    self.count = self.count + 1
  end
  if place then place.entry = entry end
  entry.used = self.step
  return entry, leaves
end

-- ---- Calling ----

local function call_compiled(self, arguments)
  local entry, leaves = self:entry(arguments)
  self.step = self.step + 1
  trace.run_hooks(entry.hooks)
  local inputs, numbers = entry.inputs, entry.numbers
  for i = 1, #leaves do
    local leaf = leaves[i]
    if type(leaf) == "number" then inputs[i] = numbers[i]:fill(leaf) or numbers[i] else inputs[i] = leaf end
  end
  inputs.step = self.step
  local results = { entry.program:run(inputs) }
  for i = 1, #leaves do inputs[i] = nil end
  local structure = entry.structure
  if structure.n == 1 and getmetatable(structure[1]) == Hole then return results[1] end
  local filled = {}
  for i = 1, structure.n do filled[i] = fill(structure[i], results) end
  return util.unpack(filled, 1, structure.n)
end

local function number_of(symbol)
  return symbol:tensor()
end

local function run_eagerly(self, arguments, leaves)
  local symbols = {}
  for i, leaf in ipairs(leaves) do
    if type(leaf) == "number" then leaf = core.tensor(leaf, "f32") else leaf = leaf:clone() end
    symbols[i] = core.constant(leaf)
  end
  local results = self:apply(arguments, symbols)
  local concrete = {}
  for i = 1, results.n do concrete[i] = map_symbols(results[i], number_of) end
  return util.unpack(concrete, 1, results.n)
end

local function call_eager(self, arguments)
  local _, leaves = self:sign(arguments)
  self.step = self.step + 1
  return trace.eager(self.owner, run_eagerly, self, arguments, leaves)
end

local function has_symbol(value)
  if type(value) == "userdata" then return core.kind(value) == "symbol" end
  if type(value) ~= "table" or getmetatable(value) then return false end
  for _, v in pairs(value) do
    if has_symbol(v) then return true end
  end
  return false
end

--- Calls the function. On symbols, or inside another trace, it becomes a part of that graph.
function Function:__call(...)
  local arguments = util.pack(...)
  self.counts.calls = self.counts.calls + 1
  if core.trace_depth() > 0 then return self.f(...) end
  for i = 1, arguments.n do
    if has_symbol(arguments[i]) then return self.f(...) end
  end
  if core.is_eager() then return call_eager(self, arguments) end
  return call_compiled(self, arguments)
end

--- Counts since the function was made: `traces`, `compiles`, `calls`, and the `signatures` kept now.
-- @treturn table
function Function:stats()
  return {
    traces = self.counts.traces, compiles = self.counts.compiles, calls = self.counts.calls, signatures = self.count,
  }
end

--- The compiled program for these arguments, traced now if it was not before. Its inputs are the tensors and numbers among the
-- arguments, in order.
-- @treturn Program
function Function:program(...)
  return (self:entry(util.pack(...))).program
end

--- The graph for these arguments.
-- @treturn Graph
function Function:graph(...)
  return (self:entry(util.pack(...))).graph
end

--- Drops all traces and programs. Variables that were made in traces stay.
function Function:forget()
  self.entries, self.count, self.paths = {}, 0, {}
end

--- The variables that were made inside the function, in the order of making.
-- @treturn {Variable,...}
function Function:variables()
  local list = {}
  for i, variable in ipairs(self.owner.variables) do list[i] = variable end
  return list
end

function Function:__tostring()
  return string.format("Function '%s' (%d signatures)", self.name, self.count)
end

return Function
