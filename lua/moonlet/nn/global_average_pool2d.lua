--- The mean of each channel.
-- Here: `nn.GlobalAveragePool2D`, also `nn.GlobalAveragePooling2D`; the work is in `global_pooling`.
-- @classmod moonlet.nn.global_average_pool2d

local GlobalPooling = require "moonlet.nn.global_pooling"

--- The mean of each channel.
--
-- Input shape: `(batch, height, width, c)`; with `data_format = "channels_first"` the channels are axis 2.
-- Output shape: `(batch, c)`; with `keepdims` the other axes stay, of size 1.
-- @function nn.GlobalAveragePool2D
-- @tparam[opt=false] boolean keepdims
-- @tparam[opt="channels_last"] string data_format
-- @usage local h = nn.GlobalAveragePool2D {} (x)
local GlobalAveragePool2D = GlobalPooling:define("GlobalAveragePool2D", 2, "mean")

return GlobalAveragePool2D
