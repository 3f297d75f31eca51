--- What the program around the script decides: threads, where texts go, where files come from, when the collector works.
-- Here: these settings of one Lua state; a host written in C gives its own by `moon_host` before. Invariant: without a terminal and
-- without being asked, nothing is shown.
-- @module moonlet.host

local core = require "moonlet.core"
local util = require "moonlet.util"

local host = {}
local sink -- function that takes texts, or nil

--- See `ml.threads`.
host.threads = core.threads

--- See `ml.log`.
function host.log(f)
  if f ~= nil then util.check("ml.log", { "the argument", "function" }, f) end
  sink = f
end

--- See `ml.files`.
host.files = core.files

--- See `ml.realtime`.
function host.realtime(on)
  if on ~= nil then util.check("ml.realtime", { "the argument", "boolean" }, on) end
  return core.realtime(on)
end

--- Shows text: through the function given to `ml.log`, else the host's log, else standard output.
-- @tparam string text
function host.write(text)
  if sink then return sink(text) end
  if core.host_log() then return core.host_log(text) end
  local out = io and io.stdout
  if out then
    out:write(text)
    out:flush()
  end
end

--- Is what is written shown on a terminal, line over line?
-- @treturn boolean
function host.is_terminal()
  return sink == nil and not core.host_log() and core.is_terminal(1)
end

return host
