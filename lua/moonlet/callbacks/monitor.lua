--- Watching one number of the logs: is it better than before?
-- Here: what `EarlyStopping` and `ModelCheckpoint` share. Invariant: NaN is never better than anything.
-- @module moonlet.callbacks.monitor

local core = require "moonlet.core"

--- @type Monitor
local Monitor = {}
Monitor.__index = Monitor

local BETTER_WHEN_LARGE = { "acc", "auc", "precision", "recall", "f1" }

local function direction_of(name, mode)
  if mode ~= "auto" then return mode end
  for _, word in ipairs(BETTER_WHEN_LARGE) do
    if name:find(word, 1, true) then return "max" end
  end
  return "min"
end

--- @tparam string who the callback, for messages
-- @tparam table opts read with `rows`: `monitor`, `mode` ("auto", "min", "max"), `min_delta`
-- @treturn Monitor
local function new(who, opts)
  return setmetatable({
    who = who, name = opts.monitor, mode = direction_of(opts.monitor, opts.mode), min_delta = math.abs(opts.min_delta),
  }, Monitor)
end

--- Forgets the best value.
function Monitor:reset()
  self.best = nil
end

--- The watched number; an error that lists the numbers there are when it is missing.
function Monitor:read(logs)
  local value = logs[self.name]
  if value ~= nil then return value end
  local names = {}
  for key in pairs(logs) do names[#names + 1] = tostring(key) end
  table.sort(names)
  return core.fail("%s: there is no '%s' to monitor; the logs have: %s", self.who, self.name, table.concat(names, ", "))
end

--- Takes a value; true when it is the best so far by more than `min_delta`.
-- @treturn boolean
function Monitor:improved(value)
  local best = self.best
  local better
  if value ~= value then
    better = false
  elseif best == nil then
    better = true
  elseif self.mode == "max" then
    better = value > best + self.min_delta
  else
    better = value < best - self.min_delta
  end
  if better then self.best = value end
  return better
end

--- The rows of a callback's options: its own and those of the monitor.
local function rows(own)
  own[#own + 1] = { "monitor", "name", default = "val_loss" }
  own[#own + 1] = { "mode", "string", words = { "auto", "min", "max" }, default = "auto" }
  own[#own + 1] = { "min_delta", "number", default = 0 }
  return own
end

return { new = new, rows = rows }
