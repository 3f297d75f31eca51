--- From the start of a process to its first trained step of mlp_train.
local core = require("moonlet.core")
local peers = require("spec.bench.peers")
local workload = require("spec.bench.workload")

local function seconds() return core.clock_us() / 1e6 end

return function(bench, report)
  if not bench.wants("start", "start") then return end
  report.group("start")
  local best = math.huge
  for _ = 1, 7 do
    local begin = seconds()
    os.execute(bench.build .. "/moonlet spec/bench/one.lua mlp_train 1")
    best = math.min(best, seconds() - begin)
  end
  report.figure("start to first trained step of mlp_train", "start", 1e3 * best, "ms")
  if not bench.peers then return end
  local path = bench.build .. "/bench/start.safetensors"
  workload.make("mlp_train"):save(path)
  local found = peers.first_step(bench, "mlp_train", path, bench.peers, seconds)
  os.remove(path)
  for name, time in pairs(found) do report.figure("the same, " .. name, "start", 1e3 * time, "ms") end
end
