--- Random graphs for the specs of passes: the same seed gives the same graph on every Lua.
-- What is built is legal by construction and numerically tame (no op leaves the range where rounding stays small), so that two ways
-- of computing it must agree: exactly for integers and bools, within a small tolerance for f64.
local core = require("moonlet.core")

local M = {}

--- Numbers from a linear congruential generator that fits in doubles.
local function generator(seed)
  local state = (seed * 7919 + 12345) % 2147483647
  if state == 0 then state = 1 end
  local rng = {}
  function rng.next()
    state = (state * 16807) % 2147483647
    return state / 2147483647
  end
  function rng.int(lo, hi) return lo + math.floor(rng.next() * (hi - lo + 1)) end
  function rng.pick(list) return list[rng.int(1, #list)] end
  return rng
end
M.generator = generator

local function copy(t)
  local r = {}
  for i = 1, #t do r[i] = t[i] end
  return r
end

local function count(shape)
  local n = 1
  for i = 1, #shape do n = n * shape[i] end
  return n
end

local function random_shape(rng)
  local shape = {}
  for i = 1, rng.int(0, 4) do shape[i] = rng.pick({ 1, 2, 3, 4, 5, 7 }) end
  return shape
end

--- A tensor of small numbers of dtype.
function M.numbers(rng, shape, dtype)
  local flat = {}
  for i = 1, count(shape) do
    if dtype == "f64" or dtype == "f32" then flat[i] = rng.int(-8, 8) / 8 + 0.03125
    elseif dtype == "bool" then flat[i] = rng.int(0, 1)
    elseif dtype == "u8" then flat[i] = rng.int(0, 9)
    else flat[i] = rng.int(-9, 9) end
  end
  if #flat == 0 then return core.zeros(shape, dtype) end
  local t = core.tensor(flat, dtype == "bool" and "u8" or dtype)
  t = #shape == 0 and t:reshape({}) or t:reshape(shape)
  return dtype == "bool" and t:cast("bool") or t
end

local function is_float(x) return x.dtype == "f64" end

local unary = { "tanh", "sigmoid", "abs", "neg", "relu", "sin", "cos", "square", "floor", "sign", "erf", "softplus" }
local binary = { "add", "sub", "mul", "maximum", "minimum" }
local compare = { "lt", "le", "eq", "ne", "gt", "ge" }
local reductions = { "sum", "mean", "max", "min", "prod" }

--- Every element moved by a step of its own: numbers that are equal but for rounding, as those of normalised rows, are no ties.
local function apart(x)
  local n, shape = 1, {}
  for i = 1, x.ndim do
    shape[i] = x.shape[i]
    n = n * shape[i]
  end
  local steps = core.cast(core.arange(n), x.dtype):reshape(shape)
  return x + core.constant(steps) * 0.00137713
end

--- Moves floats off the places where an op jumps (ties, zeros, whole numbers): rounding alone may decide there, and two correct
-- ways of computing may differ.
local function off_ties(x) return is_float(x) and x + 0.0123457 or x end

--- Keeps values near 1, whatever they were.
local function tame(x) return is_float(x) and (x * 0.25):tanh() or x end

local function axis_of(rng, x) return rng.int(1, x.ndim) end

--- Each rule gives a new symbol, or nil where it does not apply to what was drawn.
local rules = {
  function(rng, pick)
    local x = pick()
    return is_float(x) and off_ties(x)[rng.pick(unary)](off_ties(x)) or nil
  end,
  function(rng, pick)
    local a = pick()
    if a.dtype == "bool" then return a:logical_not() end
    return a[rng.pick(binary)](a, rng.int(a.dtype == "u8" and 0 or -3, 3))
  end,
  function(rng, pick, same)
    local a = pick()
    local b = same(a)
    if a.dtype == "bool" then return a:logical_and(b) end
    return a[rng.pick(binary)](a, off_ties(b))
  end,
  function(rng, pick, same)
    local a = pick()
    if a.dtype == "bool" then return nil end
    return a[rng.pick(compare)](a, off_ties(same(a)))
  end,
  function(_, pick, same)
    local a = pick()
    local c = core.gt(a:cast("f64"), 0.1123457)
    return core.where(c, a, same(a))
  end,
  function(rng, pick)
    local x = pick()
    if x.dtype == "bool" then return nil end
    local name = rng.pick(reductions)
    if name == "mean" then x = x:cast("f64") end -- means of integers are f32: another tolerance
    if name == "prod" then x = tame(x) end
    if (name == "max" or name == "min") and is_float(x) then x = apart(x) end
    if rng.int(1, 4) == 1 or x.ndim == 0 then return tame(x[name](x)) end
    return tame(x[name](x, { axis_of(rng, x) }, rng.int(0, 1) == 1))
  end,
  function(rng, pick)
    local x = pick()
    if x.ndim < 2 then return nil end
    local perm = {}
    for i = 1, x.ndim do perm[i] = i end
    for i = x.ndim, 2, -1 do
      local k = rng.int(1, i)
      perm[i], perm[k] = perm[k], perm[i]
    end
    return x:transpose(perm)
  end,
  function(rng, pick)
    local x = pick()
    local n = count(x.shape)
    for _ = 1, 4 do
      local k = rng.int(1, 6)
      if n % k == 0 then return x:reshape({ k, n / k }) end
    end
    return x:reshape({ n })
  end,
  function(rng, pick)
    local x = pick()
    local shape = copy(x.shape)
    table.insert(shape, 1, rng.int(1, 3))
    return x:broadcast_to(shape)
  end,
  function(rng, pick)
    local x = pick()
    if x.ndim == 0 then return nil end
    local axis = axis_of(rng, x)
    local n = x.shape[axis]
    local first = rng.int(1, n)
    return x:slice(axis, first, rng.int(first, n), rng.int(1, 2))
  end,
  function(rng, pick)
    local x = pick()
    return x.ndim > 0 and x:flip({ axis_of(rng, x) }) or nil
  end,
  function(rng, pick, same)
    local x = pick()
    if x.ndim == 0 then return nil end
    local y = same(x)
    return y.ndim == x.ndim and core.concat({ x, y }, axis_of(rng, x)) or nil
  end,
  function(rng, pick)
    local x = pick()
    if x.ndim == 0 or x.dtype == "bool" then return nil end
    return tame(x:cumsum(axis_of(rng, x)))
  end,
  function(_, pick)
    local x = pick()
    if x.ndim < 2 or not is_float(x) then return nil end
    return tame(x:matmul(x:transpose((function()
      local perm = {}
      for i = 1, x.ndim do perm[i] = i end
      perm[x.ndim], perm[x.ndim - 1] = x.ndim - 1, x.ndim
      return perm
    end)())))
  end,
  function(rng, pick)
    local x = pick()
    return x.ndim > 0 and is_float(x) and x:softmax(axis_of(rng, x)) or nil
  end,
  function(_, pick)
    local x = pick()
    if x.ndim == 0 or not is_float(x) then return nil end
    return core.layer_norm(x, { axes = { -1 } })
  end,
  function(rng, pick)
    local x = pick()
    if x.ndim == 0 then return nil end
    local lo, hi = {}, {}
    for i = 1, x.ndim do lo[i], hi[i] = rng.int(0, 1), rng.int(0, 2) end
    return x.dtype ~= "bool" and core.pad(x, lo, hi, "constant", 0) or nil
  end,
  function(rng, pick)
    local x = pick()
    if x.ndim == 0 then return nil end
    local axis = axis_of(rng, x)
    local index = {}
    for i = 1, rng.int(1, 4) do index[i] = rng.int(0, x.shape[axis] - 1) end
    return x:gather(core.tensor(index, "i64"), axis)
  end,
  function(rng, pick)
    local x = pick()
    return x.dtype ~= "f64" and x:cast("f64") * 0.5 or off_ties(x * 4):cast(rng.pick({ "i32", "i64", "u8" }))
  end,
  function(rng, pick)
    local x = pick()
    return x.ndim > 0 and x.dtype ~= "bool" and not is_float(x) and x:argmax(axis_of(rng, x)) or nil
  end,
}

--- Builds a graph of about n nodes. Returns the graph, its inputs' tensors, and a text that says how it came about.
function M.build(seed, n)
  local rng = generator(seed)
  local dtypes = { "f64", "f64", "f64", "i32", "i64", "u8", "bool" }
  local inputs, tensors, pool = {}, {}, {}
  core.trace_begin()
  for i = 1, rng.int(1, 3) do
    local shape, dtype = random_shape(rng), i == 1 and "f64" or rng.pick(dtypes)
    tensors[i] = M.numbers(rng, shape, dtype)
    inputs[i] = core.placeholder("x" .. i, dtype, shape, #shape)
    pool[i] = inputs[i]
  end
  local function pick() return pool[rng.int(math.max(1, #pool - 8), #pool)] end
  --- Something that can stand beside x: a value of the same shape and dtype, or a constant.
  local function same(x)
    for _ = 1, 4 do
      local y = pick()
      if y.dtype == x.dtype and y.ndim == x.ndim then
        local equal = true
        for i = 1, x.ndim do equal = equal and y.shape[i] == x.shape[i] end
        if equal then return y end
      end
    end
    return core.constant(M.numbers(rng, rng.int(1, 3) == 1 and {} or x.shape, x.dtype))
  end
  for _ = 1, n do
    local y = rules[rng.int(1, #rules)](rng, pick, same)
    if y and count(y.shape) <= 600 then pool[#pool + 1] = y end
  end
  local outputs = {}
  for i = math.max(1, #pool - 3), #pool do outputs[#outputs + 1] = pool[i] end
  -- The gradient of what is float among the outputs, with respect to the first input.
  local loss
  for i = 1, #outputs do
    if is_float(outputs[i]) then
      local term = outputs[i]:sum()
      loss = loss and loss + term or term
    end
  end
  if loss then outputs[#outputs + 1] = core.gradients(loss, { inputs[1] })[1] end
  core.trace_end()
  return core.graph(inputs, outputs, {}), tensors
end

--- What stands behind a product: each takes the chain so far and an operand that broadcasts to its shape.
local links = {
  function(y, operand) return y + operand() end,
  function(y, operand) return operand() + y end,
  function(y, operand) return y * operand() end,
  function(y, operand) return operand() - y end,
  function(y) return y:relu() end,
  function(y) return (y * 0.25):tanh() end,
  function(y) return y:sigmoid() end,
  function(y) return y * 0.5 + 1 end,
  function(y) return core.gelu(y) end,
  function(y, operand) return core.where(core.gt(operand(), 0), y, 0) end,
}

--- A product of f32 matrices with a chain of elementwise ops behind it, sums and other outputs along it: what backends finish
-- where the product is computed. Returns the graph and its inputs' tensors.
function M.product(seed)
  local rng = generator(seed)
  local inputs, tensors = {}, {}
  local function input(shape)
    local t = M.numbers(rng, shape, "f32")
    local s = core.placeholder("x" .. #inputs + 1, "f32", shape, #shape)
    inputs[#inputs + 1], tensors[#tensors + 1] = s, t
    return s
  end
  local sizes = { 1, 2, 3, 5, 8, 16, 17, 33, 64, 130 }
  local m, k, n = rng.pick(sizes), rng.pick(sizes), rng.pick(sizes)
  local batch = rng.pick { 0, 0, 1, 3 } -- 0: none
  core.trace_begin()
  local function matrix(rows, columns, shared)
    local turned = rng.int(1, 3) == 1
    local shape = turned and { columns, rows } or { rows, columns }
    if batch > 0 and not shared then table.insert(shape, 1, batch) end
    local x = input(shape)
    if not turned then return x end
    return x:transpose(x.ndim == 3 and { 1, 3, 2 } or { 2, 1 })
  end
  local y = matrix(m, k):matmul(matrix(k, n, rng.int(1, 2) == 1))
  if y.ndim == 2 and m % 2 == 0 and rng.int(1, 3) == 1 then y = y:reshape { m / 2, 2, n } end
  if y.ndim == 2 and n % 4 == 0 and rng.int(1, 4) == 1 then y = y:reshape { m, 4, n / 4 } end
  local function operand()
    if rng.int(1, 8) == 1 then return matrix(m, k, true):matmul(matrix(k, n, true)):reshape(y.shape) end
    local shape = copy(y.shape)
    for i = 1, #shape do if rng.int(1, 3) == 1 then shape[i] = 1 end end
    if rng.int(1, 2) == 1 then table.remove(shape, 1) end
    return input(shape)
  end
  if batch > 0 then operand = function() return input({ n }) end end
  local outputs = {}
  for _ = 1, rng.int(1, 6) do
    y = links[rng.int(1, #links)](y, operand)
    if rng.int(1, 4) == 1 then outputs[#outputs + 1] = y end
    if rng.int(1, 6) == 1 then outputs[#outputs + 1] = y:sum({ 1 }) end
    if rng.int(1, 8) == 1 then outputs[#outputs + 1] = y:max({ -1 }) end
  end
  if rng.int(1, 3) > 1 or #outputs == 0 then outputs[#outputs + 1] = y end
  if y.ndim == 2 and rng.int(1, 2) == 1 then outputs[#outputs + 1] = y:sum({ 1 }) end
  core.trace_end()
  return core.graph(inputs, outputs, {}), tensors
end

--- Largest difference that may remain between two results; nil when they agree.
function M.difference(a, b)
  if a.dtype ~= b.dtype then return "dtypes " .. a.dtype .. " and " .. b.dtype end
  local x, y = a:reshape({ -1 }):totable(), b:reshape({ -1 }):totable()
  if #x ~= #y then return "sizes " .. #x .. " and " .. #y end
  for i = 1, #x do
    local p, q = x[i], y[i]
    local equal = p == q or (p ~= p and q ~= q)
    local tolerance = a.dtype == "f64" and 1e-9 or a.dtype == "f32" and 1e-4
    if not equal and tolerance then equal = math.abs(p - q) <= tolerance * (1 + math.abs(p) + math.abs(q)) end
    if not equal then return string.format("element %d: %s and %s", i, tostring(p), tostring(q)) end
  end
end

return M
