--- Tasks that algorithms are to solve, with fixed seeds. Here: how long, and with which seeds: MOONLET_SOAK=1 tries more of them,
-- with more steps; under a sanitizer a few steps must do, which solve nothing.

local short, long = os.getenv "MOONLET_SANITIZER" ~= nil, os.getenv "MOONLET_SOAK" ~= nil

local task = {}

--- So many steps, as this run has time for.
function task.steps(n)
  if short then return math.ceil(n / 50) end
  return long and 2 * n or n
end

--- For loops over seeds: `for seed, label in task.seeds(3) do it("does this" .. label, function() ... end) end`.
function task.seeds(seed)
  local last = long and 8 or seed
  local s = long and 0 or seed - 1
  return function()
    s = s + 1
    if s <= last then return s, long and ", seed " .. s or "" end
    return nil
  end
end

--- Raises where a whole run did not reach what it should.
function task.reached(ok, message)
  if not short and not ok then error(message, 2) end
end

return task
