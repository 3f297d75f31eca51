--- Product of several inputs.
-- Here: `nn.Multiply`; the work is in `merge`.
-- @classmod moonlet.nn.multiply

local Merge = require "moonlet.nn.merge"

--- Multiplies its inputs.
--
-- Input shape: a table of tensors whose shapes broadcast.
-- Output shape: the broadcast one.
-- @usage local h = nn.Multiply {} { a, b }
return Merge:define("Multiply", function(a, b) return a * b end)
