--- Figures of this machine: `make bench`, `make bench ONLY=gpt_train`, `make bench PEERS=1`, `make bench DEVICE=opencl`. Prints a
-- table and writes build/bench/results.json. README.md in this folder says what the columns mean and how they are measured.
local ml = require("moonlet")
local core = require("moonlet.core")
local report = require("spec.bench.report")

local GROUPS = { "fixed", "compile", "start", "kernels", "embed", "workloads", "scaling" }
local BY_ITSELF = { scaling = true } -- only when it is named

-- Words of ONLY: groups, or what names of rows begin with.
local words = {}
for word in (arg and arg[1] or ""):gmatch("[^%s,]+") do words[#words + 1] = word end

local function is_group(word)
  for _, group in ipairs(GROUPS) do
    if word == group then return true end
  end
  return false
end

local bench = { device = core.device(), build = os.getenv("MOONLET_BUILD") or "build", peers = os.getenv("PEERS") }
if bench.peers == "" or bench.peers == "0" then bench.peers = nil end

--- Calls f with the CPU as the device, whatever is measured otherwise.
function bench.on_cpu(f)
  core.device("cpu")
  local result = f()
  core.device(bench.device)
  return result
end

--- What the machine can do, measured now.
function bench.measure_limits() return bench.on_cpu(core.limits) end

--- Writes what is known so far.
function bench.write()
  core.write_file(bench.build .. "/bench/results.json", report.json())
  core.write_file(bench.build .. "/bench/table.md", report.markdown())
end

--- Is a row of this group wanted?
function bench.wants(group, name)
  local named = false
  for _, word in ipairs(words) do
    if word == group then return true end
    named = named or (not is_group(word) and name and name:sub(1, #word) == word)
  end
  return named or (#words == 0 and not BY_ITSELF[group])
end

local function wants_group(group)
  for _, word in ipairs(words) do
    if word == group or not is_group(word) then return true end
  end
  return #words == 0 and not BY_ITSELF[group]
end

os.execute("mkdir -p " .. bench.build .. "/bench")
bench.limits = bench.measure_limits()
report.header(ml.version, core.device(), bench.limits)
for _, group in ipairs(GROUPS) do
  if wants_group(group) then require("spec.bench." .. group)(bench, report) end
end
report.summary()
bench.write()
