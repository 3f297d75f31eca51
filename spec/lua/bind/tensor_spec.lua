-- The Tensor object: made from Lua values, read, written, released.
local core = require "moonlet.core"
local maxinteger, math_type = rawget(math, "maxinteger"), rawget(math, "type") -- Lua 5.3 and later

local function garbage_of(f)
  for _ = 1, 5 do f() end
  collectgarbage()
  collectgarbage()
  collectgarbage "stop"
  local calls, before = core.memory().calls, collectgarbage "count"
  for _ = 1, 100 do f() end
  local kb, made = collectgarbage "count" - before, core.memory().calls - calls
  collectgarbage "restart"
  return kb, made
end

describe("numbers in and out of a tensor that is there", function()
  it("make nothing", function()
    local t, row, from = core.zeros { 2, 3 }, core.zeros { 3 }, core.ones { 2, 3 }
    local i, flags = core.zeros({ 4 }, "i32"), core.zeros({ 2 }, "bool")
    local rows, list, into, ints, bools = { { 1, 2, 3 }, { 4, 5, 6 } }, { 7, 8, 9.5 }, { {}, {} }, { 1, 2, 3, 4 }, { true, false }
    local flat = {}
    local kb, made = garbage_of(function()
      t:set(rows)
      t:totable(into)
      row:set(list)
      row:totable(flat)
      i:set(ints)
      flags:set(bools)
      t:copy_from(from)
      t:fill(3)
      t:set(4)
    end)
    assert.is_true(kb < 0.1, kb .. " KB")
    assert.equal(0, made)
    assert.same({ { 1, 2, 3 }, { 4, 5, 6 } }, into)
    assert.same({ 7, 8, 9.5 }, flat)
    assert.same({ { 4, 4, 4 }, { 4, 4, 4 } }, t:totable())
    assert.same({ 1, 2, 3, 4 }, i:totable())
  end)

  it("go through views", function()
    local t = core.zeros { 3, 2 }
    core.transpose(t):set { { 1, 2, 3 }, { 4, 5, 6 } }
    assert.same({ { 1, 4 }, { 2, 5 }, { 3, 6 } }, t:totable())
    assert.same({ { 1, 2, 3 }, { 4, 5, 6 } }, core.transpose(t):totable({ 0, { 9, 9, 9, 9 }, 7, 8 }))
    t:slice(1, 2, 2):fill(0)
    assert.same({ { 1, 4 }, { 0, 0 }, { 3, 6 } }, t:totable())
  end)

  it("leave everything as it was when they do not fit", function()
    local t = core.ones({ 2, 2 }, "i32")
    for text, bad in pairs {
      ["set: shapes differ: to %(2, 2%), from a table of %(2, 3%)"] = { { 1, 2, 3 }, { 1, 2, 3 } },
      ["from a table of %(2%)"] = { 1, 2 }, ["ragged table"] = { { 1, 2 }, { 1 } },
      ["1.5 does not fit i32"] = { { 1, 2 }, { 3, 1.5 } },
      ["a number or boolean is expected at %[2%]%[2%], got 'x'"] = { { 5, 6 }, { 7, "x" } },
    } do
      assert.error_matches(function() t:set(bad) end, text)
    end
    assert.same({ { 1, 1 }, { 1, 1 } }, t:totable())
    assert.error_matches(function() t:totable(3) end, "totable: argument 2 must be a table, got 3")
    assert.equal(1, core.ones({}):totable {})
  end)
end)

describe("tensor from Lua", function()
  it("takes nested tables, numbers and booleans", function()
    local t = core.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
    assert.same({ 2, 3 }, t.shape)
    assert.equal("f32", t.dtype)
    assert.equal(2, t.ndim)
    assert.equal(24, t.nbytes)
    assert.equal(6, t.count)
    assert.same({ { 1, 2, 3 }, { 4, 5, 6 } }, t:totable())
    assert.equal(3.5, core.tensor(3.5):item())
    assert.same({}, core.tensor(3.5).shape)
    assert.equal("bool", core.tensor({ true, false }).dtype)
    assert.equal("f32", core.tensor({ true, 2 }).dtype)
  end)

  it("takes empty tables as size 0", function()
    assert.same({ 0 }, core.tensor({}).shape)
    assert.same({ 2, 0 }, core.tensor({ {}, {} }).shape)
    assert.same({ {}, {} }, core.tensor({ {}, {} }):totable())
  end)

  it("takes a dtype as a word or in a table", function()
    assert.equal("i32", core.tensor({ 1, 2 }, "i32").dtype)
    assert.equal("u8", core.tensor({ 1, 2 }, { dtype = "u8" }).dtype)
    assert.same({ 0, 255 }, core.tensor({ 0, 255 }, "u8"):totable())
    assert.same({ true, false }, core.tensor({ 2, 0 }, "bool"):totable())
    assert.same({ 1, 0 }, core.tensor({ true, false }, "i32"):totable())
  end)

  it("copies and casts a tensor", function()
    local t = core.tensor { 1.5, -2.5 }
    local copy = core.tensor(t)
    copy:fill(0)
    assert.same({ 1.5, -2.5 }, t:totable())
    assert.same({ 1, -2 }, core.tensor(t, "i32"):totable())
  end)

  it("keeps integers of 64 bits", function()
    local big = 2 ^ 53
    assert.equal(big, core.tensor({ big }, "i64")[1]:item())
    assert.equal(-big, core.tensor({ -big }, "i64")[1]:item())
    if maxinteger then assert.equal(maxinteger, core.tensor({ maxinteger }, "i64")[1]:item()) end
  end)

  it("refuses what is no box of numbers", function()
    assert.error_matches(function() core.tensor { { 1, 2 }, { 3 } } end, "tensor: ragged table: 1 entries in table%[2%], 2")
    assert.error_matches(function() core.tensor { { 1 }, 2 } end, "ragged table: 2 at %[2%], a table is expected")
    assert.error_matches(function() core.tensor { 1, { 2 } } end, "ragged table: a table at %[2%], a number is expected")
    assert.error_matches(function() core.tensor(nil) end,
      "tensor: a tensor, a table of numbers, a number or a boolean is expected, got nil")
    assert.error_matches(function() core.tensor { 1, "2" } end, "a number or boolean is expected at %[2%], got '2'")
    assert.error_matches(function() core.tensor { a = 1 } end, "has names or gaps")
    assert.error_matches(function() core.tensor() end, "got nil")
    assert.error_matches(function() core.tensor(print) end, "got a function")
    local deep = 1
    for _ = 1, 9 do deep = { deep } end
    assert.error_matches(function() core.tensor(deep) end, "nested deeper than 8")
  end)

  it("refuses numbers that do not fit", function()
    assert.error_matches(function() core.tensor({ 1.5 }, "i32") end, "1.5 does not fit i32")
    assert.error_matches(function() core.tensor({ 256 }, "u8") end, "256 does not fit u8")
    assert.error_matches(function() core.tensor({ -1 }, "u8") end, "%-1 does not fit u8")
    assert.error_matches(function() core.tensor({ 2 ^ 31 }, "i32") end, "does not fit i32")
    assert.error_matches(function() core.tensor({ 2 ^ 63 }, "i64") end, "does not fit i64")
    assert.error_matches(function() core.tensor({ 0 / 0 }, "i64") end, "does not fit i64")
    assert.error_matches(function() core.tensor({ 1 }, "f17") end, "one of bool, u8, i32, i64, bf16, f16, f32, f64, got 'f17'")
    assert.error_matches(function() core.tensor({ 1 }, { type = "f32" }) end, "unknown key 'type'; known: dtype")
  end)

  it("goes to bytes and back", function()
    local t = core.tensor({ { 1, 2 }, { 3, 4 } }, "i32")
    local bytes = core.tostring(t:transpose())
    assert.equal(16, #bytes)
    assert.same({ { 1, 3 }, { 2, 4 } }, core.from_string(bytes, { 2, 2 }, "i32"):totable())
    assert.same({ 0 }, core.from_string("", { 0 }, "f32").shape)
    assert.error_matches(function()
      core.from_string(bytes, { 3 }, "i32")
    end, "from_string: Tensor i32 %(3%) needs 12 bytes, got 16")
    assert.error_matches(function() core.from_string(bytes, { core.dim "n" }, "i32") end, "shape%[1%] must be a number, got a Dim")
    assert.error_matches(function() core.from_string(bytes, { -1 }, "i32") end, "shape%[1%] must be a size")
  end)

  it("names the script's line", function()
    local ok, message = pcall(function() core.tensor(nil) end)
    assert.is_false(ok)
    assert.matches("^spec/lua/bind/tensor_spec.lua:%d+: tensor: ", message)
  end)
end)

describe("reading a tensor", function()
  it("item gives one element as the Lua value it is", function()
    assert.equal(true, core.tensor({ true })[1]:item())
    assert.equal(7, core.tensor({ { 7 } }, "i64"):item())
    assert.equal(0.5, core.tensor(0.5, "f64"):item())
    if math_type then
      assert.equal("integer", math_type(core.tensor(3, "i32"):item()))
      assert.equal("float", math_type(core.tensor(3):item()))
    end
    assert.error_matches(function() core.tensor({ 1, 2 }):item() end, "item: exactly one element is expected, got Tensor f32 %(2%)")
  end)

  it("of any size without elements can be looked at", function()
    local huge = core.zeros { 3, 2 ^ 40, 0 }
    assert.equal(0, huge.count)
    assert.matches("Tensor f32 %(3, 1099511627776, 0%)", tostring(huge))
    assert.error_matches(function() huge:totable() end, "1099511627776 entries are too many for a table")
    assert.error_matches(function() huge:slice(2, 1, 2 ^ 50) end, "axis 2 has 1099511627776 entries")
  end)

  it("iter loops over the first axis", function()
    local t, rows = core.tensor { { 1, 2 }, { 3, 4 } }, {}
    for i, row in t:iter() do rows[i] = row:totable() end
    assert.same({ { 1, 2 }, { 3, 4 } }, rows)
    assert.error_matches(function() core.tensor(1):iter() end, "rank 0 has no rows")
  end)

  it("# gives the first size", function()
    assert.equal(3, #core.tensor { 1, 2, 3 })
    assert.error_matches(function() return #core.tensor(1) end, "rank 0 has no length")
  end)

  it("gives a pointer to other libraries", function()
    assert.equal("userdata", type(core.tensor({ 1 }):pointer()))
  end)

  it("does not know other fields", function()
    assert.is_nil(core.tensor({ 1 }).sise)
  end)
end)

describe("writing a tensor", function()
  it("set takes tables, tensors, numbers and booleans", function()
    local t = core.zeros { 2, 2 }
    assert.equal(t, t:set { { 1, 2 }, { 3, 4 } })
    assert.same({ { 1, 2 }, { 3, 4 } }, t:totable())
    t:set(core.tensor({ { 5, 6 }, { 7, 8 } }, "i64"))
    assert.same({ { 5, 6 }, { 7, 8 } }, t:totable())
    t:set(9)
    assert.same({ { 9, 9 }, { 9, 9 } }, t:totable())
    assert.error_matches(function() t:set { 1, 2 } end, "shape")
    assert.error_matches(function() t:set "x" end, "a number or boolean is expected, got 'x'")
    assert.error_matches(function() t:set() end, "got nil")
  end)

  it("fill writes through views of any strides", function()
    local t = core.zeros { 3, 3 }
    t:transpose()[2]:fill(5)
    assert.same({ { 0, 5, 0 }, { 0, 5, 0 }, { 0, 5, 0 } }, t:totable())
    core.zeros({ 0, 3 }):fill(1)
    assert.error_matches(function() core.zeros({ 2 }, "i32"):fill(0.5) end, "0.5 does not fit i32")
  end)

  it("copy_from, copy and contiguous", function()
    local t = core.tensor { { 1, 2 }, { 3, 4 } }
    local turned = t:transpose()
    local dense = turned:contiguous()
    assert.same({ { 1, 3 }, { 2, 4 } }, dense:totable())
    dense:fill(0)
    assert.equal(1, t[1][1]:item())
    assert.equal(t, t:contiguous())
    assert.equal(t, t:copy_from(turned:copy()))
    assert.same({ { 1, 3 }, { 2, 4 } }, t:totable())
    assert.error_matches(function() t:copy_from(core.ones { 3 }) end, "shape")
    assert.error_matches(function() t:copy_from(3) end, "must be a Tensor, got 3")
  end)

  it("a constant of a graph cannot be written", function()
    local t = core.tensor { 1, 2 }
    local _ = core.placeholder("x", "f32", { 2 }) * t
    assert.error_matches(function() t:fill(3) end, "ml.variable")
    assert.error_matches(function() t[1] = 3 end, "ml.variable")
    assert.same({ 1, 2 }, t:totable())
  end)
end)

describe("release", function()
  it("ends a tensor, twice does nothing", function()
    local t = core.tensor { 1, 2 }
    local view = t[1]
    t:release()
    t:release()
    assert.equal(1, view:item())
    assert.error_matches(function() return t + 1 end, "Tensor was released")
    assert.error_matches(function() return t.shape end, "released Tensor")
    assert.error_matches(function() t:totable() end, "released Tensor")
    assert.error_matches(function() t:item() end, "was released")
    assert.equal("Tensor (released)", tostring(t))
    assert.equal("tensor", core.kind(t))
  end)

  it("gives memory back at once", function()
    local t = core.zeros { 1024 }
    local before = core.memory().live_bytes
    t:release()
    assert.is_true(core.memory().live_bytes <= before - 4096)
  end)

  it("refuses other values", function()
    local release = core.tensor({ 1 }).release
    assert.error_matches(function() release(io.stdout) end, "release: an object of this library is expected, got userdata")
    assert.error_matches(function() release(nil) end, "got nil")
  end)

  it("locks metatables", function()
    assert.equal("locked", getmetatable(core.tensor { 1 }))
    assert.has_error(function() setmetatable({}, core.tensor { 1 }) end)
  end)
end)
