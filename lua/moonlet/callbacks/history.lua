--- What `fit` returns: the numbers of each epoch, and their curves.
-- Here: a record that grows by one entry per epoch.
-- @classmod History
-- @usage local history = model:fit(data, { epochs = 10 })
-- print(history.history.loss[10])
-- history:plot()               -- in the terminal
-- history:plot "training.svg"  -- as SVG

local Callback = require "moonlet.callbacks.callback"
local util = require "moonlet.util"

local History = Callback:extend "History"

function History:init(opts)
  util.options("History", {}, opts)
  self.history, self.epoch = {}, {}
end

function History:on_train_begin()
  self.history, self.epoch = {}, {}
end

function History:on_epoch_end(epoch, logs)
  local at = #self.epoch + 1
  self.epoch[at] = epoch
  for key, value in pairs(logs or {}) do
    local list = self.history[key]
    if not list then
      list = {}
      self.history[key] = list
      -- A metric that appears late has no number for the epochs before.
      for i = 1, at - 1 do list[i] = 0 / 0 end
    end
    list[at] = value
  end
  for _, list in pairs(self.history) do
    if list[at] == nil then list[at] = 0 / 0 end
  end
end

--- Draws the curves, one panel per metric, with the validation beside the training.
-- @param[opt] opts a path that ends in .svg, or a table: `metrics` (names), and what `moonlet.plot.draw` takes
-- @treturn ?string the path that was written
function History:plot(opts)
  local plot = require "moonlet.plot"
  if type(opts) == "string" then opts = { path = opts } end
  local rest, metrics = { x_label = "epoch" }, nil
  for key, value in pairs(opts or {}) do
    if key == "metrics" then metrics = value else rest[key] = value end
  end
  return plot.panels(plot.history_panels(self.history, metrics), rest)
end

return History
