--- Whole training steps and inferences, alone or side by side with the peers; and what a training process needs of memory.
local core = require("moonlet.core")
local peers = require("spec.bench.peers")
local timing = require("spec.bench.timing")
local workload = require("spec.bench.workload")

local ROUNDS, PEER_ROUNDS = 5, 5
local ROUND_US, PEER_ROUND_US = 300000, 250000

-- A command of the environment, for machines on which other work must be held back while something is measured.
local function command(name)
  local text = os.getenv(name)
  return function() if text and text ~= "" then os.execute(text) end end
end

local function best_of(times)
  local us, spread = {}, {}
  for name, rounds in pairs(times) do
    if #rounds > 0 then us[name], spread[name] = timing.best(rounds) end
  end
  return us, spread
end

-- The largest resident set of a process that trains this and does nothing else.
local function our_peak(bench, name)
  local pipe = io.popen(("%s/moonlet spec/bench/one.lua %s 10 peak"):format(bench.build, name))
  local bytes = tonumber(pipe:read("*a"):match("peak (%d+)"))
  pipe:close()
  return bytes
end

-- The time on the CPU, where another device is measured; else nil.
local function time_on_cpu(bench, name)
  if bench.device == "cpu" then return nil end
  return bench.on_cpu(function()
    local w = workload.make(name)
    return (timing.rounds(function() w:step() end, ROUNDS, ROUND_US))
  end)
end

local function alone(bench, report, w)
  report.raise_limits(bench.measure_limits())
  local us, spread = timing.rounds(function() w:step() end, ROUNDS, ROUND_US)
  local calls = core.memory().calls
  for _ = 1, 5 do w:step() end
  calls = core.memory().calls - calls
  return { ours_us = us, spread = spread, allocations = calls > 0 and calls or nil }
end

local function beside(bench, report, w, row)
  local list = peers.start(bench, row, bench.peers)
  local hold = command "BENCH_BEFORE"
  local function before()
    hold()
    report.raise_limits(bench.measure_limits())
  end
  local ours, times, notes, peaks = peers.measure(bench, w, list, PEER_ROUNDS, PEER_ROUND_US, before, command "BENCH_AFTER")
  for _, peer in ipairs(list) do peer:stop() end
  local us, spread = timing.best(ours)
  local peers_us, peers_spread = best_of(times)
  for _, note in ipairs(notes) do print("    " .. note) end
  return { ours_us = us, spread = spread, peers_us = peers_us, peers_spread = peers_spread, peers_peak_bytes = peaks }
end

local function memory_note(row)
  local least
  for _, bytes in pairs(row.peers_peak_bytes or {}) do least = math.min(least or bytes, bytes) end
  if not row.ours_peak_bytes then return nil end
  local text = ("peak %.0f MB"):format(row.ours_peak_bytes / 1e6)
  return least and text .. (", leanest peer %.0f MB"):format(least / 1e6) or text
end

return function(bench, report)
  report.group("workloads")
  for _, row in ipairs(workload.ROWS) do
    if bench.wants("workloads", row[1]) then
      local w = workload.make(row[1])
      local found = bench.peers and not row[5] and beside(bench, report, w, row) or alone(bench, report, w)
      found.workload, found.kind, found.flops, found.bytes, found.load = w.name, w.kind, w:flops(), w.bytes, timing.load()
      found.cpu_us = time_on_cpu(bench, w.name)
      if w.kind == "train" then found.ours_peak_bytes = our_peak(bench, w.name) end
      found.note = memory_note(found)
      report.row(found)
      bench.write()
      collectgarbage()
      collectgarbage()
    end
  end
end
