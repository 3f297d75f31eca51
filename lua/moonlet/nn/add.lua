--- Sum of several inputs.
-- Here: `nn.Add`; the work is in `merge`.
-- @classmod moonlet.nn.add

local Merge = require "moonlet.nn.merge"

--- Adds its inputs.
--
-- Input shape: a table of tensors whose shapes broadcast.
-- Output shape: the broadcast one.
-- @function nn.Add
-- @usage local h = nn.Add {} { a, b }
local Add = Merge:define("Add", function(a, b) return a + b end)

return Add
