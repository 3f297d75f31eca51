--- A line in the terminal that shows how far a loop is: bar, time left, numbers.
-- Here: the text of the line and when it is drawn again. What a training shows on it is in `moonlet.callbacks.progress_bar`.
-- Invariant: at most ten redraws a second, and no control character where the output is not a terminal.
-- @module moonlet.progress
-- @usage local bar = ml.progress.new { total = 1000, label = "reading" }
-- for i = 1, 1000 do work(i); bar:update(i) end
-- bar:finish()

local core = require "moonlet.core"
local host = require "moonlet.host"
local util = require "moonlet.util"

local progress = {}

local OPTIONS = {
  { "total", "nonnegative" }, { "label", "string" }, { "write", "function" }, { "terminal", "boolean" },
  { "clock", "function" }, { "width", "count" },
}
local REDRAW_US = 100000
local BAR_CELLS = 20
local EIGHTHS = { "▏", "▎", "▍", "▌", "▋", "▊", "▉" }

--- @type Progress
local Progress = {}
Progress.__index = Progress

--- A time in words: "0.4s", "12s", "3m05s", "2h10m".
-- @tparam number seconds
-- @treturn string
function progress.duration(seconds)
  if seconds ~= seconds or seconds < 0 or seconds == math.huge then return "?" end
  if seconds < 10 then return string.format("%.1fs", seconds) end
  if seconds < 60 then return string.format("%.0fs", math.floor(seconds)) end
  local minutes = math.floor(seconds / 60)
  if minutes < 60 then return string.format("%.0fm%02.0fs", minutes, math.floor(seconds % 60)) end
  return string.format("%.0fh%02.0fm", math.floor(minutes / 60), minutes % 60)
end

--- A number in at most about seven characters.
-- @treturn string
function progress.number(x)
  if type(x) ~= "number" then return tostring(x) end
  local size = math.abs(x)
  if x ~= x or size == math.huge then return tostring(x) end
  if x == 0 or (size >= 1e-3 and size < 1e4) then return string.format("%.4f", x) end
  return string.format("%.2e", x)
end

--- A bar of characters, `fraction` of it full.
-- @tparam number fraction in [0, 1]
-- @tparam[opt=20] integer cells
-- @treturn string
function progress.bar(fraction, cells)
  cells = cells or BAR_CELLS
  local eighths = math.floor(math.max(0, math.min(1, fraction)) * cells * 8 + 0.5)
  local full, rest = math.floor(eighths / 8), eighths % 8
  local text = string.rep("█", full)
  if rest > 0 then
    text, full = text .. EIGHTHS[rest], full + 1
  end
  return text .. string.rep("░", cells - full)
end

-- The first `count` characters of a text; a UTF-8 character counts as one.
local function clip(text, count)
  local seen, i = 0, 1
  while i <= #text do
    local byte = text:byte(i)
    local bytes = byte < 0x80 and 1 or byte < 0xE0 and 2 or byte < 0xF0 and 3 or 4
    if seen == count then return text:sub(1, i - 1) end
    seen, i = seen + 1, i + bytes
  end
  return text
end

--- Makes a progress line; nothing is drawn before the first `update`.
-- @tparam[opt] table opts `total` (nil: not known), `label`, `write` (a function of text; default: as `ml.log` says), `terminal`
--   (default: is stdout one?), `clock` (a function that gives microseconds), `width` in characters
-- @treturn Progress
function progress.new(opts)
  opts = util.options("progress", OPTIONS, opts)
  local clock = opts.clock or core.clock_us
  local terminal = opts.terminal
  if terminal == nil then terminal = host.is_terminal() end
  return setmetatable({
    total = opts.total, label = opts.label, terminal = terminal, clock = clock, width = opts.width,
    write = opts.write or host.write, started = clock(), drawn = nil, done = 0,
  }, Progress)
end

--- Seconds since it was made.
function Progress:elapsed()
  return (self.clock() - self.started) / 1e6
end

function Progress:line(text, with_bar)
  local parts = {}
  if self.label then parts[1] = self.label end
  if self.total and self.total > 0 then
    if with_bar then parts[#parts + 1] = progress.bar(self.done / self.total) end
    parts[#parts + 1] = string.format("%.0f/%.0f", self.done, self.total)
  else
    parts[#parts + 1] = string.format("%.0f", self.done)
  end
  local elapsed = self:elapsed()
  if self.total and self.done > 0 and self.done < self.total then
    parts[#parts + 1] = "ETA " .. progress.duration(elapsed / self.done * (self.total - self.done))
  else
    parts[#parts + 1] = progress.duration(elapsed)
  end
  if text and text ~= "" then parts[#parts + 1] = text end
  return table.concat(parts, "  ")
end

--- Is it time for another redraw? Use it to skip the work of making a text.
-- @treturn boolean
function Progress:due()
  return self.terminal and (self.drawn == nil or self.clock() - self.drawn >= REDRAW_US)
end

--- Notes that `done` steps are done, and draws the line again if it is time.
-- @tparam number done
-- @tparam[opt] string text numbers to show at the end of the line
function Progress:update(done, text)
  self.done = done
  if not self:due() then return end
  self.drawn = self.clock()
  local width = self.width or core.terminal_width()
  if type(width) ~= "number" or width <= 1 then width = 80 end
  self.write("\r" .. clip(self:line(text, true), width - 1) .. "\27[K")
end

--- Ends the line: draws it for the last time, whole and without the bar.
-- @tparam[opt] string text
function Progress:finish(text)
  if not self.terminal then return end
  self.write("\r" .. self:line(text, false) .. "\27[K\n")
end

return progress
