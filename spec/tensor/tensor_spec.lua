-- Tensors: sizes that are possible, sizes that are refused, memory that is given back.
local core = require "moonlet.core"

local nan, inf = 0 / 0, math.huge

describe("sizes", function()
  it("of 0, in every position", function()
    for _, shape in ipairs { { 0 }, { 0, 3 }, { 3, 0 }, { 2, 0, 2 }, { 0, 0 }, { 0, 2 ^ 40 } } do
      local t = core.zeros(shape)
      assert.same(shape, t.shape)
      assert.equal(0, t.nbytes)
      assert.equal("", core.tostring(t))
      assert.same(shape, (t + 1).shape)
      assert.equal(0, t:sum():item())
      assert.same(shape, t:clone().shape)
    end
    assert.equal(1, core.zeros({}):reshape({ 1 }):sum({ 1 }).ndim + 1)
  end)

  it("that are huge are refused, not tried", function()
    local before = core.memory().peak_bytes
    for _, shape in ipairs { { 2 ^ 62 }, { 2 ^ 40, 2 ^ 40 }, { 2 ^ 31, 2 ^ 31, 2 ^ 31 }, { 2 ^ 53, 2 ^ 10 }, { 2 ^ 61 + 1 },
      { 2 ^ 62, 0, 2 ^ 62, 2 ^ 62 } } do
      for _, f in ipairs { core.zeros, core.ones, core.uniform, function(s) return core.full(s, 2) end } do
        local ok, message = pcall(f, shape)
        assert.is_false(ok)
        assert.matches("tensor_spec.lua:%d+: ", message)
      end
    end
    assert.has_error(function() core.arange(2 ^ 61) end)
    assert.has_error(function() core.eye(2 ^ 31 + 1) end)
    assert.has_error(function() core.linspace(0, 1, 2 ^ 61) end)
    assert.has_error(function() core.permutation(2 ^ 61) end)
    assert.has_error(function() core.one_hot(core.tensor({ 1 }, "i64"), 2 ^ 61) end)
    assert.has_error(function() core.ones({ 4 }):broadcast_to { 2 ^ 60, 4 }:contiguous() end)
    assert.has_error(function() core.from_string("", { 2 ^ 62, 4 }, "f32") end)
    assert.has_error(function() core.pad(core.ones { 4 }, { 2 ^ 62 }, { 2 ^ 62 }) end)
    assert.is_true(core.memory().peak_bytes - before < 1e6)
  end)

  it("that are no sizes are refused", function()
    for _, bad in ipairs { -1, 1.5, nan, inf, -inf, 2 ^ 63, 2 ^ 64, "x", true, {} } do
      for _, f in ipairs { core.zeros, core.uniform, function(s) return core.ones({ 4 }):reshape(bad == -1 and { -1, -1 } or s) end,
        function(s) return core.ones({ 4 }):broadcast_to(s) end, function(s) return core.placeholder("x", "f32", s) end } do
        local ok, message = pcall(f, { bad, 2 })
        assert.is_false(ok, tostring(bad))
        assert.matches("tensor_spec.lua:%d+: ", message)
      end
    end
    assert.has_error(function() core.zeros { 1, 1, 1, 1, 1, 1, 1, 1, 1 } end)
    assert.same({ 1, 1, 1, 1, 1, 1, 1, 1 }, core.zeros({ 1, 1, 1, 1, 1, 1, 1, 1 }).shape)
    assert.has_error(function() core.zeros { 2, nil, 3 } end)
  end)

  it("may come as floats that are whole", function() assert.same({ 2, 3 }, core.zeros({ 2.0, 3.0 }).shape) end)
end)

describe("bytes", function()
  it("go in and out as they are", function()
    local t = core.from_string("\0\0\128\63\0\0\0\64", { 2 }, "f32")
    assert.same({ 1, 2 }, t:totable())
    assert.equal("\0\0\128\63\0\0\0\64", core.tostring(t))
    assert.equal("\0\0\0\64\0\0\128\63", core.tostring(t:slice(1, nil, nil, -1)))
    for _, n in ipairs { 0, 7, 9 } do assert.has_error(function() core.from_string(("x"):rep(n), { 2 }, "f32") end) end
    -- A byte that is neither 0 nor 1 is true.
    assert.same({ true, false, true }, core.from_string("\1\0\7", { 3 }, "bool"):totable())
    assert.equal(2, core.from_string("\1\0\7", { 3 }, "bool"):sum():item())
  end)

  it("are counted and given back", function()
    local testing = require "moonlet.testing"
    local before = testing.live_bytes()
    local t = core.zeros({ 1000, 1000 }, "f64")
    assert.equal(8e6, t.nbytes)
    assert.is_true(core.memory().live_bytes - before >= 8e6)
    local view = t[1]
    t:release()
    assert.is_true(core.memory().live_bytes - before >= 8e6)
    view:release()
    assert.is_true(core.memory().live_bytes - before < 1e5)
  end)

  it("of temporaries do not pile up", function()
    collectgarbage()
    local before = core.memory().live_bytes
    local peak = 0
    for _ = 1, 300 do
      local t = core.ones { 250000 } * 2
      peak = math.max(peak, core.memory().live_bytes - before)
      assert.equal(2, t[1]:item())
    end
    assert.is_true(peak < 150e6, peak .. " bytes at once")
  end)
end)

describe("integers", function()
  it("wrap, and division by zero is 0", function()
    local a = core.tensor({ 2147483647, -2147483648 }, "i32")
    assert.same({ -2147483648, 2147483647 }, (a + core.tensor({ 1, -1 }, "i32")):totable())
    assert.same({ -2147483647, -2147483648 }, (-a):totable())
    assert.same({ 1, 254 }, (core.tensor({ 255, 0 }, "u8") + core.tensor({ 2, 254 }, "u8")):totable())
    assert.same({ 0, 0 }, core.floor_divide(a, core.zeros({ 2 }, "i32")):totable())
    assert.same({ -2147483648 }, core.floor_divide(core.tensor({ -2147483648 }, "i32"), core.tensor({ -1 }, "i32")):totable())
  end)

  it("of 64 bits are exact", function()
    local text = core.tostring(core.tensor({ 1 }, "i64") * core.tensor({ 2 ^ 62 }, "i64") + core.tensor({ 1 }, "i64"))
    assert.equal("\1\0\0\0\0\0\0\64", text)
  end)
end)
