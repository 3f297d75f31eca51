--- What layers share that join several inputs of one shape.
-- Here: the base of `Add`, `Multiply` and their like. Invariant: inputs are joined from left to right.
-- @classmod moonlet.nn.merge

local Layer = require "moonlet.nn.layer"
local util = require "moonlet.util"

local Merge = Layer:extend("Merge")

--- Makes a class; join(a, b) joins two tensors, finish(sum, n) ends the work. exact: that many inputs.
function Merge:define(name, join, finish, exact)
  local class = self:extend(name)
  class.join, class.finish, class.exact = join, finish, exact
  return class
end

function Merge:call(x)
  if util.is_array(x) or #x < 2 or (self.exact and #x ~= self.exact) then
    self:fail("expected a table of %s inputs, got %s", self.exact and tostring(self.exact) or "at least 2",
      util.is_array(x) and "one tensor" or string.format("a table of %d", #x))
  end
  local class = getmetatable(self)
  local y = x[1]
  for i = 2, #x do y = class.join(y, x[i]) end
  if class.finish then y = class.finish(y, #x) end
  return y
end

return Merge
