--- Mean of several inputs.
-- Here: `nn.Average`; the work is in `merge`.
-- @classmod moonlet.nn.average

local Merge = require "moonlet.nn.merge"

--- The mean of its inputs.
--
-- Input shape: a table of tensors whose shapes broadcast.
-- Output shape: the broadcast one.
-- @function nn.Average
-- @usage local h = nn.Average {} { a, b }
local Average = Merge:define("Average", function(a, b) return a + b end, function(sum, n) return sum / n end)

return Average
