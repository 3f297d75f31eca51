--- Gradients against central differences, in f64.
-- Here: the comparison for inputs and for variables of any function of tensors. Invariant: the function itself is only called
-- through `ml.fn`, as in training.
-- @module moonlet.testing.gradient

local compare = require "moonlet.testing.compare"
local core = require "moonlet.core"
local util = require "moonlet.util"

local gradient = {}

local OPTIONS = {
  { "rtol", "nonnegative", default = 1e-6 }, { "atol", "nonnegative", default = 1e-7 },
  { "step", "positive", default = 1e-5 }, { "samples", "count", default = 64 },
  { "variables", "table" }, { "inputs", "boolean", default = true }, { "label", "name", default = "check_gradient" },
}

local function count_of(shape)
  local n = 1
  for _, size in ipairs(shape) do n = n * size end
  return n
end

-- Fixed numbers of both signs, so that errors in different elements cannot cancel.
local function weights_like(y)
  local n, list = count_of(y.shape), {}
  for i = 1, n do list[i] = math.cos(i * 1.7) + 0.3 end
  if n == 0 then return core.zeros(y.shape, "f64") end
  return core.tensor(list, "f64"):reshape(y.shape)
end

local function weighted_sum(...)
  local total
  for _, y in ipairs(util.flatten { ... }) do
    if y.dtype == "f64" then
      local part = (y * weights_like(y)):sum()
      total = total and total + part or part
    end
  end
  if not total then compare.fail("check_gradient: the function returns no f64 tensor") end
  return total
end

local function as_f64(value)
  if core.kind(value) == "tensor" then
    local dtype = value.dtype
    return (dtype == "f32" or dtype == "f64") and value:cast("f64"):clone() or value
  end
  return core.tensor(value, "f64")
end

-- Which elements to move: all, or `samples` of them spread evenly.
local function chosen(n, samples)
  local list = {}
  local take = math.min(n, samples)
  for i = 1, take do list[i] = math.floor((i - 1) * n / take) + 1 end
  return list
end

local function compare_one(name, analytic, numeric_at, opts)
  local flat = compare.flatten(analytic)
  local scale = 0
  for _, x in ipairs(flat) do scale = math.max(scale, math.abs(x)) end
  for _, i in ipairs(chosen(#flat, opts.samples)) do
    local numeric = numeric_at(i)
    local off = math.abs(flat[i] - numeric)
    if off ~= off or off > opts.atol + opts.rtol * math.max(scale, math.abs(numeric)) then
      compare.fail("%s: gradient of %s, element %d of %d: the graph says %.9g, finite differences say %.9g, off by %.3g",
        opts.label, name, i, #flat, flat[i], numeric, off)
    end
  end
end

-- (loss(x + h) - loss(x - h)) / 2h, where write(element, value) moves one element.
local function difference(loss, write, x, i, step)
  local h = step * math.max(1, math.abs(x))
  write(i, x + h)
  local above = loss()
  write(i, x - h)
  local below = loss()
  write(i, x)
  return (above - below) / ((x + h) - (x - h))
end

local function check_input(name, tensor, analytic, loss, opts)
  local n = count_of(tensor.shape)
  local flat = tensor:reshape { n }
  local function write(i, value) flat[i] = value end
  compare_one(name, analytic, function(i) return difference(loss, write, flat[i]:item(), i, opts.step) end, opts)
end

local function check_variable(variable, analytic, loss, opts)
  local value = variable:read()
  local flat = value:reshape { count_of(value.shape) }
  local function write(i, x)
    flat[i] = x
    variable:write(value)
  end
  compare_one("variable '" .. variable.name .. "'", analytic, function(i)
    return difference(loss, write, flat[i]:item(), i, opts.step)
  end, opts)
end

--- Checks the gradients of a weighted sum of what f returns.
-- @tparam function f takes tensors; returns a tensor, several, or a table of them
-- @tparam table inputs Tensors or tables of numbers; floats become f64, integer tensors stay (and have no gradient)
-- @tparam[opt] table opts `rtol` (default 1e-6, relative to the largest gradient), `atol` (1e-7), `step` (1e-5), `samples`
--   (elements checked of each input, 64), `variables` (a list of f64 Variables to check too), `inputs` (false: only variables)
-- @treturn boolean true
function gradient.check(f, inputs, opts)
  local ml = require "moonlet"
  opts = util.options("check_gradient", OPTIONS, opts)
  local tensors, movable = {}, {}
  for i = 1, #inputs do
    tensors[i] = as_f64(inputs[i])
    if opts.inputs and tensors[i].dtype == "f64" then movable[#movable + 1] = i end
  end
  local variables = opts.variables or {}

  local differentiate = ml.fn(function(...)
    local arguments, wrt = { ... }, {}
    for _, i in ipairs(movable) do wrt[#wrt + 1] = arguments[i] end
    for _, variable in ipairs(variables) do wrt[#wrt + 1] = variable end
    return util.unpack(ml.grad(weighted_sum(f(...)), wrt))
  end)
  local evaluate = ml.fn(function(...) return weighted_sum(f(...)) end)
  local function loss() return evaluate(util.unpack(tensors)):item() end

  local grads = { differentiate(util.unpack(tensors)) }
  for k, i in ipairs(movable) do check_input("input " .. i, tensors[i], grads[k], loss, opts) end
  for k, variable in ipairs(variables) do check_variable(variable, grads[#movable + k], loss, opts) end
  return true
end

return gradient
