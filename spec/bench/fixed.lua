--- What a step costs beside its arithmetic: binding, launching, allocating, garbage; and what loading the library costs.
local ml = require("moonlet")
local core = require("moonlet.core")
local timing = require("spec.bench.timing")

return function(bench, report)
  if not bench.wants("fixed", "fixed") then return end
  report.group("fixed costs")
  local function chain(n)
    core.trace_begin()
    local x = core.placeholder("x", "f32", { 8, 8 }, 2)
    local y = x
    for _ = 1, n do y = y:matmul(x) end
    core.trace_end()
    local t = ml.ones { 8, 8 } * 0.01
    local program = core.graph({ x }, { y }, {}):program({ mode = "infer", inputs = { t } })
    return program, { t, out = { ml.zeros { 8, 8 } }, step = 0 }
  end

  local short, short_args = chain(1)
  local long, long_args = chain(101)
  short:run(short_args)
  long:run(long_args)
  local a = timing.mean(function() short:run(short_args) end, 2000)
  local b = timing.mean(function() long:run(long_args) end, 200)
  local per_launch = (b - a) / 100
  report.figure("step of one launch (8x8 product), from Lua", "fixed", a, "us")
  report.figure("each launch more (8x8 product)", "fixed", per_launch, "us")
  report.figure("launches per second", "fixed", 1e6 / per_launch, "1/s")

  local calls = core.memory().calls
  for _ = 1, 1000 do long:run(long_args) end
  report.figure("allocations per step", "fixed", (core.memory().calls - calls) / 1000, "")
  collectgarbage()
  collectgarbage("stop")
  local before = collectgarbage("count")
  for _ = 1, 1000 do long:run(long_args) end
  local bytes = (collectgarbage("count") - before) * 1024 / 1000
  collectgarbage("restart")
  report.figure("Lua bytes per step, outputs reused", "fixed", bytes, "B")

  local function dense(units) return ml.nn.Dense { units, activation = "tanh" } end
  local net = ml.Sequential { dense(32), dense(32), dense(4) }
  local x = ml.randn { 1, 8 }
  net(x)
  local program = net:program("predict", x)
  local args = { x, out = { ml.zeros { 1, 4 } }, step = 0 }
  program:run(args)
  report.figure("8-32-32-4 tanh net, batch 1, from Lua", "infer", timing.mean(function() program:run(args) end, 2000), "us")

  local build = bench.build
  local command = ("lua5.4 -e 'package.cpath=\"%s/?.so\"; local c=os.clock; local t=c(); require\"moonlet\"; print((c()-t)*1000)'")
    :format(build)
  local best = math.huge
  for _ = 1, 10 do
    local pipe = io.popen(command)
    best = math.min(best, tonumber(pipe:read("*a")) or math.huge)
    pipe:close()
  end
  report.figure("require \"moonlet\" (processor time)", "fixed", best, "ms")
  for _, name in ipairs { "libmoonlet.so", "moonlet.so", "moonlet" } do
    local to = build .. "/bench.stripped"
    local pipe = io.popen(("strip -o %s %s/%s 2>/dev/null && wc -c < %s && rm %s"):format(to, build, name, to, to))
    local size = tonumber(pipe:read("*a"))
    pipe:close()
    if size then report.figure(name .. ", stripped", "fixed", size / 1e6, "MB") end
  end
end
