--- Flattens all axes but the first.
-- Here: `nn.Flatten`.
-- @classmod moonlet.nn.flatten

local Layer = require "moonlet.nn.layer"
local channels = require "moonlet.nn.channels"
local core = require "moonlet.core"

--- Makes one axis of all axes but the batch.
--
-- Input shape: `(batch, ...)`.
-- Output shape: `(batch, product of the others)`.
-- @function nn.Flatten
-- @tparam[opt="channels_last"] string data_format with `"channels_first"`, channels are moved to the end before
-- @usage local h = nn.Flatten {} (x)
local Flatten = Layer:extend("Flatten", { { "data_format", "string", words = channels.WORDS, default = "channels_last" } })

function Flatten:call(x)
  local shape = x.shape
  if #shape == 0 then self:fail("expected an input with a batch axis, got rank 0") end
  if #shape > 2 then x = channels.to_last(x, self.data_format) end
  shape = x.shape
  local size = 1
  for i = 2, #shape do size = size * shape[i] end
  return core.reshape(x, { shape[1], size })
end

return Flatten
