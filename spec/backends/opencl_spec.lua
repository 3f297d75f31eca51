-- The OpenCL backend against the CPU: every op, random graphs, gradients, training; the choice of devices; failures of every call.
-- Without a device all of it is pending. Programs of many cases are compiled before the first one runs, for kernels that wait are
-- built together. MOONLET_SOAK=1 takes every case and dtype.
local ml = require("moonlet")
local core = require("moonlet.core")
local samples = require("spec.support.samples")
local random_graph = require("spec.support.random_graph")

local soak = os.getenv("MOONLET_SOAK") ~= nil
local build = os.getenv("MOONLET_BUILD") or "build"

local function device_of(backend)
  for _, d in ipairs(ml.devices()) do
    if d.backend == backend then return d end
  end
end
local device = device_of("opencl")

local function flat(t)
  if samples.count(t.shape) == 0 then return {} end
  return t:reshape({ -1 }):totable()
end

-- What is the matter with got, when want came from the CPU; nil: nothing.
local function difference(got, want, tolerance)
  if got.dtype ~= want.dtype then return "dtype " .. got.dtype .. ", expected " .. want.dtype end
  if table.concat(got.shape, ",") ~= table.concat(want.shape, ",") then return "another shape" end
  local x, y, top = flat(got), flat(want), 0
  local is_float = got.dtype == "f32" or got.dtype == "f64"
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

local function on(name, f)
  local before = core.device()
  core.device(name)
  local ok, result = pcall(f)
  core.device(before)
  if not ok then error(result, 0) end
  return result
end

-- Compiles graph for both devices; runs of the CPU's program are the reference.
local function job(label, graph, tensors, tolerance, passes_off)
  local options = { mode = "train", inputs = tensors, passes_off = passes_off }
  local want = { graph:program(options):run(tensors) }
  local program = on("opencl", function() return graph:program(options) end)
  return { label = label, program = program, tensors = tensors, want = want, tolerance = tolerance }
end

local function check(jobs)
  local wrong = {}
  for _, j in ipairs(jobs) do
    local ok, got = pcall(function() return { j.program:run(j.tensors) } end)
    if not ok then wrong[#wrong + 1] = j.label .. ": " .. tostring(got) end
    for i = 1, ok and #got or 0 do
      local text = difference(got[i], j.want[i], j.tolerance)
      if text then wrong[#wrong + 1] = j.label .. ", result " .. i .. ": " .. text end
    end
  end
  if #wrong > 0 then error(#wrong .. " of " .. #jobs .. " are wrong:\n" .. table.concat(wrong, "\n", 1, math.min(10, #wrong)), 0) end
end

local function sweep(dtype, tolerance, takes, passes_off)
  local jobs = {}
  for _, op in ipairs(core.ops()) do
    local found, list = pcall(samples.of, op)
    for i, case in ipairs(found and list or {}) do
      if soak or takes(op, i) then
        local tensors = samples.tensors(case, dtype, op.name .. i)
        local graph = samples.trace(tensors, function(xs) return samples.call(op, case, xs) end)
        jobs[#jobs + 1] = job(samples.label(op, i, dtype), graph, tensors, math.max(tolerance, case.rtol or 0), passes_off)
      end
    end
  end
  check(jobs)
end

local structured = { structured = true }
local function every(n) return function(_, i) return i % n == 1 or n == 1 end end
local function structured_every(n) return function(op, i) return structured[op.kind] and i % n == 1 end end

-- Losses of a small network trained by hand, of variables and data of a dtype.
local function losses(name, dtype, steps)
  return on(name, function()
    ml.seed(5)
    local x = ml.randn({ 16, 6, 6, 2 }):cast(dtype)
    local y = ml.arange(16):remainder(4):cast("i32")
    local w = ml.variable((ml.randn({ 3, 3, 2, 8 }) * 0.3):cast(dtype))
    local v = ml.variable((ml.randn({ 72, 4 }) * 0.1):cast(dtype))
    local b = ml.variable(ml.zeros({ 4 }, dtype))
    local step = ml.fn(function(images, labels)
      local h = core.max_pool(core.conv(images, w, { padding = "same" }):relu(), { window = { 2, 2 } })
      local logits = h:reshape({ -1, 72 }):matmul(v) + b
      local loss = core.softmax_cross_entropy(logits, labels:one_hot(4, dtype)):mean()
      local grads = ml.grad(loss, { w, v, b })
      w:assign(w - 0.2 * grads[1])
      v:assign(v - 0.2 * grads[2])
      b:assign(b - 0.2 * grads[3])
      return loss
    end)
    local list = {}
    for i = 1, steps do list[i] = step(x, y):item() end
    return list
  end)
end

local function worst(a, b)
  local most = 0
  for i = 1, #a do most = math.max(most, math.abs(a[i] - b[i]) / math.abs(a[i])) end
  return most
end

describe("a device word", function()
  it("that names nothing is an error, and the device stays", function()
    local before = core.device()
    local ok, message = pcall(ml.device, "opencl:no such model")
    assert.is_false(ok)
    assert.is_truthy(tostring(message):find("opencl", 1, true), message)
    assert.are.equal(before, core.device())
    assert.are.equal(3, ml.tensor({ 1, 2 }):sum():item())
  end)

  it("auto takes the CPU where there is nothing better", function()
    local before, others = core.device(), 0
    for _, d in ipairs(ml.devices()) do others = others + (d.kind ~= "cpu" and 1 or 0) end
    if others == 0 then assert.are.equal("cpu", ml.device("auto")) end
    core.device(before)
  end)

  it("says that there is no loader", function()
    local command = "MOONLET_BUILD=%s MOONLET_OPENCL_LIBRARY=libnone.so.9 MOONLET_CACHE_DIR=off lua5.4 -e %s 2>&1"
    local code = "package.cpath = os.getenv('MOONLET_BUILD') .. '/?.so;' .. package.cpath local ml = require 'moonlet' "
      .. "print(pcall(ml.device, 'opencl')) print(ml.device('auto'), ml.tensor({ 1, 2 }):sum():item(), #ml.devices())"
    if os.getenv("MOONLET_SANITIZER") then return pending("the module needs the sanitizer's program") end
    local pipe = io.popen(command:format(build, '"' .. code .. '"'))
    local text = pipe:read("a")
    pipe:close()
    assert.is_truthy(text:find("the loader libnone.so.9 is not there", 1, true), text)
    assert.is_truthy(text:find("cpu%s+3"), text)
  end)
end)

if not device or os.getenv("MOONLET_SANITIZER") and not soak then
  describe("OpenCL", function()
    pending(device and "drivers are not instrumented: MOONLET_SOAK=1 runs them under a sanitizer all the same"
      or "has no device here: ops, graphs, training and failures are not compared with the CPU")
  end)
  return
end

describe("OpenCL on " .. device.model, function()
  it("is listed, and found by number, kind and part of its model", function()
    assert.are.equal("opencl:1", device.name)
    assert.is_true(device.memory > 0 and device.units > 0 and #device.driver > 0 and #device.platform > 0)
    local before = core.device()
    for _, word in ipairs({ "opencl", "opencl:1", "opencl:" .. device.kind, "opencl:" .. device.model:sub(1, 6):upper() }) do
      assert.are.equal("opencl:1", ml.device(word))
    end
    core.device(before)
  end)

  it("computes every op as the CPU does, in f32", function() sweep("f32", 4e-6, every(3)) end)
  if device.f64 then
    it("computes structured ops as the CPU does, in f64", function() sweep("f64", 1e-11, structured_every(4)) end)
  end
  it("computes without fused loops and fast kernels", function() sweep("f32", 4e-6, structured_every(5), "all") end)

  it("computes random graphs as the CPU does", function()
    local jobs = {}
    for seed = 1, soak and 2000 or 60 do
      local graph, tensors = random_graph.build(seed, 6 + seed % 20)
      jobs[#jobs + 1] = job("seed " .. seed, graph, tensors, 1e-9)
    end
    check(jobs)
  end)

  it("trains to the same losses", function()
    local f32 = worst(losses("cpu", "f32", 20), losses("opencl", "f32", 20))
    assert.is_true(f32 <= 1e-4, "f32: " .. f32)
    if not device.f64 then return end
    local f64 = worst(losses("cpu", "f64", 100), losses("opencl", "f64", 100))
    assert.is_true(f64 <= 1e-9, "f64: " .. f64)
  end)

  it("draws the numbers that the CPU draws", function()
    local function draw(name)
      return on(name, function()
        ml.seed(11)
        return { ml.rand({ 100 }), ml.randn({ 100 }), ml.randint(0, 9, { 50 }) }
      end)
    end
    local a, b = draw("cpu"), draw("opencl")
    for i = 1, #a do assert.is_nil(difference(b[i], a[i], i == 2 and 1e-6 or 0)) end
  end)

  it("reports bad indices with the line of the node, and goes on", function()
    on("opencl", function()
      local table_of = ml.variable(ml.ones({ 4, 2 }))
      local step = ml.fn(function(index)
        local y = table_of:gather(index, 1)
        table_of:assign(table_of + y:sum())
        return y
      end)
      local ok, message = pcall(function() return step(ml.tensor({ 1, 7 }, "i32")):totable() end)
      assert.is_false(ok)
      assert.is_truthy(tostring(message):find("opencl_spec.lua:%d+: gather: index 7 is out of range"), tostring(message))
      assert.are.same({ { 1, 1 }, { 1, 1 } }, step(ml.tensor({ 0, 3 }, "i32")):totable())
      assert.are.same({ 5, 5 }, table_of:value()[1]:totable())
    end)
  end)

  it("runs scan, cond and while_loop", function()
    local function run(name)
      return on(name, function()
        local x = ml.tensor({ { 1, 2 }, { 3, 4 }, { 5, 6 } })
        local f = ml.fn(function(xs)
          local last, all = ml.scan(function(carry, row) return carry * 0.5 + row, carry:sum() end, ml.zeros({ 2 }), xs)
          local picked = ml.cond(last:sum():gt(3), function() return last * 2 end, function() return last end)
          local doubled = ml.while_loop(function(v) return v:sum():lt(100) end, function(v) return v * 2 end, picked)
          return last, all, picked, doubled
        end)
        return { f(x) }
      end)
    end
    local a, b = run("cpu"), run("opencl")
    for i = 1, #a do assert.is_nil(difference(b[i], a[i], 1e-6)) end
  end)

  it("makes an error of every call that fails, and the CPU goes on", function()
    local folder = os.tmpname()
    os.remove(folder)
    local program, shim = build .. "/spec/backends/opencl_failures", build .. "/spec/backends/opencl_shim.so"
    local pipe = io.popen(string.format("%s %s %s %d 2>&1; echo status $?", program, shim, folder, soak and 1 or 5))
    local text = pipe:read("a")
    pipe:close()
    os.execute("rm -rf '" .. folder .. "'")
    assert.is_truthy(text:find("status 0", 1, true), text)
  end)
end)
