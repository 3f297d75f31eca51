-- Figures without a player: `love examples/love --frames N` plays N frames with the network and N of the same game with the network
-- off, fifty of each in turn, without sleeping, and prints what they took: whole frames, and the game's own part of them, since
-- drawing takes longer and varies by more than all else.

local Game = require "game"

local BLOCK, WARM_UP = 50, 120

local function percentile(sorted, share)
  return sorted[math.max(1, math.ceil(share * #sorted))]
end

-- Prints times of the game with the network and without it; gives how far the p99 of the one lies above the other's.
local function report(what, with, without)
  local p99 = {}
  for i, times in ipairs { with, without } do
    local sorted = {}
    for k = math.min(WARM_UP, #times - 1) + 1, #times do sorted[#sorted + 1] = times[k] * 1000 end
    table.sort(sorted)
    p99[i] = percentile(sorted, 0.99)
    print(string.format("%s, network %s: median %.3f ms, p99 %.3f ms, longest %.3f ms", what, i == 1 and "on" or "off",
      percentile(sorted, 0.5), p99[i], sorted[#sorted]))
  end
  print(string.format("%s, p99 with the network: %.3f ms above", what, p99[1] - p99[2]))
end

local function frame(game, draw)
  local before = love.timer.getTime()
  game:play_alone()
  game:update()
  local updated = love.timer.getTime()
  if draw then
    draw.game(game)
    love.graphics.present()
  end
  return love.timer.getTime() - before, updated - before
end

-- settings: frames; draw: the module, or nil without a window; thread: learn in a second state.
return function(settings)
  local games = { Game.new { seed = 1 }, Game.new { seed = 1, network = false } }
  if settings.thread then games[1]:in_background(true) end
  local times, updates, done = { {}, {} }, { {}, {} }, 0
  while done < settings.frames do
    for k, game in ipairs(games) do
      for i = done + 1, math.min(done + BLOCK, settings.frames) do
        if love.event then love.event.pump() end
        times[k][i], updates[k][i] = frame(game, settings.draw)
        if settings.thread then love.timer.sleep(0.004) end -- the thread has time to learn
      end
    end
    done = done + BLOCK
  end
  local curve = games[1]:curve()
  if settings.thread then games[1]:in_background(false) end
  report("frame", times[1], times[2])
  report("update", updates[1], updates[2])
  for i, share in ipairs(curve) do curve[i] = string.format("%.2f", share) end
  print("score curve: " .. table.concat(curve, " "))
  print(string.format("learning steps: %d", games[1].opponent.agent.n_updates))
end
