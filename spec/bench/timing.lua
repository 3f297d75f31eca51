--- How times are taken: a round is the median of many calls; a time is the smallest of several rounds, since machines are shared,
-- and its spread is how far the rounds lie apart.
local core = require("moonlet.core")

local timing = {}

local ROUND_US = 150000
local MOST, LEAST = 20000, 3

local function median(times)
  table.sort(times)
  local n = #times
  return n % 2 == 1 and times[(n + 1) / 2] or (times[n / 2] + times[n / 2 + 1]) / 2
end

-- Calls in a row that are timed as one: so many that the clock's grain does not count.
local function batch_of(f)
  local start = core.clock_us()
  f()
  local us = core.clock_us() - start
  return us < 20 and math.ceil(20 / math.max(us, 0.2)) or 1, us
end

--- A round: f again and again for about `round_us`; the median time of a call, in us.
function timing.round(f, round_us)
  local batch, guess = batch_of(f)
  local n = math.max(LEAST, math.min(MOST, math.floor((round_us or ROUND_US) / (guess * batch + 0.1))))
  local times = {}
  for i = 1, n do
    local start = core.clock_us()
    for _ = 1, batch do f() end
    times[i] = (core.clock_us() - start) / batch
  end
  return median(times)
end

--- The smallest of the rounds, and (largest - smallest) / smallest.
function timing.best(rounds)
  local least, most = math.huge, 0
  for _, us in ipairs(rounds) do least, most = math.min(least, us), math.max(most, us) end
  return least, (most - least) / least
end

--- Some rounds of f in a row.
function timing.rounds(f, count, round_us)
  f()
  local rounds = {}
  for i = 1, count or 5 do rounds[i] = timing.round(f, round_us) end
  return timing.best(rounds)
end

--- Mean time of one of n calls in a row, in us, the smallest of seven: for what is shorter than the clock's grain.
function timing.mean(f, n)
  local best = math.huge
  for _ = 1, 7 do
    local start = core.clock_us()
    for _ = 1, n do f() end
    best = math.min(best, (core.clock_us() - start) / n)
  end
  return best
end

--- The average number of processes that wanted to run lately, "?" where it is not told.
function timing.load()
  local file = io.open("/proc/loadavg")
  if not file then return "?" end
  local text = file:read("*l")
  file:close()
  return text:match("^%S+")
end

return timing
