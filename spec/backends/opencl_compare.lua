--- Comparing a device with the CPU: what opencl_spec.lua and the scripts that it starts share.
-- Programs of many cases are compiled before the first one runs, for kernels that wait are built together.
local core = require("moonlet.core")
local samples = require("spec.support.samples")

local compare = {}

local function flat(t)
  if samples.count(t.shape) == 0 then return {} end
  return t:reshape({ -1 }):totable()
end

--- What is the matter with got, when want came from the CPU; nil: nothing.
function compare.difference(got, want, tolerance)
  if got.dtype ~= want.dtype then return "dtype " .. got.dtype .. ", expected " .. want.dtype end
  if table.concat(got.shape, ",") ~= table.concat(want.shape, ",") then return "another shape" end
  local x, y, top = flat(got), flat(want), 0
  local is_float = samples.float_dtypes[got.dtype]
  if got.dtype == "f32" then tolerance = math.max(tolerance, 4e-6) end
  for i = 1, is_float and #y or 0 do
    local size = math.abs(y[i])
    if size > top and size < math.huge then top = size end
  end
  for i = 1, #x do
    local p, q = x[i], y[i]
    local equal = p == q or (p ~= p and q ~= q)
    if not equal and is_float then equal = math.abs(p - q) <= tolerance * (1 + math.abs(q) + top) end
    if not equal then return string.format("element %d: %s, expected %s", i, tostring(p), tostring(q)) end
  end
end

--- Calls f with the device set.
function compare.on(name, f)
  local before = core.device()
  core.device(name)
  local ok, result = pcall(f)
  core.device(before)
  if not ok then error(result, 0) end
  return result
end

--- Compiles graph for both devices; runs of the CPU's program are the reference.
function compare.job(label, graph, tensors, tolerance, passes_off)
  local options = { mode = "train", inputs = tensors, passes_off = passes_off }
  local want = { graph:program(options):run(tensors) }
  local program = compare.on("opencl", function() return graph:program(options) end)
  return { label = label, program = program, tensors = tensors, want = want, tolerance = tolerance }
end

--- Runs the jobs; an error lists what differs.
function compare.check(jobs)
  local wrong = {}
  for _, j in ipairs(jobs) do
    local ok, got = pcall(function() return { j.program:run(j.tensors) } end)
    if not ok then wrong[#wrong + 1] = j.label .. ": " .. tostring(got) end
    for i = 1, ok and #got or 0 do
      local text = compare.difference(got[i], j.want[i], j.tolerance)
      if text then wrong[#wrong + 1] = j.label .. ", result " .. i .. ": " .. text end
    end
  end
  if #wrong == 0 then return end
  error(#wrong .. " of " .. #jobs .. " are wrong:\n" .. table.concat(wrong, "\n", 1, math.min(10, #wrong)), 0)
end

--- Every op's cases that `takes(op, i)` wants, with float inputs of dtype.
function compare.sweep(dtype, tolerance, takes, passes_off)
  local jobs = {}
  for _, op in ipairs(core.ops()) do
    local found, list = pcall(samples.of, op)
    for i, case in ipairs(found and list or {}) do
      if takes(op, i) then
        local tensors = samples.tensors(case, dtype, op.name .. i)
        local graph = samples.trace(tensors, function(xs) return samples.call(op, case, xs) end)
        jobs[#jobs + 1] = compare.job(samples.label(op, i, dtype), graph, tensors, math.max(tolerance, case.rtol or 0), passes_off)
      end
    end
  end
  compare.check(jobs)
end

return compare
