--- What every busted run loads first: where to find the library that was built, and a guard against leaks.
-- Here: set-up only; helpers that users may call too are in `moonlet.testing`. Invariant: after a spec that passed, the live
-- bytes of the library are back where they were before it.
-- Environment: MOONLET_BUILD, the folder that holds moonlet.so (default build); MOONLET_LEAKS=0 switches the guard off.

local build = os.getenv "MOONLET_BUILD" or "build"
package.path = "./lua/?.lua;./lua/?/init.lua;./?.lua;" .. package.path
package.cpath = build .. "/?.so;" .. package.cpath

-- The library first, so that the files on disk find a core.
local found, ml = pcall(require, "moonlet")
if not found then error("cannot load " .. build .. "/moonlet.so: " .. tostring(ml), 0) end

if os.getenv "MOONLET_LEAKS" ~= "0" then
  local busted = require "busted"
  local testing = require "moonlet.testing"
  local before

  busted.subscribe({ "test", "start" }, function()
    ml.seed(1)
    before = testing.live_bytes()
    return nil, true
  end)
  busted.subscribe({ "test", "end" }, function(element, _, status)
    if status == "success" and before then
      local after = testing.live_bytes()
      if after > before then
        error(string.format("spec '%s' leaks %d bytes", tostring(element.name), after - before), 0)
      end
    end
    return nil, true
  end)
end
