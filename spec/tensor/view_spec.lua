-- Views: which operations share memory, what writes through them do, and that none leaves its storage.
local core = require "moonlet.core"
local random_graph = require "spec.support.random_graph"

local function base() return core.arange(24):reshape { 2, 3, 4 } end

describe("views share memory", function()
  local makers = {
    { "t[i]", function(t) return t[2] end }, { "slice", function(t) return t:slice(2, 2, 3) end },
    { "backwards", function(t) return t:slice(3, nil, nil, -1) end }, { "steps", function(t) return t:slice(3, 1, 4, 2) end },
    { "transpose", function(t) return t:transpose { 3, 1, 2 } end }, { "reshape", function(t) return t:reshape { 6, 4 } end },
    { "of a view", function(t) return t:transpose { 2, 1, 3 }:slice(1, 2, 3)[1]:slice(2, 4, 1, -2) end },
    { "reshape of a slice", function(t) return t:slice(1, 2, 2):reshape { 12 } end },
  }
  for _, maker in ipairs(makers) do
    it(maker[1], function()
      local t = base()
      local v = maker[2](t)
      local list = v:reshape({ -1 }):totable()
      v:fill(-1)
      local left, seen = t:reshape({ 24 }):totable(), {}
      for _, x in ipairs(list) do seen[x] = true end
      for i = 0, 23 do assert.equal(seen[i] and -1 or i, left[i + 1], maker[1] .. " element " .. i) end
      t:fill(7)
      for _, x in ipairs(v:reshape({ -1 }):totable()) do assert.equal(7, x) end
    end)
  end

  it("and keep it alive", function()
    local v = base():transpose { 3, 2, 1 }[1]
    collectgarbage()
    collectgarbage()
    assert.same({ { 0, 12 }, { 4, 16 }, { 8, 20 } }, v:totable())
    local t = base()
    v = t[1]
    t:release()
    assert.same({ 0, 1, 2, 3 }, v[1]:totable())
  end)

  it("but copies do not", function()
    local t = base()
    local turned = t:transpose { 3, 2, 1 }
    for _, copy in ipairs { t:clone(), t:copy(), turned:contiguous(), turned:reshape { 24 }, t:cast "f64" } do
      copy:fill(99)
    end
    assert.equal(0, t[1][1][1]:item())
    assert.equal(23, t[2][3][4]:item())
  end)
end)

describe("writes", function()
  it("through overlapping views read what was there before", function()
    local t = core.tensor { 1, 2, 3, 4, 5 }
    t:slice(1, 2, 5):copy_from(t:slice(1, 1, 4))
    assert.same({ 1, 1, 2, 3, 4 }, t:totable())
    t = core.tensor { 1, 2, 3, 4, 5 }
    t:slice(1, 1, 4):copy_from(t:slice(1, 2, 5))
    assert.same({ 2, 3, 4, 5, 5 }, t:totable())
    t = core.tensor { 1, 2, 3, 4 }
    t:copy_from(t:slice(1, nil, nil, -1))
    assert.same({ 4, 3, 2, 1 }, t:totable())
    t = core.tensor { { 1, 2 }, { 3, 4 } }
    t:copy_from(t:transpose())
    assert.same({ { 1, 3 }, { 2, 4 } }, t:totable())
  end)

  it("to a broadcast value are refused or go to one element", function()
    local b = core.tensor({ 1 }):broadcast_to { 3 }
    local ok = pcall(b.fill, b, 5)
    assert.same(ok and { 5, 5, 5 } or { 1, 1, 1 }, b:totable())
  end)

  it("to constants are refused, through views and by releases too", function()
    local t = core.tensor { { 1, 2 }, { 3, 4 } }
    local view = t[1]
    local c = core.constant(t)
    for _, f in ipairs { function() t:fill(0) end, function() view:fill(0) end, function() t[1] = 0 end, function() t[1][2] = 5 end,
      function() t:set { { 0, 0 }, { 0, 0 } } end, function() view:copy_from(core.ones { 2 }) end,
      function() t:transpose():fill(0) end, function() t:reshape({ 4 })[1] = 3 end } do
      assert.error_matches(f, "variable")
    end
    assert.same({ { 1, 2 }, { 3, 4 } }, c:tensor():totable())
    local copy = t:clone()
    copy:fill(0)
    assert.same({ { 0, 0 }, { 0, 0 } }, copy:totable())
  end)

  it("of a wrong shape are refused and change nothing", function()
    local t = core.tensor { { 1, 2 }, { 3, 4 } }
    for _, f in ipairs { function() t:copy_from(core.ones { 3 }) end, function() t:copy_from(core.ones { 4 }) end,
      function() t:set { 1, 2, 3 } end, function() t:set { { 1, 2 }, { 3 } } end, function() t[1] = { 1, 2, 3 } end } do
      assert.has_error(f)
    end
    assert.same({ { 1, 2 }, { 3, 4 } }, t:totable())
  end)
end)

describe("random views", function()
  it("hold the numbers that indexing says", function()
    local rng = random_graph.generator(4)
    for _ = 1, 300 do
      local t = base()
      local position = {} -- what element of the base each element of the view is, computed with Lua tables
      for i = 1, 2 do
        position[i] = {}
        for j = 1, 3 do
          position[i][j] = {}
          for k = 1, 4 do position[i][j][k] = (i - 1) * 12 + (j - 1) * 4 + k - 1 end
        end
      end
      local function turned(p)
        local r = {}
        for i = 1, #p do
          for j = 1, #p[1] do
            r[j] = r[j] or {}
            r[j][i] = p[i][j]
          end
        end
        return r
      end
      for _ = 1, rng.int(1, 5) do
        local n = #position
        local kind = rng.int(1, 3)
        if kind == 1 and n > 0 then
          local first, last = rng.int(1, n), rng.int(1, n)
          local step = rng.pick { 1, 2 } * (first <= last and 1 or -1)
          local r = {}
          for i = first, last, step do r[#r + 1] = position[i] end
          t, position = t:slice(1, first, last, step), r
        elseif kind == 2 and n > 0 and #position[1] > 0 then
          local perm = { 2, 1, 3 }
          if t.ndim == 2 then perm = { 2, 1 } end
          if t.ndim >= 2 then t, position = t:transpose(perm), turned(position) end
        elseif kind == 3 and t.ndim > 2 then
          local i = rng.int(1, n)
          t, position = t[i], position[i]
        end
      end
      assert.same(position, t:totable())
      assert.same(position, t:contiguous():totable())
      assert.same(position, (t + 0):totable())
    end
  end)
end)

describe("what no view serves", function()
  -- x[i][j][k] = its place; the copy of x with the last two axes exchanged, compared number by number.
  local function check(a, b, c, dtype)
    local x = core.placeholder("x", dtype, { a, b, c })
    local program = core.graph({ x }, { x:transpose({ 1, 3, 2 }):reshape { a * b * c } }):program()
    local given = core.arange(a * b * c):reshape { a, b, c }
    local y, at = program:run({ given:cast(dtype) }):totable(), 0
    for i = 0, a - 1 do
      for k = 0, c - 1 do
        for j = 0, b - 1 do
          at = at + 1
          if y[at] ~= ((i * b + j) * c + k) then return ("%s at %d of %d %d %d"):format(y[at], at, a, b, c) end
        end
      end
    end
  end

  it("is copied by squares, whatever is left over at the sides and where jobs are cut", function()
    for _, sizes in ipairs { { 1, 300, 257 }, { 5, 33, 70 }, { 40, 17, 31 }, { 3, 2, 15 }, { 2, 130, 1 }, { 1, 16, 16 } } do
      for _, dtype in ipairs { "f32", "i64", "i32" } do assert.is_nil(check(sizes[1], sizes[2], sizes[3], dtype)) end
    end
  end)
end)
