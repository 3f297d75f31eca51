--- Comparison of tensors, and how a check fails.
-- Here: messages that say where two tensors differ and by how much. Invariant: a failure names the line of the script that
-- called the check.
-- @module moonlet.testing.compare

local core = require "moonlet.core"
local util = require "moonlet.util"

local compare = {}

local OPTIONS = {
  { "rtol", "nonnegative", default = 1e-5 }, { "atol", "nonnegative", default = 1e-6 },
  { "equal_nan", "boolean", default = false }, { "label", "name" },
}

-- "spec.lua:12: " of the first caller that is not one of the testing files.
local function caller_line()
  local level = 3
  while true do
    local info = debug.getinfo(level, "Sl")
    if not info then return "" end
    if info.what ~= "C" and not info.source:find "moonlet/testing[/%w_]*%.lua$" and info.currentline > 0 then
      return string.format("%s:%d: ", info.short_src, info.currentline)
    end
    level = level + 1
  end
end

--- Fails the check: under busted as a failure, elsewhere as an error.
-- @tparam string format as for `string.format`
function compare.fail(format, ...)
  local message = caller_line() .. string.format(format, ...)
  local busted = package.loaded["busted"]
  local fail = busted and busted.fail
  if fail then fail(message, 0) end
  error(message, 0)
end

local function as_tensor(value, name)
  local kind = core.kind(value)
  if kind == "variable" then return value:read() end
  if kind == "symbol" then
    local numbers = value:tensor()
    if not numbers then compare.fail("allclose: %s is symbolic, it has no numbers", name) end
    return numbers
  end
  if kind == "tensor" then return value end
  if type(value) ~= "number" and type(value) ~= "boolean" and type(value) ~= "table" then
    compare.fail("allclose: %s must be a tensor or numbers, got %s", name, util.describe(value))
  end
  return core.tensor(value, "f64")
end

local function number(value)
  if type(value) == "boolean" then return value and 1 or 0 end
  return value
end

--- The numbers of a Tensor in row-major order.
-- @treturn {number,...}
function compare.flatten(tensor)
  local list = {}
  local function walk(value)
    if type(value) ~= "table" then
      list[#list + 1] = number(value)
      return
    end
    for i = 1, #value do walk(value[i]) end
  end
  walk(#tensor.shape == 0 and tensor:item() or tensor:totable())
  return list
end

local function position(shape, index)
  local parts, rest = {}, index - 1
  for axis = #shape, 1, -1 do
    parts[axis] = string.format("[%d]", rest % shape[axis] + 1)
    rest = math.floor(rest / shape[axis])
  end
  return table.concat(parts)
end

local function is_close(a, b, opts)
  if a == b then return true end
  if a ~= a or b ~= b then return opts.equal_nan and a ~= a and b ~= b end
  if math.abs(b) == math.huge then return false end
  return math.abs(a - b) <= opts.atol + opts.rtol * math.abs(b)
end

-- How bad a difference is; NaN is worst.
local function badness(a, b)
  local difference = math.abs(a - b)
  return difference ~= difference and math.huge or difference
end

local function report(who, shape, got, want, bad, opts)
  local worst
  for _, i in ipairs(bad) do
    if not worst or badness(got[i], want[i]) > badness(got[worst], want[worst]) then worst = i end
  end
  local allowed = ""
  if opts.atol > 0 or opts.rtol > 0 then allowed = string.format(" by more than %g + %g * |expected|", opts.atol, opts.rtol) end
  local where = #shape == 0 and "the number" or "the worst at " .. position(shape, worst)
  compare.fail("%s: %d of %d numbers differ%s; %s: got %.9g, expected %.9g, off by %.3g", who, #bad, #got, allowed, where,
    got[worst], want[worst], math.abs(got[worst] - want[worst]))
end

local function check(who, actual, expected, opts)
  if opts.label then who = who .. ": " .. opts.label end
  actual, expected = as_tensor(actual, "the first argument"), as_tensor(expected, "the second argument")
  local shape, wanted = util.shape_text(actual.shape), util.shape_text(expected.shape)
  if shape ~= wanted then compare.fail("%s: shapes differ: got %s, expected %s", who, shape, wanted) end
  local got, want, bad = compare.flatten(actual), compare.flatten(expected), {}
  for i = 1, #got do
    if not is_close(got[i], want[i], opts) then bad[#bad + 1] = i end
  end
  if #bad > 0 then report(who, actual.shape, got, want, bad, opts) end
  return true
end

--- See `moonlet.testing.allclose`.
function compare.allclose(actual, expected, opts)
  return check("allclose", actual, expected, util.options("allclose", OPTIONS, opts))
end

--- See `moonlet.testing.equal`.
function compare.equal(actual, expected, label)
  return check("equal", actual, expected, { rtol = 0, atol = 0, equal_nan = true, label = label })
end

return compare
