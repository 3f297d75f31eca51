--- Stops the training when the loss is no longer a finite number.
-- @classmod TerminateOnNaN

local Callback = require "moonlet.callbacks.callback"
local util = require "moonlet.util"

local TerminateOnNaN = Callback:extend "TerminateOnNaN"

function TerminateOnNaN:init(opts)
  util.options("TerminateOnNaN", {}, opts)
end

function TerminateOnNaN:check(logs, where)
  local loss = logs and logs.loss
  if type(loss) ~= "number" then return end
  if loss == loss and loss ~= math.huge and loss ~= -math.huge then return end
  self.stopped_at = where
  self.model.stop_training = true
end

function TerminateOnNaN:on_batch_end(batch, logs)
  self:check(logs, "batch " .. batch)
end

function TerminateOnNaN:on_epoch_end(epoch, logs)
  self:check(logs, "epoch " .. epoch)
end

return TerminateOnNaN
