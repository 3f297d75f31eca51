-- The opponent: one network that plays on all courts and learns from all of them. Here: observing, acting in one call for all,
-- learning in slices, the curve of its score. Nothing of LÖVE is used, so that a spec can run it in any Lua.

local ml = require "moonlet"
local Court = require "court"

local Opponent = {}
Opponent.__index = Opponent

local WINDOW = 60 -- frames in one point of the curve
local LEARN_US = 500 -- of a frame
local FRAME_US = 700 -- with acting and noting what came of it, which take longer where the machine is slow for a moment
local LEAST_US = 20 -- less is not worth a call

local now = love and love.timer and love.timer.getTime or os.clock -- seconds

-- courts: a list; seed: a whole number.
function Opponent.new(courts, seed)
  local self = setmetatable({ courts = courts, seed = seed, frames = 0 }, Opponent)
  -- Two sets of observations in turn: what was acted on must still be there when it is learnt what came of it.
  self.observations, self.following = {}, {}
  for i = 1, #courts do self.observations[i], self.following[i] = {}, {} end
  self.rewards, self.lost, self.cut, self.actions = {}, {}, {}, {}
  for i = 1, #courts do self.cut[i] = false end
  self.budget = {} -- nil: no frame waits for it
  self:reset()
  return self
end

-- Forgets everything.
function Opponent:reset()
  ml.seed(self.seed)
  self.agent = ml.rl.DQN {
    observation_space = Court.OBSERVATION, action_space = Court.ACTIONS, seed = self.seed, net_arch = { 32, 32 },
    learning_rate = function(left) return 4e-4 + 2e-3 * left end, batch_size = 64, buffer_size = 64 * 512,
    learning_starts = 64 * 10, train_freq = 1, gradient_steps = 4, gamma = 0.97, target_update_interval = 64 * 25,
    total_timesteps = 64 * 1200, exploration_fraction = 0.25, exploration_final_eps = 0.02,
  }
  self.agent:prepare(#self.courts) -- now, not in a frame
  self.curve, self.hits, self.balls, self.begun = {}, 0, 0, false
end

local function count(self, reward)
  if reward == 0 then return end
  self.balls = self.balls + 1
  if reward > 0 then self.hits = self.hits + 1 end
end

-- A point of the curve: the share of balls that were returned on the practice courts.
local function note(self)
  self.frames = self.frames + 1
  if self.frames % WINDOW ~= 0 or self.balls == 0 then return end
  self.curve[#self.curve + 1] = self.hits / self.balls
  self.hits, self.balls = 0, 0
end

-- A plain rule in the network's place: move to where the ball is.
local function follow(self)
  for i, court in ipairs(self.courts) do
    local way = court.y - court.paddle
    self.actions[i] = math.abs(way) < 0.03 and 1 or way < 0 and 0 or 2
  end
  return self.actions
end

-- Learns in the frame that began at `begun`, as long as the network has not had its part of it; without a budget all that is due.
local function learn_until(self, begun)
  if not self.budget then return self.agent:learn() end
  local left = math.min(LEARN_US, FRAME_US - (now() - begun) * 1e6)
  if left < LEAST_US then return end
  self.budget.budget_us = left
  self.agent:learn(self.budget)
end

-- One frame on all courts. network: does it play, else a rule; learning: does it learn? Returns who lost the ball on court 1, or
-- nil.
function Opponent:update(player_move, network, learning)
  local courts, observations, following, begun = self.courts, self.observations, self.following, now()
  if not self.begun then
    for i, court in ipairs(courts) do court:observe(observations[i]) end
    self.begun = true
  end
  local actions = network and self.agent:act(observations, not learning) or follow(self)
  local loser
  for i, court in ipairs(courts) do
    local who
    self.rewards[i], self.lost[i], who = court:step(actions[i], player_move)
    if i == 1 then loser = who end
    if court.has_player == false then count(self, self.rewards[i]) end
    court:observe(following[i])
  end
  if network and learning then
    self.agent:observe(observations, actions, self.rewards, following, self.lost, self.cut)
    learn_until(self, begun)
  end
  self.observations, self.following = following, observations
  note(self)
  return loser
end

return Opponent
