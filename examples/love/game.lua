-- A game: 65 courts, on the first of which the player plays. Here: what happens in a frame. Drawing is in draw.lua, keys in
-- main.lua.

local ml = require "moonlet"
local Court = require "court"
local Opponent = require "opponent"
local background = require "background"

local Game = {}
Game.__index = Game

Game.PRACTICE = 64

-- settings: seed; network = false plays by a rule instead of the network.
function Game.new(settings)
  local game = setmetatable({ learning = true, network = true, show = true, player_move = 0 }, Game)
  for key, value in pairs(settings) do game[key] = value end
  local random = ml.rl.Random(game.seed)
  game.courts = { Court.new(random, true) }
  for i = 2, 1 + Game.PRACTICE do game.courts[i] = Court.new(random, false) end
  game.opponent = Opponent.new(game.courts, game.seed)
  game:forget()
  return game
end

-- The opponent begins anew.
function Game:forget()
  self.score = { player = 0, agent = 0 }
  self.opponent:reset()
  if self.trainer then self:in_background(true) end
end

-- Learning moves to a second Lua state in a thread of its own, or back.
function Game:in_background(on)
  if self.trainer then self.trainer:stop() end
  self.trainer = on and background.start(self.opponent, self.seed) or nil
end

-- One frame; self.player_move (-1, 0, 1) is the player's.
function Game:update()
  if self.trainer then self.trainer:receive() end
  local loser = self.opponent:update(self.player_move, self.network, self.learning and not self.trainer)
  if loser == "agent" then self.score.player = self.score.player + 1 end
  if loser == "player" then self.score.agent = self.score.agent + 1 end
end

-- A player for demonstrations: follows the ball, not always in time.
function Game:play_alone()
  local court = self.courts[1]
  local way = court.dx < 0 and court.y - court.player or 0
  self.player_move = math.abs(way) < 0.05 and 0 or way < 0 and -1 or 1
end

-- What is shown of the learning: the curve, and in how many frames it grew.
function Game:curve()
  return self.trainer and self.trainer.curve or self.opponent.curve
end

return Game
