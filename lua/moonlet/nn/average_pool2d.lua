--- The mean of each window over two axes.
-- Here: `nn.AveragePool2D`, also `nn.AveragePooling2D`; the work is in `pooling`.
-- @classmod moonlet.nn.average_pool2d

local Pooling = require "moonlet.nn.pooling"

--- The mean of each window.
--
-- Input shape: `(batch, height, width, c)`; with `data_format = "channels_first"` the channels are axis 2.
-- Output shape: `(batch, new height, new width, c)`.
-- @function nn.AveragePool2D
-- @tparam[opt=2] integer|table pool_size may be given without a name
-- @tparam[opt=pool_size] integer|table strides
-- @tparam[opt="valid"] string|integer|table padding `"valid"`, `"same"`, or how much is added
--   at both ends, which counts for nothing
-- @tparam[opt="channels_last"] string data_format
-- @usage local h = nn.AveragePool2D { 2 } (x)
local AveragePool2D = Pooling:define("AveragePool2D", 2, "avg_pool")

return AveragePool2D
