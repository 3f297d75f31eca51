--- What every busted run loads first: where to find the library that was built, and a guard against leaks.
-- Here: set-up only; helpers that users may call too are in `moonlet.testing`. Invariant: after a spec that passed, the live
-- bytes of the library are back where they were before it.
-- Environment: MOONLET_BUILD, the folder that holds moonlet.so (default build); MOONLET_LEAKS=0 switches the guard off.

local build = os.getenv "MOONLET_BUILD" or "build"
local module_file = io.open(build .. "/moonlet.so")
if not module_file then error(build .. "/moonlet.so is not there; run make first, or make test", 0) end
module_file:close()
package.cpath = build .. "/?.so;" .. package.cpath
package.path = "./?.lua;" .. package.path

-- The library finds our Lua files itself; found by package.path they would not be known as ours in messages.
local found, ml = pcall(require, "moonlet")
if not found then error("cannot load " .. build .. "/moonlet.so: " .. tostring(ml), 0) end

-- Some memory is kept on purpose, once: interned sizes, room for the longest message or list so far, an arena. So a spec that
-- grows runs again: what grows each time is a leak. Long specs do not run again; they may grow by this much.
local LONG_US, SMALL_BYTES, RUNS = 1e6, 65536, 3

-- All of our modules, now: busted forgets what a spec file loads, and parts loaded late would no longer fit those loaded before.
local files = io.popen "find lua/moonlet -name '*.lua' | sort"
for path in files:lines() do require((path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."))) end
files:close()

if os.getenv "MOONLET_LEAKS" ~= "0" then
  local busted = require "busted"
  local core = require "moonlet.core"
  local testing = require "moonlet.testing"
  local before, started

  local function growth_of_more_runs(element)
    local growth
    for _ = 1, RUNS do
      local again = testing.live_bytes()
      ml.seed(1)
      if not pcall(element.run) then return 0 end
      growth = testing.live_bytes() - again
      if growth <= 0 then return 0 end
    end
    return growth
  end

  busted.subscribe({ "test", "start" }, function()
    ml.seed(1)
    before, started = before or testing.live_bytes(), core.clock_us()
    return nil, true
  end)
  busted.subscribe({ "test", "end" }, function(element, _, status)
    local live = testing.live_bytes(before)
    local is_long, leaked = core.clock_us() - started > LONG_US, live - before
    -- What is alive now is what the next spec begins with: collecting twice a spec would double the time of small ones.
    before = live
    if status ~= "success" then return nil, true end
    if leaked > 0 and not is_long then leaked = growth_of_more_runs(element) end
    if leaked > (is_long and SMALL_BYTES or 0) then
      error(string.format("spec '%s' leaks %d bytes", tostring(element.name), leaked), 0)
    end
    return nil, true
  end)
end
