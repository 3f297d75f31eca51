--- Comparing a device with the CPU: what opencl_spec.lua and the scripts that it starts share.
local core = require("moonlet.core")
local derivative = require("spec.support.derivative")
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

--- Compiles graph for both devices; runs of the CPU's program are the reference, without passes when `plain`.
function compare.job(label, graph, tensors, tolerance, passes_off, plain)
  local options = { mode = "train", inputs = tensors, passes_off = passes_off }
  local want = { graph:program({ mode = "train", inputs = tensors, passes_off = plain and "all" or passes_off }):run(tensors) }
  local program = compare.on("opencl", function() return graph:program(options) end)
  return { label = label, program = program, tensors = tensors, want = want, tolerance = tolerance }
end

--- A job of several members { label, tensors, tolerance, outputs = f(xs) } in one graph: one program is built faster than many.
local function joint_job(members, passes_off, plain)
  local tensors, names, first = {}, {}, {}
  for i, m in ipairs(members) do
    first[i], names[i] = #tensors, m.label
    for _, t in ipairs(m.tensors) do tensors[#tensors + 1] = t end
  end
  local of = {} -- the member of each result
  local graph = samples.trace(tensors, function(xs)
    local outputs = {}
    for i, m in ipairs(members) do
      local own = {}
      for k = 1, #m.tensors do own[k] = xs[first[i] + k] end
      for _, y in ipairs(m.outputs(own) or {}) do outputs[#outputs + 1], of[#of + 1] = y, m end
    end
    return #outputs > 0 and outputs or { xs[1] }
  end)
  local job = compare.job(table.concat(names, ", "), graph, tensors, members[1].tolerance, passes_off, plain)
  job.of = of
  return job
end

--- Runs the jobs; an error lists what differs.
function compare.check(jobs)
  local wrong = {}
  for _, j in ipairs(jobs) do
    local ok, got = pcall(function() return { j.program:run(j.tensors) } end)
    if not ok then wrong[#wrong + 1] = j.label .. ": " .. tostring(got) end
    for i = 1, ok and #got or 0 do
      local member = j.of and j.of[i] or j
      local text = compare.difference(got[i], j.want[i], member.tolerance)
      if text then wrong[#wrong + 1] = member.label .. ", result " .. i .. ": " .. text end
    end
  end
  if #wrong == 0 then return end
  error(#wrong .. " of " .. #jobs .. " are wrong:\n" .. table.concat(wrong, "\n", 1, math.min(10, #wrong)), 0)
end

local AT_ONCE, MEMBERS = 8, 6

-- Calls f(op, case, i) for every op's cases that `takes(op, i, number of the op)` wants, and checks the jobs that its members make.
local function each_case(takes, f, passes_off, plain)
  local jobs, members, all = {}, {}, 0
  local function close()
    if #members > 0 then jobs[#jobs + 1] = joint_job(members, passes_off, plain) end
    members = {}
  end
  for number, op in ipairs(core.ops()) do
    local found, list = pcall(samples.of, op)
    for i, case in ipairs(found and list or {}) do
      local member = takes(op, i, number) and f(op, case, i, list) or nil
      members[#members + 1], all = member, all + (member and 1 or 0)
      if #members == MEMBERS then close() end
      if #jobs == AT_ONCE then
        compare.check(jobs)
        jobs = {}
      end
    end
  end
  close()
  compare.check(jobs)
  assert(all > 0, "no case to compare")
end

--- The cases with float inputs of dtype.
function compare.sweep(dtype, tolerance, takes, passes_off)
  each_case(takes, function(op, case, i)
    return { label = samples.label(op, i, dtype), tensors = samples.tensors(case, dtype, op.name .. i),
      tolerance = math.max(tolerance, case.rtol or 0), outputs = function(xs) return samples.call(op, case, xs) end }
  end, passes_off)
end

-- Elementwise ops are compared some at a time: each is of numbers of its own, and all results are added up, so that they become one
-- loop, for building a kernel takes long. 3 x 33 numbers make it go by vectors and one by one. What only goes one by one is apart.
local SPACE, TOGETHER, ALONE = { 3, 33 }, 8, { floor_divide = true, remainder = true, pow = true }

local function takes_dtype(list, dtype)
  for _, one in ipairs(samples.dtypes(list)) do
    if one == dtype then return true end
  end
  return dtype == "f64" or dtype == "f32"
end

local function on_space(case)
  local moved = { attrs = case.attrs }
  for i, spec in ipairs(case) do
    moved[i] = setmetatable({ shape = SPACE }, { __index = spec })
  end
  return moved
end

local function groups_of(dtype)
  local groups, last, alone = {}, nil, {}
  for _, op in ipairs(core.ops()) do
    local list = op.kind == "elementwise" and samples.of(op)
    if list and takes_dtype(list, dtype) then
      local group = ALONE[op.name] and alone or last
      if not group or #group == TOGETHER then
        group = {}
        groups[#groups + 1], last = group, group
      end
      group[#group + 1] = { op = op, case = on_space(list[1]) }
    end
  end
  groups[#groups + 1] = #alone > 0 and alone or nil
  return groups
end

-- The sum of all members' results, and with `gradients` its derivatives.
local function group_job(group, dtype, gradients)
  local tensors, first, names = {}, {}, {}
  for i, member in ipairs(group) do
    first[i], names[i] = #tensors, member.op.name
    for _, t in ipairs(samples.tensors(member.case, dtype, member.op.name)) do tensors[#tensors + 1] = t end
  end
  local graph = samples.trace(tensors, function(xs)
    local total, moving
    for i, member in ipairs(group) do
      local own = {}
      for k = 1, #member.case do own[k] = xs[first[i] + k] end
      local y = samples.call(member.op, member.case, own)[1]:cast(dtype == "f32" and "f32" or "f64") * (0.5 + i / 7)
      total = total and total + y or y
    end
    if not gradients then return { total } end
    moving = {}
    for _, x in ipairs(xs) do moving[#moving + 1] = x.dtype == "f64" and x or nil end
    local outputs = core.gradients(core.sum(total), moving)
    outputs[#outputs + 1] = total
    return outputs
  end)
  return compare.job(table.concat(names, " "), graph, tensors, dtype == "f64" and 1e-11 or 4e-6, nil, true)
end

--- Elementwise ops of a dtype, one group of them in `every`.
function compare.elementwise(dtype, every, gradients)
  local jobs = {}
  for i, group in ipairs(groups_of(dtype)) do
    jobs[#jobs + 1] = i % every == 0 and group_job(group, dtype, gradients) or nil
  end
  assert(#jobs > 0, "no op to compare")
  compare.check(jobs)
end

-- The case's gradients; nil: it has none, or is too large for the CPU's plain kernels.
local function gradient_member(op, case, label)
  if case.smooth == false or case.large then return nil end
  local tensors = samples.tensors(case, "f64", label)
  local which = derivative.moving(case, tensors)
  return #which > 0 and { label = label, tensors = tensors, tolerance = 1e-10,
    outputs = function(xs) return derivative.outputs(op, case, xs, which, 1, label) end } or nil
end

--- Gradients in f64 of the cases of differentiable ops, against those of the CPU's plain kernels, which gradient_spec.lua compares
-- with finite differences.
function compare.gradients(takes)
  each_case(takes, function(op, case, i, list)
    return op.differentiable and not list.constant and gradient_member(op, case, samples.label(op, i, "gradient")) or nil
  end, nil, true)
end

return compare
