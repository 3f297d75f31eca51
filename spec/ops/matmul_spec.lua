-- Products in every form: literal values, batches that broadcast, vectors, transposed operands, sizes around the kernels' tiles and
-- blocks, and equal bits on any number of threads.
local core = require "moonlet.core"
local process = require "spec.support.process"

local function tensor(rows, dtype) return core.tensor(rows, dtype or "f32") end

-- The definition, in f64: a [m, k], b [k, n] as tables.
local function product(a, b)
  local y = {}
  for i = 1, #a do
    y[i] = {}
    for j = 1, #b[1] do
      local sum = 0
      for k = 1, #b do sum = sum + a[i][k] * b[k][j] end
      y[i][j] = sum
    end
  end
  return y
end

local function worst(got, want)
  local d = 0
  for i = 1, #want do
    for j = 1, #want[1] do d = math.max(d, math.abs(got[i][j] - want[i][j])) end
  end
  return d
end

describe("matmul", function()
  it("multiplies rows by columns", function()
    local a, b = tensor { { 1, 2, 3 }, { 4, 5, 6 } }, tensor { { 1, 0 }, { 0, 1 }, { 2, -1 } }
    assert.same({ { 7, -1 }, { 16, -1 } }, a:matmul(b):totable())
    assert.same({ { 17, 22, 27 }, { 22, 29, 36 }, { 27, 36, 45 } }, a:transpose():matmul(a):totable())
    assert.same({ { 14, 32 }, { 32, 77 } }, a:matmul(a:transpose()):totable())
    local whole = tensor({ { 1, 2 }, { 3, 4 } }, "i32")
    assert.same({ { 7, 10 }, { 15, 22 } }, whole:matmul(whole):totable())
  end)

  it("takes vectors as NumPy does", function()
    local m, v = tensor { { 1, 2 }, { 3, 4 } }, tensor { 10, 1 }
    assert.same({ 12, 34 }, m:matmul(v):totable())
    assert.same({ 13, 24 }, v:matmul(m):totable())
    assert.equal(101, v:matmul(v):item())
  end)

  it("broadcasts batches", function()
    local a = core.arange(12, { dtype = "f32" }):reshape { 2, 1, 2, 3 }
    local b = core.arange(18, { dtype = "f32" }):reshape { 3, 3, 2 }
    local y = a:matmul(b)
    assert.same({ 2, 3, 2, 2 }, y.shape)
    for i = 1, 2 do
      for j = 1, 3 do assert.same(a[i][1]:matmul(b[j]):totable(), y[i][j]:totable()) end
    end
  end)

  it("of no terms is 0, and of no rows empty", function()
    assert.same({ { 0, 0 }, { 0, 0 } }, core.zeros({ 2, 0 }):matmul(core.zeros { 0, 2 }):totable())
    assert.same({ 0, 3 }, core.zeros({ 0, 2 }):matmul(core.zeros { 2, 3 }).shape)
  end)

  it("is right at sizes around tiles and blocks, whichever way the operands lie", function()
    local sizes = { { 1, 1, 1 }, { 1, 70, 33 }, { 3, 17, 65 }, { 13, 31, 31 }, { 14, 32, 32 }, { 15, 33, 33 }, { 29, 7, 130 },
      { 5, 1030, 18 }, { 64, 64, 64 }, { 97, 100, 65 }, { 130, 290, 70 } }
    for _, s in ipairs(sizes) do
      local m, k, n = s[1], s[2], s[3]
      local a, b = core.uniform({ m, k }, -1, 1), core.uniform({ k, n }, -1, 1)
      local at, bt = a:transpose():copy(), b:transpose():copy()
      local want, label = product(a:totable(), b:totable()), ("%d x %d x %d"):format(m, k, n)
      for _, dtype in ipairs { "f32", "f64" } do
        local function take(t) return t:cast(dtype) end
        local limit = dtype == "f32" and 4e-6 * math.sqrt(k) or 1e-12
        assert(worst(take(a):matmul(take(b)):totable(), want) < limit, label)
        assert(worst(take(at):transpose():matmul(take(b)):totable(), want) < limit, label .. ", a transposed")
        assert(worst(take(a):matmul(take(bt):transpose()):totable(), want) < limit, label .. ", b transposed")
        assert(worst(take(at):transpose():matmul(take(bt):transpose()):totable(), want) < limit, label .. ", both transposed")
      end
    end
  end)

  -- Kernels that make a number of parts must not make NaN of an infinity.
  it("keeps infinities and NaNs where they belong", function()
    local m, k, n = 70, 96, 130
    local a, b = core.uniform({ m, k }, 0.5, 1), core.uniform({ k, n }, 0.5, 1)
    local clean = a:matmul(b)
    local row, column = core.zeros { m, 1 }, core.zeros { 1, n }
    row[3], row[40], row[41], column[1][129] = 1 / 0, -1 / 0, 0 / 0, 1 / 0
    local function spoil(x, y) return x:matmul(y):totable() end
    local rows, columns, both = spoil(a + row, b), spoil(a, b + column), spoil(a + row, b + column)
    local kept = clean:totable()
    for i = 1, m do
      for j = 1, n do
        local want = i == 3 and 1 / 0 or i == 40 and -1 / 0 or i ~= 41 and kept[i][j] or nil
        if want then assert.equal(want, rows[i][j]) else assert(rows[i][j] ~= rows[i][j]) end
        assert.equal(j == 129 and 1 / 0 or kept[i][j], columns[i][j])
      end
      local crossed = both[i][129]
      if i == 41 then assert(crossed ~= crossed) else assert.equal(i == 40 and -1 / 0 or 1 / 0, crossed) end
    end
  end)

  it("is as near as sums of f32 come, of numbers of any size", function()
    local m, k, n = 96, 512, 80
    local a = core.normal { m, k } * core.exp(core.uniform({ m, 1 }, -30, 30))
    local b = core.normal { k, n } * core.exp(core.uniform({ 1, n }, -30, 30))
    local function wide(t) return t:cast "f64" end
    local error = core.abs(wide(a:matmul(b)) - wide(a):matmul(wide(b)))
    local scale = wide(core.abs(a)):matmul(wide(core.abs(b)))
    assert((error / scale):max():item() < 1e-6)
  end)

  it("gives equal bits on one thread and two, on every instruction set", function()
    process.on_all_machines([[
      local core = require "moonlet.core"
      local sum = 0
      -- Every 17th element: none differs by chance alone.
      local function note(t)
        local flat = t:reshape { -1 }
        for _, x in ipairs(flat:slice(1, 1, flat.shape[1], 17):totable()) do
          local whole = math.floor(x * 2 ^ 16)
          sum = (sum * 31 + whole % 65536 + math.floor((x * 2 ^ 16 - whole) * 2 ^ 30)) % 2147483647
        end
      end
      core.seed(5)
      local sizes = { { 64, 784, 512 }, { 784, 64, 512 }, { 1, 768, 3000 }, { 4, 300, 900 }, { 300, 1500, 40 }, { 257, 129, 65 },
        { 1, 300000, 1 }, { 70, 9000, 1 } }
      for _, s in ipairs(sizes) do
        local a, b = core.uniform({ s[1], s[2] }, -1, 1), core.uniform({ s[2], s[3] }, -1, 1)
        note(a:matmul(b))
        note(b:transpose():matmul(a:transpose()))
        note((a:matmul(b) + b:slice(1, 1, 1)):relu():sum(1))
      end
      note(core.uniform({ 24, 60, 40 }, -1, 1):matmul(core.uniform({ 24, 40, 70 }, -1, 1)))
      print(sum)
    ]], function(label, ok, said) assert(ok, label .. ": " .. said) end)
  end)

  it("brings sums into bounds while it stores them, and keeps what is no number", function()
    process.on_all_machines([[
      local core = require "moonlet.core"
      core.seed(6)
      local graphs, nan, sum = require "spec.graph.graphs", 0 / 0, 0
      local sizes = { { 64, 784, 512 }, { 1, 768, 3000 }, { 4, 300, 900 }, { 300, 1500, 40 }, { 257, 129, 65 }, { 5, 7, 3 } }
      for _, s in ipairs(sizes) do
        local a, b = core.uniform({ s[1], s[2] }, -1, 1), core.uniform({ s[2], s[3] }, -1, 1)
        local bias = core.uniform({ s[3] }, -1, 1)
        bias:slice(1, 3, 3):set { nan }
        local function check(name, output)
          core.trace_begin()
          local x, w = core.placeholder("a", "f32", a.shape, 2), core.placeholder("b", "f32", b.shape, 2)
          local c = core.placeholder("c", "f32", bias.shape, 1)
          local graph = core.graph({ x, w, c }, { output(x:matmul(w), c) })
          core.trace_end()
          local function run(off) return (graph:program({ inputs = { a, b, bias }, passes_off = off }):run { a, b, bias }) end
          local got, want, bytes = run "", run "fuse":totable(), nil
          for r, row in ipairs(got:totable()) do
            for k, y in ipairs(row) do
              local near = math.abs(y - want[r][k]) <= 1e-4 or (y ~= y and want[r][k] ~= want[r][k])
              if not near then error(("%d x %d x %d, %s: %g, not %g"):format(s[1], s[2], s[3], name, y, want[r][k])) end
            end
          end
          bytes = graphs.bytes { got }
          for i = 1, #bytes, 97 do sum = (sum * 31 + bytes:byte(i)) % 2147483629 end
          return got
        end
        local relu = check("relu", function(h, c) return (h + c):relu() end)
        assert(relu[1][3]:item() ~= relu[1][3]:item(), "a sum that is no number")
        check("relu6", function(h) return h:relu():minimum(1.5) end)
        check("clip", function(h, c) return (h + c):minimum(2.5):maximum(-0.5) end)
        local last = check("last bound", function(h) return h:maximum(3):minimum(1) end)
        assert(last:max():item() == 1 and last:min():item() == 1, "the last bound wins")
      end
      print(sum)
    ]], function(label, ok, said) assert(ok, label .. ": " .. said) end)
  end)

  it("cuts a dot of many terms into jobs, whose sums are exact", function()
    local n, steps = 1000000, 0
    local a, b = core.placeholder("a", "f32", { 1, n }), core.placeholder("b", "f32", { n, 1 })
    local x, y = core.normal { 1, n }, core.normal { n, 1 }
    local program, out = core.graph({ a, b }, { a:matmul(b) }):program {}, core.zeros { 1, 1 }
    repeat
      local done = program:run { x, y, out = { out }, budget_us = 0.001 } -- one job
      steps = steps + 1
    until done
    assert(steps >= 20, steps)
    local want = x:cast "f64":matmul(y:cast "f64"):item()
    assert(math.abs(out:item() - want) < 1e-3, out:item() - want)
  end)

  it("refuses what does not fit, with both shapes", function()
    local ok, message = pcall(function() return core.zeros({ 2, 3 }):matmul(core.zeros { 4, 5 }) end)
    assert.is_false(ok)
    assert.matches("inner sizes differ: a %(2, 3%), b %(4, 5%)", message)
  end)
end)
