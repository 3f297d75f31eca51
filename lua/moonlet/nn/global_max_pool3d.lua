--- The largest value of each channel.
-- Here: `nn.GlobalMaxPool3D`, also `nn.GlobalMaxPooling3D`; the work is in `global_pooling`.
-- @classmod moonlet.nn.global_max_pool3d

local GlobalPooling = require "moonlet.nn.global_pooling"

--- The largest value of each channel.
--
-- Input shape: `(batch, depth, height, width, c)`; with `data_format = "channels_first"` the channels are axis 2.
-- Output shape: `(batch, c)`; with `keepdims` the other axes stay, of size 1.
-- @function nn.GlobalMaxPool3D
-- @tparam[opt=false] boolean keepdims
-- @tparam[opt="channels_last"] string data_format
-- @usage local h = nn.GlobalMaxPool3D {} (x)
local GlobalMaxPool3D = GlobalPooling:define("GlobalMaxPool3D", 3, "max")

return GlobalMaxPool3D
