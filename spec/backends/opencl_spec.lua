-- The OpenCL backend against the CPU: every op, random graphs, gradients, training; the choice of devices; failures of every call.
-- Without a device all of it is pending. MOONLET_SOAK=1 takes every case and dtype.
local ml = require("moonlet")
local core = require("moonlet.core")
local compare = require("spec.backends.opencl_compare")
local random_graph = require("spec.support.random_graph")
local util = require("moonlet.util")

local soak = os.getenv("MOONLET_SOAK") ~= nil
local build = os.getenv("MOONLET_BUILD") or "build"

local function device_of(backend)
  for _, d in ipairs(ml.devices()) do
    if d.backend == backend then return d end
  end
end
local device = device_of("opencl")

-- What the sweeps take without MOONLET_SOAK: of structured ops the first case and every sixth after it, of composites, made of the
-- others, one op in eight; elementwise ops have a sweep of their own.
local function sample(op, i, number, rest)
  if soak then return true end
  return op.kind == "composite" and i == 1 and number % 8 == rest or op.kind == "structured" and i % 6 == 1
end
local function forward(op, i, number) return sample(op, i, number, 1) end
local function backward(op, i, number) return sample(op, i, number, 5) and (soak or i == 1) end
local function constants(op, i) return soak or op.kind == "structured" and not op.differentiable and i == 1 end
local function structured_every(n) return function(op, i) return soak or op.kind == "structured" and i % n == 1 end end
local function products(op, i)
  return soak or i % 6 == 1 and (op.name == "matmul" or op.name:find("conv", 1, true) or op.name:find("pool", 1, true))
end

-- Losses of a small network trained by hand, of variables and data of a dtype.
local function losses(name, dtype, steps)
  return compare.on(name, function()
    ml.seed(5)
    local x = ml.randn({ 16, 6, 6, 2 }, dtype)
    local y = ml.arange(16):remainder(4):cast("i32")
    local w = ml.variable(ml.randn({ 3, 3, 2, 8 }, dtype) * 0.3)
    local v = ml.variable(ml.randn({ 72, 4 }, dtype) * 0.1)
    local b = ml.variable(ml.zeros({ 4 }, dtype))
    local step = ml.fn(function(images, labels)
      local h = core.max_pool(core.conv(images, w, { padding = "same" }):relu(), { window = { 2, 2 } })
      local logits = h:reshape({ -1, 72 }):matmul(v) + b
      local loss = core.softmax_cross_entropy(logits, labels):mean()
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

  it("computes elementwise ops as the CPU does", function()
    compare.elementwise("f32", 1)
    compare.elementwise("i32", soak and 1 or 3)
    if device.f64 then compare.elementwise("f64", soak and 1 or 4, true) end
  end)

  it("computes tanh on both sides of where its formula changes, and at its ends", function()
    local list = { 0, -0.0, 1 / 0, -1 / 0, 0 / 0, 1e-30, -1e-5, 0.6249999, 0.625, -0.6250001, 9, -20, 100 }
    for i = 1, 200 do list[#list + 1] = (i - 100) / 37 end
    local x = core.tensor(list, "f32")
    local s = core.placeholder("x", "f32", x.shape)
    local job = compare.job("tanh", core.graph({ s }, { s:tanh(), 1 / s:tanh() }), { x }, 1e-7)
    compare.check { job }
  end)

  it("is asked in slices whether a run is over, and never waited for", function()
    local before = core.device()
    finally(function() core.device(before) end)
    ml.device "opencl"
    local v = ml.variable(ml.zeros {})
    local f = ml.fn(function(x)
      local y = x
      for _ = 1, 12 do y = y:matmul(x) * (1 / 768) end
      v:assign(v + 1)
      return y
    end)
    local x = ml.uniform { 768, 768 }
    local program = f:program(x)
    local want = core.tostring(program:run { x }) -- builds the kernels
    local start = core.clock_us()
    core.tostring(program:run { x })
    local whole, longest, polls, count = core.clock_us() - start, 0, 0, v:item()
    local args, done, out = { x, budget_us = 20 }
    repeat
      start = core.clock_us()
      done, out = program:run(args)
      longest, polls = math.max(longest, core.clock_us() - start), polls + 1
      if not done then assert.equal(count, v:item()) end
    until done
    assert.equal(count + 1, v:item())
    assert.equal(want, core.tostring(out))
    assert.is_true(polls > 3, polls)
    assert.is_true(longest < whole / 2, ("a slice of %.0f us, the whole takes %.0f"):format(longest, whole))
    program:run(args) -- given up with all asked for
    program:cancel()
    assert.equal(want, core.tostring(program:run { x }))
  end)

  it("runs small kernels that follow each other as one, and gives the bits that each gives by itself", function()
    compare.on("opencl", function()
      local w, b = ml.randn { 5, 35 }, ml.randn { 35 }
      local v = ml.variable(ml.zeros {})
      local f = ml.fn(function(x, index)
        local h = (x:matmul(w) + b):tanh():gather(index, 1)
        local y = (h * h):sum(2):exp()
        v:assign(v + 1)
        return h:matmul(w:transpose()), y:remainder(0.7), ml.grad(y:mean(), { x })[1]
      end)
      local args = { ml.randn { 6, 5 }, ml.tensor({ 3, 0, 3, 5 }, "i32") }
      local program = f:program(util.unpack(args))
      local function numbers(...)
        local list = {}
        for _, t in ipairs { ... } do
          for _, x in ipairs(t:reshape({ -1 }):totable()) do list[#list + 1] = ("%.17g"):format(x) end
        end
        return table.concat(list, " ")
      end
      core.profile_begin(false) -- waits for each launch
      local want = numbers(program:run(args))
      core.profile_end()
      core.profile_clear()
      for _ = 1, 3 do assert.equal(want, numbers(program:run(args))) end
      local function sliced(before_next)
        local slice, results = { args[1], args[2], budget_us = 1e-3 }
        repeat
          results = { program:run(slice) }
          if not results[1] then before_next() end
        until results[1]
        return numbers(util.unpack(results, 2))
      end
      assert.equal(want, sliced(function() end))
      assert.equal(want, sliced(function() assert.equal(4, ml.tensor({ 1, 3 }):sum():item()) end))
      program:run { args[1], args[2], budget_us = 1e-3 }
      program:cancel() -- what had waited never runs, or runs before the next
      assert.equal(want, numbers(program:run(args)))
      assert.equal(7, v:item())
    end)
  end)

  it("keeps small buffers apart, which come and go in shared memory", function()
    compare.on("opencl", function()
      local sizes, kept, n = { 1, 512, 513, 2000, 4096, 4097, 20000 }, {}, 0
      for round = 1, 4 do
        for _, size in ipairs(sizes) do
          for _ = 1, 3 do
            n = n + 1
            kept[#kept + 1] = { n, ml.arange(size) + n }
          end
        end
        for i = #kept, 1, -1 do -- every third goes
          if (i + round) % 3 == 0 then table.remove(kept, i)[2]:release() end
        end
        for _, one in ipairs(kept) do
          local numbers = one[2]:totable()
          for i, x in ipairs(numbers) do
            if x ~= one[1] + i - 1 then error(("buffer %d of %d: number %d is %g"):format(one[1], #numbers, i, x)) end
          end
        end
      end
    end)
  end)

  it("computes structured ops as the CPU does, in bf16 and f16", function()
    compare.sweep("bf16", 2 ^ -7, structured_every(17))
    compare.sweep("f16", 2 ^ -10, structured_every(23))
  end)
  it("converts halves to the bit", function()
    local list, jobs = {}, {}
    for exponent = -140, 127 do
      for i = 1, 16 do list[#list + 1] = (i % 2 == 0 and -1 or 1) * (1 + i * i / 257) * 2.0 ^ exponent end
    end
    for i, x in ipairs { 0, -0.0, 1 / 0, -1 / 0, 0 / 0, 1 + 2 ^ -8, 1 + 3 * 2 ^ -8, 65519, 65520 } do list[i] = x end
    local x = core.tensor(list, "f64"):cast("f32")
    for _, dtype in ipairs { "bf16", "f16" } do
      local s = core.placeholder("x", "f32", x.shape)
      jobs[#jobs + 1] = compare.job("to " .. dtype, core.graph({ s }, { s:cast(dtype), s:cast(dtype):cast("f32") }), { x }, 0)
      jobs[#jobs + 1] = compare.job("plain to " .. dtype, core.graph({ s }, { s:cast(dtype):cast("f32") }), { x }, 0, "all")
    end
    compare.check(jobs)
  end)
  it("computes other ops as the CPU does, in f32", function() compare.sweep("f32", 4e-6, forward) end)
  it("multiplies few rows by much, by its rows and by its columns", function()
    local jobs, turned = {}, { 1, 3, 2 }
    for i, case in ipairs { { 1, 1, 301, 500 }, { 2, 3, 301, 503 }, { 1, 2, 40, 4500 } } do
      local b, m, k, n = table.unpack(case)
      ml.seed(i)
      local x = { ml.randn { b, m, k }, ml.randn { b, k, n }, ml.randn { b, n, k } }
      local s = {}
      for j, one in ipairs(x) do s[j] = core.placeholder("x" .. j, "f32", one.shape) end
      local graph = core.graph(s, { s[1]:matmul(s[2]), s[1]:matmul(s[3]:transpose(turned)) })
      jobs[i] = compare.job("few rows " .. i, graph, x, 4e-6)
    end
    compare.check(jobs)
  end)
  it("multiplies by the rows of a matrix whose columns lie one after the other", function()
    local jobs = {}
    for i, dtype in ipairs { "f32", device.f64 and "f64" or nil } do -- more than one piece of terms; the last tiles of rows in part
      local a, b = ml.randn({ 530, 43 }, dtype), ml.randn({ 530, 35 }, dtype)
      local s = { core.placeholder("a", dtype, a.shape), core.placeholder("b", dtype, b.shape) }
      local graph = core.graph(s, { s[1]:transpose():matmul(s[2]) })
      jobs[i] = compare.job("transposed " .. dtype, graph, { a, b }, i == 1 and 4e-6 or 1e-11)
    end
    compare.check(jobs)
  end)
  it("computes without fused loops and fast kernels", function() compare.sweep("f32", 4e-6, products, "all") end)
  if device.f64 then
    it("computes in f64 what has no gradient", function() compare.sweep("f64", 1e-11, constants) end)
    it("has the gradients of the ops", function() compare.gradients(backward) end)
  end

  it("convolves each channel by itself, by vectors of channels on CPU devices, with its gradients", function()
    local function run(name, window, strides, padding)
      return compare.on(name, function()
        ml.seed(3)
        local x, w = ml.variable(ml.randn { 2, 7, 9, 32 }), ml.variable(ml.randn { window, 3, 1, 32 })
        local f = ml.fn(function()
          local y = core.conv(x, w, { groups = 32, strides = { strides, strides }, padding = padding })
          local grads = ml.grad((y * y * y):mean(), { x, w })
          return y, grads[1], grads[2]
        end)
        if name ~= "cpu" and device.kind == "cpu" then
          assert.is_truthy(f:program():explain():find("opencl_conv_depthwise", 1, true))
        end
        return { f() }
      end)
    end
    for _, case in ipairs { { 3, 1, "same" }, { 5, 2, "valid" } } do
      local a, b = run("cpu", util.unpack(case)), run("opencl", util.unpack(case))
      for i = 1, 3 do assert.is_nil(compare.difference(b[i], a[i], 4e-6)) end
    end
  end)

  -- An LSTM's outputs and, for the sum of their squares, its gradients. Sizes: batch, steps, units; b 5 and 19 leave tiles in part.
  local function lstm_case(b, t, u, dtype, masked, backwards)
    ml.seed(b)
    local x = { ml.randn({ b, t, 3 }, dtype), ml.randn({ 3, 4 * u }, dtype), ml.randn({ u, 4 * u }, dtype) / math.sqrt(u),
      ml.randn({ 4 * u }, dtype), ml.randn({ b, u }, dtype), ml.randn({ b, u }, dtype) }
    local inputs, mask = {}, ml.rand { b, t }
    for i, one in ipairs(x) do inputs[i] = core.placeholder("x" .. i, one.dtype, one.shape) end
    if masked then x[7], inputs[7] = mask:lt(0.6), core.placeholder("mask", "bool", { b, t }) end
    local args = { table.unpack(inputs) }
    args[#args + 1] = { go_backwards = backwards }
    local y, h, c = core.lstm(table.unpack(args))
    local outputs = core.gradients((y * y + y):sum() + (h * h):sum() + (c * c):sum(), { table.unpack(inputs, 1, 6) })
    for _, out in ipairs { y, h, c } do outputs[#outputs + 1] = out end
    return core.graph(inputs, outputs), x
  end

  it("takes a recurrent layer through all its steps in one launch, by rows, on CPU devices", function()
    local jobs = {}
    for i, case in ipairs { { 5, 4, 48, "f32" }, { 19, 3, 16, "f32", true, true }, { 3, 3, 24, "f64", true } } do
      if case[4] == "f32" or device.f64 then
        local graph, tensors = lstm_case(table.unpack(case))
        local job = compare.job("lstm " .. i, graph, tensors, case[4] == "f32" and 4e-6 or 1e-11)
        if device.kind == "cpu" then
          local text = job.program:explain()
          assert.is_truthy(text:find("opencl_lstm_sequence_grad", 1, true))
          assert.is_nil(text:find("scan", 1, true))
        end
        jobs[#jobs + 1] = job
      end
    end
    compare.check(jobs)
  end)

  -- Attention's output and, for y^2 + y, its gradients. Sizes: batch, heads, queries, keys, of a head, of its values.
  local function attention_case(sizes, dtype, attrs, mask)
    local b, h, t, s, d, e = table.unpack(sizes)
    ml.seed(t)
    local x, inputs = { ml.randn({ b, h, t, d }, dtype), ml.randn({ b, h, s, d }, dtype), ml.randn({ b, h, s, e }, dtype) }, {}
    if mask then x[4] = ml.rand(mask):lt(0.6) end
    for i, one in ipairs(x) do inputs[i] = core.placeholder("x" .. i, one.dtype, one.shape) end
    local args = { table.unpack(inputs) }
    args[#args + 1] = attrs
    local y = core.attention(table.unpack(args))
    local outputs = core.gradients((y * y + y):sum(), { inputs[1], inputs[2], inputs[3] })
    outputs[4] = y
    return core.graph(inputs, outputs), x
  end

  -- Panels and blocks in part, more than one block of keys, heads that are cut for want of others, keys that no query sees.
  it("attends by panels of queries on CPU devices, without their scores in memory, with its gradients", function()
    local jobs = {}
    for i, case in ipairs {
      { { 2, 3, 33, 33, 32, 64 }, "f32", { causal = true } },
      { { 2, 2, 40, 300, 20, 9 }, "f32", { causal = true, scale = -0.3 }, { 2, 1, 40, 300 } },
      { { 1, 1, 70, 290, 7, 33 }, "f32", {}, { 70, 1 } },
      { { 1, 1, 300, 300, 3, 32 }, "f32", { causal = true } },
      { { 2, 1, 9, 5, 1, 1 }, "f32", { causal = true }, { 5 } },
      { { 1, 3, 20, 40, 17, 16 }, "f64", { causal = true } },
    } do
      if case[2] == "f32" or device.f64 then
        local graph, tensors = attention_case(case[1], case[2], case[3], case[4])
        local job = compare.job("attention " .. i, graph, tensors, case[2] == "f32" and 4e-6 or 1e-12)
        local text = job.program:explain()
        assert.is_true(device.kind ~= "cpu" or text:find("opencl_attention_grad", 1, true) ~= nil, text)
        jobs[#jobs + 1] = job
      end
    end
    compare.check(jobs)
  end)

  it("passes on what is not a number in attention, and gives 0 to a query that sees nothing", function()
    compare.on("opencl", function()
      local x, k = ml.ones { 1, 1, 6, 2 }, ml.ones { 1, 1, 6, 2 }
      k[1][1][5][1] = 0 / 0
      local causal = ml.fn(function(q, keys) return core.attention(q, keys, q, { causal = true }) end)
      for i, y in ipairs(causal(x, k):reshape({ -1 }):totable()) do
        if i > 8 then assert.is_true(y ~= y, i) else assert.equal(1, y) end
      end
      local masked = ml.fn(function(q, mask) return core.attention(q, q, q, mask) end)
      for _, y in ipairs(masked(x, ml.zeros({ 6, 6 }, "bool")):reshape({ -1 }):totable()) do assert.equal(0, y) end
    end)
  end)

  -- What works row by row, and, for y^2 + y, its gradients.
  local function rows_case(shape, dtype, label)
    local n, outputs = shape[#shape], {}
    ml.seed(n)
    local x = { ml.randn(shape, dtype) * 2 + 1, ml.randn({ n }, dtype), ml.randn({ n }, dtype),
      ml.integers({ table.unpack(shape, 1, #shape - 1) }, 0, n, label) }
    local s = {}
    for i, one in ipairs(x) do s[i] = core.placeholder("x" .. i, one.dtype, one.shape) end
    local function add(y, ...)
      outputs[#outputs + 1] = y
      for _, dx in ipairs(core.gradients((y * y + y):sum(), { ... })) do outputs[#outputs + 1] = dx end
    end
    add(core.layer_norm(s[1], s[2], s[3]), s[1], s[2], s[3])
    add(core.layer_norm(s[1]), s[1])
    add(core.rms_norm(s[1], s[2], { epsilon = 0.1 }), s[1], s[2])
    add(core.softmax(s[1], { axis = -1 }), s[1])
    add(core.log_softmax(s[1], { axis = -1 }), s[1])
    add(core.softmax_cross_entropy(s[1], s[4]), s[1])
    return core.graph(s, outputs), x
  end

  -- 300 rows of 100: several work-items; 100, 5 and 9 leave vectors in part.
  it("normalises and compares with labels row by row in one launch, on CPU devices, with their gradients", function()
    local jobs = {}
    for i, case in ipairs { { { 300, 100 }, "f32", "i32" }, { { 2, 3, 5 }, "f32", "i64" }, { { 7, 9 }, "f64", "i32" } } do
      if case[2] == "f32" or device.f64 then
        local graph, tensors = rows_case(table.unpack(case))
        local job = compare.job("rows " .. i, graph, tensors, case[2] == "f32" and 4e-6 or 1e-11)
        local text = job.program:explain()
        for _, name in ipairs { "layer_norm", "rms_norm", "layer_norm_grad", "rms_norm_grad", "softmax", "log_softmax",
          "softmax_cross_entropy", "softmax_cross_entropy_grad" } do
          assert.is_true(device.kind ~= "cpu" or text:find("opencl_" .. name .. " ", 1, true) ~= nil, name)
        end
        jobs[#jobs + 1] = job
      end
    end
    compare.check(jobs)
  end)

  it("passes on what is not a number in a row, and refuses a bad label", function()
    compare.on("opencl", function()
      local x = ml.ones { 3, 20 }
      x[2][19] = 0 / 0
      for _, f in ipairs { core.layer_norm, function(a) return core.softmax(a, { axis = -1 }) end } do
        local sums = ml.fn(function(a) return f(a):sum(2) end)(x):totable()
        assert.is_true(sums[1] == sums[1] and sums[2] ~= sums[2] and sums[3] == sums[3])
      end
      local loss = ml.fn(function(a, t) return core.softmax_cross_entropy(a, t) end)
      for _, bad in ipairs { 20, -1 } do
        local ok, message = pcall(function() return loss(x, ml.tensor({ 0, bad, 1 }, "i32")):totable() end)
        assert.is_false(ok)
        assert.is_truthy(tostring(message):find("softmax_cross_entropy: index " .. bad .. " is out of range", 1, true), message)
      end
    end)
  end)

  it("computes random graphs as the CPU does", function()
    local jobs = {}
    for seed = 1, soak and 2000 or 4 do
      local graph, tensors = random_graph.build(seed, 12 + seed % 20)
      jobs[#jobs + 1] = compare.job("seed " .. seed, graph, tensors, 1e-9)
    end
    compare.check(jobs)
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
      return compare.on(name, function()
        ml.seed(11)
        return { ml.rand({ 100 }), ml.randn({ 100 }), core.integers({ 50 }, 0, 9) }
      end)
    end
    local a, b = draw("cpu"), draw("opencl")
    for i = 1, #a do assert.is_nil(compare.difference(b[i], a[i], i == 2 and 1e-6 or 0)) end
  end)

  it("reports bad indices with the line of the node, and goes on", function()
    compare.on("opencl", function()
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
      assert.are.same({ 5, 5 }, table_of:read()[1]:totable())
    end)
  end)

  it("runs scan, cond and while_loop", function()
    local function run(name)
      return compare.on(name, function()
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
    for i = 1, #a do assert.is_nil(compare.difference(b[i], a[i], 1e-6)) end
  end)

  -- Runs opencl_child.lua with these variables; gives what it printed.
  local function child(variables, argument)
    local command = "%s MOONLET_BUILD='%s' lua5.4 spec/backends/opencl_child.lua %s 2>&1"
    local pipe = io.popen(command:format(variables, build, argument))
    local text = pipe:read("a")
    pipe:close()
    return text
  end

  local function temporary_folder()
    local folder = os.tmpname()
    os.remove(folder)
    finally(function() os.execute("rm -rf '" .. folder .. "'") end)
    return folder
  end

  it("has kernels for work-groups that agree with the CPU", function()
    local text = child("MOONLET_OPENCL_FAMILY=gpu", "gpu")
    assert.is_truthy(text:find("^0 wrong"), text)
    for _, name in ipairs { "matmul", "conv", "conv_input_grad", "conv_filter_grad" } do
      assert.is_truthy(text:find("opencl_" .. name .. "_local", 1, true), text)
    end
  end)

  it("keeps what it built, and builds again what is damaged", function()
    local folder = temporary_folder()
    local variables = "MOONLET_CACHE_DIR='" .. folder .. "'"
    local function files()
      local pipe, n = io.popen("ls '" .. folder .. "' 2>/dev/null"), 0
      for name in pipe:lines() do
        assert.is_truthy(name:find("^%x+%.clb$"), name)
        n = n + 1
      end
      pipe:close()
      return n
    end
    assert.is_truthy(child("MOONLET_CACHE_DIR=off", "small"):find("^0 wrong"))
    assert.are.equal(0, files())
    assert.is_truthy(child(variables, "small"):find("^0 wrong"))
    local n = files()
    assert.is_true(n > 0)
    assert.is_truthy(child(variables, "small"):find("^0 wrong\nbuilt 0 kept " .. n))
    assert.are.equal(n, files())
    for _, damage in ipairs({ "truncate -s -9 ", "truncate -s 3 ", "sed -i s/clean/dirty/ ", "cp /bin/sh " }) do
      os.execute("for f in '" .. folder .. "'/*; do " .. damage .. "\"$f\"; done")
      assert.is_truthy(child(variables, "small"):find("^0 wrong"), damage)
      assert.are.equal(n, files())
    end
    assert.is_truthy(child("MOONLET_CACHE_DIR=/proc/no/such", "small"):find("^0 wrong"))
  end)

  it("makes an error of every call that fails, and the CPU goes on; a steady step is launches alone", function()
    local folder = temporary_folder()
    local program, shim = build .. "/spec/backends/opencl_failures", build .. "/spec/backends/opencl_shim.so"
    local pipe = io.popen(string.format("%s %s %s %d 2>&1; echo status $?", program, shim, folder, soak and 1 or 5))
    local text = pipe:read("a")
    pipe:close()
    assert.is_truthy(text:find("status 0", 1, true), text)
  end)
end)
