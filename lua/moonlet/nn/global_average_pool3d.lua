--- The mean of each channel.
-- Here: `nn.GlobalAveragePool3D`, also `nn.GlobalAveragePooling3D`; the work is in `global_pooling`.
-- @classmod moonlet.nn.global_average_pool3d

local GlobalPooling = require "moonlet.nn.global_pooling"

--- The mean of each channel.
--
-- Input shape: `(batch, depth, height, width, c)`; with `data_format = "channels_first"` the channels are axis 2.
-- Output shape: `(batch, c)`; with `keepdims` the other axes stay, of size 1.
-- @function nn.GlobalAveragePool3D
-- @tparam[opt=false] boolean keepdims
-- @tparam[opt="channels_last"] string data_format
-- @usage local h = nn.GlobalAveragePool3D {} (x)
local GlobalAveragePool3D = GlobalPooling:define("GlobalAveragePool3D", 3, "mean")

return GlobalAveragePool3D
