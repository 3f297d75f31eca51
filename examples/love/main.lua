-- Play against a network that learns as you play: `love examples/love`. Here: LÖVE's callbacks.

local Game = require "game"
local draw = love.graphics and require "draw"
local measure = require "measure"

local FRAME = 1 / 60
local game, waiting = nil, 0

-- What follows `name` on the command line, as a number; or nil.
local function number_after(arguments, name)
  for i, argument in ipairs(arguments) do
    if argument == name then return tonumber(arguments[i + 1]) or 600 end
  end
  return nil
end

local function has(arguments, name)
  for _, argument in ipairs(arguments) do
    if argument == name then return true end
  end
  return false
end

function love.load(arguments)
  local frames = number_after(arguments, "--frames")
  if frames then
    measure { frames = frames, fps = number_after(arguments, "--fps") or 60, draw = draw, thread = has(arguments, "--thread") }
    return love.event.quit()
  end
  game = Game.new { seed = os.time() % 100000 }
  if has(arguments, "--thread") then game:in_background(true) end
end

-- At most two steps for a picture, so that a slow machine slows the game down and nothing else.
function love.update(dt)
  local down, up = love.keyboard.isDown("down", "s"), love.keyboard.isDown("up", "w")
  game.player_move = (down and 1 or 0) - (up and 1 or 0)
  waiting = math.min(waiting + dt, 2 * FRAME)
  while waiting >= FRAME do
    game:update()
    waiting = waiting - FRAME
  end
end

function love.draw()
  draw.game(game)
end

local KEYS = {
  escape = function() love.event.quit() end,
  r = function() game:forget() end,
  l = function() game.learning = not game.learning end,
  c = function() game.show = not game.show end,
  t = function() game:in_background(not game.trainer) end,
}

function love.keypressed(key)
  if KEYS[key] then KEYS[key]() end
end

function love.quit()
  if game and game.trainer then game:in_background(false) end
end
