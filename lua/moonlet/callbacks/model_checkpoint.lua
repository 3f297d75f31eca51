--- Saves the model after each epoch, or after the best ones.
-- Here: when to save and under which name; saving itself is the model's. Invariant: with `save_best_only` the file on disk is
-- always the best so far, since files are replaced as a whole.
-- @classmod ModelCheckpoint
-- @usage ml.callbacks.ModelCheckpoint { "best.moon", monitor = "val_accuracy", save_best_only = true }

local Callback = require "moonlet.callbacks.callback"
local core = require "moonlet.core"
local monitor = require "moonlet.callbacks.monitor"
local util = require "moonlet.util"
local progress = require "moonlet.progress"

local OPTIONS = monitor.rows {
  { "path", "name", at = 1, required = true }, { "save_best_only", "boolean", default = false },
  { "save_weights_only", "boolean", default = false }, { "training", "boolean" },
}

local ModelCheckpoint = Callback:extend "ModelCheckpoint"

--- @tparam table opts `[1]` or `path`: where; `{epoch}` and `{val_loss}` and so on in it become numbers. `save_best_only`,
--   `save_weights_only`, `training` (save the training graph as well), `monitor`, `mode`, `min_delta`
-- @function ModelCheckpoint
function ModelCheckpoint:init(opts)
  util.options("ModelCheckpoint", OPTIONS, opts, self)
  self.watch = monitor.new("ModelCheckpoint", self)
end

function ModelCheckpoint:path_for(epoch, logs)
  return (self.path:gsub("{([%w_]+)}", function(name)
    if name == "epoch" then return string.format("%d", epoch) end
    if logs[name] == nil then core.fail("ModelCheckpoint: path '%s': there is no '%s' in the logs", self.path, name) end
    return progress.number(logs[name])
  end))
end

function ModelCheckpoint:on_epoch_end(epoch, logs)
  if self.save_best_only and not self.watch:improved(self.watch:read(logs)) then return end
  local path = self:path_for(epoch, logs)
  if self.save_weights_only then
    self.model:save_weights(path)
  elseif self.training ~= nil then
    self.model:save(path, { training = self.training })
  else
    self.model:save(path)
  end
  self.saved_epoch, self.saved_path = epoch, path
end

return ModelCheckpoint
