--- A check that any layer should pass.
-- Here: shapes on symbols and on numbers, weights, gradients, save and load, one step of training. Invariant: every failure
-- says which of these it was.
-- @module moonlet.testing.layer

local compare = require "moonlet.testing.compare"
local core = require "moonlet.core"
local gradient = require "moonlet.testing.gradient"
local util = require "moonlet.util"

local layer_check = {}

local OPTIONS = {
  { "weights", "natural" }, { "gradient", "boolean", default = true }, { "fit", "boolean", default = true },
  { "save", "boolean", default = true }, { "input_dtype", "dtype", default = "f32" }, { "low", "number", default = -1 },
  { "high", "number", default = 1 }, { "rtol", "nonnegative", default = 1e-6 }, { "atol", "nonnegative", default = 1e-7 },
  { "training", "boolean", default = false }, { "samples", "count", default = 24 },
}

local function is_list_of_shapes(shape)
  return type(shape[1]) == "table"
end

local function shapes_of(input_shape)
  return is_list_of_shapes(input_shape) and input_shape or { input_shape }
end

-- Numbers in [low, high] that are the same in every run; whole ones for integer dtypes.
local function sample(shape, dtype, opts, phase)
  local n, list = 1, {}
  for _, size in ipairs(shape) do n = n * size end
  local is_float = dtype == "f32" or dtype == "f64"
  for i = 1, n do
    local part = (math.sin(i * 12.9898 + phase) * 43758.5453) % 1
    local x = opts.low + part * (opts.high - opts.low)
    list[i] = is_float and x or math.floor(x)
  end
  return core.tensor(list, dtype):reshape(shape)
end

local function samples(shapes, dtype, opts)
  local list = {}
  for i, shape in ipairs(shapes) do list[i] = sample(shape, dtype, opts, i) end
  return list
end

local function make(class, args, dtype)
  local given = {}
  for key, value in pairs(args) do given[key] = value end
  if dtype and given.dtype == nil then given.dtype = dtype end
  return class(given)
end

local function expect_shape(what, shape, expected)
  local got, want = util.shape_text(shape), util.shape_text(expected)
  if got ~= want then compare.fail("check_layer: %s has shape %s, expected %s", what, got, want) end
end

local function check_weights(layer, opts)
  local variables = layer.variables
  if opts.weights and #variables ~= opts.weights then
    compare.fail("check_layer: the layer has %d weights, expected %d", #variables, opts.weights)
  end
  local seen = {}
  for _, variable in ipairs(variables) do
    if seen[variable.name] then compare.fail("check_layer: two weights are called '%s'", variable.name) end
    seen[variable.name] = true
    for i, x in ipairs(compare.flatten(variable:read())) do
      if x ~= x or math.abs(x) == math.huge then
        compare.fail("check_layer: weight '%s' begins with %s at element %d", variable.name, tostring(x), i)
      end
    end
  end
end

local function argument(list, input_shape)
  if is_list_of_shapes(input_shape) then return list end
  return list[1]
end

local function check_numbers(class, args, input_shape, output_shape, opts)
  local float = opts.input_dtype == "f32" or opts.input_dtype == "f64"
  local layer = make(class, args, "f64")
  local inputs = samples(shapes_of(input_shape), float and "f64" or opts.input_dtype, opts)
  local y = layer(argument(inputs, input_shape))
  expect_shape("the output for numbers", y.shape, output_shape)
  check_weights(layer, opts)
  if not opts.gradient then return end
  gradient.check(function(...) return layer(argument({ ... }, input_shape), { training = opts.training }) end, inputs, {
    variables = layer.trainable_variables, inputs = float, rtol = opts.rtol, atol = opts.atol, samples = opts.samples,
    label = "check_layer",
  })
end

local function make_model(ml, class, args, input_shape, output_shape, opts)
  local layer = make(class, args)
  local inputs = {}
  for i, shape in ipairs(shapes_of(input_shape)) do
    local spec = { name = "input_" .. i, dtype = opts.input_dtype }
    for axis = 2, #shape do spec[axis] = shape[axis] end
    inputs[i] = ml.input(spec)
  end
  local y = layer(argument(inputs, input_shape))
  local shape = y.shape
  if #shape ~= #output_shape then
    expect_shape("the symbolic output", shape, output_shape)
  end
  for axis = 2, #shape do
    if type(shape[axis]) == "number" and shape[axis] ~= output_shape[axis] then
      expect_shape("the symbolic output", shape, output_shape)
    end
  end
  return ml.Model { inputs = argument(inputs, input_shape), outputs = y }, layer
end

local function check_save(ml, model, x, expected)
  local path = os.tmpname()
  model:save(path)
  local loaded = ml.load(path)
  os.remove(path)
  compare.equal(loaded:predict(x), expected, "check_layer: predictions after save and load")
end

local function check_fit(model, x, layer, output_shape, opts)
  local before = layer:get_weights()
  model:compile { optimizer = "sgd", loss = "mse" }
  local history = model:fit(x, sample(output_shape, "f32", opts, 99), { epochs = 1, batch_size = output_shape[1], verbose = 0 })
  local loss = history.history.loss[1]
  if loss ~= loss or math.abs(loss) == math.huge then compare.fail("check_layer: the loss of one step is %s", tostring(loss)) end
  if #layer.trainable_variables == 0 then return end
  for i, value in ipairs(layer:get_weights()) do
    local old, new = compare.flatten(before[i]), compare.flatten(value)
    for k = 1, #old do
      if old[k] ~= new[k] then return end
    end
  end
  compare.fail("check_layer: one step of fit changes no weight")
end

--- See `moonlet.testing.check_layer`.
-- @tparam table class
-- @tparam table args
-- @tparam table input_shape
-- @tparam table output_shape
-- @tparam[opt] table opts `weights` (how many there should be), `gradient`, `save`, `fit` (false: leave that part out),
--   `input_dtype` (default "f32"), `low`, `high` (range of the inputs, default -1 to 1), `training` (the mode in which the
--   gradient is checked, default false), `rtol`, `atol`, `samples` (of the gradient)
-- @treturn table the layer
function layer_check.check(class, args, input_shape, output_shape, opts)
  local ml = require "moonlet"
  opts = util.options("check_layer", OPTIONS, opts)
  check_numbers(class, args, input_shape, output_shape, opts)
  local model, layer = make_model(ml, class, args, input_shape, output_shape, opts)
  local x = argument(samples(shapes_of(input_shape), opts.input_dtype, opts), input_shape)
  local y = model:predict(x)
  expect_shape("the prediction", y.shape, output_shape)
  compare.allclose(y, layer(x), { label = "check_layer: prediction against the layer called on numbers" })
  if opts.save then check_save(ml, model, x, y) end
  if opts.fit then check_fit(model, x, layer, output_shape, opts) end
  return layer
end

return layer_check
