--- Convolution over three axes, for volumes and videos.
-- Here: `nn.Conv3D`; the work is in `convolution`.
-- @classmod moonlet.nn.conv3d

local Convolution = require "moonlet.nn.convolution"

--- Slides filters over the input.
--
-- Input shape: `(batch, depth, height, width, c)`; with `data_format = "channels_first"` the channels are axis 2.
-- Output shape: `(batch, new depth, new height, new width, filters)`.
-- Weights: `kernel` (kd, kh, kw, c / groups, filters), `bias` (filters).
-- @function nn.Conv3D
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
-- @usage local h = nn.Conv3D { 16, 3 } (x)
local Conv3D = Convolution:define("Conv3D", 3)

return Conv3D
