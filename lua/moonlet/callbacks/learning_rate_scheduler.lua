--- Sets the learning rate at the start of each epoch.
-- Here: asking the script for a number. Learning rates that change with every step are schedules of the optimizer.
-- @classmod LearningRateScheduler
-- @usage ml.callbacks.LearningRateScheduler(function(epoch, lr) return epoch > 10 and lr * 0.9 or lr end)

local Callback = require "moonlet.callbacks.callback"
local core = require "moonlet.core"
local util = require "moonlet.util"

local LearningRateScheduler = Callback:extend "LearningRateScheduler"

--- @param opts a function that takes the epoch and the current rate and returns the new one, or a table with it as `[1]`
-- @function LearningRateScheduler
function LearningRateScheduler:init(opts)
  if type(opts) == "function" then opts = { opts } end
  util.options("LearningRateScheduler", { { "schedule", "function", at = 1, required = true } }, opts, self)
end

function LearningRateScheduler:on_epoch_begin(epoch)
  local optimizer = self.model.optimizer
  local lr = self.schedule(epoch, optimizer.lr)
  if type(lr) ~= "number" or lr ~= lr then
    core.fail("LearningRateScheduler: the schedule must return a number, got %s", tostring(lr))
  end
  optimizer.lr, self.lr = lr, lr
end

function LearningRateScheduler:on_epoch_end(_, logs)
  if logs then logs.lr = self.lr end
end

return LearningRateScheduler
