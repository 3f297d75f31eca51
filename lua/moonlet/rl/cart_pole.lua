--- A pole on a cart: `rl.CartPole`.
-- Here: the task of Barto, Sutton and Anderson ("Neuronlike adaptive elements that can solve difficult learning control problems",
-- IEEE Transactions on Systems, Man, and Cybernetics 13, 1983) without friction, with the equations of Florian ("Correct equations
-- for the dynamics of the cart-pole system", 2007), sizes and limits as in Gymnasium's CartPole-v1.
-- @classmod moonlet.rl.cart_pole

local Box = require "moonlet.rl.box"
local Discrete = require "moonlet.rl.discrete"
local Env = require "moonlet.rl.env"

local sin, cos, abs, max, min = math.sin, math.cos, math.abs, math.max, math.min

local GRAVITY, CART, POLE, HALF_LENGTH, FORCE, DT = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02 -- m/s^2, kg, kg, m, N, s
local X_LIMIT, ANGLE_LIMIT = 2.4, 12 * math.pi / 180
local START = 0.05

--- Push a cart so that the pole on it stays up. Each step gives 1; the episode terminates when the pole leans by 12 degrees or the
-- cart leaves the track. Observation: position, speed, angle, angular speed. Action: 0 pushes left, 1 right.
-- @function rl.CartPole
-- @tparam[opt=500] integer max_episode_steps
-- @tparam[opt=false] boolean continuous the action is a list of one number from -1 to 1 instead: the force, cut to that range
-- @tparam[opt] integer seed
-- @usage local env = ml.rl.CartPole { seed = 1 }
local CartPole = Env:extend("CartPole", { { "continuous", "boolean", default = false } })

CartPole.observation_space = Box { 4 }

function CartPole:setup()
  self.max_episode_steps = self.max_episode_steps or 500
  self.action_space = self.continuous and Box { 1 } or Discrete { 2 }
end

function CartPole:begin()
  for i = 1, 4 do self.observation[i] = START * (2 * self.random:uniform() - 1) end
end

function CartPole:advance(action)
  local before, after = self.other, self.observation
  local x, speed, angle, turning = before[1], before[2], before[3], before[4]
  local push = self.continuous and max(-1, min(1, action[1])) or 2 * action - 1
  local total, s, c = CART + POLE, sin(angle), cos(angle)
  local drive = (FORCE * push + POLE * HALF_LENGTH * turning * turning * s) / total
  local turn_rate = (GRAVITY * s - c * drive) / (HALF_LENGTH * (4 / 3 - POLE * c * c / total))
  local rate = drive - POLE * HALF_LENGTH * turn_rate * c / total
  after[1], after[2] = x + DT * speed, speed + DT * rate
  after[3], after[4] = angle + DT * turning, turning + DT * turn_rate
  return 1, abs(after[1]) > X_LIMIT or abs(after[3]) > ANGLE_LIMIT
end

return CartPole
