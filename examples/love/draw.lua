-- Drawing: the player's court, the practice courts, the curve. Here: shapes only; nothing changes the game.

local Court = require "court"

local draw = {}

local INK, DIM, AGENT, PLAYER = { 0.92, 0.92, 0.95 }, { 0.35, 0.37, 0.45 }, { 1, 0.62, 0.26 }, { 0.4, 0.75, 1 }

-- A court in the square at x, y.
local function court_at(court, x, y, size, detail)
  local graphics = love.graphics
  graphics.setColor(DIM)
  graphics.rectangle("line", x, y, size, size)
  local thick = math.max(1, size * 0.015)
  graphics.setColor(AGENT)
  graphics.rectangle("fill", x + 0.965 * size, y + (court.paddle - Court.PADDLE / 2) * size, thick, Court.PADDLE * size)
  if court.has_player then
    graphics.setColor(PLAYER)
    graphics.rectangle("fill", x + 0.02 * size, y + (court.player - Court.PADDLE / 2) * size, thick, Court.PADDLE * size)
  end
  graphics.setColor(INK)
  local ball = math.max(1, size * 0.015)
  if detail then graphics.circle("fill", x + court.x * size, y + court.y * size, ball)
  else graphics.rectangle("fill", x + court.x * size - ball / 2, y + court.y * size - ball / 2, ball, ball) end
end

local function practice(game, x, y, size)
  local cell = size / 8
  for i = 2, #game.courts do
    local k = i - 2
    court_at(game.courts[i], x + k % 8 * cell + 1, y + math.floor(k / 8) * cell + 1, cell - 3)
  end
end

local points = {}

-- The share of returned balls, from 0 to 1, one point for each second.
local function curve(game, x, y, width, height)
  local graphics, list = love.graphics, game:curve()
  graphics.setColor(DIM)
  graphics.rectangle("line", x, y, width, height)
  graphics.print("balls returned, second by second", x + 6, y + 4)
  local first = math.max(1, #list - 120)
  local n = #list - first + 1
  for i = 1, n do
    points[2 * i - 1] = x + width * (i - 1) / math.max(60, n - 1)
    points[2 * i] = y + height * (1 - list[first + i - 1])
  end
  for i = #points, 2 * n + 1, -1 do points[i] = nil end
  graphics.setColor(AGENT)
  if n >= 2 then graphics.line(points) end
  if n >= 1 then graphics.print(string.format("%.0f %%", 100 * list[#list]), x + width - 50, y + 4) end
end

function draw.game(game)
  local graphics = love.graphics
  graphics.clear(0.08, 0.09, 0.12)
  court_at(game.courts[1], 20, 60, 480, true)
  graphics.setColor(PLAYER)
  graphics.print(string.format("you  %d", game.score.player), 30, 30)
  graphics.setColor(AGENT)
  graphics.print(string.format("network  %d", game.score.agent), 400, 30)
  if game.show then practice(game, 520, 60, 420) end
  curve(game, 520, 500, 420, 120)
  graphics.setColor(INK)
  graphics.print("learning: " .. (game.trainer and "in a thread" or game.learning and "on" or "off"), 20, 560)
  graphics.setColor(DIM)
  graphics.print("up, down: move   r: forget   l: learning on, off   c: practice courts   t: learn in a thread", 20, 590)
end

return draw
