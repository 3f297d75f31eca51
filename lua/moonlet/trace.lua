--- Who is tracing: variables that are made once, and what runs before each step.
-- Here: a stack of owners (an `ml.fn`, a model's step) while their functions are traced, or run eagerly. The traces themselves are
-- the core's. Invariant: the stack is as before when a function returns, also by an error.
-- @module moonlet.trace

local core = require "moonlet.core"
local util = require "moonlet.util"

local trace = {}
local stack = {}

--- A new owner: `variables` made so far, in the order of making; `hooks` to call before each run.
function trace.owner(name)
  return { name = name, variables = {}, cursor = 0, hooks = {} }
end

--- The owner of the innermost trace, or nil.
function trace.current()
  return stack[#stack] or nil
end

local function restore(height, ok, ...)
  while #stack > height do stack[#stack] = nil end
  if not ok then error((...), 0) end
  return ...
end

--- Calls f(...) with owner on top of the stack; false hides the owners below.
function trace.within(owner, f, ...)
  local height = #stack
  stack[height + 1] = owner
  return restore(height, pcall(f, ...))
end

-- The graph of inputs() and body(inputs): both give lists of symbols.
local function make(owner, inputs, body)
  owner.cursor, owner.hooks = 0, {}
  local formals = inputs()
  local outputs = body(formals)
  return core.graph(formals, outputs, core.trace_effects())
end

local function begin(f, ...)
  core.trace_begin()
  return f(...)
end

-- Ends what has begun since the depth was that: memory may have run out before the trace began.
local function ended(depth, ok, ...)
  while core.trace_depth() > depth do core.trace_end() end
  if not ok then error((...), 0) end
  return ...
end

--- Traces body into a graph.
-- @tparam table owner
-- @tparam function inputs gives the list of placeholders
-- @tparam function body takes them and gives the list of outputs
-- @treturn Graph
function trace.graph(owner, inputs, body)
  return ended(core.trace_depth(), pcall(begin, trace.within, owner, make, owner, inputs, body))
end

--- Runs f(...) eagerly inside a trace, so that its gradients can be asked for.
function trace.eager(owner, f, ...)
  owner.cursor, owner.hooks = 0, {}
  return ended(core.trace_depth(), pcall(begin, trace.within, owner, f, ...))
end

--- The variable that the owner made at this place the last time, or what make() gives.
function trace.once(make_variable)
  local owner = trace.current()
  if not owner then return make_variable(nil) end
  owner.cursor = owner.cursor + 1
  local variable = make_variable(owner.variables[owner.cursor])
  owner.variables[owner.cursor] = variable
  return variable
end

--- Asks for f() to be called before each run of what is being traced. False when nothing is traced.
function trace.before_run(f)
  local owner = trace.current()
  if not owner or core.is_eager() then return false end
  owner.hooks[#owner.hooks + 1] = f
  return true
end

--- Calls the hooks that a trace left behind.
function trace.run_hooks(hooks)
  for i = 1, #hooks do hooks[i]() end
end

--- Is a variable of this dtype and shape the one that is asked for again?
function trace.check_same(variable, dtype, shape)
  local have, want = util.shape_text(variable.shape), util.shape_text(shape)
  if variable.dtype ~= dtype or have ~= want then
    core.fail("ml.variable: the variable made at this place of the function before is %s %s, now it would be %s %s",
      variable.dtype, have, dtype, want)
  end
  return variable
end

return trace
