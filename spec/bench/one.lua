--- One workload in a process of its own: `moonlet spec/bench/one.lua NAME STEPS [peak]`. With "peak" it prints the largest resident
-- set of the process.
local w = require("spec.bench.workload").make(arg[1])
for _ = 1, tonumber(arg[2]) do w:step() end
if arg[3] == "peak" then
  local file = io.open("/proc/self/status")
  print("peak " .. (file and tonumber(file:read("*a"):match("VmHWM:%s*(%d+)")) * 1024 or 0))
end
