--- Convolution over two axes, for images.
-- Here: `nn.Conv2D`; the work is in `convolution`.
-- @classmod moonlet.nn.conv2d

local Convolution = require "moonlet.nn.convolution"

--- Slides filters over the input.
--
-- Input shape: `(batch, height, width, c)`; with `data_format = "channels_first"` the channels are axis 2.
-- Output shape: `(batch, new height, new width, filters)`.
-- Weights: `kernel` (kh, kw, c / groups, filters), `bias` (filters).
-- @function nn.Conv2D
-- @tparam integer filters number of output channels; may be given without a name, first
-- @tparam integer|table kernel_size may be given without a name, second
-- @tparam[opt=1] integer|table strides
-- @tparam[opt="valid"] string|integer|table padding `"valid"`, `"same"`, or how many zeros are put at
--   both ends of each axis
-- @tparam[opt="channels_last"] string data_format
-- @tparam[opt=1] integer|table dilation_rate
-- @tparam[opt=1] integer groups
-- @tparam[opt] string|function activation
-- @tparam[opt=true] boolean use_bias
-- @tparam[opt="glorot_uniform"] string|function kernel_initializer
-- @tparam[opt="zeros"] string|function bias_initializer
-- @usage local h = nn.Conv2D { 32, 3, padding = "same", activation = "relu" } (x)
local Conv2D = Convolution:define("Conv2D", 2)

return Conv2D
