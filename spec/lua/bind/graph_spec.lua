-- Graphs: making, text, parsing, calling, compiling.
local core = require "moonlet.core"

local function simple()
  local p = core.placeholder("x", "f32", { core.dim "batch", 2 })
  local w = core.variable(core.tensor { 1, 2 }, "w")
  core.trace_begin()
  local y = (p * w):sum(2)
  core.trace_end()
  return core.graph({ p }, { y }), w, p
end

describe("graphs", function()
  it("know their inputs, outputs and variables", function()
    local g, w = simple()
    assert.equal("graph", core.kind(g))
    assert.equal("x", g:inputs()[1].name)
    assert.equal("sum", g:outputs()[1].op)
    assert.equal(w.name, g:variables()[1].name)
    assert.is_true(g:count() >= 3)
    assert.matches("^Graph %(1 inputs, 1 outputs, 0 effects, %d+ nodes%)$", tostring(g))
    assert.matches("digraph", g:dot())
  end)

  it("take single values for tables, and constants", function()
    local p = core.placeholder("x", "f32", { 2 })
    local a, b = core.graph(p, { p + 1, core.tensor { 5 } }):program():run { core.ones { 2 } }
    assert.same({ 2, 2 }, a:totable())
    assert.same({ 5 }, b:totable())
  end)

  it("refuse what does not belong", function()
    local p, q = core.placeholder("x", "f32", { 2 }), core.placeholder("q", "f32", { 2 })
    assert.error_matches(function() core.graph({ p }, { p + q }) end, "q")
    assert.error_matches(function() core.graph({ p }, { "y" }) end, "outputs must be a tensor or a number, got 'y'")
    assert.error_matches(function() core.graph({ p + 1 }, { p + 1 }) end, "graph")
  end)

  it("print and parse", function()
    local g, w = simple()
    local asked
    local again = core.graph_parse(g:text(), { variable = function(name, dtype, shape)
      asked = { name, dtype, shape[1] }
      return w
    end })
    assert.same({ "w", "f32", 2 }, asked)
    local x = core.tensor { { 1, 1 }, { 2, 3 } }
    assert.same({ 3, 8 }, again:program({ inputs = { x } }):run({ x }):totable())
  end)

  it("parsing reports what is wrong", function()
    local g = simple()
    assert.error_matches(function() core.graph_parse("graph {") end, "line 1")
    assert.error_matches(function() core.graph_parse(g:text()) end, "w")
    assert.error_matches(function() core.graph_parse(g:text(), { variable = function() error("mine", 0) end }) end, "^mine$")
    assert.error_matches(function()
      core.graph_parse(g:text(), { variable = function() return 3 end })
    end, "must be a Variable, got 3")
    assert.error_matches(function()
      core.graph_parse(g:text(), { tensor = print })
    end, "unknown key 'tensor'; known: variable, constant")
    assert.error_matches(function() core.graph_parse(3) end, "text must be a string")
    local value = { 1 }
    local ok, raised = pcall(core.graph_parse, g:text(), { variable = function() error(value) end })
    assert.is_false(ok)
    assert.equal(value, raised)
  end)

  it("are called like layers", function()
    local g = simple()
    local p = core.placeholder("z", "f32", { 3, 2 })
    local y = g:call({ p })[1]
    assert.same({ 3 }, y.shape)
    assert.same({ 3, 3, 3 }, core.graph({ p }, { y }):program():run({ core.ones { 3, 2 } }):totable())
    assert.error_matches(function() g:call {} end, "takes 1 inputs, got 0")
    assert.error_matches(function() g:call { core.placeholder("z", "f32", { 3 }) } end, "x")
  end)

  it("are released", function()
    local g = simple()
    local program = g:program { inputs = { { shape = { 1, 2 } } } }
    g:release()
    g:release()
    assert.error_matches(function() g:text() end, "released Graph")
    assert.equal("Graph (released)", tostring(g))
    assert.same({ 3 }, program:run({ core.ones { 1, 2 } }):totable())
  end)
end)

describe("compiling", function()
  it("takes types, mode, passes and a dump", function()
    local g = simple()
    local passes = {}
    g:program { inputs = { { dtype = "f32", shape = { 4, 2 } } }, mode = "train", passes_off = "cse", dump = function(pass, text)
      passes[pass] = #text
    end }
    assert.is_nil(passes.cse)
    assert.is_true(passes.fuse > 0)
    assert.same({ 3 }, g:program({ inputs = { core.ones { 1, 2 } }, passes_off = "all" }):run({ core.ones { 1, 2 } }):totable())
  end)

  it("keeps one program for a signature", function()
    local g = simple()
    local before = core.compile_count()
    g:program { inputs = { { shape = { 4, 2 } } } }
    g:program { inputs = { { shape = { 4, 2 } } } }
    assert.equal(before + 1, core.compile_count())
  end)

  it("may be limited", function()
    local g = simple()
    core.program_cache_limit(1)
    g:program { inputs = { { shape = { 1, 2 } } } }
    g:program { inputs = { { shape = { 1, 2 } } } }
    assert.error_matches(function() g:program { inputs = { { shape = { 2, 2 } } } } end, "more than 1 signatures")
    core.program_cache_limit()
    g:program { inputs = { { shape = { 3, 2 } } } }
    assert.error_matches(function() core.program_cache_limit(-1) end, "0 or more")
  end)

  it("refuses wrong options", function()
    local g = simple()
    assert.error_matches(function() g:program { input = {} } end, "unknown key 'input'; known: mode, inputs, passes_off, dump")
    assert.error_matches(function() g:program { mode = "test" } end, "mode must be 'train' or 'infer', got 'test'")
    assert.error_matches(function() g:program { inputs = {} } end, "takes 1 inputs, got 0")
    assert.error_matches(function() g:program {} end, "input 1: every size must be given")
    assert.error_matches(function() g:program { inputs = { 3 } } end, "must be a Tensor or { dtype =, shape = }, got 3")
    assert.error_matches(function() g:program { inputs = { { dtype = "f32" } } } end, "shape is missing")
    assert.error_matches(function() g:program { inputs = { { shape = { 2, 3 } } } } end, "x")
    assert.error_matches(function() g:program { dump = 3 } end, "dump must be a function")
    local x = { core.ones { 1, 2 } }
    assert.error_matches(function() g:program { inputs = x, dump = function() error("mine", 0) end } end, "^mine$")
    assert.same({ 3 }, g:program({ inputs = x }):run(x):totable())
  end)
end)
