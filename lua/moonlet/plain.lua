--- Plain data as text and back: what files hold besides tensors and graphs.
-- Here: numbers, booleans, strings, and tables of them with strings or whole numbers as keys. Invariant: reading runs nothing,
-- whatever the text, and what was written comes back equal in every Lua.
-- @module moonlet.plain

local util = require "moonlet.util"

local plain = {}

local MOST_DEPTH = 32

local function number_text(x)
  if x ~= x then return "nan" end
  if x == math.huge then return "inf" end
  if x == -math.huge then return "-inf" end
  return util.is_integer(x) and string.format("%d", x) or string.format("%.17g", x)
end

local write

local function write_table(parts, value, depth)
  local keys = util.sorted_keys(value)
  local numbers = {}
  for key in pairs(value) do
    if type(key) == "number" and util.is_integer(key) then numbers[#numbers + 1] = key
    elseif type(key) ~= "string" then return "a key that is " .. util.describe(key) end
  end
  table.sort(numbers)
  for i, key in ipairs(keys) do numbers[#numbers + 1], keys[i] = key, nil end
  parts[#parts + 1] = "{"
  for i, key in ipairs(numbers) do
    if i > 1 then parts[#parts + 1] = "," end
    write(parts, key, depth)
    parts[#parts + 1] = ":"
    local odd = write(parts, value[key], depth + 1)
    if odd then return odd end
  end
  parts[#parts + 1] = "}"
end

-- Returns what is not plain, in words, or nothing.
write = function(parts, value, depth)
  local t = type(value)
  if t == "number" then parts[#parts + 1] = number_text(value)
  elseif t == "boolean" then parts[#parts + 1] = tostring(value)
  elseif t == "string" then parts[#parts + 1] = '"' .. value:gsub('[\\"]', "\\%0") .. '"'
  elseif t ~= "table" or getmetatable(value) or depth > MOST_DEPTH then return util.describe(value)
  else return write_table(parts, value, depth) end
end

--- The text of a value; nil and what is in the way when it is not plain.
function plain.encode(value)
  local parts = {}
  local odd = write(parts, value, 1)
  if odd then return nil, odd end
  return table.concat(parts)
end

local WORDS = { ["true"] = true, ["false"] = false, inf = math.huge, ["-inf"] = -math.huge, nan = 0 / 0 }

local function read_string(text, at)
  local from, parts = at + 1, {}
  while true do
    local stop = text:find('[\\"]', from)
    if not stop then return nil end
    parts[#parts + 1] = text:sub(from, stop - 1)
    if text:sub(stop, stop) == '"' then return table.concat(parts), stop + 1 end
    parts[#parts + 1] = text:sub(stop + 1, stop + 1)
    from = stop + 2
  end
end

local read

local function read_table(text, at, depth)
  local result = {}
  at = at + 1
  while text:sub(at, at) ~= "}" do
    local key, value
    key, at = read(text, at, depth)
    if (type(key) ~= "string" and type(key) ~= "number") or key ~= key or text:sub(at, at) ~= ":" then return nil end
    value, at = read(text, at + 1, depth + 1)
    if value == nil then return nil end
    result[key] = value
    local c = text:sub(at, at)
    if c == "," then at = at + 1 elseif c ~= "}" then return nil end
  end
  return result, at + 1
end

-- The value at a position, and the position after it; nil when there is none.
read = function(text, at, depth)
  local c = text:sub(at, at)
  if c == '"' then return read_string(text, at) end
  if c == "{" then
    if depth > MOST_DEPTH then return nil end
    return read_table(text, at, depth)
  end
  local word = text:match("^[%w.+-]+", at)
  if not word then return nil end
  local value = WORDS[word]
  if value == nil then value = tonumber(word) end
  return value, at + #word
end

--- The value that a text stands for; nil when it stands for none.
function plain.decode(text)
  local value, stop = read(text, 1, 1)
  if value == nil or stop ~= #text + 1 then return nil end
  return value
end

return plain
