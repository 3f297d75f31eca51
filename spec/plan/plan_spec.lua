-- Plans: memory is used again, views cost nothing, launches write where results are wanted.
local core = require "moonlet.core"
local graphs = require "spec.graph.graphs"

local KB = 1024

--- A chain of n products of matrices of 64 KB.
local function chain(n)
  local x = core.placeholder("x", "f32", { 128, 128 })
  local y = x
  for _ = 1, n do y = y:matmul(x) * 0.01 end
  return core.graph({ x }, { y })
end

describe("memory of a plan", function()
  it("does not grow with the length of a chain", function()
    local short, long = chain(4):program():stats(), chain(40):program():stats()
    assert.equal(short.arena_bytes, long.arena_bytes)
    assert.is_true(long.arena_bytes <= 3 * 64 * KB, long.arena_bytes)
    local plain = chain(40):program({ passes_off = "all" }):stats()
    assert.is_true(plain.arena_bytes <= 4 * 64 * KB, plain.arena_bytes)
  end)

  it("holds what is needed at the same time", function()
    local x = core.placeholder("x", "f32", { 128, 128 })
    local list, sum = {}, 0
    for i = 1, 8 do list[i] = x:matmul(x * i) end
    for i = 1, 8 do sum = list[i]:cumsum(1):matmul(list[9 - i]) + sum end
    local g = core.graph({ x }, { sum })
    assert.is_true(g:program():stats().arena_bytes >= 8 * 64 * KB)
    local a = graphs.numbers { 128, 128 }
    local p = g:program():run({ a }):sum():item()
    local q = g:program({ passes_off = "all" }):run({ a }):sum():item()
    assert.is_true(math.abs(p - q) <= 1e-3 * math.abs(q) + 1)
  end)

  it("does not hold from the start what variables alone decide", function()
    local n, variables = 8, {}
    for i = 1, n do variables[i] = core.variable(core.full({ 128, 128 }, i), "v" .. i) end
    local x = core.placeholder("x", "f32", { 128, 128 })
    local g = graphs.trace({ x }, function()
      local made, y = {}, x
      for i = 1, n do made[i] = variables[i]:cumsum(1) end
      for i = 1, n do
        y = y:matmul(made[i]) * 1e-5
        variables[i]:assign(variables[i] * 0.5)
      end
      return { y }
    end)
    local program = g:program { mode = "train" }
    assert.is_true(program:stats().arena_bytes <= 4 * 64 * KB, program:explain())
  end)

  it("does not hold from the start what is drawn", function()
    local x = core.placeholder("x", "f32", { 128, 128 })
    local g = graphs.trace({ x }, function()
      local drawn, y = {}, x
      for i = 1, 8 do drawn[i] = core.uniform { 128, 128 } end
      for i = 1, 8 do y = y:cumsum(1) * drawn[i] end
      return { y }
    end)
    local program = g:program()
    assert.is_true(program:stats().arena_bytes <= 3 * 64 * KB, program:explain())
    local args = { graphs.numbers { 128, 128 }, step = 3 }
    assert.equal(graphs.bytes { program:run(args) }, graphs.bytes { g:program({ passes_off = "all" }):run(args) })
  end)

  it("is not needed for views", function()
    local x = core.placeholder("x", "f32", { 64, 64 })
    local y = x:transpose():reshape({ 64, 64 }):slice(1, 2, 63):flip({ 1 }):sum()
    local program = core.graph({ x }, { y }):program()
    assert.is_true(program:stats().launches <= 2, program:explain())
    assert.is_true(program:stats().arena_bytes < KB * 2, program:explain())
  end)

  it("holds numbers once that are made to be given out", function()
    for _, make in ipairs { core.zeros, core.ones, function(s) return core.eye(s[1]) end } do
      local testing = require "moonlet.testing"
      make({ 900, 900 }):release()
      local before = testing.live_bytes()
      make({ 1000, 1000 }):release()
      assert.is_true(testing.live_bytes() - before < 1e5)
    end
  end)

  it("of the batch grows with it", function()
    local x = core.placeholder("x", "f32", { core.dim "n", 64 })
    local g = core.graph({ x }, { ((x:softmax():matmul(core.constant(core.ones { 64, 64 }))):cumsum(2)):sum() })
    local small = g:program({ inputs = { { shape = { 10, 64 } } } }):stats().arena_bytes
    local large = g:program({ inputs = { { shape = { 1000, 64 } } } }):stats().arena_bytes
    assert.is_true(large >= 50 * small, small .. " and " .. large)
  end)

  it("that cannot be had is an error", function()
    local x = core.placeholder("x", "f32", { core.dim "n" })
    local g = core.graph({ x }, { x:sum():broadcast_to({ 2 ^ 22, 2 ^ 23 }):cumsum(1) })
    if not os.getenv "MOONLET_SANITIZER" then -- whose allocator ends the program instead
      local ok, message = pcall(function() return g:program({ inputs = { { shape = { 2 } } } }):run { core.ones { 2 } } end)
      assert.is_false(ok)
      assert.matches("memory", message)
    end
    assert.has_error(function() return core.full({ 2 ^ 40, 2 ^ 30 }, 1) end)
    g = core.graph({ x }, { x:broadcast_to({ 2 ^ 62, core.dim "n" }):sum(1) })
    assert.has_error(function() g:program { inputs = { { shape = { 4 } } } } end)
  end)
end)

describe("operands", function()
  it("of a concat are written in place or copied, never mixed up", function()
    local x = core.placeholder("x", "f32", { 2, 3 })
    local y = x * 2
    local z = core.concat({ y, y + 1, x, y }, 1)
    local program = core.graph({ x }, { z, y }):program()
    local a = core.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
    local p, q = program:run { a }
    assert.same({ { 2, 4, 6 }, { 8, 10, 12 }, { 3, 5, 7 }, { 9, 11, 13 }, { 1, 2, 3 }, { 4, 5, 6 }, { 2, 4, 6 }, { 8, 10, 12 } },
      p:totable())
    assert.same({ { 2, 4, 6 }, { 8, 10, 12 } }, q:totable())
  end)

  it("that are outputs and inputs of later launches keep their numbers", function()
    local x = core.placeholder("x", "f32", { 16 })
    local a = x * 2
    local b = a:cumsum(1)
    local c = b:flip({ 1 }) + a
    local program = core.graph({ x }, { a, b, c, b:reshape { 4, 4 }, c:slice(1, 3, 4) }):program()
    local p, q, r, s, t = program:run { core.ones { 16 } }
    assert.same({ 2, 2, 34 - 2 + 2, 8, 30 }, { p[1]:item(), q[1]:item(), r[1]:item(), s[1][4]:item(), t[1]:item() })
  end)

  it("of outputs that nobody uses do not exist", function()
    local samples, tried = require "spec.support.samples", 0
    for _, op in ipairs(core.ops()) do
      local list = samples.of(op)
      for i, case in ipairs(list) do
        local label = samples.label(op, i)
        local tensors = samples.tensors(case, "f32", label)
        local n = 0
        local whole = samples.run(samples.trace(tensors, function(xs)
          local outputs = samples.call(op, case, xs)
          n = #outputs
          return outputs
        end), tensors)
        for k = 1, n > 1 and n or 0 do
          local one = samples.run(samples.trace(tensors, function(xs) return { samples.call(op, case, xs)[k] } end), tensors)
          assert.equal(graphs.bytes { whole[k] }, graphs.bytes { one[1] }, label .. " output " .. k)
          tried = tried + 1
        end
      end
    end
    assert.is_true(tried > 40, tried)
  end)

  it("go in place only when nobody needs the old numbers", function()
    local x = core.placeholder("x", "f32", { 1000 })
    local h = x:cumsum(1)
    local y = h:cumsum(1)
    local z = (y * 2 + h):cumsum(1) - h
    local g = core.graph({ x }, { z })
    local a = graphs.numbers { 1000 }
    local fast, plain = g:program():run({ a }):totable(), g:program({ passes_off = "all" }):run({ a }):totable()
    for i = 1, 1000 do assert.is_true(math.abs(fast[i] - plain[i]) <= 1e-3 * (1 + math.abs(plain[i]))) end
  end)

  it("that are heads lie as they are merged", function()
    local B, H, D = 2, 3, 4
    local function heads(x) return x:reshape({ B, x.shape[2], H, D }):transpose { 1, 3, 2, 4 } end
    local function merged(x) return x:transpose({ 1, 3, 2, 4 }):reshape { B, x.shape[3], H * D } end
    for _, sizes in ipairs { { 5, 5, true }, { 40, 150 }, { 150, 40 }, { 2, 30 } } do -- 150: more than one block of keys
      local t, s, causal = sizes[1], sizes[2], sizes[3]
      local x = core.placeholder("x", "f32", { B, t, H * D })
      local k, v = core.placeholder("k", "f32", { B, s, H * D }), core.placeholder("v", "f32", { B, s, H * D })
      local a, b = graphs.numbers { B, t, H * D }, graphs.numbers { B, s, H * D }
      local tensors = { a, b:cos(), b:exp() }
      local g = graphs.trace({ x, k, v }, function()
        local y = core.attention(heads(x), heads(k), heads(v), { causal = causal })
        local out = merged(y)
        local dx = core.gradients((out * out:sin()):sum(), { x, k, v })
        return { out, y, dx[1], dx[2], dx[3] }
      end)
      local program = g:program()
      local copies = program:explain():find("reshape:", 1, true)
      assert.is_true(not copies or core.device() ~= "cpu", program:explain())
      local fast, plain = { program:run(tensors) }, { g:program({ passes_off = "all" }):run(tensors) }
      for i = 1, 5 do assert.is_true((fast[i] - plain[i]):abs():max():item() < 1e-4, i) end
    end
  end)
end)
