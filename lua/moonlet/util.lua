--- Classes and the checking of arguments, for all of our Lua files.
-- Here: single inheritance with properties, tables of options described by rows, texts for messages, walks over nested tables.
-- What a layer or a model is lives elsewhere. Invariant: a message says who was called, which argument was wrong, what came and
-- what was expected; a wrong key lists the known ones.
-- @module moonlet.util

local core = require "moonlet.core"

local floor, huge = math.floor, math.huge

local util = {}

--- `table.unpack` of every Lua.
util.unpack = table.unpack or unpack -- luacheck: ignore 113 143

--- `table.pack` of every Lua.
function util.pack(...)
  return { n = select("#", ...), ... }
end

local INHERITED = { "__call", "__tostring", "__newindex", "__len" }

local function look_up(class)
  return function(self, key)
    local value = class[key]
    if value ~= nil then return value end
    local getter = class.getters[key]
    if getter then return getter(self) end
    return nil
  end
end

local function construct(class, ...)
  local self = setmetatable({}, class)
  class.init(self, ...)
  return self
end

local function class_text(class)
  return "class " .. class.class_name
end

--- Makes a class. Calling it makes an instance, whose `init` gets the arguments. `class.getters.word` is a function of the
-- instance that computes the property `word`; getters and the metamethods `__call`, `__tostring`, `__newindex` are inherited.
-- @tparam string name
-- @tparam[opt] table base
-- @treturn table the class
function util.class(name, base)
  local class = { class_name = name, base = base }
  class.getters = setmetatable({}, { __index = base and base.getters })
  class.__index = look_up(class)
  class.__name = name
  if base then
    for _, key in ipairs(INHERITED) do class[key] = base[key] end
  end
  return setmetatable(class, { __index = base, __call = construct, __tostring = class_text })
end

--- Is value an instance of class, or of a class derived from it?
function util.is_a(value, class)
  if type(value) ~= "table" then return false end
  local mt = getmetatable(value)
  while type(mt) == "table" do
    if mt == class then return true end
    mt = rawget(mt, "base")
  end
  return false
end

--- Is value a whole number that an integer type can hold?
function util.is_integer(value)
  return type(value) == "number" and value == floor(value) and value > -2 ^ 53 and value < 2 ^ 53
end

--- A number as text, whole ones without a fraction in every Lua.
function util.number_text(value)
  if value == floor(value) and value > -1e15 and value < 1e15 then return string.format("%d", value) end
  return string.format("%.7g", value)
end

--- A shape as text: `(?, 8, 8)`; an unknown batch is `?`.
function util.shape_text(shape)
  local parts = {}
  for i = 1, #shape do
    parts[i] = type(shape[i]) == "number" and util.number_text(shape[i]) or tostring(shape[i])
    if parts[i] == "batch" then parts[i] = "?" end
  end
  return "(" .. table.concat(parts, ", ") .. (#parts == 1 and ",)" or ")")
end

local function list_text(value)
  local parts = {}
  for i = 1, math.min(#value, 8) do parts[i] = util.describe(value[i]) end
  if #value > 8 then parts[9] = "..." end
  return "{" .. table.concat(parts, ", ") .. "}"
end

--- What came, in a few words, for messages.
function util.describe(value)
  local t = type(value)
  if t == "number" then return util.number_text(value) end
  if t == "string" then return "'" .. value .. "'" end
  if t == "nil" then return "nothing" end
  if t == "boolean" then return tostring(value) end
  local kind = core.kind(value)
  if kind == "tensor" or kind == "symbol" or kind == "variable" then
    return string.format("a %s %s %s", kind, value.dtype, util.shape_text(value.shape))
  end
  if kind then return "a " .. kind end
  if t ~= "table" then return "a " .. t end
  local mt = getmetatable(value)
  if type(mt) == "table" and mt.class_name then return "a " .. mt.class_name end
  if #value > 0 then return list_text(value) end
  return "a table"
end

--- The keys of a table that are strings, sorted.
function util.sorted_keys(t)
  local keys = {}
  for key in pairs(t) do
    if type(key) == "string" then keys[#keys + 1] = key end
  end
  table.sort(keys)
  return keys
end

--- The largest whole-number key: the length of a list that has holes.
function util.max_index(t)
  local n = 0
  for key in pairs(t) do
    if type(key) == "number" and key > n and util.is_integer(key) then n = key end
  end
  return n
end

local FLOATS = { bf16 = true, f16 = true, f32 = true, f64 = true }
local DTYPES = { bool = true, u8 = true, i32 = true, i64 = true, bf16 = true, f16 = true, f32 = true, f64 = true }

--- Is that the name of a float dtype; of one that is stored in 16 bits and computed in f32?
function util.is_float(dtype) return FLOATS[dtype] == true end
function util.is_half(dtype) return dtype == "bf16" or dtype == "f16" end

-- kind -> text for messages, test(value, row) -> true, or the value to keep in place of the given one.
local kinds = {
  any = { "a value", function() return true end },
  boolean = { "true or false", function(v) return type(v) == "boolean" end },
  string = { "a string", function(v) return type(v) == "string" end },
  name = { "a string that is not empty", function(v) return type(v) == "string" and v ~= "" end },
  table = { "a table", function(v) return type(v) == "table" end },
  ["function"] = { "a function", function(v) return type(v) == "function" end },
  number = { "a number", function(v) return type(v) == "number" end },
  positive = { "a positive number", function(v) return type(v) == "number" and v > 0 and v < huge end },
  nonnegative = { "a number that is not negative", function(v) return type(v) == "number" and v >= 0 and v < huge end },
  fraction = { "a number from 0 up to, not including, 1", function(v) return type(v) == "number" and v >= 0 and v < 1 end },
  share = { "a number from 0 to 1", function(v) return type(v) == "number" and v >= 0 and v <= 1 end },
  integer = { "an integer", util.is_integer },
  count = { "a positive integer", function(v) return util.is_integer(v) and v > 0 end },
  natural = { "an integer that is not negative", function(v) return util.is_integer(v) and v >= 0 end },
  dtype = { "a dtype (bool, u8, i32, i64, bf16, f16, f32 or f64)", function(v) return DTYPES[v] == true end },
  float_dtype = { "'f32' or 'f64'", function(v) return v == "f32" or v == "f64" end },
  axis = { "an axis: an integer, counted from 1 or negative from the end", function(v) return util.is_integer(v) and v ~= 0 end },
}

function kinds.word_test(v, row)
  for _, word in ipairs(row.words) do
    if v == word then return true end
  end
  return false
end

local function words_text(words)
  local parts = {}
  for i, word in ipairs(words) do parts[i] = "'" .. word .. "'" end
  if #parts == 1 then return parts[1] end
  return table.concat(parts, ", ", 1, #parts - 1) .. " or " .. parts[#parts]
end

--- Adds a kind of argument: its text for messages, and a test that returns true, false, or the value to keep.
function util.define_kind(kind, text, test)
  kinds[kind] = { text, test }
end

--- Checks one value against a row `{ name, kind, text =, test =, words =, n = }`; raises, or returns the value to keep.
function util.check(who, row, value)
  local name, kind = row[1], kinds[row[2]]
  local text, test
  if row.words then
    text, test = words_text(row.words), kinds.word_test
  else
    text, test = row.text or kind[1], row.test or kind[2]
  end
  local result = test(value, row, who)
  if result == true then return value end
  if result == false or result == nil then
    if type(text) == "function" then text = text(row) end
    core.fail("%s: %s must be %s, got %s", who, name, text, util.describe(value))
  end
  return result
end

local function known_text(rows)
  local names = {}
  for i, row in ipairs(rows) do names[i] = row[1] end
  table.sort(names)
  return table.concat(names, ", ")
end

local function place(who, rows, given, found)
  local by_name, by_place, places = {}, {}, 0
  for _, row in ipairs(rows) do
    by_name[row[1]] = row
    if row.at then
      by_place[row.at] = row
      places = math.max(places, row.at)
    end
  end
  for key, value in pairs(given) do
    local row
    if type(key) == "number" then
      row = by_place[key]
      if not row then
        core.fail("%s: takes %s without a name, got %s", who, places == 0 and "no values" or places == 1 and "one value" or
          string.format("%d values", places), util.describe(util.max_index(given)))
      end
      if given[row[1]] ~= nil then core.fail("%s: %s is given twice, at place %d and by name", who, row[1], key) end
    else
      row = by_name[key]
      if not row then core.fail("%s: unknown option %s; known: %s", who, util.describe(key), known_text(rows)) end
    end
    found[row[1]] = value
  end
end

--- Reads a constructor's table. Each row is `{ name, kind, at = place in the array part, default =, required = }`.
-- @tparam string who for messages
-- @tparam table rows
-- @tparam ?table given nil counts as an empty table
-- @tparam[opt] table into where the values go; default a new table
-- @treturn table into
function util.options(who, rows, given, into)
  into = into or {}
  if given == nil then given = {} end
  if type(given) ~= "table" or core.kind(given) then
    core.fail("%s: expected one table of arguments, as in %s { ... }, got %s", who, who:match("^%S+"), util.describe(given))
  end
  local found = {}
  place(who, rows, given, found)
  for _, row in ipairs(rows) do
    local value = found[row[1]]
    if value ~= nil then
      into[row[1]] = util.check(who, row, value)
    elseif row.required then
      local kind = kinds[row[2]]
      local text = row.words and words_text(row.words) or row.text or kind[1]
      if type(text) == "function" then text = text(row) end
      core.fail("%s: %s is missing; it must be %s", who, row[1], text)
    elseif row.default ~= nil then
      into[row[1]] = row.default
    end
  end
  return into
end

-- n whole numbers, given as one number or a table of n. row.n is n, row.least the smallest allowed (default 1).
util.define_kind("sizes", function(row)
  local word = (row.least or 1) >= 1 and "positive" or "not negative"
  if row.n == 1 then return "an integer that is " .. word end
  return string.format("an integer or a table of %d integers, %s", row.n, word)
end, function(value, row)
  local least = row.least or 1
  local list = {}
  for i = 1, row.n do
    local v = value
    if type(value) == "table" then
      if util.max_index(value) ~= row.n then return false end
      v = value[i]
    end
    if not util.is_integer(v) or v < least then return false end
    list[i] = v
  end
  return list
end)

util.define_kind("shape", "a table of positive integers", function(value)
  if type(value) ~= "table" or core.kind(value) then return false end
  for i = 1, util.max_index(value) do
    if not util.is_integer(value[i]) or value[i] < 0 then return false end
  end
  return true
end)

--- Is value a Tensor, Symbol or Variable?
function util.is_array(value)
  local kind = core.kind(value)
  return kind == "tensor" or kind == "symbol" or kind == "variable"
end

--- Calls f(leaf, path) for each leaf of a nested table (plain tables are walked: array part in order, then string keys sorted)
-- and returns the table of the same structure that holds the results.
function util.map(value, f, path)
  if type(value) ~= "table" or core.kind(value) or getmetatable(value) then return f(value, path or "") end
  local result = {}
  for i = 1, #value do result[i] = util.map(value[i], f, (path or "") .. "/" .. i) end
  for _, key in ipairs(util.sorted_keys(value)) do result[key] = util.map(value[key], f, (path or "") .. "/" .. key) end
  return result
end

--- The leaves of a nested table in the order of `util.map`.
function util.flatten(value, list)
  list = list or {}
  if value == nil then return list end
  util.map(value, function(leaf)
    list[#list + 1] = leaf
    return leaf
  end)
  return list
end

--- The structure of `like` filled with the entries of a list in order; the adjoint of `flatten`.
function util.unflatten(like, list)
  local i = 0
  return util.map(like, function()
    i = i + 1
    return list[i]
  end)
end

--- `CamelCase` to `snake_case`: `Conv2D` gives `conv2d`, `MaxPool2D` `max_pool2d`.
function util.snake(name)
  return (name:gsub("(%l)(%u)", "%1_%2"):gsub("(%u)(%u%l)", "%1_%2"):lower())
end

--- Looks a name up; a miss raises an error that lists the known names.
function util.find(who, what, names, name)
  local found = names[name]
  if found ~= nil then return found end
  return core.fail("%s: unknown %s %s; known: %s", who, what, util.describe(name), table.concat(util.sorted_keys(names), ", "))
end

--- A table that loads its parts when they are first used: names maps each to a module.
function util.lazy(parts, names)
  return setmetatable(parts, {
    __index = function(t, key)
      local module = names[key]
      if not module then return nil end
      local value = require(module)
      rawset(t, key, value)
      return value
    end,
    __names = names, -- for completion at the prompt
  })
end

return util
