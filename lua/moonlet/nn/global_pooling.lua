--- What global pooling layers share.
-- Here: the base of `GlobalMaxPool1D` to `GlobalAveragePool3D`. Invariant: all axes but batch and channels are reduced.
-- @classmod moonlet.nn.global_pooling

local Layer = require "moonlet.nn.layer"
local channels = require "moonlet.nn.channels"
local core = require "moonlet.core"

local GlobalPooling = Layer:extend("GlobalPooling")

local AXES = { "(batch, steps, channels)", "(batch, height, width, channels)", "(batch, depth, height, width, channels)" }

--- Makes the class of one rank; op is `max` or `mean`.
function GlobalPooling:define(name, rank, op)
  local class = self:extend(name, {
    { "keepdims", "boolean", default = false },
    { "data_format", "string", words = channels.WORDS, default = "channels_last" },
  })
  class.rank, class.op = rank, op
  return class
end

function GlobalPooling:call(x)
  self:expect_ndim(x.shape, self.rank + 2, channels.axes_text(AXES[self.rank], self.data_format))
  local axes = {}
  for i = 1, self.rank do axes[i] = self.data_format == "channels_first" and i + 2 or i + 1 end
  return core[self.op](x, { axes = axes, keepdims = self.keepdims })
end

return GlobalPooling
