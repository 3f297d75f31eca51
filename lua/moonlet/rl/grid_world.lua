--- A walk on squares: `rl.GridWorld`.
-- Here: the gridworld of textbooks (Sutton and Barto, "Reinforcement learning: an introduction", 2nd edition, chapter 3), drawn as
-- text.
-- @classmod moonlet.rl.grid_world

local Box = require "moonlet.rl.box"
local Discrete = require "moonlet.rl.discrete"
local Env = require "moonlet.rl.env"
local core = require "moonlet.core"
local util = require "moonlet.util"

local MAP = { "S...", ".#H.", "...#", "H..G" }

--- Find the way from S to G. Walls `#` and the border stop a move; a hole `H` terminates the episode. Observation: a list with 1 at
-- the square where the walker is, 0 elsewhere. Action: 0 up, 1 right, 2 down, 3 left.
-- @function rl.GridWorld
-- @tparam[opt] {string,...} map rows of equal length made of `S` (start), `G` (goal), `H` (hole), `#` (wall) and `.`; default a 4 x
--   4 map
-- @tparam[opt=1] number goal_reward
-- @tparam[opt=-1] number hole_reward
-- @tparam[opt=-0.01] number step_reward
-- @tparam[opt=0] number slip how often a move goes in a random direction, from 0 up to 1
-- @tparam[opt=50] integer max_episode_steps
-- @tparam[opt] integer seed
-- @usage local env = ml.rl.GridWorld { map = { "S..", ".#.", "..G" } }
local GridWorld = Env:extend("GridWorld", {
  { "map", "table", default = MAP }, { "goal_reward", "number", default = 1 }, { "hole_reward", "number", default = -1 },
  { "step_reward", "number", default = -0.01 }, { "slip", "fraction", default = 0 },
})

local MOVES = { [0] = { 0, -1 }, { 1, 0 }, { 0, 1 }, { -1, 0 } }

GridWorld.action_space = Discrete { 4 }

local function read_map(self)
  self.cells, self.height, self.width = {}, #self.map, #tostring(self.map[1])
  for y, line in ipairs(self.map) do
    if type(line) ~= "string" or #line ~= self.width or line:find("[^SGH#.]") then
      core.fail("rl.GridWorld: row %d of map must be %d of the letters S, G, H, # and ., got %s", y, self.width,
        util.describe(line))
    end
    for x = 1, self.width do
      local cell = line:sub(x, x)
      if cell == "S" then self.start_x, self.start_y = x, y end
      self.cells[(y - 1) * self.width + x] = cell
    end
  end
  if not self.start_x then core.fail("rl.GridWorld: map must have a start S") end
end

function GridWorld:setup()
  self.max_episode_steps = self.max_episode_steps or 50
  read_map(self)
  self.observation_space = Box { self.width * self.height, low = 0 }
end

local function draw(self)
  for i = 1, self.width * self.height do self.observation[i] = 0 end
  self.observation[(self.y - 1) * self.width + self.x] = 1
end

function GridWorld:begin()
  self.x, self.y = self.start_x, self.start_y
  draw(self)
end

function GridWorld:advance(action)
  if self.slip > 0 and self.random:uniform() < self.slip then action = self.random:integer(4) end
  local x, y = self.x + MOVES[action][1], self.y + MOVES[action][2]
  local cell = x >= 1 and x <= self.width and y >= 1 and y <= self.height and self.cells[(y - 1) * self.width + x] or "#"
  if cell ~= "#" then self.x, self.y = x, y end
  draw(self)
  if cell == "G" then return self.goal_reward, true end
  if cell == "H" then return self.hole_reward, true end
  return self.step_reward, false
end

return GridWorld
