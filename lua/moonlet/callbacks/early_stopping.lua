--- Stops the training when a number no longer gets better.
-- Here: counting epochs without improvement; "better" is decided in `moonlet.callbacks.monitor`.
-- @classmod EarlyStopping
-- @usage ml.callbacks.EarlyStopping { monitor = "val_loss", patience = 5, restore_best_weights = true }

local Callback = require "moonlet.callbacks.callback"
local monitor = require "moonlet.callbacks.monitor"
local util = require "moonlet.util"

local OPTIONS = monitor.rows {
  { "patience", "natural", default = 0 }, { "restore_best_weights", "boolean", default = false }, { "baseline", "number" },
  { "start_from_epoch", "natural", default = 1 },
}

local EarlyStopping = Callback:extend "EarlyStopping"

--- @tparam[opt] table opts `monitor` (default "val_loss"), `patience` (so many epochs without improvement end it, default 0),
--   `min_delta` (default 0), `mode` ("auto", "min" or "max"), `restore_best_weights` (default false), `baseline` (a value that
--   must be bettered), `start_from_epoch` (default 1)
-- @function EarlyStopping
function EarlyStopping:init(opts)
  util.options("EarlyStopping", OPTIONS, opts, self)
  self.watch = monitor.new("EarlyStopping", self)
end

function EarlyStopping:on_train_begin()
  self.watch:reset()
  self.watch.best = self.baseline
  self.wait, self.stopped_epoch, self.best_epoch, self.best_weights = 0, nil, nil, nil
end

local function copy_weights(model)
  local weights = {}
  for i, variable in ipairs(model.variables) do weights[i] = variable:read() end
  return weights
end

function EarlyStopping:keep(epoch)
  self.wait, self.best_epoch = 0, epoch
  if self.restore_best_weights then self.best_weights = copy_weights(self.model) end
end

function EarlyStopping:restore()
  if not self.best_weights then return end
  for i, variable in ipairs(self.model.variables) do variable:write(self.best_weights[i]) end
end

function EarlyStopping:on_epoch_end(epoch, logs)
  if epoch < self.start_from_epoch then return end
  if self.watch:improved(self.watch:read(logs)) then return self:keep(epoch) end
  self.wait = self.wait + 1
  if self.wait >= self.patience then
    self.stopped_epoch = epoch
    self.model.stop_training = true
  end
  return nil
end

--- After training: `stopped_epoch` and `best_epoch` tell what happened.
function EarlyStopping:on_train_end()
  self:restore()
  self.best_weights = nil
end

return EarlyStopping
