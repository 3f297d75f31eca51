--- Writes the reference of all ops as LDoc comments to standard output, out of the op table: `moonlet spec/support/ops_doc.lua`.
-- Here: how a row of the table reads as a Lua function. What an op does is said in its row, in core/ops. Invariant: every op that
-- a script can call is there, none else.

local ml = require "moonlet"

local DTYPES = { [0] = "bool", "u8", "i32", "i64", "f32", "f64" }
local TYPES = {
  axis = "integer", axes = "integer|table", shape = "table", ints = "integer|table", dim = "integer",
  i64 = "integer", f64 = "number",
  bool = "boolean", dtype = "string", enum = "string",
}
local KINDS = {
  { "elementwise", "Element by element", "Shapes broadcast as in NumPy." },
  { "structured", "Movement, sums, products, convolution and others" },
  { "inline", "Made of other ops when they are called" },
  { "composite", "Made of other ops, with kernels of their own where they win" },
}

local function words_of(attr)
  local words = {}
  for word in (attr.words or ""):gmatch "[^|]+" do words[#words + 1] = word end
  return words
end

-- How a script writes the default; nil when there is none worth showing.
local function default_of(attr)
  local value = attr.default
  if attr.required or value ~= value then return nil end
  if attr.kind == "axis" then return string.format("%.0f", value >= 0 and value + 1 or value) end
  if attr.kind == "bool" then return value == 0 and "false" or "true" end
  if attr.kind == "dtype" then return DTYPES[value] and string.format("%q", DTYPES[value]) end
  if attr.kind == "enum" then return string.format("%q", words_of(attr)[value + 1]) end
  if attr.kind == "f64" or attr.kind == "i64" then return string.format("%.6g", value) end
  return nil
end

local function put(text, ...)
  io.write(select("#", ...) > 0 and string.format(text, ...) or text, "\n")
end

local function put_attr(attr)
  local default = default_of(attr)
  local modifier = ""
  if default then
    modifier = "[opt=" .. default .. "]"
  elseif not attr.required then
    modifier = "[opt]"
  end
  local note = attr.kind == "enum" and ("one of " .. table.concat(words_of(attr), ", ")) or ""
  put("-- @tparam%s %s %s %s", modifier, TYPES[attr.kind] or "any", attr.name, note)
end

local function put_inputs(op)
  if op.variadic then
    put("-- @tparam table %s Tensors", op.input_names[1] or "list")
    return
  end
  for i, name in ipairs(op.input_names) do put("-- @tparam%s Tensor %s", i > op.min_inputs and "[opt]" or "", name) end
end

local function notes_of(op)
  local notes = {}
  if op.method then notes[#notes + 1] = string.format("Also a method: `%s:%s`.", op.input_names[1] or "x", op.name) end
  if op.view then notes[#notes + 1] = "On numbers the result shares memory where it can." end
  if not op.differentiable and not op.random and #op.input_names > 0 then notes[#notes + 1] = "It has no gradient." end
  return table.concat(notes, " ")
end

local function put_op(op)
  put ""
  put("--- %s", op.doc)
  put("-- %s", notes_of(op))
  put("-- @function %s", op.name)
  put_inputs(op)
  for _, attr in ipairs(op.attrs) do
    if not attr.hidden then put_attr(attr) end
  end
  for _ = 1, op.outputs do put "-- @treturn Tensor" end
  if op.outputs == 0 then put "-- @return as many Tensors as it says" end
end

local function listed(kind)
  local ops = {}
  for _, op in ipairs(ml.ops()) do
    if op.kind == kind and not op.internal and ml[op.name] then ops[#ops + 1] = op end
  end
  table.sort(ops, function(a, b) return a.name < b.name end)
  return ops
end

put "--- Ops, called as `ml.tanh(x)`, many also as methods, `x:tanh()`."
put "-- On Tensors they compute at once, on Symbols they add to a graph. After the inputs come the other arguments, in this"
put "-- order or in one table with their names: `x:sum(2)`, `x:sum { axes = { 1, 2 }, keepdims = true }`. Axes count from 1,"
put "-- from the end when negative; indices stored in tensors count from 0. Shapes are written `[..]`."
put "-- @module moonlet.ops"
for _, kind in ipairs(KINDS) do
  local ops = listed(kind[1])
  if #ops > 0 then
    put ""
    put("--- %s. %s", kind[2], kind[3] or "")
    put("-- @section %s", kind[1])
    for _, op in ipairs(ops) do put_op(op) end
  end
end
