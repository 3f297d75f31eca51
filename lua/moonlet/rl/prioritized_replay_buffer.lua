--- A replay buffer that prefers what surprised: `rl.PrioritizedReplayBuffer`.
-- Here: proportional prioritisation of Schaul, Quan, Antonoglou and Silver ("Prioritized experience replay", 2016, section 3.3).
-- What is new has the highest priority so far. Invariant: the chance of a row is its leaf's share of the tree's total.
-- @classmod moonlet.rl.prioritized_replay_buffer

local ReplayBuffer = require "moonlet.rl.replay_buffer"
local SumTree = require "moonlet.rl.sum_tree"
local util = require "moonlet.util"

local abs, max = math.abs, math.max

--- Takes the arguments of `rl.ReplayBuffer`, and those below.
-- @function rl.PrioritizedReplayBuffer
-- @tparam[opt=0.6] number alpha how much errors count: 0 draws evenly
-- @tparam[opt=0.4] number beta how much the weights make up for it: 1 fully. It is a field; raise it towards 1 while learning.
-- @tparam[opt=1e-6] number epsilon added to errors, so that none is never drawn
-- @usage
-- local batch = buffer:sample(32)
-- -- learn, each error times its entry of batch.weights; then
-- buffer:update_priorities(batch.list, errors)
local PrioritizedReplayBuffer = util.class("PrioritizedReplayBuffer", ReplayBuffer)

PrioritizedReplayBuffer.rows = {
  { "alpha", "nonnegative", default = 0.6 }, { "beta", "nonnegative", default = 0.4 }, { "epsilon", "positive", default = 1e-6 },
}
for _, row in ipairs(ReplayBuffer.rows) do table.insert(PrioritizedReplayBuffer.rows, row) end

function PrioritizedReplayBuffer:setup()
  self.tree, self.highest = SumTree(self.capacity), 1
end

function PrioritizedReplayBuffer:added(first)
  for i = 1, self.n_envs do self.tree:set(first + i, self.highest) end
end

function PrioritizedReplayBuffer:clear()
  ReplayBuffer.clear(self)
  self:setup()
end

-- One draw from each of n equal parts of the total, and weights (size * chance) ^ -beta, the largest of the batch being 1.
function PrioritizedReplayBuffer:draw(list, n, batch)
  local tree, weights = self.tree, batch.weight_list
  local total, largest = tree:total(), 0
  for i = 1, n do
    local row = tree:find((i - self.random:uniform()) * total / n)
    list[i] = row - 1
    weights[i] = (self.size * tree:get(row) / total) ^ -self.beta
    largest = max(largest, weights[i])
  end
  for i = 1, n do weights[i] = weights[i] / largest end
  batch.weights:set(weights)
end

--- Sets the priorities of rows by their new errors.
-- @tparam {integer,...} rows counted from 0, such as a batch's `list`
-- @tparam {number,...} errors of either sign
function PrioritizedReplayBuffer:update_priorities(rows, errors)
  for i = 1, #rows do
    local priority = (abs(errors[i]) + self.epsilon) ^ self.alpha
    if priority < math.huge then -- not NaN either
      self.tree:set(rows[i] + 1, priority)
      self.highest = max(self.highest, priority)
    end
  end
end

return PrioritizedReplayBuffer
