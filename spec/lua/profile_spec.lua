-- Profiles: what is counted, what is printed, traces; and that nothing stays behind.
local ml = require("moonlet")
local core = require("moonlet.core")
local nn = ml.nn

-- Measuring the machine is not what these specs are about.
local LIMITS = { gflops = 100, read_gbps = 10, copy_gbps = 20 }

local function profiled(f, opts)
  opts = opts or {}
  opts.limits, opts.print = opts.limits or LIMITS, false
  return ml.profile(f, opts)
end

local function find(rows, pattern)
  for _, row in ipairs(rows) do
    if row.name:find(pattern) then return row end
  end
end

describe("ml.profile", function()
  local function trained()
    local model = ml.Sequential { nn.Dense { 7, activation = "relu" }, nn.Dense { 3 } }
    model:compile { optimizer = "sgd", loss = "sparse_categorical_crossentropy" }
    local x, y = ml.ones { 4, 5 }, ml.zeros({ 4 }, "i64")
    model:train_on_batch(x, y)
    return profiled(function()
      for _ = 1, 3 do model:train_on_batch(x, y) end
    end)
  end

  it("counts calls, time, arithmetic and bytes by op and by layer", function()
    local p = trained()
    local calls, flops = 0, 0
    for _, row in ipairs(p.ops) do
      if row.name:find("^matmul") then calls, flops = calls + row.calls, flops + row.flops end
    end
    -- Forward and weight gradient of both layers, input gradient of the second; and what is done to their results on the way.
    local products = 3 * (2 * 2 * 4 * 5 * 7 + 3 * 2 * 4 * 7 * 3)
    assert.equal(3 * 5, calls)
    assert.is_true(flops >= products and flops < 1.5 * products)
    for _, name in ipairs { "dense_1", "dense_2", "loss", "optimizer" } do
      local layer = assert(find(p.layers, name .. "$"), name)
      assert.is_true(layer.us > 0 and layer.bytes > 0 and layer.calls >= 3, name)
    end
    local sum, shares = 0, 0
    for _, row in ipairs(p.ops) do sum, shares = sum + row.us, shares + row.share end
    assert.near(p.launches_us, sum, 1e-6 * sum)
    assert.near(1, shares, 1e-6)
    assert.is_true(p.wall_us >= p.launches_us)
  end)

  it("names what was fused, and each launch with its operands and script line", function()
    local f = ml.fn(function(x) return (ml.tanh(x) * x + 1):sum() end)
    local x = ml.ones { 6, 5 }
    f(x)
    local p = profiled(function() f(x) end)
    local loop = assert(find(p.ops, "^loop %[tanh mul add"))
    assert.equal(4 * 6 * 5, loop.flops)
    local launch = assert(find(p.launches, "^loop"))
    assert.matches("f32%(6, 5%)", launch.operands)
    assert.matches("profile_spec.lua:%d+$", launch.line)
    assert.matches("loop %[tanh mul add sum%] input f32%(6, 5%)", p:launch_text(5))
  end)

  it("counts a composite's arithmetic by its body, and broadcast operands once", function()
    local f = ml.fn(function(x, b) return ml.softmax(x, -1) + b end)
    local x, b = ml.ones { 8, 100 }, ml.ones { 100 }
    f(x, b)
    local p = profiled(function() f(x, b) end)
    assert.is_true(find(p.ops, "softmax").flops >= 3 * 800)
    assert.equal(4 * (800 + 100 + 800), find(p.ops, "^loop").bytes)
  end)

  it("gives what takes longer, arithmetic or bytes, as the limit", function()
    local f = ml.fn(function(x) return x:matmul(x) end)
    local x = ml.ones { 64, 64 }
    f(x)
    local p = profiled(function() f(x) end)
    local row = find(p.ops, "^matmul")
    local least = math.max(2 * 64 ^ 3 / 100, row.bytes / 20) / 1e3
    assert.near(100 * least / row.us, row.limit_percent, 1e-6 * row.limit_percent)
    assert.matches("limits: 100 GFLOP/s, 10.0 GB/s read", p:text())
  end)

  it("charges bodies of control flow to the launches in them", function()
    local f = ml.fn(function(x) return (ml.scan(function(c, v) local y = ml.tanh(c + v):matmul(v) return y, y end, x[1], x)) end)
    local x = ml.ones { 5, 8, 8 } * 0.1
    f(x)
    local p = profiled(function() f(x) end)
    assert.equal(1, find(p.ops, "^scan").calls)
    assert.equal(5, find(p.ops, "^matmul").calls)
    local sum = 0
    for _, row in ipairs(p.ops) do
      assert.is_true(row.us >= 0, row.name)
      sum = sum + row.us
    end
    assert.is_true(sum <= p.wall_us)
  end)

  it("counts a launch that was run in slices once", function()
    core.trace_begin()
    local x = core.placeholder("x", "f32", { 300, 300 }, 2)
    local y = x:matmul(x):matmul(x)
    core.trace_end()
    local t = ml.ones { 300, 300 } * 0.01
    local program = core.graph({ x }, { y }, {}):program({ mode = "infer", inputs = { t } })
    local p = profiled(function()
      local args = { t, budget_us = 1 }
      while not program:run(args) do end -- luacheck: ignore
    end)
    assert.equal(2, find(p.ops, "^matmul").calls)
  end)

  it("writes a trace with one event for each launch", function()
    local path = os.tmpname()
    local f = ml.fn(function(x) return x:matmul(x):relu():matmul(x) end, { name = "f" })
    local x = ml.ones { 4, 4 }
    f(x)
    local p = profiled(function() f(x) f(x) end, { trace = path })
    local file = assert(io.open(path))
    local text = file:read("*a")
    file:close()
    os.remove(path)
    local calls, events = 0, 0
    for _, row in ipairs(p.launches) do calls = calls + row.calls end
    for _ in text:gmatch('"ph":"X"') do events = events + 1 end
    assert.equal(calls, events)
    assert.matches('^{"traceEvents":%[\n', text)
    assert.matches('"name":"matmul","cat":"matmul","ph":"X","pid":1,"tid":1,"args":{"kernel":"cpu_matmul', text)
    assert.matches('"ts":%d+%.%d+,"dur":%d+%.%d+}\n%],"displayTimeUnit":"ms"}\n$', text)
  end)

  it("prints its text, and gives what the function gives", function()
    local p, a, b, c = profiled(function() return 1, nil, 3 end)
    assert.same({ 1, nil, 3 }, { a, b, c })
    assert.matches("^%S+ %a+ in all, .* in 0 kernels", tostring(p))
    assert.equal(0, #p.ops)
  end)

  it("passes errors on, and can be used again", function()
    assert.has_error(function() profiled(function() error("oh", 0) end) end, "oh")
    assert.equal(0, #profiled(function() end).launches)
  end)

  it("refuses a profile inside a profile, and bad arguments", function()
    local ok, message = pcall(profiled, function() profiled(function() end) end)
    assert.is_false(ok)
    assert.matches("profile: one is being made already", message)
    assert.error_matches(function() ml.profile(3) end, "ml.profile: the first argument must be a function, got 3")
    assert.error_matches(function() ml.profile(print, { file = "x" }) end, "ml.profile: unknown option 'file'; known: limits")
    assert.error_matches(function() profiled(print, { limits = { gflops = -1 } }) end, "limits: gflops must be a positive number")
    assert.error_matches(function() core.profile_end() end, "no profile has begun")
  end)

  it("keeps no program alive afterwards", function()
    core.empty_caches()
    collectgarbage()
    collectgarbage()
    local before = ml.memory().live_blocks
    do
      local f = ml.fn(function(x) return x:matmul(x) end)
      local x = ml.ones { 4, 4 }
      profiled(function() f(x) end)
    end
    core.empty_caches()
    collectgarbage()
    collectgarbage()
    assert.is_true(ml.memory().live_blocks <= before + 2)
  end)

  it("tells a program's arithmetic by op, bodies as often as they run", function()
    local f = ml.fn(function(x) return (ml.scan(function(c, v) return ml.tanh(c:matmul(v)) end, x[1], x)) end)
    local by_op, total = f:program(ml.ones { 5, 8, 8 }):flops()
    assert.equal(5 * 2 * 8 ^ 3, by_op.matmul)
    assert.is_true(total >= by_op.matmul)
  end)

  it("measures the limits of the device once", function()
    local profile = require("moonlet.profile")
    local limits = profile.limits()
    assert.is_true(limits.gflops > 0 and limits.read_gbps > 0 and limits.copy_gbps > 0)
    assert.equal(limits, profile.limits())
  end)
end)
