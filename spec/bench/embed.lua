--- What a game sees: how far a slice overruns its budget, what a steady step makes, small nets from Lua, tickets.
local ml = require("moonlet")
local core = require("moonlet.core")
local timing = require("spec.bench.timing")

-- ---- Budgets ----

local function classifier(kind)
  local nn = ml.nn
  local model
  if kind == "dense" then
    model = ml.Sequential { nn.Dense { 256, activation = "relu" }, nn.Dense { 256, activation = "relu" }, nn.Dense { 4 } }
  elseif kind == "conv" then
    model = ml.Sequential { nn.Conv2D { 16, 3, activation = "relu" }, nn.MaxPool2D { 2 }, nn.Conv2D { 32, 3, activation = "relu" },
      nn.Flatten {}, nn.Dense { 64, activation = "relu" }, nn.Dense { 4 } }
  else
    model = ml.Sequential { nn.LSTM { 128 }, nn.Dense { 4 } }
  end
  model:compile { optimizer = "adam", loss = "sparse_categorical_crossentropy" }
  local shapes = { dense = { 256, 64 }, conv = { 32, 28, 28, 1 }, lstm = { 32, 40, 64 } }
  local x = ml.uniform(shapes[kind])
  return model, x, ml.integers({ shapes[kind][1] }, 0, 4)
end

-- How far a loop that does nothing but look at the clock overruns: what the machine adds.
local function spin(budget_us)
  local start = core.clock_us()
  local now
  repeat now = core.clock_us() until now - start >= budget_us
  return now - start - budget_us
end

-- Overruns of `count` slices of training steps, and of as many empty loops in turn with them, in microseconds. A slice that is done
-- before its time counts for nothing.
local function overruns(model, x, y, budget_us, count, slices, loops)
  local options, enough = { budget_us = budget_us }, #slices + count
  while #slices < enough do
    local done
    repeat
      local start = core.clock_us()
      done = model:train_on_batch(x, y, options)
      local over = core.clock_us() - start - budget_us
      if not done or over > 0 then
        slices[#slices + 1] = over
        loops[#loops + 1] = spin(budget_us)
      end
    until done
  end
end

-- What share of a list lies below, and how many beyond 250 us.
local function at(list, share) return list[math.max(1, math.ceil(#list * share))] end
local function late(list)
  local n = 0
  for _, over in ipairs(list) do n = n + (over > 250 and 1 or 0) end
  return ("%d of %d beyond 250 us"):format(n, #list)
end

local function budgets(report)
  local slices, loops = {}, {}
  for _, kind in ipairs { "dense", "conv", "lstm" } do
    local model, x, y = classifier(kind)
    model:train_on_batch(x, y)
    overruns(model, x, y, 1000, 5, {}, {})
    overruns(model, x, y, 1000, 500, slices, loops)
  end
  table.sort(slices)
  table.sort(loops)
  report.figure("overrun of a 1 ms budget, median", "embed", at(slices, 0.5), "us", "dense, convolutional and recurrent training")
  report.figure("overrun of a 1 ms budget, p99", "embed", at(slices, 0.99), "us", "goal 250; " .. late(slices))
  report.figure("overrun of a 1 ms budget, largest", "embed", at(slices, 1), "us")
  report.figure("overrun of an empty loop of 1 ms, p99", "embed", at(loops, 0.99), "us", "in turn with them; " .. late(loops))
end

-- ---- Small nets ----

local function net(batch)
  local function dense(units) return ml.nn.Dense { units, activation = "tanh" } end
  local model = ml.Sequential { dense(32), dense(32), dense(4) }
  local x = ml.randn { batch, 8 }
  model(x)
  return model:program("predict", x), { x, out = { ml.zeros { batch, 4 } }, step = 0 }
end

local function small_nets(report)
  local program, args = net(1)
  local x, y = args[1], args.out[1]
  local observation, action = { { 1, 2, 3, 4, 5, 6, 7, 8 } }, { { 0, 0, 0, 0 } }
  local function step()
    x:set(observation)
    program:run(args)
    y:totable(action)
  end
  for _ = 1, 1000 do step() end
  report.figure("8-32-32-4 tanh net, tables in and out", "embed", timing.mean(step, 5000), "us", "goal 2")
  report.figure("8-32-32-4 tanh net, tensors in and out", "embed", timing.mean(function() program:run(args) end, 5000), "us")
  local many, many_args = net(64)
  local function agents() many:run(many_args) end
  for _ = 1, 1000 do agents() end
  report.figure("64 agents in one call, tensors in and out", "embed", timing.mean(agents, 2000), "us", "goal 6")
end

-- ---- Steady steps ----

local function steady(report)
  local program, args = net(1)
  local x, y = args[1], args.out[1]
  local observation, action = { { 1, 2, 3, 4, 5, 6, 7, 8 } }, { { 0, 0, 0, 0 } }
  collectgarbage() -- what measured before gives its memory back at the next run
  for _ = 1, 1000 do program:run(args) end
  collectgarbage "stop"
  local steps = 1000000
  local calls, before = core.memory().calls, collectgarbage "count"
  for _ = 1, steps do
    x:set(observation)
    program:run(args)
    y:totable(action)
  end
  local kb, made = collectgarbage "count" - before, core.memory().calls - calls
  collectgarbage "restart"
  report.figure("calls of the allocator in 1,000,000 steady steps", "embed", made, "")
  report.figure("Lua garbage of 1,000,000 steady steps", "embed", kb * 1024, "B")
end

-- ---- Tickets ----

local function tickets(report)
  local program, args = net(1)
  local threads = core.threads()
  core.threads(2)
  local function whole() program:start(args):result() end
  for _ = 1, 100 do whole() end
  report.figure("program:start, without waiting", "embed", timing.mean(function() program:start(args):cancel() end, 500), "us")
  report.figure("program:start and ticket:result", "embed", timing.mean(whole, 200), "us", "a run of the small net in between")
  core.threads(threads)
end

return function(bench, report)
  if not bench.wants("embed", "embed") then return end
  report.group("embedding")
  budgets(report)
  small_nets(report)
  steady(report)
  tickets(report)
  require("spec.bench.love")(bench, report)
end
