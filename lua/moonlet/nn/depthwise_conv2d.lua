--- Convolution that keeps channels apart.
-- Here: `nn.DepthwiseConv2D`; arguments and the call are those of `convolution`.
-- @classmod moonlet.nn.depthwise_conv2d

local Convolution = require "moonlet.nn.convolution"
local core = require "moonlet.core"

local rows = Convolution.common_rows(2, {
  { "depth_multiplier", "count", default = 1 },
  { "depthwise_initializer", "initializer", default = "glorot_uniform" },
})
for _, row in ipairs(rows) do
  if row[1] == "kernel_size" then row.at = 1 end
end

--- Each input channel has `depth_multiplier` filters of its own.
--
-- Input shape: `(batch, height, width, c)`; with `data_format = "channels_first"` the channels are axis 2.
-- Output shape: `(batch, new height, new width, c * depth_multiplier)`.
-- Weights: `kernel` (kh, kw, c, depth_multiplier), `bias` (c * depth_multiplier).
-- @function nn.DepthwiseConv2D
-- @tparam integer|table kernel_size may be given without a name
-- @tparam[opt=1] integer|table strides
-- @tparam[opt="valid"] string|integer|table padding `"valid"`, `"same"`, or how many zeros are put at
--   both ends of each axis
-- @tparam[opt=1] integer depth_multiplier
-- @tparam[opt="channels_last"] string data_format
-- @tparam[opt=1] integer|table dilation_rate
-- @tparam[opt] string|function activation
-- @tparam[opt=true] boolean use_bias
-- @tparam[opt="glorot_uniform"] string|function depthwise_initializer
-- @tparam[opt="zeros"] string|function bias_initializer
-- @usage local h = nn.DepthwiseConv2D { 3, padding = "same" } (x)
local DepthwiseConv2D = Convolution:extend("DepthwiseConv2D", rows)
DepthwiseConv2D.rank = 2

function DepthwiseConv2D:kernel_shape(c)
  self.kernel_initializer = self.depthwise_initializer
  return { self.kernel_size[1], self.kernel_size[2], c, self.depth_multiplier }
end

function DepthwiseConv2D:output_channels()
  return self.in_channels * self.depth_multiplier
end

function DepthwiseConv2D:convolve(x)
  local kernel = core.reshape(self.kernel, { self.kernel_size[1], self.kernel_size[2], 1, self:output_channels() })
  local attrs = self:padding_of()
  attrs.strides, attrs.dilation, attrs.groups = self.strides, self.dilation_rate, self.in_channels
  return core.conv(x, kernel, attrs)
end

return DepthwiseConv2D
