--- Transposed convolution over two axes: the adjoint of `Conv2D`, for making images larger.
-- Here: `nn.Conv2DTranspose`; arguments and the call are those of `convolution`.
-- @classmod moonlet.nn.conv2d_transpose

local Convolution = require "moonlet.nn.convolution"
local core = require "moonlet.core"

--- Spreads each input pixel over a window of the output.
--
-- Input shape: `(batch, height, width, c)`; with `data_format = "channels_first"` the channels are axis 2.
-- Output shape: `(batch, new height, new width, filters)`; with `padding = "same"` each size is multiplied by its stride.
-- Weights: `kernel` (kh, kw, filters, c), `bias` (filters).
-- @function nn.Conv2DTranspose
-- @tparam integer filters number of output channels; may be given without a name, first
-- @tparam integer|table kernel_size may be given without a name, second
-- @tparam[opt=1] integer|table strides
-- @tparam[opt="valid"] string|integer|table padding `"valid"`, `"same"`, or how many zeros are put at
--   both ends of each axis
-- @tparam[opt] integer|table output_padding rows and columns added at the end
-- @tparam[opt="channels_last"] string data_format
-- @tparam[opt=1] integer|table dilation_rate
-- @tparam[opt] string|function activation
-- @tparam[opt=true] boolean use_bias
-- @tparam[opt="glorot_uniform"] string|function kernel_initializer
-- @tparam[opt="zeros"] string|function bias_initializer
-- @usage local h = nn.Conv2DTranspose { 16, 3, strides = 2, padding = "same" } (x)
local Conv2DTranspose = Convolution:extend("Conv2DTranspose", Convolution.common_rows(2, {
  { "filters", "count", at = 1, required = true },
  { "output_padding", "sizes", n = 2, least = 0 },
  { "kernel_initializer", "initializer", default = "glorot_uniform" },
}))
Conv2DTranspose.rank = 2

function Conv2DTranspose:kernel_shape(c)
  return { self.kernel_size[1], self.kernel_size[2], self.filters, c }
end

function Conv2DTranspose:convolve(x)
  local attrs = self:padding_of()
  attrs.strides, attrs.dilation, attrs.output_padding = self.strides, self.dilation_rate, self.output_padding
  return core.conv_transpose(x, self.kernel, attrs)
end

return Conv2DTranspose
