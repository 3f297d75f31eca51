-- The text form of graphs: prints, parses, prints the same, computes the same.
local core = require "moonlet.core"
local graphs = require "spec.graph.graphs"
local samples = require "spec.support.samples"

local function check_round_trip(g, tensors, label)
  local text = core.graph_texts({ g })[1]
  local again = graphs.parse_again(g, text)
  assert.equal(text, core.graph_texts({ again })[1], label)
  assert.equal(#g:inputs(), #again:inputs())
  assert.equal(#g:variables(), #again:variables())
  assert.equal(g:count(), again:count())
  if not tensors then return again end
  assert.equal(graphs.bytes(graphs.run(g, tensors)), graphs.bytes(graphs.run(again, tensors)), label)
  return again
end

describe("graph text", function()
  for _, name in ipairs(graphs.names) do
    it("round trip: " .. name, function()
      local g, tensors = graphs[name]()
      check_round_trip(g, tensors, name)
    end)
  end

  it("round trip of every op", function()
    local tried = 0
    for _, op in ipairs(core.ops()) do
      for i, case in ipairs(samples.of(op)) do
        local label = samples.label(op, i)
        local tensors = samples.tensors(case, "f32", label)
        local g = samples.trace(tensors, function(xs) return samples.call(op, case, xs) end)
        check_round_trip(g, tensors, label)
        tried = tried + 1
      end
    end
    assert.is_true(tried > 250, tried .. " cases")
  end)

  it("keeps script lines, paths, streams and attributes", function()
    local g = graphs.effects()
    local text = g:text()
    assert.matches('@ "%.?/?spec/graph/graphs.lua:%d+" "lay\\"er"', text)
    assert.matches('input "in \\"put\\" \\\\ 1"', text)
    g = graphs.random()
    assert.matches("uniform shape=%[3,4%].* stream=%d+", g:text())
    g = graphs.dims()
    assert.matches("%[batch%*time,4%]", g:text())
    assert.matches("floor%(time/2%)", g:text():gsub(" ", ""))
  end)

  it("says the same after the passes as it computes", function()
    local g, tensors = graphs.training()
    local last
    g:program { mode = "train", inputs = tensors, dump = function(_, text) last = text end }
    -- What passes make can be read back, loops included.
    local variables = {}
    for _, v in ipairs(g:variables()) do variables[v.name] = v end
    local again = core.graph_parse(last, { variable = function(name) return variables[name] end })
    assert.equal(last, again:text())
  end)

  it("does not depend on the time or place of making", function()
    for _, name in ipairs(graphs.names) do
      local a, b = (graphs[name]()), (graphs[name]())
      assert.equal(core.graph_texts({ a })[1], core.graph_texts({ b })[1])
    end
  end)

  it("shares large constants between the graphs of a file", function()
    local big = core.constant(graphs.numbers { 6, 6 })
    local x = core.placeholder("x", "f32", { 6, 6 })
    local texts, constants = core.graph_texts { core.graph({ x }, { x + big }), core.graph({ x }, { x * big, big }) }
    assert.equal(1, #constants)
    assert.matches('constant "constant/1" : f32 %[6,6%]', texts[1])
    assert.matches('constant "constant/1" : f32 %[6,6%]', texts[2])
  end)
end)
