--- The mean of each channel.
-- Here: `nn.GlobalAveragePool1D`, also `nn.GlobalAveragePooling1D`; the work is in `global_pooling`.
-- @classmod moonlet.nn.global_average_pool1d

local GlobalPooling = require "moonlet.nn.global_pooling"

--- The mean of each channel.
--
-- Input shape: `(batch, steps, c)`; with `data_format = "channels_first"` the channels are axis 2.
-- Output shape: `(batch, c)`; with `keepdims` the other axes stay, of size 1.
-- @function nn.GlobalAveragePool1D
-- @tparam[opt=false] boolean keepdims
-- @tparam[opt="channels_last"] string data_format
-- @usage local h = nn.GlobalAveragePool1D {} (x)
local GlobalAveragePool1D = GlobalPooling:define("GlobalAveragePool1D", 1, "mean")

return GlobalAveragePool1D
