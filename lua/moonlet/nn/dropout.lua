--- Dropout.
-- Here: `nn.Dropout`. Invariant: in inference nothing is added to the graph but the choice of the mode.
-- @classmod moonlet.nn.dropout

local Layer = require "moonlet.nn.layer"
local core = require "moonlet.core"
local mode = require "moonlet.mode"

--- While training, sets a part of the elements to zero and scales the others up so that the mean stays.
--
-- Input shape: any.
-- Output shape: that of the input.
-- @function nn.Dropout
-- @tparam number rate the part that is dropped, from 0 up to, not including, 1; may be given without a name
-- @tparam[opt] table noise_shape shape of the mask, which is broadcast; -1: as the input
-- @usage local h = nn.Dropout { 0.5 } (h)
local Dropout = Layer:extend("Dropout", {
  { "rate", "fraction", at = 1, required = true },
  { "noise_shape", "table" },
})
Dropout.supports_masking = true

--- x with elements dropped. x [..] -> [..]
-- @tparam Tensor x
-- @tparam number rate
-- @tparam[opt] table shape of the mask
function Dropout.drop(x, rate, shape)
  local keep = 1 - rate
  -- As bytes: they are kept for the gradient, and drawing them again takes ten times as long as reading them.
  local mask = core.bernoulli({ p = keep, shape = shape or x.shape, dtype = "u8" })
  return x * mask * (1 / keep)
end

function Dropout:mask_shape(x)
  if not self.noise_shape then return nil end
  local shape = x.shape
  if #self.noise_shape ~= #shape then
    self:fail("noise_shape must have %d entries, got %d", #shape, #self.noise_shape)
  end
  for i, size in ipairs(self.noise_shape) do
    if size ~= -1 then shape[i] = size end
  end
  return shape
end

function Dropout:call(x)
  if self.rate == 0 then return x end
  return mode.choose(x, function() return Dropout.drop(x, self.rate, self:mask_shape(x)) end, function() return x end)
end

return Dropout
