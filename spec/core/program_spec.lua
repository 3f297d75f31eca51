-- Programs: one for each signature, counted; what they tell about themselves.
local core = require "moonlet.core"
local graphs = require "spec.graph.graphs"

local n = core.dim "n"

local function compiles(f)
  local before = core.compile_count()
  f()
  return core.compile_count() - before
end

describe("the cache of programs", function()
  local function graph()
    local x, y = core.placeholder("x", "f32", { n, 3 }), core.placeholder("y", "f32", { n })
    return core.graph({ x, y }, { core.mode(x:sum(2) + y, y) })
  end
  local function types(size) return { { shape = { size, 3 } }, { shape = { size } } } end

  it("has one for each signature, mode and set of passes", function()
    local g = graph()
    local function compile(size, mode, off)
      return compiles(function() g:program { inputs = types(size), mode = mode, passes_off = off } end)
    end
    assert.same({ 1, 0, 1, 0 }, { compile(2), compile(2), compile(3), compile(3) })
    assert.same({ 1, 0, 0 }, { compile(2, "train"), compile(2, "train"), compile(2, "infer") })
    local function without(off) return compile(2, nil, off) end
    assert.same({ 1, 0, 1, 1 }, { without "fuse", without "fuse", without "all", without "cse" })
    assert.equal(0, compile(2))
    local other = graph()
    assert.equal(1, compiles(function() other:program { inputs = types(2) } end))
  end)

  it("gives the same for tensors as for types", function()
    local g = graph()
    assert.equal(1, compiles(function()
      g:program { inputs = types(4) }
      g:program { inputs = { core.zeros { 4, 3 }, core.zeros { 4 } } }
      g:program { inputs = { core.zeros({ 3, 4 }):transpose(), core.ones { 4 } } }
    end))
  end)

  it("counts nothing for a graph that does not compile", function()
    local g = graph()
    assert.equal(0, compiles(function()
      pcall(g.program, g, { inputs = { { shape = { 2, 3 } }, { shape = { 3 } } } })
    end))
    assert.equal(1, compiles(function() g:program { inputs = types(2) } end))
  end)

  it("is shared by programs that outlive their graph", function()
    local g = graph()
    local a, b = g:program { inputs = types(2) }, g:program { inputs = types(2) }
    g:release()
    a:release()
    collectgarbage()
    assert.same({ 5, 5 }, b:run({ core.ones { 2, 3 }, core.full({ 2 }, 5) }):totable())
  end)

  it("ends with its graph", function()
    local testing = require "moonlet.testing"
    local function many()
      local g = graph()
      for size = 1, 20 do g:program { inputs = types(size) } end
      g:release()
      collectgarbage()
    end
    many()
    local before = testing.live_bytes()
    many()
    assert.equal(before, testing.live_bytes())
  end)
end)

describe("a program", function()
  it("tells how many launches, loops and bytes it has", function()
    local x = core.placeholder("x", "f32", { 100, 100 })
    local g = core.graph({ x }, { ((x * 2):tanh():matmul(x) + core.constant(core.ones { 100 })):softmax() })
    local stats = g:program():stats()
    assert.is_true(stats.launches >= 3 and stats.launches <= 5, stats.launches)
    assert.is_true(stats.arena_bytes >= 40000 and stats.arena_bytes <= 3 * 40000 + 4096, stats.arena_bytes)
    assert.is_true(stats.constant_bytes == 0 or stats.constant_bytes >= 400)
    assert.is_true(stats.nodes >= 4)
    assert.is_true(stats.compile_us > 0)
    local plain = g:program({ passes_off = "all" }):stats()
    assert.is_true(plain.launches > stats.launches)
    assert.equal(0, plain.loops)
  end)

  it("explains each launch with its script line and layer", function()
    local x = core.placeholder("x", "f32", { 4, 4 })
    core.path_push "encoder"
    local line = debug.getinfo(1, "l").currentline + 1
    local y = x:matmul(x)
    core.path_pop()
    local program = core.graph({ x }, { y }):program()
    assert.matches("^ +1 run +matmul: cpu_matmul.* input f32%(4, 4%), input f32%(4, 4%) %-> output f32%(4, 4%) in encoder at "
      .. "spec/core/program_spec.lua:" .. line .. "\n$", program:explain())
    local g, tensors = graphs.bodies()
    local text = g:program({ inputs = tensors }):explain()
    local launches = select(2, text:gsub("\n", ""))
    local stats = g:program({ inputs = tensors }):stats()
    assert.equal(stats.launches + stats.prologue_launches, launches)
    for _, op in ipairs { "scan", "while_loop", "cond" } do assert.matches("run +" .. op, text) end
  end)

  it("gives an input or a constant out as it is, as a copy", function()
    local x = core.placeholder("x", "f32", { 2 })
    local c = core.tensor { 5, 6 }
    local program = core.graph({ x }, { x, core.constant(c), x, x:reshape { 2, 1 } }):program()
    local a = core.tensor { 1, 2 }
    local p, q, r, s = program:run { a }
    a:fill(9)
    p:fill(8)
    q:fill(7)
    assert.same({ { 8, 8 }, { 7, 7 }, { 1, 2 }, { { 1 }, { 2 } } }, { p:totable(), q:totable(), r:totable(), s:totable() })
    assert.same({ 5, 6 }, c:totable())
    local _, again = program:run { a }
    assert.same({ 5, 6 }, again:totable())
  end)

  it("without outputs, inputs or launches is a program", function()
    assert.is_nil((core.graph({}, {}):program():run {}))
    local x = core.placeholder("x", "f32", { 2 })
    assert.is_nil((core.graph({ x }, {}):program():run { core.ones { 2 } }))
  end)

  it("has a variable that its input was read from", function()
    local v = core.variable(core.tensor { 1, 2 }, "v")
    local x = core.placeholder("x", "f32", { 2 })
    local program = graphs.trace({ x }, function()
      v:assign(v + x)
      return { x * 2 }
    end):program { mode = "train" }
    local y = program:run { v:read() }
    assert.same({ { 2, 4 }, { 2, 4 } }, { y:totable(), v:totable() })
  end)
end)
