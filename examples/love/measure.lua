-- Figures without a player: `love examples/love --frames N` plays N frames with the network and N of the same game with the network
-- off, fifty of each in turn, 60 a second, and prints what they took, sleep not counted: whole frames, and the game's own part of
-- them, since drawing takes longer and varies by more than all else. `--fps 0` does not sleep.

local Game = require "game"

local BLOCK, WARM_UP, STRETCH = 50, 120, 500

local function percentile(sorted, share)
  return sorted[math.max(1, math.ceil(share * #sorted))]
end

-- Times first .. last in ms, sorted.
local function sorted_part(times, first, last)
  local part = {}
  for i = first, last do part[#part + 1] = times[i] * 1000 end
  table.sort(part)
  return part
end

-- How far the p99 with the network lies above the one without, in ms: of the whole, and the median of what each STRETCH of frames
-- says. A machine that stands still for a moment, as shared ones do, is in the first.
local function above(with, without, first)
  local function difference(from, to)
    return percentile(sorted_part(with, from, to), 0.99) - percentile(sorted_part(without, from, to), 0.99)
  end
  local each = {}
  for from = first, #with - STRETCH + 1, STRETCH do each[#each + 1] = difference(from, from + STRETCH - 1) end
  local whole = difference(first, #with)
  table.sort(each)
  return whole, percentile(each, 0.5) or whole, #each
end

-- Prints times of the game with the network and without it, and how far they lie apart.
local function report(what, with, without)
  local first = math.min(WARM_UP, #with - 1) + 1
  for i, times in ipairs { with, without } do
    local sorted = sorted_part(times, first, #times)
    print(string.format("%s, network %s: median %.3f ms, p99 %.3f ms, longest %.3f ms", what, i == 1 and "on" or "off",
      percentile(sorted, 0.5), percentile(sorted, 0.99), sorted[#sorted]))
  end
  print(string.format("%s, p99 with the network: %.3f ms above, %.3f ms the median of %d stretches", what,
    above(with, without, first)))
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

-- Sleeps until the next frame is due, and tells when the one after it is. A frame that came late delays those that follow.
local function wait_until(due, fps)
  local left = due - love.timer.getTime()
  if left > 0 then love.timer.sleep(left) end
  return love.timer.getTime() + 1 / fps
end

-- settings: frames; fps, 0 for as many as there can be; draw: the module, or nil without a window; thread: learn in a second state.
return function(settings)
  local games = { Game.new { seed = 1 }, Game.new { seed = 1, network = false } }
  if settings.thread then games[1]:in_background(true) end
  local times, updates, done, due = { {}, {} }, { {}, {} }, 0, 0
  while done < settings.frames do
    for k, game in ipairs(games) do
      for i = done + 1, math.min(done + BLOCK, settings.frames) do
        if settings.fps > 0 then due = wait_until(due, settings.fps) end
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
