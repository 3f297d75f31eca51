--- Activations by name, with Keras's words.
-- Here: the table of names and how an argument `activation` is read. The numbers are ops of the core. Invariant: an activation is
-- a function of one tensor that keeps its shape.
-- @module moonlet.activations

local core = require "moonlet.core"
local util = require "moonlet.util"

local activations = {}
local names = {}
local name_of = setmetatable({}, { __mode = "k" })

local function define(name, f, ...)
  names[name] = f
  name_of[f] = name_of[f] or name
  for _, other in ipairs({ ... }) do names[other] = f end
end

local function by_op(op)
  return function(x) return core[op](x) end
end

define("linear", function(x) return x end)
define("relu", by_op("relu"))
define("sigmoid", by_op("sigmoid"))
define("tanh", by_op("tanh"))
define("softmax", by_op("softmax"))
define("log_softmax", by_op("log_softmax"))
define("softplus", by_op("softplus"))
define("log_sigmoid", by_op("log_sigmoid"))
define("exponential", by_op("exp"))
define("gelu", by_op("gelu"))
define("selu", by_op("selu"))
define("elu", by_op("elu"))
define("silu", by_op("silu"), "swish")
define("mish", function(x) return x * core.tanh(core.softplus(x)) end)
define("softsign", function(x) return x / (core.abs(x) + 1) end)
define("leaky_relu", function(x) return core.maximum(x, x * 0.2) end)
define("relu6", by_op("relu6"))
define("hard_sigmoid", function(x) return core.minimum(core.relu(x / 6 + 0.5), 1) end)
define("hard_silu", function(x) return x * names.hard_sigmoid(x) end, "hard_swish")

--- The function of a name; functions are handed through.
-- @tparam string who for messages
-- @tparam ?string|function value nil gives `linear`
-- @treturn function
function activations.get(who, value)
  if value == nil then return names.linear end
  if type(value) == "function" then return value end
  local mt = getmetatable(value)
  if type(value) == "table" and type(mt) == "table" and mt.__call then return value end -- a layer
  if type(value) ~= "string" then
    return core.fail("%s: activation must be a name or a function, got %s", who, util.describe(value))
  end
  return util.find(who, "activation", names, value)
end

--- The name of an activation, or "custom".
function activations.name(f)
  return name_of[f] or "custom"
end

util.define_kind("activation", "a name or a function", function(value, _, who)
  return activations.get(who, value)
end)

-- So that `ml.activations.relu(x)` and so on work.
return setmetatable(activations, { __index = names })
