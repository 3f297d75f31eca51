-- Each pass on a graph where what it does is seen; what they compute together is in random_graphs_spec.lua.
local core = require "moonlet.core"
local graphs = require "spec.graph.graphs"

local order = { "lower", "fold", "simplify", "cse", "dce", "place", "join", "scale", "winograd", "select", "layout", "fuse" }

local function x_of(...) return core.placeholder("x", "f32", { ... }) end

--- Compiles g and gives the text after each pass; only: the one pass that is on.
local function dumps(g, only, types)
  local off, texts, list = {}, {}, {}
  for _, name in ipairs(only and order or {}) do
    if name ~= only then off[#off + 1] = name end
  end
  local program = g:program { inputs = types, passes_off = table.concat(off, ","), dump = function(pass, text)
    list[#list + 1] = pass
    texts[pass] = text
  end }
  return texts, list, program
end

--- How many nodes of an op the text has, bodies included.
local function count(text, op)
  local n = 0
  for _ in text:gmatch("= " .. op .. "[%( ]") do n = n + 1 end
  return n
end

--- Checks how many nodes of ops stand in the graph of outputs after a pass: { op = number }.
local function check(pass, x, outputs, want)
  local g = core.graph({ x }, outputs)
  local text = dumps(g, pass)[pass]
  for op, n in pairs(want) do assert.equal(n, count(text, op), op .. " in\n" .. text) end
  return text, g
end

--- The same numbers with the pass alone and with no pass at all.
local function check_values(g, tensors, pass)
  local _, _, program = dumps(g, pass)
  local a, b = { program:run(tensors) }, { g:program({ inputs = tensors, passes_off = "all" }):run(tensors) }
  for i = 1, #b do
    local p, q = a[i]:reshape({ -1 }):totable(), b[i]:reshape({ -1 }):totable()
    for k = 1, #q do assert.is_true(math.abs(p[k] - q[k]) <= 1e-5 * (1 + math.abs(q[k])), pass .. " changes output " .. i) end
  end
end

describe("the table of passes", function()
  local x = x_of(4)
  local g = core.graph({ x }, { (x * 2 + 1):tanh():sum() })

  it("is run in order, each dumped", function()
    local texts, list = dumps(g)
    assert.same(order, list)
    for _, name in ipairs(order) do assert.matches("^graph {\n", texts[name]) end
    -- What a pass gave can be read back and computes the same.
    for _, name in ipairs(order) do
      local again = core.graph_parse(texts[name])
      assert.equal(texts[name], again:text())
      local a = core.tensor { 1, 2, 3, 4 }
      assert.is_true(math.abs(g:program():run({ a }):item() - again:program():run({ a }):item()) < 1e-5)
    end
  end)

  it("leaves the graph that is compiled as it is, also what depends on no input", function()
    local a, w = x_of(4, 3), core.variable(core.full({ 4, 3 }, 2, "f32"), "w")
    core.trace_begin()
    local one = core.graph({ a }, { a * (((w + 0) * 3 + 0):tanh() + 0) })
    core.trace_end()
    local before, inputs = one:text(), { core.full({ 4, 3 }, 5, "f32") }
    local two = core.graph({ a }, { one:call({ a })[1] + one:call({ a * 1 })[1] })
    local y = one:program { passes_off = "all" }:run(inputs):sum():item()
    for i = 1, 3 do
      local twice = i == 2
      assert.near(twice and 2 * y or y, (twice and two or one):program { passes_off = "none" .. i }:run(inputs):sum():item(), 1e-3)
      assert.equal(before, one:text())
    end
  end)

  it("each can be switched off, or all", function()
    for _, name in ipairs(order) do
      local list = {}
      g:program { passes_off = name, dump = function(pass) list[#list + 1] = pass end }
      assert.equal(#order - 1, #list)
      for _, pass in ipairs(list) do assert.is_true(pass ~= name) end
    end
    g:program { passes_off = "all", dump = function(pass) error(pass) end }
    local list = {}
    g:program { passes_off = "cse, fuse,fold", dump = function(pass) list[#list + 1] = pass end }
    assert.same({ "lower", "simplify", "dce", "place", "join", "scale", "winograd", "select", "layout" }, list)
  end)
end)

describe("lower", function()
  it("keeps composites that have a kernel, inlines the others", function()
    local x = x_of(4, 32)
    local text, g = check("lower", x, { x:softmax(), core.selu(x) }, { softmax = 0, selu = 0 })
    assert.is_true(count(text, "exp") > 0)
    check_values(g, { graphs.numbers { 4, 32 } }, "lower")
    -- With select on, the kernels count.
    local kept
    g:program { dump = function(pass, after) kept = pass == "lower" and after or kept end }
    assert.equal(1, count(kept, "softmax"), kept)
    assert.equal(0, count(kept, "selu"))
    assert.matches("softmax: cpu_", g:program():explain())
  end)

  it("makes mean a scaled sum", function()
    local x = x_of(4, 8)
    local _, g = check("lower", x, { x:mean(2) }, { mean = 0, sum = 1 })
    check_values(g, { graphs.numbers { 4, 8 } }, "lower")
  end)

  it("opens calls, and bodies", function()
    local x = x_of(3, 2)
    local y = core.call_custom(function(a) return a:sin() end, function(a, _, d) return { d[1] * a[1]:cos() } end, { x })
    local z = core.scan(function(c, v) return core.selu(c + v) end, core.zeros { 2 }, x)
    local _, g = check("lower", x, { y, z }, { call = 0, selu = 0, sin = 1, scan = 1 })
    check_values(g, { graphs.numbers { 3, 2 } }, "lower")
  end)
end)

describe("fold", function()
  it("computes what depends on constants alone", function()
    local x, c = x_of(2), core.constant(core.tensor { 1, 2 })
    local text, g = check("fold", x, { x + (c * 3):exp():sum() }, { exp = 0, sum = 0, mul = 0, add = 1 })
    assert.matches("constant 423%.51", text)
    check_values(g, { core.ones { 2 } }, "fold")
  end)

  it("leaves inputs, random nodes and failing nodes alone", function()
    local x = x_of(2)
    core.trace_begin()
    local u = core.uniform { 2 } * 2
    core.trace_end()
    check("fold", x, { x * 2, u }, { uniform = 1, mul = 2 })
    local function constant(values, dtype) return core.constant(core.tensor(values, dtype)) end
    local bad = core.gather(constant { 1, 2 }, constant({ 5 }, "i64"), 1)
    local _, g = check("fold", x, { core.mode(bad + x:sum(), x:slice(1, 1, 1)) }, { gather = 0 })
    assert.same({ 1 }, g:program():run({ core.ones { 2 } }):totable())
    assert.error_matches(function() g:program({ mode = "train" }):run { core.ones { 2 } } end, "index 5 is out of range")
  end)

  it("reaches into bodies", function()
    local x, c = x_of(3), core.constant(core.tensor(2))
    local y = core.scan(function(carry, v) return carry + v * (c:exp() * 0.5) end, core.tensor(0), x)
    local _, g = check("fold", x, { y }, { exp = 0, scan = 1 })
    check_values(g, { graphs.numbers { 3 } }, "fold")
  end)
end)

describe("simplify", function()
  it("drops what changes nothing", function()
    local x = x_of(2, 3)
    local rows = { { x * 1, "mul" }, { 1 * x, "mul" }, { x + 0, "add" }, { 0 + x, "add" }, { x - 0, "sub" }, { x / 1, "div" },
      { -(-x), "neg" }, { x ^ 1, "pow" }, { x:transpose():transpose(), "transpose" },
      { x:reshape { 6 }:reshape { 2, 3 }, "reshape" },
      { x:reshape { 2, 3 }, "reshape" }, { x:broadcast_to { 2, 3 }, "broadcast_to" }, { x:transpose { 1, 2 }, "transpose" } }
    for i, row in ipairs(rows) do
      local text = check("simplify", x, { row[1] }, { [row[2]] = 0 })
      local nodes = select(2, text:gsub("\n  %%", ""))
      assert.is_true(nodes <= 2, "row " .. i .. ":\n" .. text)
      check_values(core.graph({ x }, { row[1] }), { graphs.numbers { 2, 3 } }, "simplify")
    end
  end)

  it("merges views, squares powers, reshapes sums of one", function()
    local x = x_of(2, 3, 4)
    check("simplify", x, { x:transpose { 2, 3, 1 }:transpose { 2, 3, 1 } }, { transpose = 1 })
    check("simplify", x, { x:transpose { 2, 3, 1 }:transpose { 3, 1, 2 } }, { transpose = 0 })
    check("simplify", x, { x:reshape { 6, 4 }:reshape { 4, 6 } }, { reshape = 1 })
    check("simplify", x, { x ^ 2 }, { pow = 0, square = 1 })
    check("simplify", x, { x:reshape({ 2, 3, 4, 1 }):sum(4) }, { sum = 0 })
  end)

  it("does not hide a NaN", function()
    local x = x_of(3)
    local _, g = check("simplify", x, { x * 0, x - x }, { mul = 1, sub = 1 })
    local a = g:program():run { core.tensor { 0 / 0, math.huge, 1 } }
    assert.is_true(a[1]:item() ~= a[1]:item() and a[2]:item() ~= a[2]:item())
    assert.equal(0, a[3]:item())
  end)

  it("keeps the dtype", function()
    local x = core.placeholder("x", "i32", { 2 })
    local y = core.graph({ x }, { x:cast("f32"):cast("i32") * 1 }):program():run { core.tensor({ 3, 4 }, "i32") }
    assert.equal("i32", y.dtype)
  end)
end)

describe("cse", function()
  it("merges equal nodes", function()
    local x = x_of(3)
    local _, g = check("cse", x, { x:exp() + x:exp(), (x:exp() * 2):sin() }, { exp = 1, sin = 1 })
    check_values(g, { graphs.numbers { 3 } }, "cse")
    check("cse", x, { x:exp(), x:exp() }, { exp = 1 })
    check("cse", x, { x:sum(1) + x:sum { 1 }, x:cumsum(1):sum() + x:cumsum(1):max() }, { cumsum = 1 })
  end)

  it("keeps what differs: attributes, dtypes, streams, constants", function()
    local x = x_of(3, 3)
    check("cse", x, { x:sum(1), x:sum(2) }, { sum = 2 })
    check("cse", x, { x:cast "f64", x:cast "i32" }, { cast = 2 })
    check("cse", x, { x + core.tensor(-0.0), x + core.tensor(0.0) }, { add = 2, constant = 2 })
    check("cse", x, { x + core.tensor { 1, 2, 3 }, x * core.tensor { 1, 2, 3 } }, { constant = 1 })
    check("cse", x, { x - x:transpose(), x:transpose() - x }, { sub = 2, transpose = 1 })
    core.trace_begin()
    local u = core.uniform { 3 } + core.uniform { 3 }
    core.trace_end()
    check("cse", x, { u }, { uniform = 2 })
  end)

  it("keeps assigns and reads around them", function()
    local v = core.variable(core.tensor { 1 }, "v")
    local program = graphs.trace({}, function()
      v:assign(v + 1)
      v:assign(v + 1)
      return { v + 1 }
    end):program { mode = "train" }
    assert.same({ 4 }, program:run({}):totable())
  end)
end)

describe("dce", function()
  it("drops what nobody uses, also stacked results of a scan", function()
    local x = x_of(4, 3)
    local carry = core.scan(function(c, v) return c + v, { v:exp(), v:sin() } end, core.zeros { 3 }, x)
    local text, g = check("dce", x, { carry }, { exp = 0, sin = 0, scan = 1 })
    assert.is_nil(text:match "f32 %[4,3%], f32 %[4,3%]")
    check_values(g, { graphs.numbers { 4, 3 } }, "dce")
    local _, ys = core.scan(function(c, v) return c + v, { v:exp(), v:sin() } end, core.zeros { 3 }, x)
    check("dce", x, { ys[2] }, { exp = 0, sin = 1 })
  end)
end)

describe("scale", function()
  local function numbers(...) return core.constant(graphs.numbers { ... }) end
  local kernel = numbers(3, 3, 4, 5)

  it("makes what scales and shifts channels part of filter and shift", function()
    local x = x_of(2, 6, 6, 4)
    local y = core.conv(x, kernel) * numbers(5) + numbers(5)
    local _, g = check("scale", x, { y }, { conv = 1, add = 1, mul = 1 })
    check_values(g, { graphs.numbers { 2, 6, 6, 4 } }, "scale")
    local z = ((core.conv(x, kernel) + numbers(5)) * numbers(1, 1, 5) + numbers(5)) * 3 + 0.5
    _, g = check("scale", x, { z }, { conv = 1 })
    check_values(g, { graphs.numbers { 2, 6, 6, 4 } }, "scale")
    local text = dumps(g, "scale").scale
    local _, whole = text:gsub("= add%b() : f32 %[2,4,4,5%]", "")
    assert.equal(1, whole, text)
  end)

  it("leaves convolutions that somebody else wants, and numbers that change or differ from place to place", function()
    local x = x_of(1, 4, 4, 4)
    local y = core.conv(x, kernel)
    local function unchanged(outputs)
      local g = core.graph({ x }, outputs)
      local scaled, plain = dumps(g, "scale").scale, dumps(g, "place").place
      assert.equal(plain, scaled)
    end
    unchanged { y * numbers(5), y }
    unchanged { (y + numbers(5)) * numbers(5), y:tanh() }
    unchanged { y * numbers(2, 2, 1) }
    unchanged { y * x:sum() }
  end)

  it("folds batch normalisation into the filter where nothing trains", function()
    local x = x_of(1, 6, 6, 4)
    local w = core.variable(graphs.numbers { 3, 3, 4, 5 }, "w")
    local moving = {}
    for i = 1, 4 do moving[i] = core.variable(graphs.numbers { 5 }:abs() + 0.5, "v" .. i) end
    local y = core.batch_norm_infer(core.conv(x, w), moving[1], moving[2], moving[3], moving[4]):relu()
    local g = core.graph({ x }, { y })
    local text = dumps(g).fuse
    assert.equal(1, count(text, "conv"))
    local input = graphs.numbers { 1, 6, 6, 4 }
    local function same()
      local a, b = g:program():run { input }, g:program({ passes_off = "all" }):run { input }
      assert.is_true((a - b):abs():max():item() < 1e-5)
    end
    same()
    moving[1]:write(graphs.numbers { 5 } * 3)
    same()
  end)
end)

describe("select", function()
  it("makes a 1x1 convolution a product of matrices", function()
    local x = x_of(2, 4, 4, 3)
    local kernel = core.constant(graphs.numbers { 1, 1, 3, 5 })
    local _, g = check("select", x, { core.conv(x, kernel) }, { conv = 0, matmul = 1 })
    check_values(g, { graphs.numbers { 2, 4, 4, 3 } }, "select")
  end)

  it("leaves out what a 1x1 convolution with strides does not see, and puts its gradient back", function()
    local x, kernel = x_of(2, 5, 4, 3), core.constant(graphs.numbers { 1, 1, 3, 5 })
    local y = core.conv(x, kernel, { strides = { 2, 3 } })
    local _, g = check("select", x, { y }, { conv = 0, matmul = 1, slice = 2 })
    check_values(g, { graphs.numbers { 2, 5, 4, 3 } }, "select")
    local dx = core.gradients((y * y):sum(), { x })[1]
    _, g = check("select", x, { dx }, { conv = 0, conv_input_grad = 0, matmul = 2, unslice = 1 })
    check_values(g, { graphs.numbers { 2, 5, 4, 3 } }, "select")
  end)

  it("leaves others", function()
    local x = x_of(2, 4, 4, 4)
    check("select", x, { core.conv(x, core.constant(graphs.numbers { 3, 3, 4, 5 })) }, { conv = 1 })
    local kernel = core.constant(graphs.numbers { 1, 1, 4, 5 })
    check("select", x, { core.conv(x, kernel, { padding = "explicit", pad_lo = { 1 }, pad_hi = { 0 } }) }, { conv = 1 })
    check("select", x, { core.conv(x, kernel, { padding = "explicit", pad_lo = { 0 }, pad_hi = { 1 } }) }, { conv = 1 })
    check("select", x, { core.conv(x, core.constant(graphs.numbers { 1, 1, 2, 4 }), { groups = 2 }) }, { conv = 1 })
  end)
end)

describe("layout", function()
  it("cancels transposes through elementwise nodes", function()
    local x = x_of(2, 3, 4)
    local y = (x:transpose { 1, 3, 2 } * 2):tanh():transpose { 1, 3, 2 }
    local g = core.graph({ x }, { y })
    local after
    g:program { dump = function(pass, text) after = pass == "layout" and text or after end }
    assert.equal(0, count(after, "transpose"), after)
    check_values(g, { graphs.numbers { 2, 3, 4 } }, "layout")
  end)

  it("keeps those that do not cancel", function()
    local x = x_of(2, 3, 4)
    local y = (x:transpose { 3, 1, 2 } + 1):transpose { 1, 3, 2 }
    local text, g = check("layout", x, { y }, { transpose = 1 })
    assert.matches("transpose", text)
    check_values(g, { graphs.numbers { 2, 3, 4 } }, "layout")
    local z = x:transpose { 1, 3, 2 } + core.constant(graphs.numbers { 2, 4, 3 })
    check_values(core.graph({ x }, { z }), { graphs.numbers { 2, 3, 4 } }, "layout")
  end)
end)

describe("fuse", function()
  it("makes one loop of a chain, with broadcasts, casts and the sum at its end", function()
    local x = x_of(8, 16)
    local row = core.constant(core.ones({ 16 }, "f64"))
    local text, g = check("fuse", x, { ((x * 2 + 1):tanh():cast "f64" + row):sum(2) }, { loop = 1 })
    assert.matches("loop", text)
    local _, _, program = dumps(g)
    assert.equal(1, program:stats().launches, program:explain())
    assert.equal(1, program:stats().loops)
    assert.matches("loop %[.*tanh.*sum.*%]", program:explain())
    check_values(g, { graphs.numbers { 8, 16 } }, "fuse")
  end)

  it("computes a value with several users once", function()
    local x = x_of(64)
    local h = (x * 2):tanh()
    local _, g = check("fuse", x, { h + 1, h * 3 }, {})
    local _, _, program = dumps(g)
    assert.is_true(program:stats().launches <= 2, program:explain())
    check_values(g, { graphs.numbers { 64 } }, "fuse")
  end)

  it("computes again from a product that is stored anyway what a later loop wants", function()
    local x = x_of(512, 256)
    local w = core.constant(core.full({ 256, 256 }, 0.01))
    local h = x:matmul(w)
    local centred = h - h:cumsum(1):mean(1)
    local y = centred:relu()
    local _, g = check("fuse", x, { y:cumsum(1), (centred * y:matmul(w)):sum(2) }, {})
    local _, _, program = dumps(g)
    local stored = program:explain():match "loop %[[^%]]*relu%]:[^\n]*%-> ([^\n]*) at"
    assert.matches("^f32%(512, 256%)", stored)
    assert.is_nil(stored:match ",.*f32%(512", program:explain())
    check_values(g, { graphs.numbers { 512, 256 } }, "fuse")
  end)

  it("does not cross effects, products of matrices or random draws", function()
    local x = x_of(4, 4)
    local _, g = check("fuse", x, { ((x + 1):matmul(x):relu() * 2):matmul(x) }, { matmul = 2, loop = 2 })
    check_values(g, { graphs.numbers { 4, 4 } }, "fuse")
  end)

  it("a long chain stays within the limits of a loop", function()
    local x = x_of(10)
    local y = x
    for i = 1, 400 do y = (y + i * 0.001):sin() end
    local _, g = check("fuse", x, { y }, {})
    check_values(g, { graphs.numbers { 10 } }, "fuse")
    local many = x
    for i = 1, 60 do many = many + core.constant(core.full({ 10 }, i)):cumsum(1) * x:flip { 1 } end
    check_values(core.graph({ x }, { many }), { graphs.numbers { 10 } }, "fuse")
  end)
end)

describe("place", function()
  it("leaves a graph of one device as it is", function()
    local x = x_of(2)
    local text = check("place", x, { x + core.constant(core.tensor { 1, 2 }) }, { add = 1, constant = 1 })
    assert.is_nil(text:find "copy")
  end)
end)
