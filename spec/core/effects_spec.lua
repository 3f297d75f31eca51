-- Effects: assigns in program order, all or nothing, in the mode they belong to.
local core = require "moonlet.core"
local graphs = require "spec.graph.graphs"

local trace = graphs.trace

local function variable(values, name, dtype) return core.variable(core.tensor(values, dtype), name or "v") end

--- Runs a graph without inputs.
local function run(g, mode) return g:program({ mode = mode or "train" }):run {} end

describe("assign", function()
  it("is seen by reads after it, not by reads before it", function()
    local v = variable { 1, 2 }
    local before, between, after = run(trace({}, function()
      local a = v + 0
      v:assign(v * 10)
      local b = v + 0
      v:assign(v + 1)
      return { a, b, v + 0 }
    end))
    assert.same({ { 1, 2 }, { 10, 20 }, { 11, 21 }, { 11, 21 } },
      { before:totable(), between:totable(), after:totable(), v:totable() })
  end)

  it("swaps two variables", function()
    local a, b = variable({ 1, 2, 3 }, "a"), variable({ 4, 5, 6 }, "b")
    local program = trace({}, function()
      local x, y = a + 0, b + 0
      a:assign(y)
      b:assign(x)
      return {}
    end):program { mode = "train" }
    for i = 1, 3 do
      program:run {}
      assert.same(i % 2 == 1 and { 4, 5, 6 } or { 1, 2, 3 }, a:totable())
      assert.same(i % 2 == 1 and { 1, 2, 3 } or { 4, 5, 6 }, b:totable())
    end
  end)

  it("swaps two variables without any arithmetic, and turns three around", function()
    local a, b, c = variable({ 1 }, "a"), variable({ 2 }, "b"), variable({ 3 }, "c")
    local identity = core.placeholder("x", "f32", { 1 })
    local g = trace({ identity }, function()
      local x, y, z = core.stop_gradient(a), core.stop_gradient(b), core.stop_gradient(c)
      a:assign(y)
      b:assign(z)
      c:assign(x)
      return { identity }
    end)
    for _, off in ipairs { "", "all", "fuse", "cse,simplify" } do
      a:write(core.tensor { 1 })
      b:write(core.tensor { 2 })
      c:write(core.tensor { 3 })
      g:program({ mode = "train", passes_off = off }):run { core.ones { 1 } }
      assert.same({ { 2 }, { 3 }, { 1 } }, { a:totable(), b:totable(), c:totable() }, "without " .. off)
    end
  end)

  it("reverses a variable onto itself", function()
    local v = variable { 1, 2, 3, 4, 5 }
    local program = trace({}, function()
      v:assign(core.flip(v, { 1 }))
      return {}
    end):program { mode = "train" }
    program:run {}
    assert.same({ 5, 4, 3, 2, 1 }, v:totable())
    local m = variable { { 1, 2 }, { 3, 4 } }
    trace({}, function()
      m:assign(core.transpose(m))
      return {}
    end):program({ mode = "train" }):run {}
    assert.same({ { 1, 3 }, { 2, 4 } }, m:totable())
  end)

  it("counts every update of a shared layer, the last write wins", function()
    -- As a batch normalisation that is called twice: each call moves the average on.
    local mean = variable({ 0 }, "mean")
    local x, y = core.placeholder("x", "f32", { 4 }), core.placeholder("y", "f32", { 4 })
    local function layer(z)
      local m = z:mean()
      mean:assign(mean * 0.5 + m * 0.5)
      return z - m
    end
    local program = trace({ x, y }, function() return { layer(x), layer(y) } end):program { mode = "train" }
    program:run { core.full({ 4 }, 8), core.full({ 4 }, 2) }
    assert.same({ (0 * 0.5 + 8 * 0.5) * 0.5 + 2 * 0.5 }, mean:totable())
  end)

  it("of one variable from another's new value", function()
    local a, b = variable({ 1 }, "a"), variable({ 10 }, "b")
    run(trace({}, function()
      a:assign(a + 1)
      b:assign(b * a)
      a:assign(a + b)
      return {}
    end))
    assert.same({ { 22 }, { 20 } }, { a:totable(), b:totable() })
  end)

  it("gives outputs the value of their time", function()
    local v = variable { 1 }
    local old, new = run(trace({}, function()
      local a = core.stop_gradient(v)
      v:assign(v + 5)
      return { a, core.stop_gradient(v) }
    end))
    assert.same({ { 1 }, { 6 } }, { old:totable(), new:totable() })
  end)

  it("is refused in bodies", function()
    local v = variable { 1 }
    local xs = core.placeholder("xs", "f32", { 3 })
    local function try(f)
      core.trace_begin()
      local ok, message = pcall(f)
      local effects = #core.trace_effects()
      core.trace_end()
      assert.is_false(ok)
      assert.equal(0, effects)
      assert.matches("^spec/core/effects_spec.lua:%d+: assign: variable 'v' is assigned inside", message)
    end
    try(function()
      return core.scan(function(c, x)
        v:assign(v + 1)
        return c + x
      end, core.tensor(0), xs)
    end)
    try(function()
      return core.while_loop(function(c) return c:lt(3) end, function(c)
        v:assign_add(1)
        return c + 1
      end, xs:sum())
    end)
    try(function()
      return core.cond(xs:sum():gt(0), function()
        v:assign_sub(1)
        return xs
      end, function() return xs end)
    end)
    assert.same({ 1 }, v:totable())
  end)

  it("casts and checks its value", function()
    local v = variable({ 1, 2 }, "v", "f64")
    run(trace({}, function()
      v:assign(core.tensor({ 3, 4 }, "i32"))
      return {}
    end))
    assert.same({ 3, 4 }, v:totable())
    local i = variable({ 1 }, "i", "i32")
    assert.has_error(function() trace({}, function() return i:assign(i * 0.5) end) end)
    local x = core.placeholder("x", "f32", { core.dim "n" })
    local g = trace({ x }, function()
      v:assign(x)
      return {}
    end)
    g:program({ mode = "train", inputs = { { shape = { 2 } } } }):run { core.tensor { 7, 8 } }
    assert.same({ 7, 8 }, v:totable())
    local _, message = pcall(g.program, g, { mode = "train", inputs = { { shape = { 3 } } } })
    assert.matches("effects_spec.lua:%d+: assign: variable 'v' is f64 %(2%), got f64 %(3%)", message)
  end)
end)

describe("a run that fails", function()
  it("leaves all variables and outputs' owners as they were", function()
    local a, b, table_ = variable({ 1, 2 }, "a"), variable({ 3 }, "b"), variable({ 1, 2, 3 }, "table")
    local index = core.placeholder("index", "i64", { 2 })
    local g = trace({ index }, function()
      a:assign(a * 2)
      b:assign(b + a:sum())
      local y = core.gather(table_, index, 1)
      table_:assign(table_ + y:sum())
      return { y, a + 0 }
    end)
    for _, off in ipairs { "", "all", "fuse" } do
      local program = g:program { mode = "train", passes_off = off }
      local versions = { a.version, b.version, table_.version }
      for _, bad in ipairs { { 0, 3 }, { -1, 0 }, { 2 ^ 40, 1 } } do
        local ok, message = pcall(program.run, program, { core.tensor(bad, "i64") })
        assert.is_false(ok)
        assert.matches("_spec.lua:%d+: gather: index %-?%d+ is out of range, it must be at least 0 and less than 3", message)
        assert.same({ { 1, 2 }, { 3 }, { 1, 2, 3 } }, { a:totable(), b:totable(), table_:totable() })
        assert.same(versions, { a.version, b.version, table_.version })
      end
      local y = program:run { core.tensor({ 0, 2 }, "i64") }
      assert.same({ 1, 3 }, y:totable())
      assert.same({ { 2, 4 }, { 9 }, { 5, 6, 7 } }, { a:totable(), b:totable(), table_:totable() })
      a:write(core.tensor { 1, 2 })
      b:write(core.tensor { 3 })
      table_:write(core.tensor { 1, 2, 3 })
    end
  end)

  it("does so inside of scans and in slices", function()
    local v = variable({ 1, 2, 3 }, "v")
    local index = core.placeholder("index", "i64", { 4 })
    local program = trace({ index }, function()
      v:assign(v * 2)
      return (core.scan(function(c, i) return c + core.gather(v, i:reshape { 1 }, 1):sum() end, core.tensor(0), index))
    end):program { mode = "train" }
    local bad, good = core.tensor({ 0, 1, 2, 3 }, "i64"), core.tensor({ 0, 1, 2, 2 }, "i64")
    assert.error_matches(function() program:run { bad } end, "index 3 is out of range")
    assert.error_matches(function()
      local done = program:run { bad, budget_us = 0.001 }
      while not done do done = program:run() end
    end, "index 3 is out of range")
    assert.same({ 1, 2, 3 }, v:totable())
    assert.equal(18, program:run({ good }):item())
    assert.same({ 2, 4, 6 }, v:totable())
  end)
end)

describe("mode", function()
  it("chooses one side of values and of assigns", function()
    local v = variable { 1 }
    local g = trace({}, function()
      v:assign(core.mode(v + 1, v))
      return { core.mode(v * 0 + 7, v * 0 + 9) }
    end)
    assert.equal(7, run(g, "train"):item())
    assert.same({ 2 }, v:totable())
    assert.equal(9, run(g, "infer"):item())
    assert.same({ 2 }, v:totable())
  end)

  it("leaves a variable that is assigned in training only", function()
    local v = variable { 1 }
    local x = core.placeholder("x", "f64", { 1 })
    local g = trace({ x }, function()
      v:assign(x:cast "f32" + v, { training = true })
      v:assign(x, { training = true })
      return { v + 0 }
    end)
    local version, two = v.version, core.tensor({ 2 }, "f64")
    assert.same({ 1 }, g:program({ mode = "infer" }):run({ two }):totable())
    assert.equal(version, v.version)
    assert.same({ 2 }, g:program({ mode = "train" }):run({ two }):totable())
    assert.same({ 2 }, v:totable())
    local again = core.graph_parse(g:text(), { variable = function() return v end })
    assert.same({ 3 }, again:program({ mode = "train" }):run({ core.tensor({ 3 }, "f64") }):totable())
    assert.error_matches(function()
      trace({}, function() return { v:assign(core.placeholder("y", "f32", { 2 }), { training = true }) } end)
    end, "assign: variable 'v' is f32 %(1%), got f32 %(2%)")
  end)

  it("does not run the other side", function()
    local index = core.placeholder("index", "i64", { 1 })
    local g = trace({ index }, function()
      return { core.mode(core.gather(core.ones { 2 }, index, 1), core.zeros { 1 }) }
    end)
    local bad = core.tensor({ 5 }, "i64")
    assert.has_error(function() g:program({ mode = "train" }):run { bad } end)
    assert.same({ 0 }, g:program({ mode = "infer" }):run({ bad }):totable())
    assert.is_false(g:program({ mode = "infer" }):explain():find "gather" ~= nil)
  end)

  it("has the gradient of the side that is taken", function()
    local x = core.placeholder("x", "f32", { 2 })
    local y = core.mode(x * 3, x * 5)
    local g = core.graph({ x }, core.gradients(y:sum(), { x }))
    assert.same({ 3, 3 }, g:program({ mode = "train" }):run({ core.ones { 2 } }):totable())
    assert.same({ 5, 5 }, g:program({ mode = "infer" }):run({ core.ones { 2 } }):totable())
  end)
end)

describe("depend", function()
  it("keeps an effect that nothing else reaches", function()
    local v = variable { 1 }
    local x = core.placeholder("x", "f32", { 1 })
    core.trace_begin()
    local effect = v:assign(v + x)
    local y = core.depend(x * 2, { effect })
    core.trace_end()
    local g = core.graph({ x }, { y })
    assert.same({ 6 }, g:program({ mode = "train" }):run({ core.tensor { 3 } }):totable())
    assert.same({ 4 }, v:totable())
  end)
end)
