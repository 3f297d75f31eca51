--- Which steps of a sequence count.
-- Here: the masks that go with tensors from layer to layer. A layer that makes one (`Embedding`, `Masking`) or lets it through sets
-- it for its result; layers that look at it find it there. Invariant: a mask lives as long as the tensor it belongs to.
-- @module moonlet.nn.masks

local util = require "moonlet.util"

local masks = {}

local mask_of = setmetatable({}, { __mode = "k" })

--- The mask [batch, time] that goes with x; nil when all steps count, or x is a table of tensors.
function masks.of(x)
  return util.is_array(x) and mask_of[x] or nil
end

--- Lets a mask go with x; nil: none.
function masks.set(x, mask)
  if util.is_array(x) then mask_of[x] = mask end
end

return masks
