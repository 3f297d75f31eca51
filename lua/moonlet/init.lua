--- Moonlet: `local ml = require "moonlet"`.
-- Here: what a script sees first: ops, making tensors, symbols and variables, functions, modes. Each other part is a module that is
-- loaded when it is first named. Invariant: requiring this does no work beyond a few small files.
-- @module moonlet
-- @usage
-- local ml = require "moonlet"
-- local nn = ml.nn
-- local model = ml.Sequential { nn.Dense { 32, activation = "relu" }, nn.Dense { 10 } }

local core = require "moonlet.core"
local util = require "moonlet.util"

local ml = {}

--- The library's version, such as "0.1.0".
ml.version = core.version

-- ---- Parts that are loaded when they are first named ----

local PARTS = {
  Model = "moonlet.model",
  Sequential = "moonlet.sequential",
  activations = "moonlet.activations",
  callbacks = "moonlet.callbacks",
  data = "moonlet.data",
  initializers = "moonlet.initializers",
  losses = "moonlet.losses",
  metrics = "moonlet.metrics",
  nn = "moonlet.nn",
  optim = "moonlet.optim",
  plot = "moonlet.plot",
  progress = "moonlet.progress",
  rl = "moonlet.rl",
  show = "moonlet.show",
  testing = "moonlet.testing",
}

-- ---- Ops ----

local ops -- set of names, made when first needed

local function op_names()
  if not ops then
    ops = {}
    for _, op in ipairs(core.ops()) do ops[op.name] = true end
  end
  return ops
end

local function is_op(name)
  return op_names()[name] == true
end

--- Calls an op by its name.
-- @usage ml.op("tanh", x)
-- @tparam string name
-- @param ... what the op takes
function ml.op(name, ...)
  if type(name) ~= "string" or not is_op(name) or not core[name] then
    core.fail("ml.op: unknown op %s", util.describe(name))
  end
  return core[name](...)
end

--- Descriptions of all ops: name, inputs, attributes, doc.
-- @treturn table
function ml.ops()
  return core.ops()
end

-- ---- Making tensors ----

--- A tensor of numbers: a number or nested tables of numbers or booleans.
-- @function tensor
-- @usage ml.tensor { { 1, 2 }, { 3, 4 } }
-- @tparam table|number values
-- @tparam[opt="f32"] string dtype
-- @treturn Tensor
ml.tensor = core.tensor

-- A shape as a table: a single number is rank 1.
local function shape_of(who, shape)
  if type(shape) == "number" then return { shape } end
  if type(shape) == "table" then return shape end
  return core.fail("%s: the shape must be a table of sizes, got %s", who, util.describe(shape))
end

local function dtype_of(who, dtype)
  if type(dtype) == "table" then dtype = util.options(who, { { "dtype", "dtype" } }, dtype).dtype end
  return dtype or "f32"
end

--- Zeros.
-- @tparam table shape
-- @tparam[opt="f32"] string dtype
-- @treturn Tensor
function ml.zeros(shape, dtype)
  return core.zeros(shape_of("ml.zeros", shape), dtype_of("ml.zeros", dtype))
end

--- Ones.
-- @tparam table shape
-- @tparam[opt="f32"] string dtype
-- @treturn Tensor
function ml.ones(shape, dtype)
  return core.ones(shape_of("ml.ones", shape), dtype_of("ml.ones", dtype))
end

--- One number everywhere.
-- @tparam table shape
-- @tparam number value
-- @tparam[opt="f32"] string dtype
-- @treturn Tensor
function ml.full(shape, value, dtype)
  return core.full(shape_of("ml.full", shape), value, dtype_of("ml.full", dtype))
end

--- Zeros of the shape and dtype of x.
-- @treturn Tensor
function ml.zeros_like(x)
  return core.zeros(x.shape, x.dtype)
end

--- Ones of the shape and dtype of x.
-- @treturn Tensor
function ml.ones_like(x)
  return core.ones(x.shape, x.dtype)
end

--- Numbers from start (included) to stop (not included). `arange(n)` counts from 0.
-- @tparam number start
-- @tparam[opt] number stop
-- @tparam[opt=1] number step
-- @tparam[opt="f32"] string dtype
-- @treturn Tensor
function ml.arange(start, stop, step, dtype)
  if type(stop) == "string" then stop, dtype = nil, stop end
  if type(step) == "string" then step, dtype = nil, step end
  if stop == nil then start, stop = 0, start end
  return core.arange({ start = start, stop = stop, step = step or 1, dtype = dtype_of("ml.arange", dtype) })
end

-- ---- Random numbers ----

--- Sets the seed; everything random that follows depends on it alone.
-- @tparam integer n
function ml.seed(n)
  core.seed(n)
  require("moonlet.random").reset()
end

--- Numbers of the standard normal distribution.
-- @usage local w = ml.variable(0.1 * ml.randn { 5, 1 })
-- @tparam table shape
-- @tparam[opt="f32"] string dtype
-- @treturn Tensor
function ml.randn(shape, dtype)
  return core.normal({ shape = shape_of("ml.randn", shape), dtype = dtype_of("ml.randn", dtype) })
end

-- Draws of (shape, a, b, dtype), (shape, dtype) or (shape, options); names are those of a and b.
local function draw(op, names, shape, a, b, dtype)
  local given = {}
  if type(a) == "table" then
    for key, value in pairs(a) do given[key] = value end
  elseif type(a) == "string" then
    given.dtype = a
  else
    given[names[1]], given[names[2]], given.dtype = a, b, dtype
  end
  given.shape, given.dtype = shape_of("ml." .. op, shape), dtype_of("ml." .. op, given.dtype)
  return core[op](given)
end

--- Numbers of a normal distribution.
-- @tparam table shape
-- @tparam[opt=0] number mean or a table of `mean`, `std` and `dtype`
-- @tparam[opt=1] number std
-- @tparam[opt="f32"] string dtype
-- @treturn Tensor
function ml.normal(shape, mean, std, dtype)
  return draw("normal", { "mean", "std" }, shape, mean, std, dtype)
end

--- Numbers drawn evenly from [lo, hi).
-- @tparam table shape
-- @tparam[opt=0] number lo or a table of `lo`, `hi` and `dtype`
-- @tparam[opt=1] number hi
-- @tparam[opt="f32"] string dtype
-- @treturn Tensor
function ml.uniform(shape, lo, hi, dtype)
  return draw("uniform", { "lo", "hi" }, shape, lo, hi, dtype)
end

--- `uniform` from 0 to 1.
-- @tparam table shape
-- @tparam[opt="f32"] string dtype
-- @treturn Tensor
function ml.rand(shape, dtype)
  return ml.uniform(shape, 0, 1, dtype)
end

-- ---- Symbols and variables ----

--- A symbolic tensor that a model is called with; see `moonlet.input`.
-- @usage local image = ml.input { nil, 28, 28, 1, name = "image" }
-- @tparam table given sizes, batch first; nil is unknown; `name`, `dtype`
-- @treturn Symbol
function ml.input(given)
  return require("moonlet.input").new(given)
end

--- A named size that is known when data comes. Dims of one name are equal.
-- @function dim
-- @tparam string name
-- @treturn Dim
ml.dim = core.dim

local VARIABLE_ROWS = { { "name", "name" }, { "trainable", "boolean", default = true }, { "dtype", "dtype" } }
local variables_made = 0

local function initial_tensor(value, dtype)
  if core.kind(value) == "variable" then value = value:read() end
  local kind = core.kind(value)
  if kind == "symbol" then
    value = require("moonlet.random").evaluate(value)
  elseif kind ~= "tensor" then
    value = core.tensor(value, dtype)
  end
  if dtype and value.dtype ~= dtype then value = core.cast(value, dtype) end
  return value
end

--- State that lives between runs. Inside `ml.fn` it is made the first time only.
-- @usage local w = ml.variable(ml.randn { 5, 1 }, { name = "w" })
-- @param value a Tensor, a number, or a table of numbers: what it begins with
-- @tparam[opt] table opts `name`, `trainable` (default true), `dtype`
-- @treturn Variable
function ml.variable(value, opts)
  if value == nil then core.fail("ml.variable: what it begins with is missing") end
  if type(opts) == "string" then opts = { name = opts } end
  local settings = util.options("ml.variable", VARIABLE_ROWS, opts)
  local trace = require "moonlet.trace"
  return trace.once(function(before)
    if before then
      if util.is_array(value) then return trace.check_same(before, settings.dtype or value.dtype, value.shape) end
      return before
    end
    variables_made = variables_made + 1
    local name = settings.name or "variable_" .. variables_made
    return core.variable(initial_tensor(value, settings.dtype), name, settings.trainable)
  end)
end

-- ---- Functions ----

--- A function that is traced once for each signature of its arguments, and compiled; see `moonlet.fn`.
-- @usage local step = ml.fn(function(x, y) ... end)
-- @tparam function f
-- @tparam[opt] table opts `static` (positions of number arguments that are part of the signature), `name`, `training` (default
--   false), `limit` (more signatures are an error), `keep` (signatures kept, 64)
-- @treturn Function
function ml.fn(f, opts)
  return require("moonlet.fn")(f, opts)
end

--- Gradients of a number with respect to symbols or variables; inside `ml.fn`.
-- @usage local dw, db = ml.grad(loss, w), ml.grad(loss, b)
-- local grads = ml.grad(loss, { w, b })
-- @tparam Symbol loss rank 0
-- @tparam Variable|Symbol|table wrt one, or a table of them
-- @return one Symbol, or a table with the keys of `wrt`; zeros where the loss does not use an entry
function ml.grad(loss, wrt)
  if core.kind(loss) == "tensor" then
    core.fail("ml.grad: the loss is a Tensor, which does not know how it was made; compute it inside ml.fn")
  end
  if core.kind(loss) ~= "symbol" then core.fail("ml.grad: the loss must be a symbol, got %s", util.describe(loss)) end
  if util.is_array(wrt) then
    if core.kind(wrt) == "tensor" then
      core.fail("ml.grad: gradients are taken with respect to arguments of ml.fn or variables, got %s", util.describe(wrt))
    end
    return core.gradients(loss, { wrt })[1]
  end
  if type(wrt) ~= "table" then
    core.fail("ml.grad: the second argument must be a variable, a symbol or a table of them, got %s", util.describe(wrt))
  end
  return util.unflatten(wrt, core.gradients(loss, util.flatten(wrt)))
end

-- Several results as one table, one result as itself.
local function packed(...)
  if select("#", ...) > 1 then return { ... } end
  return (...)
end

local function joined(...)
  local list = {}
  for _, part in ipairs({ ... }) do
    for _, value in ipairs(part) do list[#list + 1] = value end
  end
  return list
end

--- A function with a gradient of its own.
-- @usage local clipped = ml.custom_gradient(function(x) return x * 1 end, function(x, y, dy) return ml.clip(dy, -1, 1) end)
-- @tparam function f tensors to a tensor, or several
-- @tparam function grad_f gets the inputs, then the results, then the gradients of the results; returns a gradient for each input,
--   0 for none
-- @treturn function
function ml.custom_gradient(f, grad_f)
  util.check("ml.custom_gradient", { "the first argument", "function" }, f)
  util.check("ml.custom_gradient", { "the second argument", "function" }, grad_f)
  local function value(...) return packed(f(...)) end
  local function gradient(xs, ys, dys) return packed(grad_f(util.unpack(joined(xs, ys, dys)))) end
  return function(...)
    local y = core.call_custom(value, gradient, { ... })
    if type(y) == "table" then return util.unpack(y) end
    return y
  end
end

--- One of two functions, chosen when it runs: `ml.cond(p, f, g)` or `ml.cond(p, f, g, inputs)`.
-- @function cond
-- @param p rank 0
-- @tparam function f
-- @tparam function g gives results of the same shapes
-- @tparam[opt] table inputs handed to the function
ml.cond = core.cond

--- Repeats `carry, y = f(carry, x)` along axis 1 of xs.
-- @function scan
-- @usage local total, sums = ml.scan(function(c, x) return c + x, c + x end, ml.zeros {}, xs)
-- @tparam function f
-- @param init the first carry: a tensor or a table of tensors
-- @param xs a tensor, a table of tensors, or nil with `length`
-- @tparam[opt] table opts `length`, `reverse`
-- @return the last carry
-- @return the ys, joined along a new axis 1
ml.scan = core.scan

--- Repeats `carry = body(carry)` while `condition(carry)` is true.
-- @function while_loop
-- @tparam function condition
-- @tparam function body
-- @param init the first carry
-- @return the last carry
ml.while_loop = core.while_loop

-- ---- Modes and devices ----

local eager = false

--- Sets the dtype policy of layers made from now on, and tells which it is.
-- Under `"mixed_bf16"` layers compute in bf16 with f32 weights; statistics of norms, softmax, losses and optimizers stay in f32.
-- `"mixed_f16"` is for inference. A layer may have a policy of its own: `nn.Dense { 10, dtype_policy = "f32" }`.
-- @tparam[opt] string name `"f32"` (default), `"f64"`, `"mixed_bf16"`, `"mixed_f16"`, or Keras's `"mixed_bfloat16"` ..
-- @treturn string the policy's name
-- @usage ml.dtype_policy "mixed_bf16"
function ml.dtype_policy(name)
  return require("moonlet.policy").set(name)
end

--- Switches eager mode on or off: each op computes when it is built, so that `print` shows numbers inside `ml.fn` and layers.
-- @tparam[opt=true] boolean on
function ml.eager(on)
  if on == nil then on = true end
  util.check("ml.eager", { "the argument", "boolean" }, on)
  if on and not eager then core.eager_push() end
  if not on and eager then core.eager_pop() end
  eager = on
end

--- The device that later compiles use; with a word, sets it. A word that names none is an error, and the device stays what it was;
-- only "auto" falls back to "cpu".
-- @function device
-- @tparam[opt] string word "cpu"; "opencl" (the first), "opencl:2", "opencl:gpu" (a kind), "opencl:rtx" (part of the model); "auto"
-- (the first that is not a CPU)
-- @treturn string its name
ml.device = core.device

--- All devices of this machine: list of `{ name =, backend =, kind =, model =, platform =, driver =, memory =, units =, f64 =,
-- built =, kept =, build_us = }`;
-- kind is "cpu", "gpu", "accelerator" or "other", memory is in bytes (0: unknown). A device that builds its kernels tells how many
-- programs it built and how many it had kept, and how long both took.
-- @function devices
ml.devices = core.devices

--- Memory that the library holds: `live_bytes`, `live_blocks`, `peak_bytes`, `calls`.
-- @function memory
ml.memory = core.memory

-- ---- Looking at speed ----

--- Runs a function and prints where its time went, by op and by layer; see `moonlet.profile`.
-- @usage ml.profile(function() model:train_on_batch(x, y) end)
-- ml.profile(function() model:fit(data) end, { trace = "fit.json" })
-- @tparam function f
-- @tparam[opt] table opts `trace`, `print`, `rows`, `limits`
-- @treturn Profile
-- @return what f returns
function ml.profile(f, opts)
  return require("moonlet.profile").run(f, opts)
end

--- Measures how the heavy products and convolutions of a model or program are computed fastest on this machine; see `moonlet.tune`.
-- Nothing is measured unless this is called.
-- @usage ml.tune(model)
-- ml.tune(model, { seconds = 10, batch_size = 64, print = true })
-- @param what a model, or a program
-- @tparam[opt] table opts `seconds`, `batch_size`, `training`, `x`, `y`, `save`, `print`
-- @treturn Tuning
function ml.tune(what, opts)
  return require("moonlet.tune").run(what, opts)
end

-- ---- What the program around the script decides; see `moonlet.host` ----

--- The number of threads that computing uses, the calling one included; with a number, sets it.
-- @function threads
-- @usage ml.threads(1) -- no thread is started: everything runs on the calling one
-- @tparam[opt] integer n 0: as MOONLET_THREADS or the machine says
-- @treturn integer
ml.threads = core.threads

--- Sends what would be shown on the terminal (progress, summaries, plots) to a function; `ml.log()` takes it back. With it,
-- `fit` shows nothing unless `verbose` asks. Of a tensor, `ml.log(x)` is the op: the natural logarithm.
-- @usage ml.log(function(text) console:print(text) end)
-- @tparam[opt] function f
function ml.log(f)
  if util.is_array(f) then return core.log(f) end
  require("moonlet.host").log(f)
end

--- Lets a function bring the bytes of every file that is read (models, safetensors, npy, CSV), from a packed asset for example;
-- `ml.files()` goes back to the system's files.
-- @usage ml.files(function(path) return love.filesystem.read(path) end)
-- @tparam[opt] function reader takes the path; returns the bytes, or nil and why not
function ml.files(reader)
  core.files(reader)
end

--- In realtime mode the library never runs a full garbage collection: the memory of temporaries is collected in small steps only.
-- Lua 5.4's generational collector, which does so by itself, is made incremental meanwhile.
-- @tparam[opt] boolean on nil asks
-- @treturn boolean is it on?
function ml.realtime(on)
  return require("moonlet.host").realtime(on)
end

-- ---- Files ----

--- Reads a model that `model:save` wrote. It predicts at once, and goes on training where it was: it is compiled as it was, with
-- the optimizer's state, and `fit` with `resume = true` goes on with the batch that would have come next. Random numbers go on from
-- the saved state too, so that the result is that of a training that was never interrupted. Files hold no code: when loss, metrics
-- or optimizer were functions or classes of the script, call `compile` first; when the learning rate followed a function, set it
-- again.
-- @usage local model = ml.load "digits.moon"
-- model:fit(x, y, { epochs = 20, resume = true })
-- @tparam string path
-- @tparam[opt] table opts `random = false` leaves the random numbers of the script alone
-- @treturn Model
function ml.load(path, opts)
  return require("moonlet.serialize").load(path, opts)
end

--- Makes a model of the string that `model:serialize()` gave, or of the bytes of a file that `model:save` wrote. All that `ml.load`
-- says holds.
-- @usage save_game.brain = model:serialize()
-- local model = ml.deserialize(save_game.brain)
-- @tparam string bytes
-- @tparam[opt] table opts as in `ml.load`
-- @treturn Model
function ml.deserialize(bytes, opts)
  return require("moonlet.serialize").deserialize(bytes, opts)
end

return setmetatable(ml, {
  __index = function(t, name)
    local value
    if PARTS[name] then
      value = require(PARTS[name])
    elseif type(name) == "string" and is_op(name) then
      value = core[name]
    elseif name == "einsum" then
      value = core.einsum
    end
    if value ~= nil then rawset(t, name, value) end
    return value
  end,
  __names = function() -- for completion at the prompt
    local names = {}
    for name in pairs(PARTS) do names[name] = true end
    for name in pairs(op_names()) do names[name] = true end
    return names
  end,
})
