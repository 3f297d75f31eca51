--- The mean of each window over three axes.
-- Here: `nn.AveragePool3D`, also `nn.AveragePooling3D`; the work is in `pooling`.
-- @classmod moonlet.nn.average_pool3d

local Pooling = require "moonlet.nn.pooling"

--- The mean of each window.
--
-- Input shape: `(batch, depth, height, width, c)`; with `data_format = "channels_first"` the channels are axis 2.
-- Output shape: `(batch, new depth, new height, new width, c)`.
-- @function nn.AveragePool3D
-- @tparam[opt=2] integer|table pool_size may be given without a name
-- @tparam[opt=pool_size] integer|table strides
-- @tparam[opt="valid"] string|integer|table padding `"valid"`, `"same"`, or how much is added
--   at both ends, which counts for nothing
-- @tparam[opt="channels_last"] string data_format
-- @usage local h = nn.AveragePool3D { 2 } (x)
local AveragePool3D = Pooling:define("AveragePool3D", 3, "avg_pool")

return AveragePool3D
