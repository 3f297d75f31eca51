--- Symbolic inputs: `ml.input`.
-- Here: making them, and which have automatic names. Invariant: an unknown size on axis 1 is the dim "batch" for all inputs.
-- @module moonlet.input

local calls = require "moonlet.nn.calls"
local core = require "moonlet.core"
local util = require "moonlet.util"

local input = {}

local automatic = setmetatable({}, { __mode = "k" })
local count = 0

local KNOWN = { name = true, dtype = true, shape = true }

local function check_keys(given)
  for key in pairs(given) do
    if type(key) ~= "number" and not KNOWN[key] then
      core.fail("ml.input: unknown option %s; known: dtype, name, shape", util.describe(key))
    end
  end
end

local function read_size(name, size, axis)
  if core.kind(size) == "dim" then return size end
  if size == nil then return core.dim(axis == 1 and "batch" or name .. "." .. axis) end
  if type(size) == "string" then return core.dim(size) end
  if not util.is_integer(size) or size < 0 then
    core.fail("ml.input '%s': size %d must be a whole number, nil, a name or ml.dim, got %s", name, axis, util.describe(size))
  end
  return size
end

--- A symbolic tensor that a model is called with.
-- @usage local image = ml.input { nil, 28, 28, 1, name = "image" }
-- local tokens = ml.input { nil, ml.dim "time", dtype = "i32" }
-- @tparam table given the sizes, the batch first; nil is a size known only when data comes, but the last entry must not be nil.
--   `name` (default automatic), `dtype` (default "f32"); `shape` may hold the sizes instead, `shape = {}` being rank 0
-- @treturn Symbol
function input.new(given)
  if type(given) ~= "table" or core.kind(given) then
    core.fail("ml.input: expected a table of sizes, as in ml.input { nil, 4 }, got %s", util.describe(given))
  end
  check_keys(given)
  local settings = util.options("ml.input", {
    { "name", "name" }, { "dtype", "dtype", default = "f32" }, { "shape", "table" },
  }, { name = given.name, dtype = given.dtype, shape = given.shape })
  local sizes = settings.shape or given
  local n = util.max_index(sizes)
  if n == 0 and not settings.shape then core.fail("ml.input: at least one size is expected, and the last one must not be nil") end
  local name = settings.name
  if not name then
    count = count + 1
    name = "input_" .. count
  end
  local shape = {}
  for axis = 1, n do shape[axis] = read_size(name, sizes[axis], axis) end
  local symbol = core.placeholder(name, settings.dtype, shape, n)
  if not settings.name then automatic[symbol] = true end
  calls.register(symbol)
  return symbol
end

--- Was the symbol's name made up?
function input.is_automatic(symbol)
  return automatic[symbol] == true
end

return input
