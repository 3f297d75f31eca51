-- Calling a graph on other values: a model as a layer, in or after the trace that made it.
local core = require "moonlet.core"
local graphs = require "spec.graph.graphs"

describe("calling a graph", function()
  for _, name in ipairs { "bodies", "constants", "dims", "effects", "training" } do
    it("computes what the graph computes, after its trace: " .. name, function()
      local g, tensors, variables = graphs[name]()
      local inputs = {}
      for i, t in ipairs(tensors) do inputs[i] = core.placeholder("in" .. i, t.dtype, t.shape, t.ndim) end
      local outer = graphs.trace(inputs, function() return g:call(inputs) end)
      assert.equal(#g:outputs(), #outer:outputs())
      assert.equal(#(variables or outer:variables()), #outer:variables())
      assert.equal(graphs.bytes(graphs.run(g, tensors)), graphs.bytes(graphs.run(outer, tensors)))
      local again = core.graph(inputs, g:call(inputs))
      local want = graphs.run(g, tensors, { mode = "infer" })
      local inferred = graphs.run(again, tensors, { mode = "infer" })
      for i = 1, #g:outputs() do assert.equal(graphs.bytes { want[i] }, graphs.bytes { inferred[i] }, "output " .. i) end
    end)
  end

  it("draws anew each time", function()
    core.trace_begin()
    local g = core.graph({}, { core.uniform { 4 } })
    core.trace_end()
    local twice = graphs.trace({}, function() return { g:call {}[1], g:call {}[1] } end)
    local a, b = twice:program():run { step = 1 }
    assert.is_true(core.tostring(a) ~= core.tostring(b))
  end)

  it("binds its sizes to those that come, or says which input does not fit", function()
    local g = graphs.dims()
    local n = core.dim "n"
    local x, y = core.placeholder("a", "f32", { 3, n * 2, 4 }), core.placeholder("b", "f32", { 7, n })
    local out = g:call { x, y }
    assert.equal("4*n", tostring(out[2].shape[1]))
    assert.error_matches(function() g:call { x, core.placeholder("b", "f32", { 8, n }) } end, "'y'")
    assert.error_matches(function() g:call { y, y } end, "'x'")
    assert.error_matches(function() g:call { x } end, "takes 2 inputs, got 1")
  end)
end)
