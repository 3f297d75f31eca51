--- Helpers for specs, ours and yours: comparison of numbers, gradients by finite differences, a check of whole layers, leaks.
-- Here: checks that raise an error whose message says where and by how much. Under busted a failed check is a failure of the
-- spec; elsewhere it is a Lua error, so that a plain script can use them too. The check of layers is in
-- `moonlet.testing.layer`, finite differences are in `moonlet.testing.gradient`. Invariant: what a check does is repeatable.
-- @module moonlet.testing
-- @usage local testing = require "moonlet.testing"
-- testing.check_layer(Swish, {}, { 2, 5 }, { 2, 5 })
-- testing.allclose(model:predict(x), expected, { rtol = 1e-4 })

local compare = require "moonlet.testing.compare"
local core = require "moonlet.core"
local util = require "moonlet.util"

local testing = {}

--- Checks that two tensors have one shape and nearly the same numbers: `|actual - expected| <= atol + rtol * |expected|`.
-- @function allclose
-- @param actual a Tensor, Variable, number or nested table of numbers
-- @param expected the same
-- @tparam[opt] table opts `rtol` (default 1e-5), `atol` (default 1e-6), `equal_nan` (default false), `label` (what is compared)
-- @treturn boolean true
testing.allclose = compare.allclose

--- Checks that two tensors have one shape and the very same numbers.
-- @function equal
-- @param actual
-- @param expected
-- @tparam[opt] string label
-- @treturn boolean true
testing.equal = compare.equal

--- Checks that f raises an error whose message matches a Lua pattern.
-- @tparam function f
-- @tparam string pattern
-- @treturn string the message
function testing.raises(f, pattern)
  local ok, message = pcall(f)
  if ok then compare.fail("raises: expected an error like '%s', there was none", pattern) end
  message = tostring(message)
  if not message:find(pattern) then compare.fail("raises: expected an error like '%s', got '%s'", pattern, message) end
  return message
end

--- Checks gradients against finite differences.
-- @function check_gradient
-- @tparam function f takes tensors, returns a tensor, or several; every call must compute the same
-- @tparam table inputs Tensors or tables of numbers; they become f64
-- @tparam[opt] table opts see `moonlet.testing.gradient`
-- @treturn boolean true
function testing.check_gradient(f, inputs, opts)
  return require("moonlet.testing.gradient").check(f, inputs, opts)
end

--- Checks a layer: shapes, weights, gradient, save and load, one step of `fit`.
-- @function check_layer
-- @usage testing.check_layer(nn.Dense, { 3 }, { 2, 5 }, { 2, 3 })
-- @tparam table class a class of layers, or a function that makes a layer from a table
-- @tparam table args what the class is called with
-- @tparam table input_shape with the batch in front; a table of shapes for several inputs
-- @tparam table output_shape
-- @tparam[opt] table opts see `moonlet.testing.layer`
-- @treturn table the layer
function testing.check_layer(class, args, input_shape, output_shape, opts)
  return require("moonlet.testing.layer").check(class, args, input_shape, output_shape, opts)
end

--- Bytes that the library holds, after all garbage was collected and the caches of single ops were emptied.
-- @tparam[opt] integer expected if it is these after one collection there is no other
-- @treturn integer
function testing.live_bytes(expected)
  core.device() -- what the device itself holds is there from its first use on
  local live
  -- Objects that hold others by their finalizers need a cycle for each link of the chain; in Lua 5.1, whose weak tables keep the
  -- values of dying keys for a cycle or two, some of these cycles free nothing.
  local quiet = _VERSION == "Lua 5.1" and 3 or 1
  local same = 0
  for _ = 1, 20 do
    collectgarbage()
    core.empty_caches()
    local before = live
    live = core.memory().live_bytes
    same = live == before and same + 1 or 0
    if same == quiet or live == expected then break end
  end
  return live
end

--- Calls f(...) twice and checks that the second call left no memory behind (the first one may fill caches).
-- @tparam function f
-- @return what f returned is not handed on, since it would keep memory alive
function testing.no_leak(f, ...)
  f(...)
  local before = testing.live_bytes()
  f(...)
  local leaked = testing.live_bytes() - before
  if leaked > 0 then compare.fail("no_leak: %d bytes more are held than before", leaked) end
end

-- What a spec may leave behind in caches and interned names, when nothing else is said.
local SLACK_BYTES = 65536

--- Seeds the random numbers before each spec of the `describe` that calls it; with `leaks` checks each for leaks too.
-- @usage describe("my layer", function()
--   testing.each { seed = 7 }
--   it("...", function() ... end)
-- end)
-- @tparam[opt] table opts `seed` (default 1), `leaks` (true: more than 64 KiB left behind fails the spec; a number:
--   so many bytes; default: not checked), `before_each` and `after_each` (default: busted's)
function testing.each(opts)
  opts = util.options("testing.each", {
    { "seed", "natural", default = 1 }, { "leaks", "any" }, { "before_each", "function" }, { "after_each", "function" },
  }, opts)
  local busted = package.loaded["busted"]
  local before_each = opts.before_each or (busted and busted.before_each)
  local after_each = opts.after_each or (busted and busted.after_each)
  if not before_each or not after_each then
    core.fail("testing.each: outside of busted it needs the functions before_each and after_each")
  end
  local before
  local slack = opts.leaks == true and SLACK_BYTES or opts.leaks
  before_each(function()
    require("moonlet").seed(opts.seed)
    if slack then before = testing.live_bytes() end
  end)
  after_each(function()
    if not slack then return end
    local leaked = testing.live_bytes() - before
    if leaked > slack then compare.fail("the spec leaves %d bytes behind", leaked) end
  end)
end

return testing
