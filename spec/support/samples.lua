--- Sample cases for every op: what the sweeps in spec/ops call it with.
-- Here: shapes, domains of numbers and attributes, nothing about results. A row of elementwise.def needs a domain, any other op a
-- list of cases; `samples.of` fails for an op that has neither, so none can be forgotten. Ops that a script cannot call are reached
-- through `f`, and `expect` names the op that must then stand in the graph ("compiled": in the graph after passes).
-- Invariant: the numbers of a float input keep away from kinks by more than a finite difference moves them.
--
-- A case: inputs in its array part; `attrs` of the call; `list`: inputs go as one table; `f(xs, attrs)` instead of the op;
-- `smooth = false`: no gradient here; `same`: the reference must have the same dtype (draws and creation); `rtol`, `atol`.
-- `nodes`: how many nodes stand one behind the other (default 1): halves are rounded after each.
-- An op: `dtypes` ("float", "number", "any": what float inputs may be replaced by), `constant` (why it has no gradient),
-- `at_once = false` (on numbers it gives something else), its cases.
local core = require("moonlet.core")
local util = require("moonlet.util")
local random_graph = require("spec.support.random_graph")

local samples = {}

-- ---- Inputs ----

local function input(kind, fields)
  return function(shape)
    local t = { kind = kind, shape = shape }
    for k, v in pairs(fields or {}) do t[k] = v end
    return t
  end
end
local function between(lo, hi, avoid) return input("float", { lo = lo, hi = hi, avoid = avoid }) end
local any = between(-2, 2)
local away = between(-2, 2, { 0 })
local positive = between(0.3, 3)
local distinct = input("distinct")
local bool = input("bool")
local probability = between(0.1, 0.9)
local function index(n) return input("index", { n = n }) end
local signs = input("choice", { choices = { -1, 1 } })

local function count(shape)
  local n = 1
  for i = 1, #shape do n = n * shape[i] end
  return n
end
samples.count = count

local function keep_off(x, avoid)
  for _, a in ipairs(avoid or {}) do
    if math.abs(x - a) < 0.05 then x = x < a and a - 0.05 or a + 0.05 end
  end
  return x
end

local draw = {
  float = function(rng, spec) return keep_off(spec.lo + (spec.hi - spec.lo) * rng.next(), spec.avoid) end,
  index = function(rng, spec) return rng.int(0, spec.n - 1) end,
  bool = function(rng) return rng.int(0, 1) end,
  choice = function(rng, spec) return rng.pick(spec.choices) end,
}

-- A permutation of n numbers that are 0.1 apart.
local function distinct_numbers(rng, n)
  local list = {}
  for i = 1, n do list[i] = (i - n / 2) * 0.1 + 0.03 end
  for i = n, 2, -1 do
    local k = rng.int(1, i)
    list[i], list[k] = list[k], list[i]
  end
  return list
end

local function integer(rng, dtype, spec)
  if dtype == "bool" then return rng.int(0, 1) end
  if spec.whole then return rng.int(spec.whole[1], spec.whole[2]) end
  if dtype == "u8" then return rng.int(0, 15) end
  return rng.int(-9, 9)
end

--- Is this input one of the float inputs, whose dtype the sweeps choose?
function samples.is_float(spec) return spec.kind == "float" or spec.kind == "distinct" or spec.kind == "choice" end

samples.float_dtypes = { bf16 = true, f16 = true, f32 = true, f64 = true }

--- Numbers for an input as a tensor of dtype (which only float inputs take); f64 and f32 hold the very same numbers.
function samples.tensor(rng, spec, dtype)
  local n, list = count(spec.shape), {}
  local is_float = samples.is_float(spec)
  if not is_float then dtype = spec.kind == "bool" and "bool" or spec.dtype or "i64" end
  if n == 0 then return core.zeros(spec.shape, dtype) end
  local whole = is_float and not samples.float_dtypes[dtype]
  if spec.kind == "distinct" and not whole then
    list = distinct_numbers(rng, n)
  else
    for i = 1, n do list[i] = whole and integer(rng, dtype, spec) or draw[spec.kind](rng, spec) end
  end
  local made = core.tensor(list, dtype == "f64" and "f32" or dtype)
  return made:cast(dtype):reshape(spec.shape)
end

-- ---- Elementwise: domains; shapes follow ----

local every = between(-2, 2, { 0 })
local unit = between(-0.9, 0.9)
local domains = {
  neg = { any }, abs = { away }, sign = { away }, square = { any }, relu = { away },
  floor = { between(-3.9, 3.9) }, ceil = { between(-3.9, 3.9) }, round = { between(-3.9, 3.9) }, trunc = { between(-3.9, 3.9) },
  sqrt = { positive }, rsqrt = { positive }, reciprocal = { positive },
  exp = { any }, exp2 = { any }, expm1 = { any }, log = { positive }, log2 = { positive }, log10 = { positive },
  log1p = { between(-0.6, 3) },
  sin = { between(-6, 6) }, cos = { between(-6, 6) }, tan = { between(-1.2, 1.2) }, asin = { unit }, acos = { unit },
  atan = { between(-5, 5) }, sinh = { any }, cosh = { any }, tanh = { between(-3, 3) }, asinh = { between(-5, 5) },
  acosh = { between(1.3, 5) }, atanh = { between(-0.8, 0.8) },
  erf = { any }, erfc = { any }, sigmoid = { between(-6, 6) }, log_sigmoid = { between(-6, 6, { 0 }) },
  softplus = { between(-6, 6, { 0 }) }, gelu_tanh = { between(-3, 3) }, gelu_tanh_slope = { between(-2, 2) },
  isnan = { every }, isinf = { every }, isfinite = { every }, logical_not = { input("choice", { choices = { 0, 1, 2.5 } }) },
  add = { any, any }, sub = { any, any }, mul = { any, any }, div = { any, between(0.4, 2) },
  floor_divide = { between(-8, 8), between(0.4, 2) }, remainder = { between(2.3, 2.6), between(0.95, 1.05) },
  pow = { positive, between(-2.4, 2.4, { 0, 1 }) },
  maximum = { input("grid", { shift = 0 }), input("grid", { shift = 0.1 }) },
  minimum = { input("grid", { shift = 0 }), input("grid", { shift = 0.1 }) },
  atan2 = { away, away }, hypot = { away, away },
  logical_and = { bool, input("choice", { choices = { 0, 1, 2.5 } }) },
  logical_or = { bool, input("choice", { choices = { 0, 1, 2.5 } }) },
  logical_xor = { bool, input("choice", { choices = { 0, 1, 2.5 } }) },
  where = { bool, any, any },
}
draw.grid = function(rng, spec) return rng.int(-8, 8) * 0.25 + spec.shift end
local is_float_before = samples.is_float
function samples.is_float(spec) return is_float_before(spec) or spec.kind == "grid" end
for _, name in ipairs { "eq", "ne", "lt", "le", "gt", "ge" } do
  domains[name] = { input("grid", { shift = 0 }), input("grid", { shift = 0 }) }
end

local shapes = {
  { { {} }, { { 7 } }, { { 3, 5 } }, { { 2, 0, 3 } }, { { 2, 1, 3, 1, 2, 2 } }, { { 1100 } }, { { 3, 33 } } },
  {
    { { 3, 4 }, { 3, 4 } }, { { 3, 4 }, { 4 } }, { { 3, 1 }, { 1, 4 } }, { {}, { 2, 3 } }, { { 2, 3 }, {} }, { {}, {} },
    { { 0, 3 }, { 3 } }, { { 2, 1, 2, 1, 2, 1 }, { 1, 2, 1, 2, 1, 3 } }, { { 1100 }, { 1100 } }, { { 33, 40 }, { 40 } },
    { { 33, 40 }, { 33, 1 } },
  },
  {
    { { 3, 4 }, { 3, 4 }, { 3, 4 } }, { { 3, 1 }, { 4 }, { 3, 4 } }, { {}, { 2, 3 }, { 2, 1 } }, { { 2, 3 }, {}, {} },
    { { 0, 3 }, { 3 }, { 1, 1 } }, { { 2, 1, 2, 1, 2, 1 }, { 1, 2, 1, 2, 1, 3 }, {} }, { { 1100 }, { 1100 }, { 1 } },
  },
}

local function elementwise(op)
  local domain = domains[op.name]
  if not domain then return nil end
  local list = { dtypes = "any" }
  for _, sizes in ipairs(shapes[op.max_inputs]) do
    local case = {}
    for i, make in ipairs(domain) do case[i] = make(sizes[i]) end
    list[#list + 1] = case
  end
  return list
end

-- ---- Everything else: cases ----

local cases = {}

-- The same cases for several ops.
local function all(names, list)
  for name in names:gmatch "[%w_]+" do cases[name] = list end
end

all("silu mish", { { any { 3, 5 } }, { any {} }, { any { 0, 2 } }, { any { 700 } }, { any { 2, 1, 2, 1, 2, 3 } } })
all("elu leaky_relu", {
  { away { 3, 5 } }, { away { 3, 5 }, attrs = { alpha = 0.7 } }, { away {} }, { away { 0, 2 } }, { away { 2, 1, 2, 1, 2, 3 } },
})
all("selu softsign", { { away { 3, 5 } }, { away {} }, { away { 0, 2 } }, { away { 700 } }, { away { 2, 1, 2, 1, 2, 3 } } })
cases.gelu = {
  { any { 3, 5 } }, { any { 3, 5 }, attrs = { approximate = true } }, { any {} }, { any { 0, 2 } }, { any { 2, 1, 2, 1, 2, 3 } },
}
cases.relu6 = { { between(-3, 9, { 0, 6 }) { 4, 6 } }, { between(1, 5) {} }, { any { 0 } } }
cases.hard_sigmoid = { { between(-5, 5, { -3, 3 }) { 4, 6 } }, { between(1, 2) {} }, { any { 0 } } }
cases.clip = {
  { away { 7 }, attrs = { lo = 0 } }, { away { 2, 2 }, attrs = { hi = 0 } }, { any {} }, { any { 0, 2 }, attrs = { lo = 0 } },
  { between(-2, 2, { -1, 1 }) { 3, 5 }, attrs = { lo = -1, hi = 1 } }, dtypes = "any",
}

local along = {
  { any { 3, 5 } }, { any { 3, 5 }, attrs = { axis = 1 } }, { any { 2, 3, 4 }, attrs = { axis = 2 } }, { any { 6 } },
  { any { 0, 3 } }, { any { 3, 0 } }, { any { 3, 130 } }, { any { 2, 1, 2, 3, 1, 2 }, attrs = { axis = -3 } },
}
all("softmax log_softmax", along)

local reductions = {
  { any { 3, 5 } }, { any { 3, 5 }, attrs = { axes = 1 } }, { any { 3, 5 }, attrs = { axes = -1, keepdims = true } },
  { any { 2, 3, 4 }, attrs = { axes = { 1, 3 } } }, { any { 2, 3, 4 }, attrs = { axes = { 1, 2, 3 }, keepdims = true } },
  { any {} }, { any { 0, 3 }, attrs = { axes = 2 } }, { any { 2, 2, 3, 1, 2, 2 }, attrs = { axes = { 2, 4, 6 } } },
  { any { 3, 1100 }, attrs = { axes = 2 }, large = true }, { any { 1100, 3 }, attrs = { axes = 1 }, large = true },
}
local function with(list, more)
  local r = {}
  for k, v in pairs(list) do r[k] = v end
  for k, v in pairs(more) do
    if type(k) == "number" then r[#r + 1] = v else r[k] = v end
  end
  return r
end
cases.sum = with(reductions, { { any { 0, 3 }, attrs = { axes = 1 } }, { any { 0 } }, dtypes = "any" })
cases.mean = with(reductions, { { any { 3, 0, 2 }, attrs = { axes = 1 } }, dtypes = "any" })
cases.var = with(reductions, { dtypes = "any" })
-- Of equal numbers it is what rounding their mean leaves: an ulp of the numbers, not of 0.
cases.std = with(reductions, { dtypes = "any", rtol = 5e-7, atol = 4e-7 })
cases.std[6] = { any {}, smooth = false } -- the root of 0
cases.logsumexp = with(reductions, { dtypes = "any" })
cases.prod = {
  { away { 3, 5 } }, { away { 3, 5 }, attrs = { axes = 1 } }, { away { 2, 3, 4 }, attrs = { axes = { 1, 3 }, keepdims = true } },
  { away {} }, { away { 0, 3 }, attrs = { axes = 1 } }, { away { 2, 2, 2, 1, 2, 2 }, attrs = { axes = { 2, 4 } } },
  { input("choice", { choices = { 0, 0.7, -1.3, 1.6 } }) { 6, 4 }, attrs = { axes = 2 } }, dtypes = "any",
}
local extremes = {
  { distinct { 3, 5 } }, { distinct { 3, 5 }, attrs = { axes = 1 } },
  { distinct { 2, 3, 4 }, attrs = { axes = { 1, 3 }, keepdims = true } },
  { distinct {} }, { distinct { 0, 3 }, attrs = { axes = 2 } }, { distinct { 2, 2, 3, 1, 2, 2 }, attrs = { axes = { 2, 4, 6 } } },
  { distinct { 3, 300 }, attrs = { axes = 2 }, large = true },
  { distinct { 300, 3 }, attrs = { axes = 1 }, large = true }, dtypes = "any",
}
all("max min", extremes)
local truth = input("choice", { choices = { 0, 0, 1 } })
all("any all", {
  { truth { 3, 5 } }, { truth { 3, 5 }, attrs = { axes = 1 } }, { truth { 2, 3, 4 }, attrs = { axes = { 1, 3 }, keepdims = true } },
  { truth {} }, { truth { 0, 3 }, attrs = { axes = 1 } }, { truth { 3, 300 }, attrs = { axes = 2 } }, dtypes = "any",
})
all("argmax argmin", {
  { input("grid", { shift = 0 }) { 3, 9 } }, { input("grid", { shift = 0 }) { 9, 3 }, attrs = { axis = 1, keepdims = true } },
  { any { 5 } }, { any { 0, 3 } }, { any { 2, 2, 3, 1, 2, 2 }, attrs = { axis = 3 } }, dtypes = "any",
})
cases.cumsum = {
  { any { 3, 5 } }, { any { 3, 5 }, attrs = { axis = 1 } }, { any { 3, 5 }, attrs = { exclusive = true } },
  { any { 3, 5 }, attrs = { axis = 1, reverse = true } },
  { any { 2, 3, 4 }, attrs = { axis = 2, exclusive = true, reverse = true } },
  { any { 0, 3 } }, { any { 3, 0 } }, { any { 1 }, attrs = { exclusive = true } }, { any { 700 }, large = true }, dtypes = "any",
}
cases.sort = {
  { distinct { 3, 5 } }, { distinct { 5, 3 }, attrs = { axis = 1 } },
  { distinct { 2, 4, 3 }, attrs = { axis = 2, descending = true } },
  { distinct { 1 } }, { distinct { 0, 3 } }, { distinct { 3, 0 } }, { distinct { 130 } }, dtypes = "any",
}
cases.argsort = with(cases.sort, { constant = "positions" })
cases.topk = {
  { distinct { 3, 5 }, attrs = { k = 2 } }, { distinct { 7 }, attrs = { k = 7 } }, { distinct { 2, 2, 4 }, attrs = { k = 1 } },
  { distinct { 0, 3 }, attrs = { k = 2 } }, dtypes = "any",
}

-- Looking at the same numbers otherwise.
cases.reshape = {
  { any { 3, 4 }, attrs = { shape = { 2, 6 } } }, { any { 3, 4 }, attrs = { shape = { 2, -1 } } },
  { any { 1 }, attrs = { shape = {} } },
  { any {}, attrs = { shape = { 1, 1 } } }, { any { 0, 3 }, attrs = { shape = { 3, 0, 2 } } },
  { any { 2, 3, 4 }, attrs = { shape = { 4, 3, 2 } } }, { any { 2, 2, 2, 2, 2, 2 }, attrs = { shape = 64 } }, dtypes = "any",
}
cases.broadcast_to = {
  { any { 3, 1 }, attrs = { shape = { 3, 4 } } }, { any {}, attrs = { shape = { 2, 3 } } },
  { any { 1, 3 }, attrs = { shape = { 2, 2, 3 } } },
  { any { 1 }, attrs = { shape = { 0 } } }, { any { 2, 1, 2, 1, 2, 1 }, attrs = { shape = { 2, 2, 2, 3, 2, 2 } } }, dtypes = "any",
}
cases.transpose = {
  { any { 3, 4 } }, { any { 2, 3, 4 }, attrs = { perm = { 2, 3, 1 } } }, { any { 2, 3, 4 }, attrs = { perm = { 1, 3, 2 } } },
  { any {} },
  { any { 5 } }, { any { 0, 3 } }, { any { 2, 1, 3, 2, 1, 2 }, attrs = { perm = { 6, 1, 4, 3, 5, -5 } } }, dtypes = "any",
}
cases.swapaxes = {
  { any { 3, 4 }, attrs = { axis1 = 1, axis2 = 2 } }, { any { 2, 3, 4 }, attrs = { axis1 = -1, axis2 = 1 } },
  { any { 0, 3 }, attrs = { axis1 = 1, axis2 = 1 } }, dtypes = "any",
}
cases.flip = {
  { any { 3, 4 } }, { any { 3, 4 }, attrs = { axes = 2 } }, { any { 2, 3, 4 }, attrs = { axes = { 1, 3 } } }, { any {} },
  { any { 0, 3 } },
  { any { 2, 1, 3, 2, 1, 2 }, attrs = { axes = { 1, 3, 6 } } }, dtypes = "any",
}
cases.squeeze = {
  { any { 3, 1, 4, 1 } }, { any { 3, 1, 4, 1 }, attrs = { axes = 2 } }, { any { 1, 3, 1 }, attrs = { axes = { 1, -1 } } },
  { any { 1, 0 } },
  { any {} }, dtypes = "any",
}
cases.expand_dims = {
  { any { 3, 4 }, attrs = { axis = 1 } }, { any { 3, 4 }, attrs = { axis = -1 } }, { any {}, attrs = { axis = 1 } },
  { any { 0 }, attrs = { axis = 2 } }, dtypes = "any",
}
cases.slice = {
  { any { 5, 6 }, f = function(xs) return xs[1]:slice(1, 2, 4):slice(2, 1, 6, 2) end },
  { any { 5, 6 }, f = function(xs) return xs[1]:slice(1, -1, 1, -2) end },
  { any { 4 }, f = function(xs) return xs[1]:slice(1, 3, 3) end },
  { any { 0, 3 }, f = function(xs) return xs[1]:slice(2, 2, 3) end }, expect = "slice", dtypes = "any",
}
cases.unslice = {
  { any { 5, 6 }, f = function(xs) return core.gradients((xs[1]:slice(1, 2, 4) ^ 2):sum(), { xs[1] })[1] end },
  { any { 7 }, f = function(xs) return core.gradients((xs[1]:slice(1, 7, 1, -3) ^ 2):sum(), { xs[1] })[1] end }, expect = "unslice",
}
cases.pad = {
  { any { 3, 4 }, attrs = { lo = { 1, 2 }, hi = { 0, 3 } } }, { any { 3, 4 }, attrs = { lo = 1, value = 2 } },
  { any { 3, 4 }, attrs = { lo = { 1, 5 }, hi = { 2, 9 }, mode = "reflect" } }, { any { 3, 4 }, attrs = { lo = 2, mode = "edge" } },
  { any { 1, 2 }, attrs = { lo = 2, mode = "reflect" } }, { any {}, attrs = { lo = 0 } }, { any { 0, 2 }, attrs = { lo = 1 } },
  { any { 2, 1, 2, 1, 2, 1 }, attrs = { lo = { 1, 0, 1, 0, 0, 1 } } }, dtypes = "number",
}
local function through_gradient(name)
  return function(xs, attrs)
    local x = xs[1]
    xs[#xs + 1] = attrs
    local y = core[name](util.unpack(xs))
    return core.gradients((y * y):sum(), { x })[1]
  end
end
cases.unpad = {
  { any { 3, 4 }, attrs = { lo = { 1, 5 }, hi = { 2, 9 }, mode = "reflect" }, f = through_gradient "pad" },
  { any { 3, 4 }, attrs = { lo = 2, mode = "edge" }, f = through_gradient "pad" }, expect = "unpad",
}
cases.concat = {
  { any { 2, 3 }, any { 4, 3 }, attrs = { axis = 1 }, list = true },
  { any { 2, 3 }, any { 2, 1 }, any { 2, 0 }, attrs = { axis = -1 }, list = true },
  { any { 2, 3 }, list = true }, { any { 0, 3 }, any { 0, 3 }, list = true },
  { any { 2, 1, 2, 1, 2, 1 }, any { 2, 1, 3, 1, 2, 1 }, attrs = { axis = 3 }, list = true }, dtypes = "any",
}
cases.stack = {
  { any { 2, 3 }, any { 2, 3 }, list = true }, { any { 2, 3 }, any { 2, 3 }, any { 2, 3 }, attrs = { axis = -1 }, list = true },
  { any {}, any {}, list = true }, { any { 0 }, any { 0 }, attrs = { axis = 2 }, list = true }, dtypes = "any",
}
cases.split = {
  { any { 6, 3 }, attrs = { sizes = 3 } }, { any { 2, 5 }, attrs = { sizes = { 1, 0, 4 }, axis = 2 } },
  { any { 0, 4 }, attrs = { sizes = 2, axis = -1 } },
  dtypes = "any",
}
cases.tile = {
  { any { 2, 3 }, attrs = { reps = { 2, 2 } } }, { any { 2, 3 }, attrs = { reps = 3 } },
  { any { 3 }, attrs = { reps = { 2, 1, 2 } } },
  { any {}, attrs = { reps = 2 } }, { any { 2 }, attrs = { reps = 0 } },
  { any { 0, 2 }, attrs = { reps = { 2, 2 } } }, dtypes = "any",
}

-- Reading and adding by index.
cases.gather = {
  { any { 5, 3 }, index(5) { 4 } }, { any { 3, 5 }, index(5) { 2, 2 }, attrs = { axis = -1 } }, { any { 4 }, index(4) {} },
  { any { 5, 3 }, index(5) { 0 } }, { any { 5, 0 }, index(5) { 2 } },
  { any { 2, 3, 2, 1, 2 }, index(3) { 2, 1 }, attrs = { axis = 2 } },
  { any { 5, 3 }, input("index", { n = 5, dtype = "u8" }) { 4 } }, { any { 5, 3 }, input("index", { n = 5, dtype = "i32" }) { 4 } },
  dtypes = "any",
}
cases.scatter_add = {
  { any { 5, 3 }, index(5) { 4 }, any { 4, 3 } }, { any { 3, 5 }, index(5) { 2, 2 }, any { 3, 2, 2 }, attrs = { axis = 2 } },
  { any { 4 }, index(4) {}, any {} }, { any { 5, 3 }, index(5) { 0 }, any { 0, 3 } }, { any { 3 }, index(3) { 40 }, any { 40 } },
  dtypes = "number",
}
cases.take_along_axis = {
  { any { 3, 5 }, index(5) { 3, 2 } }, { any { 5, 3 }, index(5) { 7, 3 }, attrs = { axis = 1 } },
  { any { 3, 5 }, index(5) { 3, 0 } },
  { any { 0, 5 }, index(5) { 0, 2 } }, { any { 2, 3, 2 }, index(3) { 2, 1, 2 }, attrs = { axis = -2 } }, dtypes = "any",
}
cases.put_along_axis_add = {
  { any { 3, 5 }, index(5) { 3, 2 }, any { 3, 2 } }, { any { 5, 3 }, index(5) { 7, 3 }, any { 7, 3 }, attrs = { axis = 1 } },
  { any { 0, 5 }, index(5) { 0, 2 }, any { 0, 2 } }, dtypes = "number",
}
cases.one_hot = {
  { index(4) { 5 }, attrs = { depth = 4 } }, { index(3) { 2, 2 }, attrs = { depth = 5, dtype = "i32" }, same = true },
  { index(2) {}, attrs = { depth = 2 } },
  { index(2) { 0, 3 }, attrs = { depth = 2, dtype = "bool" }, same = true },
}
cases.embedding = { { index(6) { 2, 3 }, any { 6, 4 } }, { index(6) {}, any { 6, 4 } }, { index(6) { 0 }, any { 6, 4 } },
  { index(6) { 30 }, any { 6, 2 } } }

-- Products and windows.
cases.matmul = {
  { any { 3, 4 }, any { 4, 5 } }, { any { 4 }, any { 4 } }, { any { 4 }, any { 4, 3 } }, { any { 3, 4 }, any { 4 } },
  { any { 2, 3, 4 }, any { 4, 5 } },
  { any { 2, 3, 4 }, any { 2, 4, 2 } }, { any { 2, 1, 3, 4 }, any { 3, 4, 2 } }, { any { 2, 3 }, any { 3, 0 } },
  { any { 2, 0 }, any { 0, 3 } },
  { any { 0, 3 }, any { 3, 2 } }, { any { 17, 33 }, any { 33, 19 } }, { any { 65, 70 }, any { 70, 100 }, large = true },
  { any { 1, 128 }, any { 128, 40 }, large = true },
  { any { 128, 40 }, any { 40, 1 }, large = true }, { any { 2, 1, 2, 1, 2, 3 }, any { 1, 2, 1, 2, 3, 2 } }, dtypes = "any",
}
local convolutions = {
  { any { 2, 6, 2 }, any { 3, 2, 4 } }, { any { 2, 5, 6, 3 }, any { 3, 3, 3, 4 }, attrs = { padding = "same" } },
  { any { 1, 7, 6, 2 }, any { 3, 2, 2, 4 }, attrs = { strides = 2, padding = "same" } },
  { any { 1, 7, 7, 2 }, any { 3, 3, 2, 2 }, attrs = { dilation = 2 } },
  { any { 2, 5, 5, 4 }, any { 3, 3, 2, 6 }, attrs = { groups = 2, padding = "same" } },
  { any { 1, 5, 5, 3 }, any { 3, 3, 1, 3 }, attrs = { groups = 3 } },
  { any { 1, 5, 6, 2 }, any { 2, 3, 2, 3 }, attrs = { strides = { 2, 1 }, pad_lo = { 1, 0 }, pad_hi = { 0, 2 } } },
  { any { 1, 4, 4, 4, 2 }, any { 2, 2, 2, 2, 2 } }, { any { 0, 5, 5, 2 }, any { 3, 3, 2, 3 } },
  { any { 2, 4, 4, 3 }, any { 1, 1, 3, 5 } },
}
cases.conv = with(convolutions, { { any { 2, 9, 9, 16 }, any { 3, 3, 16, 32 }, attrs = { padding = "same" }, large = true },
  dtypes = "any" })
for _, name in ipairs { "filter", "conv", "input_grad", "filter_grad" } do
  cases["winograd_" .. name] = { constant = "made by a pass for shapes where it pays; see convolution_spec" }
end
cases.pack_filter = { constant = "made by a pass for shapes where it pays; see convolution_spec" }
cases.conv_packed = { constant = "made by a pass for shapes where it pays; see convolution_spec" }
cases.conv_transpose = {
  { any { 2, 5, 2 }, any { 3, 4, 2 } }, { any { 1, 4, 5, 3 }, any { 3, 3, 2, 3 }, attrs = { strides = 2, padding = "same" } },
  { any { 1, 4, 4, 2 }, any { 2, 2, 3, 2 }, attrs = { strides = 3, padding = "valid" } },
  { any { 1, 4, 4, 4 }, any { 3, 3, 2, 4 }, attrs = { groups = 2, dilation = 2 } },
  { any { 1, 4, 2 }, any { 3, 2, 2 }, attrs = { strides = 2, padding = "same", output_padding = 1 } },
  { any { 0, 4, 2 }, any { 3, 2, 2 } },
}
local function gradient_of_conv(which)
  return function(xs, attrs)
    local y = core.conv(xs[1], xs[2], attrs)
    return core.gradients((y * y):sum(), { xs[which] })[1]
  end
end
local function conv_gradients(which, name)
  local list = { expect = name }
  for i, case in ipairs(convolutions) do
    list[i] = { case[1], case[2], attrs = case.attrs or {}, f = gradient_of_conv(which) }
  end
  return list
end
cases.conv_input_grad = conv_gradients(1, "conv_input_grad")
cases.conv_filter_grad = conv_gradients(2, "conv_filter_grad")
local pools = {
  { distinct { 2, 6, 2 }, attrs = { window = 2 } },
  { distinct { 1, 5, 6, 2 }, attrs = { window = { 2, 3 }, strides = 1, padding = "same" } },
  { distinct { 1, 7, 7, 1 }, attrs = { window = 3, strides = 2, pad_lo = 1, pad_hi = 1 } },
  { distinct { 1, 4, 4, 4, 1 }, attrs = { window = 2 } },
  { distinct { 0, 4, 4, 2 }, attrs = { window = 2 } },
  { distinct { 2, 6, 6, 3 }, attrs = { window = 3, strides = 2, padding = "valid" } },
}
cases.max_pool, cases.avg_pool = with(pools, { dtypes = "any" }), with(pools, { dtypes = "any" })
local function pool_gradients(name, expect, smooth)
  local list = { expect = expect }
  for i, case in ipairs(pools) do list[i] = { case[1], attrs = case.attrs, f = through_gradient(name), smooth = smooth } end
  return list
end
cases.max_pool_grad = pool_gradients("max_pool", "max_pool_grad")
cases.avg_pool_grad = pool_gradients("avg_pool", "avg_pool_grad")
cases.max_pool_pick = { expect = "max_pool_pick" }
for i, case in ipairs(pools) do
  cases.max_pool_pick[i] = { case[1], attrs = case.attrs, f = function(xs, attrs)
    local first = core.gradients((core.max_pool(xs[1], attrs) ^ 3):sum(), { xs[1] })[1]
    return core.gradients((first * first):sum(), { xs[1] })[1]
  end }
end

-- Layers' inner parts.
cases.layer_norm = {
  { any { 3, 5 } }, { any { 3, 5 }, any { 5 }, any { 5 } },
  { any { 2, 3, 4 }, any { 3, 4 }, attrs = { axes = { 2, 3 }, epsilon = 1e-2 } }, { any { 0, 4 }, any { 4 } },
  { any { 3, 70 }, any { 70 }, any { 70 }, large = true },
}
cases.rms_norm = { { any { 3, 5 } }, { any { 3, 5 }, any { 5 } }, { any { 2, 3, 4 }, any { 2, 4 }, attrs = { axes = { 1, 3 } } },
  { any { 0, 4 }, any { 4 } } }
-- Channels of equal numbers: what rounding their mean leaves is divided by the root of epsilon.
cases.batch_norm_train = { rtol = 5e-7, atol = 1e-5,
  { any { 6, 3 }, any { 3 }, any { 3 } }, { any { 2, 3, 4 }, any { 3 }, any { 3 }, attrs = { axis = 2, epsilon = 1e-2 } },
  { any { 3, 4, 4, 2 }, any { 2 }, any { 2 } },
}
cases.batch_moments = { constant = "a part of batch_norm_train; see batch_norm_spec" }
cases.batch_sums = { constant = "a part of the gradient of batch_norm_train; see batch_norm_spec" }
cases.batch_norm_infer = {
  { any { 6, 3 }, any { 3 }, any { 3 }, any { 3 }, positive { 3 } },
  { any { 2, 3, 4 }, any { 3 }, any { 3 }, any { 3 }, positive { 3 }, attrs = { axis = 2 } },
  { any { 0, 3 }, any { 3 }, any { 3 }, any { 3 }, positive { 3 } },
}
-- Their gradients, which those of the cases above hold.
local function norm_gradient(name)
  local op = name:gsub("_grad$", "")
  local function gradient(xs)
    local y = xs[2] and core[op](xs[1], xs[2]) or core[op](xs[1])
    return core.gradients(core.sum(core.square(y) * 0.5 + y), xs)
  end
  return {
    { any { 3, 5 }, any { 5 }, f = gradient }, { any { 2, 3, 17 }, any { 17 }, f = gradient }, { any { 4 }, f = gradient },
    { any { 0, 3 }, any { 3 }, f = gradient }, { any { 3, 0 }, any { 0 }, f = gradient }, expect = name, nodes = 4,
  }
end
for _, name in ipairs { "layer_norm_grad", "rms_norm_grad" } do cases[name] = norm_gradient(name) end
cases.attention = {
  { any { 2, 2, 3, 4 }, any { 2, 2, 5, 4 }, any { 2, 2, 5, 3 } },
  { any { 1, 2, 4, 3 }, any { 1, 2, 4, 3 }, any { 1, 2, 4, 2 }, attrs = { causal = true } },
  { any { 2, 1, 3, 2 }, any { 2, 1, 4, 2 }, any { 2, 1, 4, 2 }, bool { 2, 1, 1, 4 }, attrs = { scale = 0.3 } },
  { any { 0, 1, 3, 2 }, any { 0, 1, 3, 2 }, any { 0, 1, 3, 2 } },
  { any { 1, 2, 40, 20 }, any { 1, 2, 150, 20 }, any { 1, 2, 150, 9 }, bool { 40, 150 }, attrs = { causal = true }, large = true },
}
-- All three gradients, one behind the other.
local function attention_gradients(attrs)
  return function(xs)
    local y = xs[4] and core.attention(xs[1], xs[2], xs[3], xs[4], attrs) or core.attention(xs[1], xs[2], xs[3], attrs)
    local dx = core.gradients(y:square():sum(), { xs[1], xs[2], xs[3] })
    for i = 1, 3 do dx[i] = dx[i]:reshape({ -1 }) end
    return core.concat(dx, 1)
  end
end
cases.attention_grad = {
  { any { 2, 2, 3, 4 }, any { 2, 2, 5, 4 }, any { 2, 2, 5, 3 }, f = attention_gradients({}) },
  { any { 1, 2, 4, 3 }, any { 1, 2, 4, 3 }, any { 1, 2, 4, 2 }, f = attention_gradients({ causal = true }) },
  { any { 2, 1, 3, 2 }, any { 2, 1, 4, 2 }, any { 2, 1, 4, 2 }, bool { 2, 1, 1, 4 }, f = attention_gradients({ scale = 0.3 }) },
  { any { 1, 2, 40, 20 }, any { 1, 2, 150, 20 }, any { 1, 2, 150, 9 }, bool { 40, 150 }, f = attention_gradients({}),
    large = true },
  { any { 1, 1, 150, 5 }, any { 1, 1, 40, 5 }, any { 1, 1, 40, 35 }, f = attention_gradients({ causal = true }), large = true },
  expect = "attention_grad", nodes = 4,
}
cases.lstm_cell = {
  { any { 3, 2 }, any { 3, 4 }, any { 3, 4 }, any { 2, 16 }, any { 4, 16 }, any { 16 } },
  { any { 3, 2 }, any { 3, 4 }, any { 3, 4 }, any { 2, 16 }, any { 4, 16 } },
  { any { 0, 2 }, any { 0, 1 }, any { 0, 1 }, any { 2, 4 }, any { 1, 4 } },
}
cases.lstm = {
  { any { 2, 3, 2 }, any { 2, 12 }, any { 3, 12 } },
  { any { 2, 3, 2 }, any { 2, 12 }, any { 3, 12 }, any { 12 }, attrs = { go_backwards = true } },
  { any { 2, 3, 2 }, any { 2, 12 }, any { 3, 12 }, any { 12 }, any { 2, 3 }, any { 2, 3 }, bool { 2, 3 } },
  { any { 2, 0, 2 }, any { 2, 4 }, any { 1, 4 } }, { any { 0, 3, 2 }, any { 2, 4 }, any { 1, 4 } },
}
cases.gru = {
  { any { 2, 3, 2 }, any { 2, 9 }, any { 3, 9 } },
  { any { 2, 3, 2 }, any { 2, 9 }, any { 3, 9 }, any { 2, 9 }, attrs = { go_backwards = true } },
  { any { 2, 3, 2 }, any { 2, 9 }, any { 3, 9 }, any { 2, 9 }, any { 2, 3 }, bool { 2, 3 } },
  { any { 2, 0, 2 }, any { 2, 3 }, any { 1, 3 } }, { any { 0, 3, 2 }, any { 2, 3 }, any { 1, 3 } },
}
-- What those are made of: their gradients hold it.
local function layer_gradient(name, gates)
  local op = name:match("^%a+")
  return {
    { any { 1, 2, 2 }, any { 2, gates }, any { 1, gates }, f = function(xs)
      return core.gradients(core.sum(core.square((core[op](xs[1], xs[2], xs[3])))), xs)
    end },
    expect = name,
  }
end
for _, name in ipairs { "lstm_sequence", "lstm_sequence_grad" } do cases[name] = layer_gradient(name, 4) end
for _, name in ipairs { "gru_sequence", "gru_sequence_grad" } do cases[name] = layer_gradient(name, 3) end
cases.gru_cell = {
  { any { 3, 2 }, any { 3, 4 }, any { 2, 12 }, any { 4, 12 }, any { 12 }, any { 12 } },
  { any { 3, 2 }, any { 3, 4 }, any { 2, 12 }, any { 4, 12 } },
  { any { 3, 2 }, any { 3, 4 }, any { 2, 12 }, any { 4, 12 }, any { 12 } },
  { any { 0, 2 }, any { 0, 1 }, any { 2, 3 }, any { 1, 3 } },
}

-- Losses: targets are constants to gradients only where the formula says so.
local lower, upper = input("grid", { shift = 0 }), input("grid", { shift = 0.1 })
all("mean_squared_error mean_absolute_error", { { lower { 3, 4 }, upper { 3, 4 } }, { lower { 5 }, upper { 5 } },
  { any { 0, 4 }, any { 0, 4 } } })
cases.huber = { { lower { 3, 4 }, upper { 3, 4 } }, { lower { 3, 4 }, upper { 3, 4 }, attrs = { delta = 0.5 } },
  { any { 0, 4 }, any { 0, 4 } } }
cases.hinge = {
  { between(-0.8, 0.8) { 3, 4 }, signs { 3, 4 }, only = { 1 } }, { between(1.2, 2) { 5 }, signs { 5 }, only = { 1 } },
  { between(-0.8, 0.8) { 3, 4 }, input("choice", { choices = { 0, 1 } }) { 3, 4 }, only = { 1 } },
}
cases.binary_crossentropy = {
  { probability { 3, 4 }, probability { 3, 4 } }, { away { 3, 4 }, probability { 3, 4 }, attrs = { from_logits = true } },
  { probability { 0, 4 }, probability { 0, 4 } },
}
cases.categorical_crossentropy = {
  { probability { 3, 4 }, probability { 3, 4 } }, { any { 3, 4 }, probability { 3, 4 }, attrs = { from_logits = true } },
  { any { 0, 4 }, any { 0, 4 } },
}
cases.sparse_categorical_crossentropy = {
  { probability { 3, 4 }, index(4) { 3 } }, { any { 3, 4 }, index(4) { 3, 1 }, attrs = { from_logits = true } },
  { any { 2, 3, 4 }, index(4) { 2, 3 }, attrs = { from_logits = true } },
  { any { 0, 4 }, index(4) { 0 }, attrs = { from_logits = true } },
}
cases.kl_divergence = { { probability { 3, 4 }, probability { 3, 4 } }, { probability { 0, 4 }, probability { 0, 4 } } }
cases.softmax_cross_entropy = { { any { 3, 4 }, index(4) { 3 } }, { any { 2, 3, 5 }, index(5) { 2, 3 } },
  { any { 0, 4 }, index(4) { 0 } }, { any { 9, 70 }, index(70) { 9 } } }
cases.softmax_cross_entropy_grad = {
  { any { 3, 4 }, index(4) { 3 }, f = function(xs) return core.gradients(core.softmax_cross_entropy(xs[1], xs[2]):square():sum(),
  { xs[1] })[1] end },
  expect = "softmax_cross_entropy_grad",
}
for _, name in ipairs { "sgd_updates", "adam_updates", "rmsprop_updates" } do cases[name] = { constant = "a pass makes it" } end
cases.sum_squares = {
  { any { 3, 4 }, list = true }, { any { 2 }, any {}, any { 2, 1, 3 }, list = true }, { any { 0 }, list = true },
}
cases.sgd_update = {
  { any { 3, 4 }, any { 3, 4 }, any { 3, 4 }, positive {} },
  { any { 7 }, any { 7 }, any { 7 }, positive {}, attrs = { momentum = 0.9 } },
  { any { 7 }, any { 7 }, any { 7 }, positive {}, attrs = { momentum = 0.9, nesterov = true } },
  { any { 0 }, any { 0 }, any { 0 }, positive {} },
}
cases.adam_update = {
  { any { 3, 4 }, away { 3, 4 }, any { 3, 4 }, positive { 3, 4 }, positive {}, between(1, 4) {} },
  { any { 7 }, away { 7 }, any { 7 }, positive { 7 }, positive {},
  between(1, 4) {}, attrs = { beta_1 = 0.5, beta_2 = 0.7, epsilon = 1e-3, weight_decay = 0.1 } },
  { any { 0 }, any { 0 }, any { 0 }, any { 0 }, positive {}, between(1, 4) {} }, rtol = 1e-5, -- 1 - beta^t in f32
}
cases.rmsprop_update = {
  { any { 3, 4 }, away { 3, 4 }, positive { 3, 4 }, any { 3, 4 }, positive {} },
  { any { 7 }, away { 7 }, positive { 7 }, any { 7 }, positive {}, attrs = { rho = 0.5, momentum = 0.9, epsilon = 1e-3 } },
  { any { 0 }, any { 0 }, any { 0 }, any { 0 }, positive {} },
}

-- Made from nothing.
cases.full = {
  { attrs = { shape = { 2, 3 }, value = 1.5 } }, { attrs = { shape = {}, value = -3, dtype = "i32" } },
  { attrs = { shape = { 0, 2 }, value = 7, dtype = "u8" } },
  { attrs = { shape = { 4 }, value = 1, dtype = "bool" } },
}
all("zeros ones", { { attrs = { shape = { 2, 3 } } }, { attrs = { shape = {}, dtype = "i64" } },
  { attrs = { shape = { 0 }, dtype = "bool" } }, { attrs = { shape = 5, dtype = "f64" } } })
cases.arange = { { attrs = { start = 7 } }, { attrs = { start = 2, stop = -3, step = -2, dtype = "i32" } },
  { attrs = { start = 0, stop = 1, step = 0.1, dtype = "f64" } }, { attrs = { start = 3, stop = 3 } } }
cases.linspace = { { attrs = { start = 0, stop = 1, n = 5 } }, { attrs = { start = 2, stop = -1, dtype = "f64" } },
  { attrs = { start = 2, stop = 3, n = 1 } }, { attrs = { start = 2, stop = 3, n = 0 } } }
cases.eye = { { attrs = { n = 3 } }, { attrs = { n = 2, m = 4, k = 1, dtype = "i64" } },
  { attrs = { n = 4, m = 2, k = -2, dtype = "bool" } }, { attrs = { n = 0 } } }
cases.uniform = { { attrs = { shape = { 3, 50 } } }, { attrs = { shape = { 700 }, lo = -2, hi = 5, dtype = "f64" } },
  { attrs = { shape = { 0 } } }, { attrs = { shape = {} } } }
cases.normal = { { attrs = { shape = { 3, 50 } } }, { attrs = { shape = { 700 }, mean = -2, std = 5, dtype = "f64" } },
  { attrs = { shape = { 0 } } }, { attrs = { shape = {} } } }
cases.bernoulli = { { attrs = { shape = { 3, 50 } } }, { attrs = { shape = { 700 }, p = 0.9, dtype = "bool" } },
  { attrs = { shape = { 9 }, p = 0, dtype = "i32" } } }
cases.integers = { { attrs = { shape = { 3, 50 }, lo = -3, hi = 9 } },
  { attrs = { shape = { 700 }, lo = 0, hi = 256, dtype = "u8" } }, { attrs = { shape = {}, lo = 0, hi = 1, dtype = "i32" } } }
cases.permutation = { { attrs = { n = 50 } }, { attrs = { n = 0 } }, { attrs = { n = 1 } } }
for name in ("full zeros ones arange linspace eye uniform normal bernoulli integers permutation"):gmatch "%w+" do
  cases[name].constant = "takes no tensors"
  for _, case in ipairs(cases[name]) do case.same = true end
end

-- What carries values.
local function chain(xs) return (xs[1] * 2 + 1):tanh() * 0.5 end
cases.input = { { any { 2, 3 } , f = function(xs) return xs[1] * 1 end }, expect = "input" }
cases.constant = { { any { 2, 3 }, f = function(xs) return xs[1] * core.constant(core.tensor({ 1, 2, 3 }, xs[1].dtype)) end },
  expect = "constant" }
cases.loop = { { any { 3, 40 }, f = chain },
  { any { 3, 40 }, f = function(xs) return chain(xs):sum(1) end }, expect = "loop", compiled = true }
cases.depend = { { any { 2, 3 }, f = function(xs) return core.depend(xs[1] * 2, { xs[1]:exp() }) * 3 end }, expect = "depend" }
cases.stop_gradient = { { any { 2, 3 }, smooth = false },
  { any { 0 }, smooth = false }, constant = "that is what it is for", dtypes = "any" }
cases.copy = { constant = "made where a plan needs memory of its own; see forward_spec" }
cases.cast = {
  { away { 3, 4 }, attrs = { dtype = "f64" }, same = true }, { between(-20, 20) { 3, 4 }, attrs = { dtype = "i32" } },
  { between(0, 9) { 3, 4 }, attrs = { dtype = "u8" } },
  { between(-20, 20) { 40 }, attrs = { dtype = "i64" } }, { truth { 2, 9 }, attrs = { dtype = "bool" } },
  { any {}, attrs = { dtype = "f32" }, same = true, smooth = false },
  { any { 0, 2 }, attrs = { dtype = "i32" } }, dtypes = "any",
}
cases.mode = { at_once = false, { any { 2, 3 }, any { 2, 3 } }, { any { 0 }, any { 0 } }, { any {}, any {} }, dtypes = "any" }
cases.size = { constant = "a number of the graph; see forward_spec" }
cases.call = {
  { any { 2, 3 },
  f = function(xs) return core.call_custom(function(x) return x:sin() end, function(x, _, dy) return dy[1] * x[1]:cos() end,
    { xs[1] }) end }, expect = "call",
}
cases.cond = {
  { any { 2, 3 }, any {}, f = function(xs)
    return core.cond(core.gt(xs[2], 0), function(x) return x:sin() end, function(x) return x * x end, { xs[1] })
  end }, expect = "cond",
}
cases.scan = {
  { any { 4, 3 }, any { 3 }, f = function(xs)
    local carry, ys = core.scan(function(c, x) local y = (c * x):tanh() return y + c * 0.5, y end, xs[2], xs[1])
    return { carry, ys }
  end }, expect = "scan", nodes = 8,
}
cases.while_loop = {
  { any { 3 }, smooth = false, f = function(xs)
    return core.while_loop(function(c) return core.lt(c[2], 4) end, function(c) return { c[1] * 0.5 + 1, c[2] + 1 } end,
      { xs[1], core.zeros({}, "i64") })[1]
  end }, expect = "while_loop", constant = "the number of steps is not known before the run",
}
cases.variable = { constant = "variables: see control_spec and core" }
cases.assign = { constant = "effects: see control_spec and core" }

-- ---- What the sweeps ask for ----

-- Ops that hold state or are made by plans alone; the specs named here must reach them.
samples.elsewhere = {
  sgd_updates = "join_spec", adam_updates = "join_spec", rmsprop_updates = "join_spec", variable = "control_spec",
  assign = "control_spec", copy = "forward_spec", size = "forward_spec", pack_filter = "convolution_spec",
  conv_packed = "convolution_spec", winograd_filter = "convolution_spec", winograd_conv = "convolution_spec",
  winograd_input_grad = "convolution_spec", winograd_filter_grad = "convolution_spec", batch_moments = "batch_norm_spec",
  batch_sums = "batch_norm_spec",
}

--- The samples of an op; raises when there are none.
function samples.of(op)
  local list = op.kind == "elementwise" and elementwise(op) or cases[op.name]
  if not list then error("op '" .. op.name .. "' has no samples: add them to spec/support/samples.lua", 0) end
  return list
end

local dtypes_of = {
  float = { "bf16", "f16", "f32", "f64" }, number = { "u8", "i32", "i64", "bf16", "f16", "f32", "f64" },
  any = { "bool", "u8", "i32", "i64", "bf16", "f16", "f32", "f64" },
}

--- Dtypes that the float inputs of an op's samples may have.
function samples.dtypes(list) return dtypes_of[list.dtypes or "float"] end

--- Seeds a generator by a text.
function samples.generator(text)
  local seed = 7
  for i = 1, #text do seed = (seed * 31 + text:byte(i)) % 100003 end
  return random_graph.generator(seed)
end

--- Tensors for the inputs of a case; float inputs are of dtype.
function samples.tensors(case, dtype, text)
  local rng, list = samples.generator(text or "samples"), {}
  for i, spec in ipairs(case) do list[i] = samples.tensor(rng, spec, dtype) end
  return list
end

local function flatten(y, list)
  if type(y) == "table" then
    for i = 1, #y do flatten(y[i], list) end
  elseif y ~= nil then
    list[#list + 1] = y
  end
  return list
end

--- Calls an op as a case says; returns a list of its results.
function samples.call(op, case, xs)
  local attrs, copy = {}, {}
  for k, v in pairs(case.attrs or {}) do attrs[k] = v end
  for i = 1, #xs do copy[i] = xs[i] end
  if case.f then return flatten({ case.f(copy, attrs) }, {}) end
  if case.list then copy = { copy } end
  if next(attrs) then copy[#copy + 1] = attrs end
  return flatten({ core[op.name](util.unpack(copy)) }, {})
end

--- Traces g on symbols of the types of tensors: g(symbols) returns a list. Gives the graph.
function samples.trace(tensors, g)
  core.trace_begin()
  local ok, graph = pcall(function()
    local symbols = {}
    for i, t in ipairs(tensors) do symbols[i] = core.placeholder("x" .. i, t.dtype, t.shape, t.ndim) end
    return core.graph(symbols, g(symbols), {})
  end)
  core.trace_end()
  if not ok then error(graph, 0) end
  return graph
end

--- Runs a graph; passes_off as `program` takes it.
function samples.run(graph, tensors, passes_off)
  return { graph:program({ mode = "train", inputs = tensors, passes_off = passes_off }):run(tensors) }
end

--- A label for messages.
function samples.label(op, i, more) return string.format("%s case %d%s", op.name, i, more and " " .. more or "") end

return samples
