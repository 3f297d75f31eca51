--- Whole training steps and inferences, alone or side by side with the peers.
local core = require("moonlet.core")
local timing = require("spec.bench.timing")
local workload = require("spec.bench.workload")

local ROUNDS = 5

local function alone(w)
  local step = function() w:step() end
  local us, spread = timing.rounds(step, ROUNDS, 300000)
  local calls = core.memory().calls
  for _ = 1, 5 do step() end
  return us, spread, core.memory().calls - calls
end

return function(bench, report)
  print("workloads")
  for _, row in ipairs(workload.ROWS) do
    if bench.wants("workloads", row[1]) then
      local w = workload.make(row[1])
      local us, spread, calls = alone(w)
      report.raise_limits(core.limits())
      report.row {
        workload = w.name, kind = w.kind, ours_us = us, spread = spread, flops = w:flops(), bytes = w.bytes,
        load = timing.load(), allocations = calls > 0 and calls or nil,
      }
      collectgarbage()
      collectgarbage()
    end
  end
end
