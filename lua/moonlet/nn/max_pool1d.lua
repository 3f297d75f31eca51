--- The largest value of each window over one axis.
-- Here: `nn.MaxPool1D`, also `nn.MaxPooling1D`; the work is in `pooling`.
-- @classmod moonlet.nn.max_pool1d

local Pooling = require "moonlet.nn.pooling"

--- The largest value of each window.
--
-- Input shape: `(batch, steps, c)`; with `data_format = "channels_first"` the channels are axis 2.
-- Output shape: `(batch, new steps, c)`.
-- @function nn.MaxPool1D
-- @tparam[opt=2] integer|table pool_size may be given without a name
-- @tparam[opt=pool_size] integer|table strides
-- @tparam[opt="valid"] string|integer|table padding `"valid"`, `"same"`, or how much is added
--   at both ends, which counts for nothing
-- @tparam[opt="channels_last"] string data_format
-- @usage local h = nn.MaxPool1D { 2 } (x)
local MaxPool1D = Pooling:define("MaxPool1D", 1, "max_pool")

return MaxPool1D
