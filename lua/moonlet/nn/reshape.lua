--- Gives each sample another shape.
-- Here: `nn.Reshape`.
-- @classmod moonlet.nn.reshape

local Layer = require "moonlet.nn.layer"
local core = require "moonlet.core"
local util = require "moonlet.util"

--- The same numbers in another shape.
--
-- Input shape: `(batch, ...)`.
-- Output shape: `(batch, target_shape...)`.
-- @function nn.Reshape
-- @tparam table target_shape without the batch axis; one entry may be -1: what is left. May be given without a name
-- @usage local h = nn.Reshape { { 4, 4, 2 } } (x)
local Reshape = Layer:extend("Reshape", {
  { "target_shape", "table", at = 1, required = true, text = "a table of positive integers, of which one may be -1",
    test = function(value)
      if type(value) ~= "table" then return false end
      local unknown = 0
      for i = 1, util.max_index(value) do
        if value[i] == -1 then unknown = unknown + 1
        elseif not util.is_integer(value[i]) or value[i] < 1 then return false end
      end
      return unknown <= 1
    end },
})

function Reshape:call(x)
  local shape = x.shape
  if #shape == 0 then self:fail("expected an input with a batch axis, got rank 0") end
  local have, want, open = 1, 1, nil
  for i = 2, #shape do have = have * shape[i] end
  local target = { shape[1] }
  for i, size in ipairs(self.target_shape) do
    target[i + 1] = size
    if size == -1 then open = i + 1 else want = want * size end
  end
  if type(have) == "number" and (open and have % want ~= 0 or not open and have ~= want) then
    self:fail("a sample of shape %s has %d elements, which do not fit %s", util.shape_text({ util.unpack(shape, 2) }), have,
      util.shape_text(self.target_shape))
  end
  if open and type(have) == "number" then target[open] = have / want end
  return core.reshape(x, target)
end

return Reshape
