--- The largest value of each channel.
-- Here: `nn.GlobalMaxPool1D`, also `nn.GlobalMaxPooling1D`; the work is in `global_pooling`.
-- @classmod moonlet.nn.global_max_pool1d

local GlobalPooling = require "moonlet.nn.global_pooling"

--- The largest value of each channel.
--
-- Input shape: `(batch, steps, c)`; with `data_format = "channels_first"` the channels are axis 2.
-- Output shape: `(batch, c)`; with `keepdims` the other axes stay, of size 1.
-- @function nn.GlobalMaxPool1D
-- @tparam[opt=false] boolean keepdims
-- @tparam[opt="channels_last"] string data_format
-- @usage local h = nn.GlobalMaxPool1D {} (x)
local GlobalMaxPool1D = GlobalPooling:define("GlobalMaxPool1D", 1, "max")

return GlobalMaxPool1D
