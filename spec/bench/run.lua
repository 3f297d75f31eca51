--- Figures of this machine: `make bench`, or `make bench ONLY=step`. Each group prints lines "name: figure unit" and adds rows to
-- build/bench/results.json. Times are the smallest of several medians, since machines are shared; compare runs only side by side.
local ml = require("moonlet")
local core = require("moonlet.core")

local bench = { rows = {} }

--- Median of the times of n calls, in microseconds; the smallest of five such medians.
function bench.time_us(f, n)
  local best = math.huge
  for _ = 1, 5 do
    local times = {}
    for i = 1, n do
      local start = core.clock_us()
      f()
      times[i] = core.clock_us() - start
    end
    table.sort(times)
    best = math.min(best, times[math.floor((n + 1) / 2)])
  end
  return best
end

--- Mean time of one of n calls in a row, in microseconds: for what is shorter than the clock's grain.
function bench.mean_us(f, n)
  local best = math.huge
  for _ = 1, 7 do
    local start = core.clock_us()
    for _ = 1, n do f() end
    best = math.min(best, (core.clock_us() - start) / n)
  end
  return best
end

function bench.report(workload, kind, value, unit, note)
  print(string.format("  %-44s %12.3f %-12s %s", workload, value, unit, note or ""))
  bench.rows[#bench.rows + 1] = { workload = workload, kind = kind, value = value, unit = unit }
end

local groups = { "fixed", "compile", "kernels", "train" }
local only = arg and arg[1] or os.getenv("ONLY")
local wanted = {}
for word in (only or ""):gmatch("[%w_]+") do wanted[word] = true end

print(string.format("moonlet %s, device %s, %d threads", ml.version, core.device(), core.threads and core.threads() or 0))
for _, group in ipairs(groups) do
  if not only or only == "" or wanted[group] then
    print(group)
    require("spec.bench." .. group)(bench, ml, core)
  end
end

local out = {}
for i, row in ipairs(bench.rows) do
  local form = '{"workload": "%s", "kind": "%s", "value": %.6g, "unit": "%s"}'
  out[i] = form:format((row.workload:gsub('"', "'")), row.kind, row.value, row.unit)
end
local build = os.getenv("MOONLET_BUILD") or "build"
os.execute("mkdir -p " .. build .. "/bench")
core.write_file(build .. "/bench/results.json", "[\n" .. table.concat(out, ",\n") .. "\n]\n")
