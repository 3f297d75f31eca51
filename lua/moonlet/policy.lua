--- Dtype policies: in what a layer computes, and in what it keeps its weights.
-- Here: their names and the one that new layers get. `layer` heeds them. Invariant: weights are f32 whatever a mixed policy
-- computes in, so that small updates are not lost.
-- @module moonlet.policy
-- @usage ml.dtype_policy "mixed_bf16" -- layers made from now on compute in bf16

local core = require "moonlet.core"
local util = require "moonlet.util"

local policy = {}

local POLICIES = {
  f32 = { name = "f32", compute = "f32", variable = "f32" },
  f64 = { name = "f64", compute = "f64", variable = "f64" },
  mixed_bf16 = { name = "mixed_bf16", compute = "bf16", variable = "f32" },
  mixed_f16 = { name = "mixed_f16", compute = "f16", variable = "f32" },
}
local LONG = { float32 = "f32", float64 = "f64", mixed_bfloat16 = "mixed_bf16", mixed_float16 = "mixed_f16" }

local KNOWN = {}
for name in pairs(POLICIES) do KNOWN[name] = name end
for long, name in pairs(LONG) do KNOWN[long] = name end

local current = POLICIES.f32

--- The policy of that name; Keras's long names are known too.
-- @tparam string who for messages
-- @tparam string name
function policy.get(who, name)
  if type(name) ~= "string" then core.fail("%s: dtype_policy must be a name, got %s", who, util.describe(name)) end
  return POLICIES[util.find(who, "dtype policy", KNOWN, name)]
end

--- The policy of a layer that asks for none.
function policy.current() return current end

--- Sets the policy of layers made from now on; without a name, or afterwards, tells which it is.
-- @tparam[opt] string name `"f32"`, `"f64"`, `"mixed_bf16"`, `"mixed_f16"`, or Keras's `"mixed_bfloat16"` ..
-- @treturn string
function policy.set(name)
  if name ~= nil then current = policy.get("ml.dtype_policy", name) end
  return current.name
end

--- x in f32, when it is stored in 16 bits: what losses and metrics work on.
function policy.widened(x)
  return util.is_half(x.dtype) and core.cast(x, "f32") or x
end

return policy
