--- Convolution over one axis, for sequences.
-- Here: `nn.Conv1D`; the work is in `convolution`.
-- @classmod moonlet.nn.conv1d

local Convolution = require "moonlet.nn.convolution"

--- Slides filters over the input.
--
-- Input shape: `(batch, steps, c)`; with `data_format = "channels_first"` the channels are axis 2.
-- Output shape: `(batch, new steps, filters)`.
-- Weights: `kernel` (kernel_size, c / groups, filters), `bias` (filters).
-- @function nn.Conv1D
-- @tparam integer filters number of output channels; may be given without a name, first
-- @tparam integer|table kernel_size may be given without a name, second
-- @tparam[opt=1] integer|table strides
-- @tparam[opt="valid"] string|integer|table padding `"valid"`, `"same"`, `"causal"`, or how many zeros
--   are put at both ends
-- @tparam[opt="channels_last"] string data_format
-- @tparam[opt=1] integer|table dilation_rate
-- @tparam[opt=1] integer groups
-- @tparam[opt] string|function activation
-- @tparam[opt=true] boolean use_bias
-- @tparam[opt="glorot_uniform"] string|function kernel_initializer
-- @tparam[opt="zeros"] string|function bias_initializer
-- @usage local h = nn.Conv1D { 32, 3, padding = "causal" } (x)
local Conv1D = Convolution:define("Conv1D", 1)

return Conv1D
