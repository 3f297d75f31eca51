--- Root mean square normalization.
-- Here: `nn.RMSNormalization`.
-- @classmod moonlet.nn.rms_normalization

local Layer = require "moonlet.nn.layer"
local core = require "moonlet.core"
local util = require "moonlet.util"

--- Divides by the root of the mean square over one axis (Zhang and Sennrich, 2019).
--
-- Input shape: any.
-- Output shape: that of the input.
-- Weights: `scale` (the size of the axis).
-- @function nn.RMSNormalization
-- @tparam[opt=-1] integer axis
-- @tparam[opt=1e-6] number epsilon
-- @usage local h = nn.RMSNormalization {} (x)
local RMSNormalization = Layer:extend("RMSNormalization", {
  { "axis", "axis", default = -1 },
  { "epsilon", "nonnegative", default = 1e-6 },
})
RMSNormalization.supports_masking = true

RMSNormalization.autocast = "results" -- statistics are taken in f32

function RMSNormalization:build(shape)
  local axis = self.axis < 0 and #shape + self.axis + 1 or self.axis
  if axis < 1 or axis > #shape then
    self:fail("axis %d is not an axis of an input of shape %s", self.axis, util.shape_text(shape))
  end
  self.size = self:known_size(shape, axis, "the normalized axis")
  self.scale = self:add_weight("scale", { self.size }, { initializer = "ones" })
end

function RMSNormalization:call(x)
  local shape = x.shape
  local axis = self.axis < 0 and #shape + self.axis + 1 or self.axis
  if shape[axis] ~= self.size then
    self:fail("was built for size %d on axis %d, got shape %s", self.size, self.axis, util.shape_text(shape))
  end
  return core.rms_norm(x, self.scale, { axes = { axis }, epsilon = self.epsilon })
end

return RMSNormalization
