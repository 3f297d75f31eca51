--- How weights begin: Keras's initializers.
-- Here: distributions and how an argument `kernel_initializer` is read. Draws come from `random`. Invariant: an initializer is
-- called with a shape and a dtype and returns a Tensor of them.
-- @module moonlet.initializers
-- @usage nn.Dense { 32, kernel_initializer = ml.initializers.random_normal { stddev = 0.02 } }

local core = require "moonlet.core"
local random = require "moonlet.random"
local util = require "moonlet.util"

local initializers = {}
local names = {}

local Initializer = util.class("Initializer")

function Initializer:init(name, make, settings)
  self.name, self.make, self.settings = name, make, settings
end

function Initializer:__call(shape, dtype)
  return self.make(shape, dtype or "f32", self.settings)
end

function Initializer:__tostring()
  return "initializer " .. self.name
end

-- Defines ml.initializers.<name>, which takes a table of settings.
local function define(name, rows, make)
  names[name] = function(given)
    return Initializer(name, make, util.options("initializer " .. name, rows, given))
  end
end

local function full(shape, value, dtype)
  return core.full(shape, value, dtype)
end

local function uniform(shape, lo, hi, dtype)
  return random.draw(function() return core.uniform({ shape = shape, lo = lo, hi = hi, dtype = dtype }) end)
end

local function normal(shape, mean, stddev, dtype)
  return random.draw(function() return core.normal({ shape = shape, mean = mean, std = stddev, dtype = dtype }) end)
end

-- Draws again where a number lies beyond two deviations; 4.6 % do each time, so that hardly one in 10^9 is left to be cut.
local REDRAWS = 6

local function truncated_normal(shape, mean, stddev, dtype)
  return random.draw(function()
    local function draw() return core.normal({ shape = shape, mean = 0, std = 1, dtype = dtype }) end
    local z = draw()
    for _ = 1, REDRAWS do z = core.where(core.le(core.abs(z), 2), z, draw()) end
    return core.maximum(core.minimum(z, 2), -2) * stddev + mean
  end)
end

define("zeros", {}, function(shape, dtype) return full(shape, 0, dtype) end)
define("ones", {}, function(shape, dtype) return full(shape, 1, dtype) end)
define("constant", { { "value", "number", at = 1, default = 0 } }, function(shape, dtype, s) return full(shape, s.value, dtype) end)

define("random_uniform", { { "minval", "number", default = -0.05 }, { "maxval", "number", default = 0.05 } },
  function(shape, dtype, s) return uniform(shape, s.minval, s.maxval, dtype) end)

local NORMAL_ROWS = { { "mean", "number", default = 0 }, { "stddev", "nonnegative", default = 0.05 } }
define("random_normal", NORMAL_ROWS, function(shape, dtype, s) return normal(shape, s.mean, s.stddev, dtype) end)
define("truncated_normal", NORMAL_ROWS, function(shape, dtype, s) return truncated_normal(shape, s.mean, s.stddev, dtype) end)

--- Number of inputs and outputs that meet in a weight, as Keras counts them.
-- @treturn number fan_in
-- @treturn number fan_out
function initializers.fans(shape)
  local n = #shape
  if n == 0 then return 1, 1 end
  if n == 1 then return shape[1], shape[1] end
  local field = 1
  for i = 1, n - 2 do field = field * shape[i] end
  return shape[n - 1] * field, shape[n] * field
end

-- Standard deviation of a normal distribution that is cut at two deviations.
local CUT_DEVIATION = 0.87962566103423978

local function variance_scaling(shape, dtype, s)
  local fan_in, fan_out = initializers.fans(shape)
  local fan = s.mode == "fan_in" and fan_in or s.mode == "fan_out" and fan_out or (fan_in + fan_out) / 2
  local variance = s.scale / math.max(1, fan)
  if s.distribution == "uniform" then
    local limit = math.sqrt(3 * variance)
    return uniform(shape, -limit, limit, dtype)
  end
  if s.distribution == "untruncated_normal" then return normal(shape, 0, math.sqrt(variance), dtype) end
  return truncated_normal(shape, 0, math.sqrt(variance) / CUT_DEVIATION, dtype)
end

define("variance_scaling", {
  { "scale", "positive", default = 1 },
  { "mode", "string", words = { "fan_in", "fan_out", "fan_avg" }, default = "fan_in" },
  { "distribution", "string", words = { "truncated_normal", "untruncated_normal", "uniform" }, default = "truncated_normal" },
}, variance_scaling)

local function define_scaled(name, scale, fan, distribution)
  local settings = { scale = scale, mode = fan, distribution = distribution }
  define(name, {}, function(shape, dtype) return variance_scaling(shape, dtype, settings) end)
end
define_scaled("glorot_uniform", 1, "fan_avg", "uniform")
define_scaled("glorot_normal", 1, "fan_avg", "truncated_normal")
define_scaled("he_uniform", 2, "fan_in", "uniform")
define_scaled("he_normal", 2, "fan_in", "truncated_normal")
define_scaled("lecun_uniform", 1, "fan_in", "uniform")
define_scaled("lecun_normal", 1, "fan_in", "truncated_normal")

-- The orthogonal factor of the polar decomposition of a, by the Newton-Schulz iteration x <- x (3 - x'x) / 2 (Higham, Functions of
-- Matrices, section 8.3); the factor of a matrix of normal numbers is uniformly distributed. a [m, n], m >= n, f64.
local function polar(a)
  local x = a / core.sqrt(core.sum(a * a))
  for _ = 1, 80 do
    local following = x * 1.5 - core.matmul(x, core.matmul(core.transpose(x), x)) * 0.5
    local change = core.max(core.abs(following - x)):item()
    x = following
    if change < 1e-9 then break end
  end
  return x
end

define("orthogonal", { { "gain", "number", at = 1, default = 1 } }, function(shape, dtype, s)
  if #shape < 2 then core.fail("initializer orthogonal: needs at least 2 axes, got shape %s", util.shape_text(shape)) end
  local rows, columns = 1, shape[#shape]
  for i = 1, #shape - 1 do rows = rows * shape[i] end
  if rows == 0 or columns == 0 then return full(shape, 0, dtype) end
  local tall = rows >= columns
  local a = normal(tall and { rows, columns } or { columns, rows }, 0, 1, "f64")
  local q = polar(a)
  if not tall then q = core.transpose(q) end
  return core.cast(core.reshape(q, shape) * s.gain, dtype)
end)

define("identity", { { "gain", "number", at = 1, default = 1 } }, function(shape, dtype, s)
  if #shape ~= 2 then core.fail("initializer identity: needs 2 axes, got shape %s", util.shape_text(shape)) end
  return core.cast(core.eye(shape[1], shape[2]) * s.gain, dtype)
end)

--- Reads an argument: a name, an initializer, or a function of shape and dtype.
-- @param value
-- @tparam string who for messages
function initializers.get(value, who)
  if type(value) == "function" or util.is_a(value, Initializer) then return value end
  if type(value) ~= "string" then
    return core.fail("%s: initializer must be a name, a function or an initializer, got %s", who, util.describe(value))
  end
  return util.find(who, "initializer", names, value)()
end

util.define_kind("initializer", "a name, a function or an initializer", function(value, _, who)
  return initializers.get(value, who)
end)

-- So that `ml.initializers.he_normal {}` and so on work.
return setmetatable(initializers, { __index = names })
