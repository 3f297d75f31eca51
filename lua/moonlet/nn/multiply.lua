--- Product of several inputs.
-- Here: `nn.Multiply`; the work is in `merge`.
-- @classmod moonlet.nn.multiply

local Merge = require "moonlet.nn.merge"

--- Multiplies its inputs.
--
-- Input shape: a table of tensors whose shapes broadcast.
-- Output shape: the broadcast one.
-- @function nn.Multiply
-- @usage local h = nn.Multiply {} { a, b }
local Multiply = Merge:define("Multiply", function(a, b) return a * b end)

return Multiply
