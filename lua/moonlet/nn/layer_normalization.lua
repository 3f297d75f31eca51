--- Layer normalization.
-- Here: `nn.LayerNormalization`.
-- @classmod moonlet.nn.layer_normalization

local Layer = require "moonlet.nn.layer"
local core = require "moonlet.core"
local util = require "moonlet.util"

--- Brings each sample to mean 0 and deviation 1 over some axes (Ba et al., 2016).
--
-- Input shape: any.
-- Output shape: that of the input.
-- Weights: `gamma`, `beta` (the sizes of the axes).
-- @function nn.LayerNormalization
-- @tparam[opt=-1] integer|table axis the last axes: -1, or a table such as { -2, -1 }
-- @tparam[opt=1e-3] number epsilon
-- @tparam[opt=true] boolean center whether there is a `beta`
-- @tparam[opt=true] boolean scale whether there is a `gamma`
-- @tparam[opt="zeros"] string|function beta_initializer
-- @tparam[opt="ones"] string|function gamma_initializer
-- @usage local h = nn.LayerNormalization { epsilon = 1e-6 } (x)
local LayerNormalization = Layer:extend("LayerNormalization", {
  { "axis", "any", default = -1, text = "an axis or a table of axes", test = function(v)
    if util.is_integer(v) then return { v } end
    if type(v) ~= "table" or #v == 0 then return false end
    for i = 1, #v do
      if not util.is_integer(v[i]) or v[i] == 0 then return false end
    end
    return true
  end },
  { "epsilon", "nonnegative", default = 1e-3 },
  { "center", "boolean", default = true },
  { "scale", "boolean", default = true },
  { "beta_initializer", "initializer", default = "zeros" },
  { "gamma_initializer", "initializer", default = "ones" },
})
LayerNormalization.supports_masking = true

-- The axes as sorted positions from 1.
local function positions(self, shape)
  local axes = {}
  for i, axis in ipairs(type(self.axis) == "table" and self.axis or { self.axis }) do
    axes[i] = axis < 0 and #shape + axis + 1 or axis
    if axes[i] < 1 or axes[i] > #shape then
      self:fail("axis %d is not an axis of an input of shape %s", axis, util.shape_text(shape))
    end
  end
  table.sort(axes)
  return axes
end

LayerNormalization.autocast = "results" -- statistics are taken in f32

function LayerNormalization:build(shape)
  local sizes = {}
  for i, axis in ipairs(positions(self, shape)) do sizes[i] = self:known_size(shape, axis, "a normalized axis") end
  self.sizes = sizes
  if self.scale then self.gamma = self:add_weight("gamma", sizes, { initializer = self.gamma_initializer }) end
  if self.center then self.beta = self:add_weight("beta", sizes, { initializer = self.beta_initializer }) end
end

function LayerNormalization:call(x)
  local shape = x.shape
  local axes = positions(self, shape)
  for i, axis in ipairs(axes) do
    if shape[axis] ~= self.sizes[i] then
      self:fail("was built for size %d on axis %d, got shape %s", self.sizes[i], axis, util.shape_text(shape))
    end
  end
  local attrs = { axes = axes, epsilon = self.epsilon }
  if self.gamma and self.beta then return core.layer_norm(x, self.gamma, self.beta, attrs) end
  if self.gamma then return core.layer_norm(x, self.gamma, attrs) end
  if not self.beta then return core.layer_norm(x, attrs) end
  return core.layer_norm(x, core.ones(self.sizes, self.dtype), self.beta, attrs)
end

return LayerNormalization
