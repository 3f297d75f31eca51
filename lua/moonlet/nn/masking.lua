--- Steps that do not count.
-- Here: `nn.Masking`.
-- @classmod moonlet.nn.masking

local Layer = require "moonlet.nn.layer"
local core = require "moonlet.core"

--- Marks steps whose features are all `mask_value`, for the layers that follow; their features become 0.
--
-- Input shape: `(batch, time, ...)`.
-- Output shape: that of the input.
-- @function nn.Masking
-- @tparam[opt=0] number mask_value may be given without a name
-- @usage local h = nn.LSTM { 32 } (nn.Masking { mask_value = -1 } (sequence))
local Masking = Layer:extend("Masking", { { "mask_value", "number", at = 1, default = 0 } })

-- Per step: does any feature differ from the value?
local function counts(self, x)
  local shape, axes = x.shape, {}
  if #shape < 3 then self:fail("expected an input with axes (batch, time, ...), got rank %d", #shape) end
  for axis = 3, #shape do axes[#axes + 1] = axis end
  return core.any(core.ne(x, self.mask_value), axes)
end

function Masking:compute_mask(x)
  return counts(self, x)
end

function Masking:call(x)
  local mask = core.cast(counts(self, x), x.dtype)
  for _ = 3, #x.shape do mask = core.expand_dims(mask, -1) end
  return x * mask
end

return Masking
