-- Sizes that are known when data comes: arithmetic, equality, and errors at the call or, where that is too early, at binding.
local core = require "moonlet.core"

local n, m = core.dim "n", core.dim "m"

local function x_of(...) return core.placeholder("x", "f32", { ... }) end
local function shape_text(s) return tostring(s):match "%((.*)%)" end

--- Evaluates dims by compiling a graph that gives tensors of those sizes.
local function evaluate(dims, values)
  local inputs, types, outputs = {}, {}, {}
  for name, size in pairs(values) do
    inputs[#inputs + 1] = core.placeholder(name, "u8", { core.dim(name) })
    types[#types + 1] = { dtype = "u8", shape = { size } }
  end
  for i, d in ipairs(dims) do outputs[i] = core.zeros({ d }, "u8") end
  local sizes = {}
  for i, o in ipairs(core.graph(inputs, outputs):program({ inputs = types }):outputs()) do sizes[i] = o.shape[1] end
  return sizes
end

describe("dims", function()
  it("are canonical: equal expressions are one", function()
    local equal = {
      { (n + 1) * (m + 2), n * m + 2 * n + m + 2 }, { (n + m) * (n - m), n * n - m * m }, { n + n + n, 3 * n }, { n * 0 + 5, 5 },
      { (2 * n + 4):floordiv(2), n + 2 }, { (6 * n * m):floordiv(3 * n), 2 * m }, { (n + 5) - (n + 2), 3 }, { n * m, m * n },
      { n:floordiv(1), n }, { (n * 4 + 3):floordiv(4), n }, { n + m - m, n },
    }
    for i, pair in ipairs(equal) do assert.equal(tostring(pair[2]), tostring(pair[1]), "pair " .. i) end
    for i, pair in ipairs(equal) do assert.is_true(pair[1] == pair[2], "pair " .. i) end
    local different = { { n, m }, { n + 1, n }, { 2 * n, 3 * n }, { n * n, n }, { n:floordiv(2), n:floordiv(3) }, { n * m, n + m } }
    for i, pair in ipairs(different) do assert.is_false(pair[1] == pair[2], "pair " .. i) end
  end)

  it("compute what their arithmetic says", function()
    local dims = { n + m, n * m, n * 3 - m, (n + m):floordiv(3), (n * m + 1):floordiv(m + 2), (n - 1) * (m - 1), n * n * n,
      n:floordiv(2):floordiv(3), n:floordiv(m) }
    for _, at in ipairs { { 1, 1 }, { 7, 3 }, { 12, 5 }, { 100, 99 }, { 4, 12 } } do
      local a, b = at[1], at[2]
      local want = { a + b, a * b, a * 3 - b, math.floor((a + b) / 3), math.floor((a * b + 1) / (b + 2)), (a - 1) * (b - 1), a ^ 3,
        math.floor(math.floor(a / 2) / 3), math.floor(a / b) }
      if want[3] >= 0 then
        local have = evaluate(dims, { n = a, m = b })
        for i = 1, #dims do assert.equal(want[i], have[i], tostring(dims[i]) .. " at " .. a .. ", " .. b) end
      end
    end
  end)

  it("go through text and back", function()
    for _, d in ipairs { n + m, n * m * 2 + 1, n - 3, (n * m + 1):floordiv(m + 2), n * n - 2 * n + 1,
      (n:floordiv(2) + m):floordiv(3) } do
      local g = core.graph({ core.placeholder("n", "u8", { n }), core.placeholder("m", "u8", { m }) }, { core.zeros { d } })
      local again = core.graph_parse(g:text())
      assert.equal(tostring(d), tostring(again:outputs()[1].shape[1]))
      assert.is_true(again:outputs()[1].shape[1] == d)
    end
  end)

  it("refuse overflow and expressions that grow without end", function()
    local big = n
    local ok, message = pcall(function()
      for _ = 1, 200 do big = (big + 1) * (m + big) end
    end)
    assert.is_false(ok)
    assert.matches("dims_spec.lua:%d+: ", message)
    local deep = n
    ok, message = pcall(function()
      for i = 2, 200 do deep = (deep + 1):floordiv(i) end
    end)
    assert.is_false(ok)
    assert.matches("dims_spec.lua:%d+: ", message)
    assert.has_error(function() return n * (2 ^ 62) * 4 end)
    assert.has_error(function() return (n + 2 ^ 62) + 2 ^ 62 end)
    local sum = n
    assert.has_error(function()
      for i = 1, 100 do sum = sum + core.dim("d" .. i) * core.dim("e" .. i) end
    end)
  end)
end)

describe("shape errors", function()
  it("come at the call where sizes are known", function()
    local x = x_of(n, 3)
    local cases = {
      { function() return x:matmul(x_of(4, 2)) end, "matmul" }, { function() return x + x_of(n, 4) end, "%(n, 3%).*%(n, 4%)" },
      { function() return core.concat({ x, x_of(n, 3, 1) }, 1) end, "concat" }, { function() return x:sum(3) end, "axis 3" },
      { function() return x:gather(x, 1) end, "gather" },
      { function() return x:transpose { 1, 1 } end, "transpose" }, { function() return x_of(2, 3):reshape { 4 } end, "reshape" },
      { function() return core.stack({ x, x_of(n, 2) }, 1) end, "stack" }, { function() return x:squeeze(2) end, "squeeze" },
      { function() return core.conv(x, x) end, "conv" }, { function() return x:slice(2, 1, 4) end, "out of range" },
    }
    for i, case in ipairs(cases) do
      local ok, message = pcall(case[1])
      assert.is_false(ok, "case " .. i)
      assert.matches("dims_spec.lua:%d+: ", message)
      assert.matches(case[2], message)
    end
  end)

  it("come at binding with the line of the node where they are not", function()
    local x, y = x_of(n, 3), core.placeholder("y", "f32", { m, 3 })
    local line = debug.getinfo(1, "l").currentline + 1
    local sum = x + y
    local g = core.graph({ x, y }, { sum })
    local function types(a, b) return { inputs = { { shape = { a, 3 } }, { shape = { b, 3 } } } } end
    assert.same({ 5, 3 }, g:program(types(5, 5)):outputs()[1].shape)
    local ok, message = pcall(g.program, g, types(5, 4))
    assert.is_false(ok)
    assert.matches("dims_spec.lua:" .. line .. ": add", message)
    -- Two sizes that cannot be compared are never taken as 1.
    assert.is_false((pcall(g.program, g, types(5, 1))))
    assert.is_false((pcall(g.program, g, types(1, 5))))
  end)

  it("name inputs that disagree about an unknown", function()
    local x, y = x_of(n, 3), core.placeholder("y", "f32", { n })
    local g = core.graph({ x, y }, { x:sum(2) + y })
    assert.same({ 2 }, g:program({ inputs = { { shape = { 2, 3 } }, { shape = { 2 } } } }):outputs()[1].shape)
    assert.error_matches(function() g:program { inputs = { { shape = { 2, 3 } }, { shape = { 4 } } } } end, "'y'")
    assert.error_matches(function() g:program { inputs = { { shape = { 2, 4 } }, { shape = { 2 } } } } end, "'x'")
    assert.error_matches(function() g:program { inputs = { { shape = { 2 } }, { shape = { 2 } } } } end, "'x'")
    assert.error_matches(function() g:program { inputs = { { dtype = "f64", shape = { 2, 3 } }, { shape = { 2 } } } } end, "f64")
  end)

  it("come when an input's size is an expression that does not fit", function()
    local x = x_of(n * 2 + 1, 3)
    local g = core.graph({ x }, { x:sum(1), core.ones { n } })
    local function types(a) return { inputs = { { shape = { a, 3 } } } } end
    assert.same({ 3 }, g:program(types(7)):outputs()[2].shape)
    assert.error_matches(function() g:program(types(6)) end, "'x'")
    -- An unknown that stands with another one cannot be found.
    x = x_of(n + m, 3)
    g = core.graph({ x }, { core.ones { n } })
    local _, message = pcall(g.program, g, types(7))
    assert.matches("n", message)
  end)

  it("come when no input tells a size", function()
    local x = x_of(2)
    for _, y in ipairs { core.zeros { n, 2 }, x:sum():broadcast_to { n }, core.zeros({ n }):sum(), x:sum() + core.zeros { m } } do
      local g = core.graph({ x }, { y })
      local _, message = pcall(g.program, g)
      assert.matches("dims_spec.lua:%d+: .*size '[nm]' is not known", message)
    end
  end)

  it("come when a reshape does not come out", function()
    local x = x_of(n, 4)
    local g = core.graph({ x }, { x:reshape { n:floordiv(2), 8 } })
    assert.same({ 3, 8 }, g:program({ inputs = { { shape = { 6, 4 } } } }):outputs()[1].shape)
    local _, message = pcall(g.program, g, { inputs = { { shape = { 5, 4 } } } })
    assert.matches("dims_spec.lua:%d+: reshape", message)
  end)

  it("come when a size is negative", function()
    local x = x_of(n)
    local g = core.graph({ x }, { core.zeros { n - 3 } })
    assert.same({ 0 }, g:program({ inputs = { { shape = { 3 } } } }):outputs()[1].shape)
    local line = debug.getinfo(1, "l").currentline - 2
    local _, message = pcall(g.program, g, { inputs = { { shape = { 2 } } } })
    assert.matches("dims_spec.lua:" .. line .. ": .*size 'n%-3' would be %-1", message)
  end)

  it("print sizes as expressions", function()
    assert.equal("n, 3", shape_text(x_of(n, 3)))
    assert.equal("2*n, 3", shape_text(core.concat({ x_of(n, 3), x_of(n, 3) }, 1)))
  end)
end)

describe("sizes of 0", function()
  local function run(shape, f)
    local x = core.placeholder("x", "f32", { n, 3 })
    return core.graph({ x }, { f(x) }):program({ inputs = { { shape = shape } } }):run { core.zeros(shape) }
  end

  it("go through every kind of launch", function()
    local empty = { 0, 3 }
    assert.same({ 0, 3 }, run(empty, function(x) return (x * 2):tanh() end).shape)
    assert.equal(0, run(empty, function(x) return x:sum() end):item())
    assert.same({ 0, 0, 0 }, run(empty, function(x) return x:sum(1) end):totable())
    assert.same({ 1, 1, 1 }, run(empty, function(x) return x:prod(1) end):totable())
    assert.same({ 0, 5 }, run(empty, function(x) return x:matmul(core.ones { 3, 5 }) end).shape)
    assert.same({ { 0, 0, 0 }, { 0, 0, 0 }, { 0, 0, 0 } }, run(empty, function(x) return x:transpose():matmul(x) end):totable())
    assert.same({ 0, 3 }, run(empty, function(x) return x:softmax() end).shape)
    assert.same({ 0, 6 }, run(empty, function(x) return core.concat({ x, x }, 2) end).shape)
    assert.same({ 2, 3 }, run(empty, function(x) return core.concat({ x, core.ones { 2, 3 } }, 1) end).shape)
    assert.same({ 0, 3 }, run(empty, function(x) return core.layer_norm(x, { axes = { -1 } }) end).shape)
    assert.same({ 0 }, run(empty, function(x) return x:argmax(2) end).shape)
    assert.same({ 0, 3 }, run(empty, function(x) return x:cumsum(1) end).shape)
    local mean = run(empty, function(x) return x:mean() end):item()
    assert.is_true(mean ~= mean)
  end)

  it("have gradients", function()
    local x, w = core.placeholder("x", "f32", { n, 3 }), core.variable(core.ones { 3, 2 }, "w")
    local d = core.gradients(x:matmul(w):tanh():sum(), { w, x })
    local dw, dx = core.graph({ x }, d):program({ inputs = { { shape = { 0, 3 } } } }):run { core.zeros { 0, 3 } }
    assert.same({ { 0, 0 }, { 0, 0 }, { 0, 0 } }, dw:totable())
    assert.same({ 0, 3 }, dx.shape)
  end)

  it("of what has no neutral element are errors", function()
    local ok, message = pcall(run, { 0, 3 }, function(x) return x:max(1) end)
    if ok then assert.same({ 3 }, message.shape) else assert.matches("max", message) end
    ok, message = pcall(run, { 0, 3 }, function(x) return x:argmax(1) end)
    assert.is_false(ok)
    assert.matches("argmax", message)
  end)
end)
