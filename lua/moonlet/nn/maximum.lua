--- Largest of several inputs.
-- Here: `nn.Maximum`; the work is in `merge`.
-- @classmod moonlet.nn.maximum

local Merge = require "moonlet.nn.merge"
local core = require "moonlet.core"

--- The larger of its inputs, element by element.
--
-- Input shape: a table of tensors whose shapes broadcast.
-- Output shape: the broadcast one.
-- @function nn.Maximum
-- @usage local h = nn.Maximum {} { a, b }
local Maximum = Merge:define("Maximum", function(a, b) return core.maximum(a, b) end)

return Maximum
