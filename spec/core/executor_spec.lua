-- Runs: in slices and whole, cancelled, into the caller's tensors, from any memory; without allocations; the prologue.
local core = require "moonlet.core"
local graphs = require "spec.graph.graphs"
local random_graph = require "spec.support.random_graph"

local trace = graphs.trace
local few = os.getenv "MOONLET_SANITIZER" ~= nil

local function save(variables)
  local saved = {}
  for i, v in ipairs(variables) do saved[i] = v:read() end
  return saved
end

local function restore(variables, saved)
  for i, v in ipairs(variables) do v:write(saved[i]) end
end

--- Runs program in slices of random budgets; results, and the number of slices.
local function run_sliced(program, tensors, rng, variables)
  local args = { step = 3, budget_us = 0.001 }
  for i, t in ipairs(tensors) do args[i] = t end
  local before, slices = graphs.bytes(save(variables)), 0
  local results
  repeat
    results = { program:run(slices == 0 and args or nil) }
    slices = slices + 1
    if not results[1] then
      assert.equal(before, graphs.bytes(save(variables)))
      assert.is_nil(results[2])
    end
    if rng.int(1, 3) == 1 then args.budget_us = rng.pick { 0.001, 1, 5, 20, 100 } end
  until results[1]
  table.remove(results, 1)
  return results, slices
end

describe("random graphs and budgets", function()
  local total = os.getenv "MOONLET_SOAK" and 1000 or few and 10 or 60

  it("give the bits of a whole run, in slices and in the background, " .. total .. " of them", function()
    for seed = 1, total do
      local g, tensors = random_graph.build(seed, 6 + seed % 20)
      local rng = random_graph.generator(seed)
      local program = g:program { mode = "train", inputs = tensors }
      local saved = save(g:variables())
      local args = { step = 3 }
      for i, t in ipairs(tensors) do args[i] = t end
      local want = graphs.bytes { program:run(args) }
      local after = graphs.bytes(save(g:variables()))
      restore(g:variables(), saved)
      assert.equal(want, graphs.bytes((run_sliced(program, tensors, rng, g:variables()))), "seed " .. seed)
      assert.equal(after, graphs.bytes(save(g:variables())))
      restore(g:variables(), saved)
      assert.equal(want, graphs.bytes { program:start(args):result() }, "seed " .. seed)
      assert.equal(after, graphs.bytes(save(g:variables())))
    end
  end)
end)

describe("a run in slices", function()
  for _, name in ipairs(graphs.names) do
    for _, off in ipairs { "", "all" } do
      it("gives the bits of a whole run: " .. name .. (off == "" and "" or " unoptimised"), function()
        local g, tensors = graphs[name]()
        local variables = g:variables()
        local saved = save(variables)
        local program = g:program { mode = "train", inputs = tensors, passes_off = off }
        local whole = { step = 3 }
        for i, t in ipairs(tensors) do whole[i] = t end
        local results = { program:run(whole) }
        local want, after = graphs.bytes(results), graphs.bytes(save(variables))
        for seed = 1, few and 3 or 12 do
          restore(variables, saved)
          local sliced, slices = run_sliced(program, tensors, random_graph.generator(seed), variables)
          assert.equal(want, graphs.bytes(sliced))
          assert.equal(after, graphs.bytes(save(variables)))
          assert.is_true(slices > 1 or program:stats().launches < 3, slices .. " slices")
        end
        restore(variables, saved)
      end)
    end
  end

  it("gives the bits of a whole run for random graphs", function()
    for seed = 1, few and 20 or 150 do
      local g, tensors = random_graph.build(seed, 12)
      local program = g:program { mode = "train", inputs = tensors }
      local whole = graphs.bytes { program:run(tensors) }
      local results = run_sliced(program, tensors, random_graph.generator(seed), {})
      assert.equal(whole, graphs.bytes(results), "seed " .. seed)
    end
  end)

  it("changes its budget from slice to slice", function()
    local g, tensors = graphs.bodies()
    local program = g:program { mode = "train", inputs = tensors }
    local want = graphs.bytes { program:run(tensors) }
    local results = { program:run { tensors[1], tensors[2], budget_us = 0.001 } }
    for _ = 1, 1000 do
      if results[1] then break end
      results = { program:run { tensors[1], tensors[2], budget_us = 1e9 } }
    end
    assert.is_true(results[1])
    table.remove(results, 1)
    assert.equal(want, graphs.bytes(results))
  end)
end)

describe("cancel", function()
  it("leaves variables untouched wherever it comes", function()
    local g, tensors, variables = graphs.training()
    local program = g:program { mode = "train", inputs = tensors }
    local before = graphs.bytes(save(variables))
    local args = { tensors[1], tensors[2], budget_us = 0.001 }
    for stop = 1, 40 do
      local done = program:run(args)
      for _ = 2, stop do
        if done then break end
        done = program:run()
      end
      if done then
        assert.is_true(stop > 3, "the step had only " .. stop .. " slices")
        return
      end
      program:cancel()
      assert.equal(before, graphs.bytes(save(variables)))
    end
  end)

  it("is forgotten by the next run", function()
    local g, tensors, variables = graphs.training()
    local program = g:program { mode = "train", inputs = tensors }
    local saved = save(variables)
    local loss = program:run { tensors[1], tensors[2] }:item()
    local after = graphs.bytes(save(variables))
    restore(variables, saved)
    program:run { tensors[1], tensors[2], budget_us = 0.001 }
    program:cancel()
    assert.equal(loss, program:run({ tensors[1], tensors[2] }):item())
    assert.equal(after, graphs.bytes(save(variables)))
  end)
end)

describe("other programs", function()
  it("see only complete steps", function()
    local v, w = core.variable(core.zeros { 64 }, "v"), core.variable(core.zeros { 64 }, "w")
    local x = core.placeholder("x", "f32", { 64, 64 })
    local step = trace({ x }, function()
      local y = x
      for _ = 1, 6 do y = y:matmul(x):tanh() end
      v:assign(v + 1)
      w:assign(w + 1 + y:sum() * 0)
      return { y }
    end):program { mode = "train" }
    local look = trace({}, function() return { v:sum() - w:sum(), v:sum() } end):program()
    for n = 1, 5 do
      local done = step:run { core.eye(64), budget_us = 0.001 }
      repeat
        local difference, sum = look:run {}
        assert.equal(0, difference:item())
        assert.equal(64 * (done and n or n - 1), sum:item())
        if not done then
          done = step:run()
          if done then
            difference, sum = look:run {}
            assert.same({ 0, 64 * n }, { difference:item(), sum:item() })
          end
        end
      until done
    end
  end)

  it("a sliced run reads what was there when it started", function()
    local v = core.variable(core.tensor { 1 }, "v")
    local x = core.placeholder("x", "f32", { 32, 32 })
    local slow = trace({ x }, function()
      local y = x
      for _ = 1, 6 do y = y:matmul(x):softmax() end
      return { y:sum() * 0 + v:sum() }
    end):program()
    local done, y = slow:run { core.eye(32), budget_us = 0.001 }
    assert.is_false(done)
    v:write(core.tensor { 50 })
    while not done do done, y = slow:run() end
    assert.equal(1, y:item())
    assert.equal(50, slow:run({ core.eye(32) }):item())
  end)

  it("what was read before a step stays as it was", function()
    local v = core.variable(core.tensor { 1, 2 }, "v")
    local program = trace({}, function()
      v:assign(v * 2)
      return {}
    end):program { mode = "train" }
    local before = v:read()
    local kept = program:run {}
    assert.is_nil(kept)
    assert.same({ 1, 2 }, before:totable())
    assert.same({ 2, 4 }, v:totable())
  end)
end)

describe("a steady step", function()
  for _, name in ipairs { "training", "bodies", "random", "effects" } do
    it("allocates nothing and makes no Lua garbage: " .. name, function()
      local g, tensors, variables = graphs[name]()
      local saved = save(variables or {})
      local program = g:program { mode = "train", inputs = tensors }
      local args = { step = 1, out = { program:run { step = 1, tensors[1], tensors[2] } } }
      for i, t in ipairs(tensors) do args[i] = t end
      for _ = 1, 5 do program:run(args) end
      collectgarbage()
      collectgarbage()
      collectgarbage "stop"
      local calls, live, before = core.memory().calls, core.memory().live_bytes, collectgarbage "count"
      for _ = 1, 200 do program:run(args) end
      local grown = collectgarbage "count" - before
      local made, kept = core.memory().calls - calls, core.memory().live_bytes - live
      collectgarbage "restart"
      assert.equal(0, made)
      assert.equal(0, kept)
      assert.is_true(grown < 1, grown .. " KB of garbage")
      restore(variables or {}, saved)
    end)
  end

  it("does so in slices as well, after the first", function()
    local g, tensors = graphs.training()
    local program = g:program { mode = "train", inputs = tensors }
    local args = { tensors[1], tensors[2], out = { core.zeros {} }, budget_us = 0.001 }
    local function step()
      local done = program:run(args)
      while not done do done = program:run() end
    end
    for _ = 1, 5 do step() end
    local calls, live = core.memory().calls, core.memory().live_bytes
    for _ = 1, 100 do step() end
    assert.same({ calls, live }, { core.memory().calls, core.memory().live_bytes })
  end)
end)

describe("out", function()
  it("may be an input, or several times the same tensor", function()
    local p, q = core.placeholder("p", "f32", { 4 }), core.placeholder("q", "f32", { 4 })
    local program = core.graph({ p, q }, { p:flip { 1 } + q, p * q }):program()
    local function inputs() return core.tensor { 1, 2, 3, 4 }, core.tensor { 10, 20, 30, 40 } end
    local a, b = inputs()
    program:run { a, b, out = { a, b } }
    assert.same({ { 14, 23, 32, 41 }, { 10, 40, 90, 160 } }, { a:totable(), b:totable() })
    a, b = inputs()
    program:run { a, b, out = { b, a } }
    assert.same({ { 10, 40, 90, 160 }, { 14, 23, 32, 41 } }, { a:totable(), b:totable() })
    a = core.tensor { 1, 2, 3, 4 }
    program:run { a, a, out = { a } }
    assert.same({ 5, 5, 5, 5 }, a:totable())
  end)

  it("may be a view, also of an input, with gaps or backwards", function()
    local p = core.placeholder("p", "f32", { 3 })
    local program = core.graph({ p }, { p * 10 }):program()
    local base = core.tensor { 1, 2, 3, 4, 5, 6 }
    program:run { base:slice(1, 1, 3), out = { base:slice(1, 2, 4) } }
    assert.same({ 1, 10, 20, 30, 5, 6 }, base:totable())
    base = core.tensor { 1, 2, 3, 4, 5, 6 }
    program:run { base:slice(1, 1, 5, 2), out = { base:slice(1, 6, 2, -2) } }
    assert.same({ 1, 50, 3, 30, 5, 10 }, base:totable())
  end)

  it("that is frozen or of a wrong type is refused before anything runs", function()
    local v = core.variable(core.tensor { 0 }, "v")
    local p = core.placeholder("p", "f32", { 2 })
    local program = trace({ p }, function()
      v:assign(v + 1)
      return { p + 1 }
    end):program { mode = "train" }
    local frozen = core.zeros { 2 }
    core.constant(frozen)
    for _, bad in ipairs { frozen, core.zeros { 3 }, core.zeros({ 2 }, "f64"), core.zeros { 1, 2 } } do
      assert.has_error(function() program:run { core.ones { 2 }, out = { bad } } end)
      assert.same({ 0 }, v:totable())
    end
    assert.same({ 0, 0 }, frozen:totable())
  end)

  it("may be what a variable was read into", function()
    local v = core.variable(core.tensor { 1, 2 }, "v")
    local program = trace({}, function()
      v:assign(v * 3)
      return { v + 0 }
    end):program { mode = "train" }
    local out = v:read()
    program:run { out = { out } }
    program:run { out = { out } }
    assert.same({ { 9, 18 }, { 9, 18 } }, { out:totable(), v:totable() })
  end)
end)

describe("inputs", function()
  it("may lie in memory in any way", function()
    local p = core.placeholder("p", "f32", { 3, 4 })
    local program = core.graph({ p }, { p:matmul(p:transpose()), p + 1, p:sum(1) }):program()
    local dense = graphs.numbers { 3, 4 }
    local want = graphs.bytes { program:run { dense } }
    local wide = core.zeros { 4, 8 }
    local views = { dense:transpose():contiguous():transpose(), wide:slice(2, 1, 5, 2):transpose(),
      wide:slice(2, 8, 4, -2):transpose(),
      core.zeros({ 2, 3, 4 })[2], wide:slice(1, 4, 1, -1):slice(2, 2, 4):transpose() }
    for i, view in ipairs(views) do
      if i > 1 then view:copy_from(dense) end
      assert.equal(want, graphs.bytes { program:run { view } }, "view " .. i)
    end
    local row = core.tensor { { 1, 2, 3, 4 } }:broadcast_to { 3, 4 }
    assert.equal(graphs.bytes { program:run { row:contiguous() } }, graphs.bytes { program:run { row } })
  end)
end)

describe("the prologue", function()
  it("runs once, and again when a variable changed", function()
    local w, u = core.variable(graphs.numbers { 8, 8 }, "w"), core.variable(core.tensor(1), "u")
    local x = core.placeholder("x", "f32", { 2, 8 })
    local program = trace({ x }, function() return { x:matmul((w * 2):matmul(w:transpose())) + u } end):program()
    assert.is_true(program:stats().prologue_launches > 0, program:explain())
    assert.matches("once", program:explain())
    local a = graphs.numbers { 2, 8 }
    local function expected() return a:matmul((w:read() * 2):matmul(w:read():transpose())) + u:read() end
    local function check()
      local have, want = program:run({ a }):reshape({ -1 }):totable(), expected():reshape({ -1 }):totable()
      for i = 1, #want do assert.is_true(math.abs(have[i] - want[i]) < 1e-4, i .. ": " .. have[i] .. " and " .. want[i]) end
    end
    check()
    check()
    w:write(graphs.numbers({ 8, 8 }):transpose())
    check()
    u:assign(5)
    check()
    trace({}, function()
      w:assign(w * 0.5)
      return {}
    end):program({ mode = "train" }):run {}
    check()
    -- In the middle of slices a variable changes: this run keeps the old numbers, the next takes the new ones.
    local before = graphs.bytes { program:run { a } }
    local done, y = program:run { a, budget_us = 0.001 }
    w:write(graphs.numbers { 8, 8 })
    while not done do done, y = program:run() end
    assert.is_true(before == graphs.bytes { y } or program:stats().launches < 2)
    check()
  end)

  it("is not kept by a run that was cancelled in it", function()
    local w = core.variable(graphs.numbers { 64, 64 }, "w")
    local program = trace({}, function()
      local p = w
      for _ = 1, 8 do p = p:matmul(w) * 0.1 end
      return { p:sum() }
    end):program()
    local want = program:run({}):item()
    w:write(graphs.numbers({ 64, 64 }) * 0.5)
    program:run { budget_us = 0.001 }
    program:cancel()
    w:write(graphs.numbers { 64, 64 })
    assert.equal(want, program:run({}):item())
  end)

  it("of a program that writes its own variables follows them", function()
    local w = core.variable(core.tensor { 1, 2 }, "w")
    local program = trace({}, function()
      local y = (w * 3):sum()
      w:assign(w + 1)
      return { y }
    end):program { mode = "train" }
    local seen = {}
    for i = 1, 3 do seen[i] = program:run({}):item() end
    assert.same({ 9, 15, 21 }, seen)
  end)
end)
