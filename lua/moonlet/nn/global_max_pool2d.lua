--- The largest value of each channel.
-- Here: `nn.GlobalMaxPool2D`, also `nn.GlobalMaxPooling2D`; the work is in `global_pooling`.
-- @classmod moonlet.nn.global_max_pool2d

local GlobalPooling = require "moonlet.nn.global_pooling"

--- The largest value of each channel.
--
-- Input shape: `(batch, height, width, c)`; with `data_format = "channels_first"` the channels are axis 2.
-- Output shape: `(batch, c)`; with `keepdims` the other axes stay, of size 1.
-- @function nn.GlobalMaxPool2D
-- @tparam[opt=false] boolean keepdims
-- @tparam[opt="channels_last"] string data_format
-- @usage local h = nn.GlobalMaxPool2D {} (x)
local GlobalMaxPool2D = GlobalPooling:define("GlobalMaxPool2D", 2, "max")

return GlobalMaxPool2D
