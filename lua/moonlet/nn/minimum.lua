--- Smallest of several inputs.
-- Here: `nn.Minimum`; the work is in `merge`.
-- @classmod moonlet.nn.minimum

local Merge = require "moonlet.nn.merge"
local core = require "moonlet.core"

--- The smaller of its inputs, element by element.
--
-- Input shape: a table of tensors whose shapes broadcast.
-- Output shape: the broadcast one.
-- @function nn.Minimum
-- @usage local h = nn.Minimum {} { a, b }
local Minimum = Merge:define("Minimum", function(a, b) return core.minimum(a, b) end)

return Minimum
