--- What pooling layers share.
-- Here: the base of `MaxPool1D` to `AveragePool3D`. Invariant: the ops see channels last.
-- @classmod moonlet.nn.pooling

local Layer = require "moonlet.nn.layer"
local channels = require "moonlet.nn.channels"
local core = require "moonlet.core"

local Pooling = Layer:extend("Pooling")

local AXES = { "(batch, steps, channels)", "(batch, height, width, channels)", "(batch, depth, height, width, channels)" }

--- Makes the class of one rank; op is `max_pool` or `avg_pool`.
function Pooling:define(name, rank, op)
  local class = self:extend(name, {
    { "pool_size", "sizes", n = rank, at = 1, default = channels.list(rank, 2) },
    { "strides", "sizes", n = rank },
    { "padding", "padding", n = rank, known = { "valid", "same" }, default = "valid" },
    { "data_format", "string", words = channels.WORDS, default = "channels_last" },
  })
  class.rank, class.op = rank, op
  return class
end

function Pooling:call(x)
  self:expect_ndim(x.shape, self.rank + 2, channels.axes_text(AXES[self.rank], self.data_format))
  local attrs = channels.padding(self.padding)
  attrs.window, attrs.strides = self.pool_size, self.strides or self.pool_size
  local y = core[self.op](channels.to_last(x, self.data_format), attrs)
  return channels.from_last(y, self.data_format)
end

return Pooling
