-- Figures without a player: `love examples/love --frames N` plays N frames with the network and N of the same game with the network
-- off, fifty of each in turn, without sleeping, and prints what they took.

local Game = require "game"

local BLOCK, WARM_UP = 50, 120

local function percentile(sorted, share)
  return sorted[math.max(1, math.ceil(share * #sorted))]
end

local function report(name, times)
  local sorted = {}
  for i = math.min(WARM_UP, #times - 1) + 1, #times do sorted[#sorted + 1] = times[i] * 1000 end
  table.sort(sorted)
  local p99, most = percentile(sorted, 0.99), sorted[#sorted]
  print(string.format("network %s: median %.3f ms, p99 %.3f ms, longest %.3f ms", name, percentile(sorted, 0.5), p99, most))
  return p99
end

local function frame(game, draw)
  local before = love.timer.getTime()
  game:play_alone()
  game:update()
  if draw then
    draw.game(game)
    love.graphics.present()
  end
  return love.timer.getTime() - before
end

-- settings: frames; draw: the module, or nil without a window; thread: learn in a second state.
return function(settings)
  local games = { Game.new { seed = 1 }, Game.new { seed = 1, network = false } }
  if settings.thread then games[1]:in_background(true) end
  local times, done = { {}, {} }, 0
  while done < settings.frames do
    for k, game in ipairs(games) do
      for i = done + 1, math.min(done + BLOCK, settings.frames) do
        if love.event then love.event.pump() end
        times[k][i] = frame(game, settings.draw)
        if settings.thread then love.timer.sleep(0.004) end -- the thread has time to learn
      end
    end
    done = done + BLOCK
  end
  local curve = games[1]:curve()
  if settings.thread then games[1]:in_background(false) end
  local on, off = report("on", times[1]), report("off", times[2])
  print(string.format("p99 with the network: %.3f ms above", on - off))
  for i, share in ipairs(curve) do curve[i] = string.format("%.2f", share) end
  print("score curve: " .. table.concat(curve, " "))
  print(string.format("learning steps: %d", games[1].opponent.agent.n_updates))
end
