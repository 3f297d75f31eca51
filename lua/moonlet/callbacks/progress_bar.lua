--- Shows the training: a bar with time left, loss and metrics.
-- Here: what is shown; the line itself is in `moonlet.progress`. Invariant: without a terminal nothing is drawn twice: there
-- is one plain line for each epoch, or nothing.
-- @classmod ProgressBar

local Callback = require "moonlet.callbacks.callback"
local host = require "moonlet.host"
local logs_text = require("moonlet.callbacks.logs").text
local util = require "moonlet.util"
local progress = require "moonlet.progress"

local OPTIONS = {
  { "lines", "boolean" }, { "terminal", "boolean" }, { "write", "function" }, { "clock", "function" }, { "width", "count" },
}

local ProgressBar = Callback:extend "ProgressBar"

--- @tparam[opt] table opts `lines`: what to do where stdout is not a terminal, true: a line per epoch (default), false: nothing;
--   `terminal`: is it one (default: ask the system); `write`, `clock`, `width` as in `moonlet.progress`
-- @function ProgressBar
function ProgressBar:init(opts)
  opts = util.options("ProgressBar", OPTIONS, opts)
  self.lines = opts.lines ~= false
  self.terminal = opts.terminal
  if self.terminal == nil then self.terminal = host.is_terminal() end
  self.line_options = opts
end

function ProgressBar:on_epoch_begin(epoch)
  local params, opts = self.params or {}, self.line_options
  local label = "epoch " .. epoch
  if params.epochs then label = string.format("epoch %d/%d", epoch, params.epochs) end
  self.batches = 0
  self.line = progress.new {
    total = params.steps, label = label, terminal = self.terminal, write = opts.write, clock = opts.clock, width = opts.width,
  }
end

function ProgressBar:on_batch_end(batch, logs)
  self.batches = batch
  local line = self.line
  if line and line:due() then line:update(batch, logs_text(logs)) end
end

function ProgressBar:on_epoch_end(_, logs)
  local line = self.line
  if not line then return end
  line.done = self.batches
  if self.terminal then
    line:finish(logs_text(logs))
  elseif self.lines then
    line.write(string.format("%s  %s  %s\n", line.label, progress.duration(line:elapsed()), logs_text(logs)))
  end
  self.line = nil
end

-- A training that stopped inside an epoch leaves no half line behind.
function ProgressBar:on_train_end()
  if self.line and self.terminal and self.line.drawn then self.line.write "\n" end
  self.line = nil
end

return ProgressBar
