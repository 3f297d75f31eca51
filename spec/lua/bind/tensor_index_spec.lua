-- Subscripts and slices of tensors and symbols.
local core = require "moonlet.core"

describe("subscripts of a tensor", function()
  it("count from 1, negative from the end, and share memory", function()
    local t = core.tensor { { 1, 2 }, { 3, 4 }, { 5, 6 } }
    assert.same({ 1, 2 }, t[1]:totable())
    assert.same({ 5, 6 }, t[-1]:totable())
    assert.equal(4, t[2][2]:item())
    t[2][1] = 30
    t[-1] = { 50, 60 }
    t[1] = core.tensor({ 10, 20 }, "i32")
    assert.same({ { 10, 20 }, { 30, 4 }, { 50, 60 } }, t:totable())
    t[2] = 0
    assert.same({ 0, 0 }, t[2]:totable())
    local odd = core.tensor({ { 1, 2, 3 }, { 4, 5, 6 } }, "i32"):transpose() -- rows whose entries are apart
    odd[2] = { 20, 50 }
    odd[-1][1] = 30
    odd[1] = core.variable(core.tensor({ 7, 8 }), "v", false)
    assert.same({ { 7, 8 }, { 20, 50 }, { 30, 6 } }, odd:totable())
  end)

  it("accept whole floats and refuse the rest", function()
    local t = core.tensor { 1, 2, 3 }
    assert.equal(2, t[2.0]:item())
    assert.error_matches(function() return t[0] end, "index 0 is out of range: the first axis has 3 entries")
    assert.error_matches(function() return t[4] end, "index 4 is out of range")
    assert.error_matches(function() return t[-4] end, "index %-4 is out of range")
    assert.error_matches(function() return t[1.5] end, "a subscript must be a whole number, got 1.5")
    assert.error_matches(function() return t[true] end, "got true")
    assert.error_matches(function() t[-4] = 1 end, "index %-4 is out of range: the first axis has 3 entries")
    assert.error_matches(function() t[1] = { 1, 2, 3 } end, "shapes differ: to %(%), from a table of %(3%)")
    assert.error_matches(function() t[1] = { 1, "x" } end, "a number or boolean is expected at %[2%], got 'x'")
    assert.error_matches(function() core.zeros({})[1] = 1 end, "a tensor of rank 0 has no entries")
    assert.error_matches(function() core.zeros({ 0, 3 })[1] = 1 end, "the first axis has 0 entries")
    assert.error_matches(function() t[9] = 1 end, "index 9 is out of range")
    assert.error_matches(function() t.size = 1 end, "no field 'size' that could be set")
    assert.error_matches(function() return t[1][1] end, "rank 0 has no entries")
  end)
end)

describe("slice", function()
  local t = core.tensor { { 1, 2, 3, 4, 5 }, { 6, 7, 8, 9, 10 } }

  it("includes both ends", function()
    assert.same({ { 2, 3 }, { 7, 8 } }, t:slice(2, 2, 3):totable())
    assert.same({ { 6, 7, 8, 9, 10 } }, t:slice(1, 2, 2):totable())
    assert.same({ { 4, 5 }, { 9, 10 } }, t:slice(-1, -2):totable())
    assert.same(t:totable(), t:slice(1):totable())
    assert.same({ { 1, 2 } }, core.slice(t:slice(1, 1, 1), 2, nil, 2):totable())
  end)

  it("takes steps both ways", function()
    assert.same({ 1, 3, 5 }, t[1]:slice(1, 1, 5, 2):totable())
    assert.same({ 1, 3 }, t[1]:slice(1, 1, 4, 2):totable())
    assert.same({ 5, 4, 3, 2, 1 }, t[1]:slice(1, nil, nil, -1):totable())
    assert.same({ 4, 2 }, t[1]:slice(1, 4, 1, -2):totable())
  end)

  it("may be empty", function()
    assert.same({ 0 }, t[1]:slice(1, 1, 0).shape)
    assert.same({ 0 }, t[1]:slice(1, 6, 5).shape)
    assert.same({ 0, 5 }, core.zeros({ 0, 5 }):slice(1).shape)
  end)

  it("shares memory", function()
    local x = core.zeros { 4 }
    x:slice(1, 2, 3):fill(1)
    assert.same({ 0, 1, 1, 0 }, x:totable())
  end)

  it("refuses positions outside", function()
    assert.error_matches(function() t:slice(2, 1, 6) end, "positions 1 to 6 are out of range: axis 2 has 5 entries")
    assert.error_matches(function() t:slice(2, 0, 3) end, "positions 0 to 3 are out of range")
    assert.error_matches(function() t:slice(2, -6) end, "out of range")
    assert.error_matches(function() t:slice(3, 1, 1) end, "axis 3 is out of range for 2 axes")
    assert.error_matches(function() t:slice(0, 1, 1) end, "axis must be an axis, counted from 1")
    assert.error_matches(function() t:slice(1, 1, 1, 0) end, "step must be a whole number but 0")
    assert.error_matches(function() t:slice(1, 1.5) end, "first must be a whole number, got 1.5")
    assert.error_matches(function() t:slice(1, core.dim "n") end, "cut at a Dim")
    assert.error_matches(function() core.slice(3, 1) end, "slice: argument 1 must be a Tensor, got 3")
    assert.error_matches(function() t:slice(1, 2 ^ 62) end, "out of range")
  end)

  it("of a symbol is a node, also where sizes are unknown", function()
    local n = core.dim "n"
    local s = core.placeholder("x", "f32", { n, 4 })
    assert.same({ 2 }, { s:slice(2, 2, 3).shape[2] })
    assert.equal("n-1", tostring(s:slice(1, 2).shape[1]))
    assert.equal("n-2", tostring(s:slice(1, 1, -3).shape[1]))
    assert.equal("n", tostring(s:slice(1, 1, n).shape[1]))
    local program = core.graph({ s }, { s:slice(1, 2), s:slice(1, -1, 1, -1), s:slice(1, 1, n - 1) })
      :program { inputs = { { shape = { 3, 4 } } } }
    local a, b, c = program:run { core.tensor { { 1, 2, 3, 4 }, { 5, 6, 7, 8 }, { 9, 10, 11, 12 } } }
    assert.same({ 2, 4 }, a.shape)
    assert.same({ 9, 5, 1 }, b:slice(2, 1, 1):reshape({ 3 }):totable())
    assert.same({ 2, 4 }, c.shape)
  end)

  it("subscripts of a symbol are nodes", function()
    local s = core.placeholder("x", "f32", { 3, 2 })
    assert.same({ 2 }, s[1].shape)
    local y = core.graph({ s }, { s[-1] }):program():run { core.tensor { { 1, 2 }, { 3, 4 }, { 5, 6 } } }
    assert.same({ 5, 6 }, y:totable())
    assert.error_matches(function() return s[4] end, "index 4 is out of range")
    assert.error_matches(function() return core.placeholder("y", "f32", { core.dim "n" })[1] end, "not known yet")
    assert.error_matches(function() s[1] = 3 end, "a Symbol cannot be written")
  end)
end)
