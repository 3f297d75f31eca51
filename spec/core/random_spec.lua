-- Random numbers: the same for any number of threads, in slices, eagerly and compiled; other ones for other steps, seeds and nodes.
local core = require "moonlet.core"
local graphs = require "spec.graph.graphs"
local output_of = require("spec.support.process").output_of

local script = [[
local core = require "moonlet.core"
local graphs = require "spec.graph.graphs"
core.seed(5)
local sum = 0
local function note(bytes)
  for i = 1, #bytes do sum = (sum * 31 + bytes:byte(i)) % 2147483629 end
end
for _, name in ipairs(graphs.names) do
  local g, tensors = graphs[name]()
  note(graphs.bytes(graphs.run(g, tensors)))
end
local x = core.placeholder("x", "f32", { 300, 200 })
core.trace_begin()
local u, v = core.uniform { 300, 200 }, core.normal { 200, 170 }
local outputs = { u, v, (x + u):matmul(v), (x * u):sum(1), (x * u):sum(2), (x + u):mean(), x:softmax() }
core.trace_end()
local g = core.graph({ x }, outputs)
note(graphs.bytes(graphs.run(g, { core.normal { 300, 200 } })))
print(sum)
]]

describe("results", function()
  it("do not depend on the number of threads", function()
    local one = output_of(script, "MOONLET_THREADS=1")
    assert.matches("^%d+\n$", one)
    for _, threads in ipairs { 2, 3, 8 } do
      assert.equal(one, output_of(script, "MOONLET_THREADS=" .. threads), threads .. " threads")
    end
  end)
end)

describe("random numbers", function()
  -- Normal numbers of scale 1 to 3 in f32.
  local function close(a, b)
    local worst = (a - b):abs():max():item()
    assert(worst < 2e-6, "differ by " .. worst)
  end

  local function graph()
    core.trace_begin()
    local outputs = { core.uniform { 6 }, core.uniform { 6 }, core.normal { 5 }, core.integers({ 4 }, { lo = 0, hi = 1000000 }) }
    core.trace_end()
    return core.graph({}, outputs)
  end

  it("belong to seed, step and node", function()
    local program = graph():program()
    local function run(step) return { program:run { step = step } } end
    local a, b = run(1), run(2)
    assert.equal(graphs.bytes(a), graphs.bytes(run(1)))
    assert.is_true(graphs.bytes(a) ~= graphs.bytes(b))
    assert.is_true(core.tostring(a[1]) ~= core.tostring(a[2]))
    core.seed(2)
    assert.is_true(graphs.bytes(a) ~= graphs.bytes(run(1)))
    core.seed(1)
    assert.equal(graphs.bytes(a), graphs.bytes(run(1)))
    assert.equal(graphs.bytes(a), graphs.bytes { graph():program():run { step = 1 } })
  end)

  it("are the same optimised and not, alone and with others, in any layout", function()
    local g = graph()
    local fast, plain = { g:program():run { step = 3 } }, { g:program({ passes_off = "all" }):run { step = 3 } }
    -- A normal number is as exact as the logarithm, root and cosine of whoever draws it; the others are equal to the bit.
    close(table.remove(fast, 3), table.remove(plain, 3))
    assert.equal(graphs.bytes(fast), graphs.bytes(plain))
    core.trace_begin()
    local u = core.uniform { 8, 6 }
    local others = { u:transpose(), u:slice(1, 3, 5), u * 2 }
    core.trace_end()
    local whole = core.graph({}, { u }):program():run { step = 2 }
    local turned, part, scaled = core.graph({}, others):program():run { step = 2 }
    assert.same(whole:transpose():totable(), turned:totable())
    assert.same(whole:slice(1, 3, 5):totable(), part:totable())
    assert.same((whole * 2):totable(), scaled:totable())
  end)

  it("are the same by vectors and one by one, whatever the size and the position", function()
    for _, n in ipairs { 1, 15, 16, 17, 255, 256, 257, 16383, 16385, 40000 } do
      core.trace_begin()
      local outputs = { core.normal({ n }, 2, 3), core.uniform({ n }, -3, 5), core.uniform({ n }, 1000, 1001),
        core.bernoulli({ n }, 0.3), core.bernoulli({ n }, 0.7, "bool"), core.bernoulli({ n }, 0.999999999, "u8"),
        core.bernoulli({ n }, 1), core.bernoulli({ n }, 0) }
      core.trace_end()
      local g = core.graph({}, outputs)
      local fast, plain = { g:program():run { step = 2 ^ 33 + n } }, { g:program({ passes_off = "all" }):run { step = 2 ^ 33 + n } }
      close(table.remove(fast, 1), table.remove(plain, 1))
      assert.equal(graphs.bytes(fast), graphs.bytes(plain), "of " .. n)
    end
  end)

  it("are the same eagerly and compiled in the same step", function()
    local function draws() return { core.uniform { 3 }, core.normal { 4 }, core.bernoulli({ 9 }, 0.5) } end
    core.trace_begin()
    local symbols = draws()
    core.trace_end()
    local compiled = { core.graph({}, symbols):program():run { step = 0 } }
    core.eager_push()
    core.trace_begin()
    local ok, eager = pcall(draws)
    core.trace_end()
    core.eager_pop()
    assert(ok, eager)
    for i = 1, 3 do assert.same(compiled[i]:totable(), eager[i]:totable()) end
  end)

  it("at once go on from draw to draw and start again with the seed", function()
    core.seed(9)
    local a, b = core.uniform { 4 }, core.uniform { 4 }
    assert.is_true(core.tostring(a) ~= core.tostring(b))
    core.seed(9)
    assert.equal(core.tostring(a), core.tostring(core.uniform { 4 }))
    assert.equal(core.tostring(b), core.tostring(core.uniform { 4 }))
  end)

  it("in a scan differ from step to step", function()
    local x = core.placeholder("x", "f32", { 50 })
    local _, ys = core.scan(function(c, v) return c, core.uniform {} + v end, core.tensor(0), x)
    local list, seen = core.graph({ x }, { ys }):program():run({ core.zeros { 50 } }):totable(), {}
    for i = 1, 50 do
      assert.is_nil(seen[list[i]])
      seen[list[i]] = true
    end
  end)
end)
