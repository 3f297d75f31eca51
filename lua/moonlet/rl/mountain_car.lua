--- A weak car in a valley: `rl.MountainCar`.
-- Here: the task of Moore ("Efficient memory-based learning for robot control", 1990) with the equations of Sutton and Barto
-- ("Reinforcement learning: an introduction", 2nd edition, example 10.1), start and limit as in Gymnasium's MountainCar-v0.
-- @classmod moonlet.rl.mountain_car

local Box = require "moonlet.rl.box"
local Discrete = require "moonlet.rl.discrete"
local Env = require "moonlet.rl.env"

local cos, max, min = math.cos, math.max, math.min

local LEFT, RIGHT, GOAL, TOP_SPEED, ENGINE, GRAVITY = -1.2, 0.6, 0.5, 0.07, 0.001, 0.0025

--- Swing a car up a hill that is too steep for its engine. Each step gives -1, until it is at 0.5. Observation: position, speed.
-- Action: 0 drives left, 1 does nothing, 2 drives right.
-- @function rl.MountainCar
-- @tparam[opt=200] integer max_episode_steps
-- @tparam[opt] integer seed
-- @usage local env = ml.rl.MountainCar { seed = 1 }
local MountainCar = Env:extend("MountainCar")

MountainCar.observation_space, MountainCar.action_space = Box { 2 }, Discrete { 3 }

function MountainCar:setup()
  self.max_episode_steps = self.max_episode_steps or 200
end

function MountainCar:begin()
  self.observation[1], self.observation[2] = -0.6 + 0.2 * self.random:uniform(), 0
end

function MountainCar:advance(action)
  local x, speed = self.other[1], self.other[2]
  speed = max(-TOP_SPEED, min(TOP_SPEED, speed + ENGINE * (action - 1) - GRAVITY * cos(3 * x)))
  x = max(LEFT, min(RIGHT, x + speed))
  if x == LEFT and speed < 0 then speed = 0 end
  self.observation[1], self.observation[2] = x, speed
  return -1, x >= GOAL and speed >= 0
end

return MountainCar
