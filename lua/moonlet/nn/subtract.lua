--- Difference of two inputs.
-- Here: `nn.Subtract`; the work is in `merge`.
-- @classmod moonlet.nn.subtract

local Merge = require "moonlet.nn.merge"

--- Subtracts the second input from the first.
--
-- Input shape: a table of tensors whose shapes broadcast.
-- Output shape: the broadcast one.
-- @function nn.Subtract
-- @usage local h = nn.Subtract {} { a, b }
local Subtract = Merge:define("Subtract", function(a, b) return a - b end, nil, 2)

return Subtract
