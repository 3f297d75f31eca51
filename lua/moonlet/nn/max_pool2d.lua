--- The largest value of each window over two axes.
-- Here: `nn.MaxPool2D`, also `nn.MaxPooling2D`; the work is in `pooling`.
-- @classmod moonlet.nn.max_pool2d

local Pooling = require "moonlet.nn.pooling"

--- The largest value of each window.
--
-- Input shape: `(batch, height, width, c)`; with `data_format = "channels_first"` the channels are axis 2.
-- Output shape: `(batch, new height, new width, c)`.
-- @function nn.MaxPool2D
-- @tparam[opt=2] integer|table pool_size may be given without a name
-- @tparam[opt=pool_size] integer|table strides
-- @tparam[opt="valid"] string|integer|table padding `"valid"`, `"same"`, or how much is added
--   at both ends, which counts for nothing
-- @tparam[opt="channels_last"] string data_format
-- @usage local h = nn.MaxPool2D { 2 } (x)
local MaxPool2D = Pooling:define("MaxPool2D", 2, "max_pool")

return MaxPool2D
