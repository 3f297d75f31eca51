--- The mean of each window over one axis.
-- Here: `nn.AveragePool1D`, also `nn.AveragePooling1D`; the work is in `pooling`.
-- @classmod moonlet.nn.average_pool1d

local Pooling = require "moonlet.nn.pooling"

--- The mean of each window.
--
-- Input shape: `(batch, steps, c)`; with `data_format = "channels_first"` the channels are axis 2.
-- Output shape: `(batch, new steps, c)`.
-- @function nn.AveragePool1D
-- @tparam[opt=2] integer|table pool_size may be given without a name
-- @tparam[opt=pool_size] integer|table strides
-- @tparam[opt="valid"] string|integer|table padding `"valid"`, `"same"`, or how much is added
--   at both ends, which counts for nothing
-- @tparam[opt="channels_last"] string data_format
-- @usage local h = nn.AveragePool1D { 2 } (x)
local AveragePool1D = Pooling:define("AveragePool1D", 1, "avg_pool")

return AveragePool1D
