--- Optimizers: `ml.optim`.
-- Here: the list of optimizers, and how an argument `optimizer` is read. Invariant: requiring this loads none of them.
-- @module moonlet.optim

local core = require "moonlet.core"
local util = require "moonlet.util"

local optim = util.lazy({}, {
  Adam = "moonlet.optim.adam",
  AdamW = "moonlet.optim.adamw",
  Optimizer = "moonlet.optim.optimizer",
  RMSprop = "moonlet.optim.rmsprop",
  SGD = "moonlet.optim.sgd",
  schedules = "moonlet.optim.schedules",
})

local NAMES = { adam = "Adam", adamw = "AdamW", rmsprop = "RMSprop", sgd = "SGD" }

--- An optimizer of a name such as "adam"; optimizers are handed through.
-- @tparam string who for messages
-- @param value
function optim.get(who, value)
  if type(value) == "table" and util.is_a(value, optim.Optimizer) then return value end
  if type(value) == "string" then return optim[util.find(who, "optimizer", NAMES, value:lower())]({}) end
  return core.fail("%s: optimizer must be a name or an optimizer such as ml.optim.Adam {}, got %s", who, util.describe(value))
end

return optim
