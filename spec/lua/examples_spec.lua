--- The examples themselves, run by their scripts' text: a thousand iterations of the step of each leave memory as it was.
-- Here: an example runs until its step has been called some times; then that call is repeated and the script ends. What the
-- examples learn is seen by running them.
local ml = require "moonlet"
local core = require "moonlet.core"
local Function = require "moonlet.fn"
local step = require "moonlet.step"

local steps = os.getenv "MOONLET_SOAK" and 1000 or os.getenv "MOONLET_SANITIZER" and 30 or 50
local FIRST = 5 -- calls of a step before it is steady

local function live()
  collectgarbage()
  collectgarbage()
  return core.memory().live_bytes
end

-- Repeats a call, and ends the script by an error that tells how much memory that took.
local function repeated(call)
  for _ = 1, 10 do call() end
  local before = live()
  for _ = 1, steps do call() end
  error({ grown = live() - before }, 0)
end

-- What is called in place of a step: the step, until its calls are repeated.
local function counted(original)
  local calls = 0
  return function(...)
    calls = calls + 1
    if calls < FIRST then return original(...) end
    local arguments, n = { ... }, select("#", ...)
    repeated(function() original(table.unpack(arguments, 1, n)) end)
  end
end

-- Runs an example whose steps, of `fit` and of `ml.fn`, are counted.
local function run(name)
  local path = "examples/" .. name .. ".lua"
  local env = setmetatable({ arg = { [0] = path }, print = function() end }, { __index = _G })
  local chunk = assert(loadfile(path, "t", env))
  local step_of, call = step.of, Function.__call
  step.of = function(...)
    local made = step_of(...)
    if not rawget(made, "run") then rawset(made, "run", counted(made.run)) end
    return made
  end
  Function.__call = counted(call)
  ml.log(function() end)
  local ok, message = pcall(chunk)
  ml.log()
  step.of, Function.__call = step_of, call
  return ok, message
end

describe("memory after " .. steps .. " steps of an example", function()
  for _, name in ipairs({ "digits", "regression", "training_loop", "vae", "characters" }) do
    it("is what it was: " .. name, function()
      local ok, message = run(name)
      assert.is_false(ok, "the example has no step that was called so often")
      assert.is_table(message, tostring(message))
      assert.is_true(message.grown < 4096, ("grew by %d bytes"):format(message.grown or 0))
    end)
  end
end)
