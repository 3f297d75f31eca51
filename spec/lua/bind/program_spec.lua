-- Programs: whole runs, runs in slices, buffers of the caller.
local core = require "moonlet.core"

local function add_and_mul()
  local p, q = core.placeholder("p", "f32", { 2 }), core.placeholder("q", "f32", { 2 })
  return core.graph({ p, q }, { p + q, p * q }):program()
end

-- Many launches, so that slices have something to cut.
local function long_program(v)
  local p = core.placeholder("p", "f32", { 32, 32 })
  core.trace_begin()
  local y = p
  for _ = 1, 20 do y = y:matmul(p):softmax() end
  v:assign(y:sum())
  local effects = core.trace_effects()
  core.trace_end()
  return core.graph({ p }, { y }, effects):program { mode = "train" }
end

describe("a whole run", function()
  it("gives all outputs", function()
    local program = add_and_mul()
    local sum, product = program:run { core.tensor { 1, 2 }, core.tensor { 3, 4 } }
    assert.same({ 4, 6 }, sum:totable())
    assert.same({ 3, 8 }, product:totable())
    assert.equal("program", core.kind(program))
  end)

  it("takes tables and numbers for tensors", function()
    local program = add_and_mul()
    assert.same({ 4, 6 }, program:run({ { 1, 2 }, { 3, 4 } }):totable())
  end)

  it("writes into the caller's tensors", function()
    local program = add_and_mul()
    local out = { core.zeros { 2 }, core.zeros { 2 } }
    local sum, product = program:run { core.tensor { 1, 2 }, core.tensor { 3, 4 }, out = out }
    assert.equal(out[1], sum)
    assert.equal(out[2], product)
    assert.same({ 4, 6 }, out[1]:totable())
    local first, second = program:run { core.tensor { 1, 2 }, core.tensor { 3, 4 }, out = { out[1] } }
    assert.equal(out[1], first)
    assert.same({ 3, 8 }, second:totable())
  end)

  it("makes no Lua garbage and allocates nothing then", function()
    local program = add_and_mul()
    local args = { core.tensor { 1, 2 }, core.tensor { 3, 4 }, out = { core.zeros { 2 }, core.zeros { 2 } }, step = 1 }
    for _ = 1, 10 do program:run(args) end
    collectgarbage()
    collectgarbage()
    collectgarbage "stop"
    local calls = core.memory().calls
    local before = collectgarbage "count"
    for _ = 1, 1000 do program:run(args) end
    local after = collectgarbage "count"
    local made = core.memory().calls - calls
    collectgarbage "restart"
    assert.is_true(after - before < 1, (after - before) .. " KB of garbage")
    assert.equal(0, made)
  end)

  it("numbers random draws by step", function()
    core.trace_begin()
    local y = core.uniform { 4 }
    core.trace_end()
    local program = core.graph({}, { y }):program()
    local a, b = program:run({ step = 1 }):totable(), program:run({ step = 2 }):totable()
    assert.same(a, program:run({ step = 1 }):totable())
    assert.is_true(a[1] ~= b[1])
  end)

  it("checks its arguments", function()
    local program = add_and_mul()
    local a = core.ones { 2 }
    assert.error_matches(function() program:run() end, "a table of inputs is expected")
    assert.error_matches(function() program:run(a) end, "argument 1 must be a table, got Tensor")
    assert.error_matches(function() program:run { a } end, "takes 2 inputs, got 1")
    assert.error_matches(function() program:run { a, core.ones { 3 } } end, "%(3%)")
    assert.error_matches(function() program:run { a, core.ones({ 2 }, "f64") } end, "f64")
    assert.error_matches(function() program:run { a, "b" } end, "got 'b'")
    assert.error_matches(function() program:run { a, a, steps = 1 } end, "unknown key 'steps'; known: out, step, budget_us")
    assert.error_matches(function() program:run { a, a, step = -1 } end, "step must be 0 or more, got %-1")
    assert.error_matches(function() program:run { a, a, step = 1.5 } end, "step must be a whole number")
    assert.error_matches(function() program:run { a, a, out = { a, a, a } } end, "out has 3 tensors, the program has 2 outputs")
    assert.error_matches(function() program:run { a, a, out = { 3 } } end, "an entry of out must be a Tensor, got 3")
    assert.error_matches(function() program:run { a, a, out = { core.ones { 3 } } } end, "%(3%)")
    assert.error_matches(function() program:run { a, a, budget_us = -1 } end, "budget_us must be 0 or more")
  end)

  it("errors carry a script line", function()
    local program = add_and_mul()
    local ok, message = pcall(function() program:run { core.ones { 2 }, core.ones { 5 } } end)
    assert.is_false(ok)
    assert.matches("^spec/lua/bind/program_spec.lua:%d+: ", message)
  end)
end)

describe("a run in slices", function()
  it("goes on until it is done, effects show at the end", function()
    local v = core.variable(core.tensor(-1), "v")
    local program = long_program(v)
    local x = core.uniform { 32, 32 }
    local whole = program:run { x }
    v:assign(-1)
    local args, calls = { x, budget_us = 0.01 }, 0
    local done, y
    repeat
      assert.equal(-1, v:item())
      done, y = program:run(calls % 2 == 0 and args or nil)
      calls = calls + 1
    until done
    assert.is_true(calls > 1)
    assert.same(whole:totable(), y:totable())
    assert.is_true(v:item() > 0)
  end)

  it("goes on with the same tensors in a new table, as a frame writes it", function()
    local v = core.variable(core.tensor(-1), "v")
    local program = long_program(v)
    local x, y = core.uniform { 32, 32 }, core.zeros { 32, 32 }
    local whole = program:run { x }
    v:assign(-1)
    local slices, done = 0
    repeat
      done = program:run { x, out = { y }, budget_us = 0.01 }
      slices = slices + 1
    until done or slices == 10000
    assert.is_true(done and slices > 1)
    assert.same(whole:totable(), y:totable())
    -- Another input or output is another run, and an unknown key an error.
    local eye, z = core.eye(32), core.zeros { 32, 32 }
    local of_eye = program:run { eye }
    for _, other in ipairs { { eye, out = { y }, want = of_eye }, { x, out = { z }, want = whole } } do
      local want = other.want
      other.want, other.budget_us = nil, 0.01
      assert.is_false((program:run { x, out = { y }, budget_us = 0.01 }))
      while not program:run(other) do end
      assert.same(want:totable(), other.out[1]:totable())
    end
    assert.is_false((program:run { x, out = { y }, budget_us = 0.01 }))
    assert.error_matches(function() program:run { x, out = { y }, budget = 1, budget_us = 1 } end, "unknown key 'budget'")
    program:cancel()
  end)

  it("keeps what it needs alive", function()
    local program = long_program(core.variable(core.tensor(0), "v"))
    local done, y = program:run { core.eye(32), budget_us = 0.01 }
    while not done do
      collectgarbage()
      done, y = program:run()
    end
    assert.same({ 32, 32 }, y.shape)
  end)

  it("is given up by cancel, or by other arguments", function()
    local v = core.variable(core.tensor(7), "v")
    local program = long_program(v)
    assert.is_false((program:run { core.eye(32), budget_us = 0.01 }))
    program:cancel()
    program:cancel()
    assert.error_matches(function() program:run() end, "no run in slices has begun")
    assert.equal(7, v:item())
    assert.is_false((program:run { core.eye(32), budget_us = 0.01 }))
    local done = program:run { core.eye(32), budget_us = 1e9 }
    assert.is_true(done)
  end)

  it("lets go of its tensors when it is done", function()
    local program, bytes = long_program(core.variable(core.tensor(0), "v")), 32 * 32 * 4
    local x, y = core.uniform { 32, 32 }, core.zeros { 32, 32 }
    while not program:run { x, out = { y }, budget_us = 0.01 } do end
    for _, t in ipairs { x, y } do
      local live = core.memory().live_bytes
      t:release()
      assert.is_true(core.memory().live_bytes <= live - bytes)
    end
  end)

  it("with enough time is done at once", function()
    local done, sum = add_and_mul():run { { 1, 2 }, { 3, 4 }, budget_us = 1e9 }
    assert.is_true(done)
    assert.same({ 4, 6 }, sum:totable())
  end)
end)

describe("programs", function()
  it("tell about themselves", function()
    local program = add_and_mul()
    local stats = program:stats()
    assert.is_true(stats.launches >= 1)
    assert.is_true(stats.compile_us > 0)
    for _, key in ipairs { "launches", "prologue_launches", "nodes", "loops", "arena_bytes", "constant_bytes", "compile_us" } do
      assert.equal("number", type(stats[key]))
    end
    assert.equal("string", type(program:explain()))
    assert.same({ { dtype = "f32", shape = { 2 } }, { dtype = "f32", shape = { 2 } } }, program:outputs())
    assert.matches("^Program %(2 inputs, 2 outputs, %d+ launches%)$", tostring(program))
  end)

  it("are released, also in the middle of a run", function()
    local program = long_program(core.variable(core.tensor(0), "v"))
    program:run { core.eye(32), budget_us = 0.01 }
    program:release()
    program:release()
    assert.error_matches(function() program:run {} end, "released Program")
    assert.error_matches(function() program:stats() end, "released Program")
    assert.equal("Program (released)", tostring(program))
  end)
end)
