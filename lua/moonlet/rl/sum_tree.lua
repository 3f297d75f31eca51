--- Sums over ranges of weights: `rl.SumTree`.
-- Here: a complete binary tree in one list; node i has the children 2 i and 2 i + 1. Invariant: each inner node is the sum of its
-- children as they are added here, so that equal weights give equal sums in whatever order they came.
-- @classmod moonlet.rl.sum_tree

local core = require "moonlet.core"
local util = require "moonlet.util"

--- Weights of the positions 1 to n, all 0 at first. Setting and finding take log2(n) steps.
-- @function rl.SumTree
-- @tparam integer n
-- @usage
-- local tree = ml.rl.SumTree(3)
-- tree:set(1, 0.5)
-- tree:set(3, 1.5)
-- print(tree:total(), tree:find(0.6)) -- 2, 3
local SumTree = util.class("SumTree")

function SumTree:init(n)
  if not util.is_integer(n) or n < 1 then core.fail("rl.SumTree: n must be a positive integer, got %s", util.describe(n)) end
  self.n, self.leaves = n, 1
  while self.leaves < n do self.leaves = self.leaves * 2 end
  self.sums = {}
  for i = 1, 2 * self.leaves - 1 do self.sums[i] = 0 end
end

--- Sets a weight.
-- @tparam integer i from 1
-- @tparam number weight 0 or more
function SumTree:set(i, weight)
  local sums, at = self.sums, self.leaves + i - 1
  sums[at] = weight
  while at > 1 do
    at = (at - at % 2) / 2
    sums[at] = sums[2 * at] + sums[2 * at + 1]
  end
end

--- The weight of position i.
function SumTree:get(i)
  return self.sums[self.leaves + i - 1]
end

--- The sum of all weights.
function SumTree:total()
  return self.sums[1]
end

--- The position i whose weight covers `mass`: the sum of the weights before i is at most `mass`, with i's it is more.
-- @tparam number mass from 0 up to the total
-- @treturn integer
function SumTree:find(mass)
  local sums, at = self.sums, 1
  while at < self.leaves do
    at = 2 * at
    if mass >= sums[at] and sums[at + 1] > 0 then
      mass = mass - sums[at]
      at = at + 1
    end
  end
  return at - self.leaves + 1
end

return SumTree
