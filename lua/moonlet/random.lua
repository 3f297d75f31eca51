--- Random numbers for weights.
-- Here: draws that give Tensors at once, wherever they are asked for, also inside a trace. What distributions weights have is in
-- `initializers`. Invariant: the n-th draw after `ml.seed(s)` depends on s and n alone.
-- @module moonlet.random

local core = require "moonlet.core"

local random = {}

-- Steps of draws are counted from here, far from the steps of training, so that their numbers never meet.
local FIRST_STEP = 2 ^ 48

local draws = 0

--- Starts to count again; `ml.seed` calls it.
function random.reset()
  draws = 0
end

--- All that random numbers to come depend on: `{ seed, stream, draws }`; files keep it.
function random.state()
  local seed, stream = core.random_state()
  return { seed, stream, draws }
end

--- Goes on where a state was taken.
function random.restore(state)
  core.random_state_set(state[1], state[2])
  draws = state[3]
end

--- The number of draws so far; with `n`, goes on from that number.
function random.count(n)
  if n then draws = n end
  return draws
end

local function traced(build)
  local depth = core.trace_depth()
  local ok, result = pcall(function()
    core.trace_begin()
    return core.graph({}, { build() }, {})
  end)
  while core.trace_depth() > depth do core.trace_end() end -- memory may have run out before the trace began
  if not ok then error(result, 0) end
  return result
end

--- Runs a function that builds a Symbol from random ops, and gives its numbers.
-- @tparam function build
-- @treturn Tensor
function random.draw(build)
  local eager = 0
  while core.is_eager() do
    core.eager_pop()
    eager = eager + 1
  end
  local ok, result = pcall(function()
    local graph = traced(build)
    draws = draws + 1
    return graph:program({ mode = "infer", inputs = {} }):run({ step = FIRST_STEP + draws })
  end)
  for _ = 1, eager do core.eager_push() end
  if not ok then error(result, 0) end
  return result
end

--- Evaluates a Symbol of the innermost trace that depends on no input.
-- @treturn Tensor
function random.evaluate(symbol)
  local concrete = symbol:tensor()
  if concrete then return concrete end
  draws = draws + 1
  return core.graph({}, { symbol }, {}):program({ mode = "infer", inputs = {} }):run({ step = FIRST_STEP + draws })
end

return random
