--- A callback from functions.
-- Here: the check of their names. Each function takes the callback itself first, as the methods do.
-- @classmod Lambda
-- @usage ml.callbacks.Lambda { on_epoch_end = function(_, epoch, logs) print(epoch, logs.loss) end }

local Callback = require "moonlet.callbacks.callback"
local util = require "moonlet.util"

local Lambda = Callback:extend "Lambda"

local METHODS = {
  { "on_train_begin", "function" }, { "on_train_end", "function" }, { "on_epoch_begin", "function" },
  { "on_epoch_end", "function" }, { "on_batch_begin", "function" }, { "on_batch_end", "function" },
}

--- @tparam table opts functions by the names of the methods
-- @function Lambda
function Lambda:init(opts)
  util.options("Lambda", METHODS, opts, self)
end

return Lambda
