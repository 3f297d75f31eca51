--- The base of all callbacks.
-- Here: the methods that `fit` calls, each doing nothing, and how a class of callbacks is made. Invariant: `fit` asks for a
-- method before it calls it, so any table with some of these methods is a callback too.
--
-- `logs` is a table of numbers: `loss`, the metrics, and in `on_epoch_end` also `val_loss` and so on. Epochs and batches count
-- from 1. `model.stop_training = true` ends the training after the running batch or epoch.
-- @classmod Callback
-- @usage local Stop = ml.callbacks.Callback:extend "Stop"
-- function Stop:init(opts) self.below = opts[1] end
-- function Stop:on_epoch_end(_, logs) if logs.loss < self.below then self.model.stop_training = true end end
-- model:fit(data, { epochs = 100, callbacks = { Stop { 0.01 } } })

local util = require "moonlet.util"

local Callback = util.class "Callback"

--- Makes a class whose objects have the methods of this one.
-- @tparam string name
-- @treturn table a class; calling it with one table makes an object
function Callback:extend(name)
  return util.class(name, self)
end

function Callback:__tostring()
  return self.class_name
end

--- Reads the options; called when an object is made.
-- @tparam[opt] table opts methods and values that the object gets
function Callback:init(opts)
  for key, value in pairs(opts or {}) do self[key] = value end
end

--- Called before training with the model.
function Callback:set_model(model)
  self.model = model
end

--- Called before training.
-- @tparam table params `epochs`, `steps` (batches in an epoch, nil when not known), `batch_size`
function Callback:set_params(params)
  self.params = params
end

--- Called once, before the first epoch.
function Callback:on_train_begin(logs) end

--- Called once, after the last epoch.
function Callback:on_train_end(logs) end

--- Called before each epoch.
function Callback:on_epoch_begin(epoch, logs) end

--- Called after each epoch, when the numbers of the validation are known too.
function Callback:on_epoch_end(epoch, logs) end

--- Called before each step.
function Callback:on_batch_begin(batch, logs) end

--- Called after each step.
function Callback:on_batch_end(batch, logs) end

return Callback
