-- Conversion of dtypes: the rules of cast are those of host access, of copies and of every kernel.
local core = require "moonlet.core"

local inf, nan = math.huge, 0 / 0

-- { from, numbers, to, numbers }
local rows = {
  { "f64", { 1.9, -1.9, 0.5, -0.5, -0.0 }, "i32", { 1, -1, 0, 0, 0 } },
  { "f64", { 1e10, -1e10, inf, -inf, nan }, "i32", { 2147483647, -2147483648, 2147483647, -2147483648, 0 } },
  { "f32", { 1e10, -1e10, inf, -inf, nan }, "i32", { 2147483647, -2147483648, 2147483647, -2147483648, 0 } },
  { "f64", { 300, -5, 255.9, nan, inf, 254.5 }, "u8", { 255, 0, 255, 0, 255, 254 } },
  { "f32", { 300, -5, 255.9, nan, -inf, 254.5 }, "u8", { 255, 0, 255, 0, 0, 254 } },
  { "f64", { -2 ^ 63, 2 ^ 53, -1.5, nan }, "i64", { -2 ^ 63, 2 ^ 53, -1, 0 } },
  { "f64", { 0, -0.0, 0.1, nan, inf, 1e-320 }, "bool", { false, false, true, true, true, true } },
  { "i32", { 0, 5, -1, 256 }, "bool", { false, true, true, true } },
  { "i32", { 0, 5, -1, 256, 511 }, "u8", { 0, 5, 255, 0, 255 } },
  { "i64", { 2 ^ 32, 2 ^ 31, -2 ^ 31 - 1, 7 }, "i32", { 0, -2147483648, 2147483647, 7 } },
  { "i64", { 2 ^ 53, -3 }, "f32", { 2 ^ 53, -3 } },
  { "u8", { 0, 255 }, "f32", { 0, 255 } },
  { "f64", { 1e300, -1e300, 1e-50, 0.1 }, "f32", { inf, -inf, 0, 0.10000000149011612 } },
  { "f32", { inf, -inf, 0.5 }, "f64", { inf, -inf, 0.5 } },
  { "f32", { 1 + 2 ^ -8, 1 + 3 * 2 ^ -8, -0.1, 3.4e38, 1e-40 }, "bf16", { 1, 1 + 2 ^ -6, -0.10009765625, inf, 2 ^ -133 } },
  { "f32", { 1 + 2 ^ -11, 1 + 3 * 2 ^ -11, 65519, 65520, 2 ^ -25, 2 ^ -24 * 1.5 }, "f16",
    { 1, 1 + 2 ^ -9, 65504, inf, 0, 2 ^ -23 } },
  { "bf16", { 300, -5, 1.5, inf, nan }, "u8", { 255, 0, 1, 255, 0 } }, { "f16", { -1.5, 65504, nan }, "i32", { -1, 65504, 0 } },
  { "bf16", { 0, -0.0, 0.1, nan }, "bool", { false, false, true, true } }, { "i64", { 257, -3 }, "bf16", { 256, -3 } },
  { "bool", { true, false }, "f16", { 1, 0 } }, { "bf16", { 1.5, 2 ^ 17, 2 ^ -30 }, "f16", { 1.5, inf, 0 } },
  { "f64", { 0.1, 1e300 }, "bf16", { 0.10009765625, inf } }, { "f16", { 0.5, -inf }, "f64", { 0.5, -inf } },
}

local function same(want, have, label)
  assert.equal(#want, #have, label)
  for i = 1, #want do assert.equal(want[i], have[i], label .. " element " .. i) end
end

describe("conversion", function()
  for _, row in ipairs(rows) do
    local from, numbers, to, want = row[1], row[2], row[3], row[4]
    local label = from .. " to " .. to

    it(label, function()
      local t = core.tensor(numbers, from)
      same(want, t:cast(to):totable(), label .. " by cast")
      local copy = core.zeros({ #numbers }, to)
      copy:copy_from(t)
      same(want, copy:totable(), label .. " by copy_from")
      local gaps = core.zeros({ #numbers, 2 }, to)
      gaps:slice(2, 2, 2):reshape({ #numbers }):copy_from(t:slice(1, nil, nil, -1):slice(1, nil, nil, -1))
      copy = core.zeros({ 2, #numbers }, to)
      copy[2]:copy_from(t)
      same(want, copy[2]:totable(), label .. " into a view")
      local long, n = {}, 100
      for i = 1, n * #numbers do long[i] = numbers[(i - 1) % #numbers + 1] end
      local x = core.placeholder("x", from, { #long })
      local g = core.graph({ x }, { x:cast(to) })
      for _, off in ipairs { "", "all" } do
        local y = g:program({ passes_off = off }):run({ core.tensor(long, from) }):totable()
        for i = 1, #long do assert.equal(want[(i - 1) % #numbers + 1], y[i], label .. " compiled " .. off .. " element " .. i) end
      end
    end)
  end

  it("round trips what fits", function()
    for _, dtype in ipairs { "u8", "i32", "i64", "bf16", "f16", "f32", "f64" } do
      local t = core.tensor({ 0, 1, 100, 255 }, "u8"):cast(dtype)
      assert.equal(dtype, t.dtype)
      same({ 0, 1, 100, 255 }, t:cast("u8"):totable(), dtype)
    end
  end)

  it("of NaN to float keeps it", function()
    local y = core.tensor({ nan }, "f64"):cast "f32"
    assert.is_true(y[1]:item() ~= y[1]:item())
  end)

  it("of Lua numbers is refused where it would lose something", function()
    assert.has_error(function() core.tensor({ 1.5 }, "i32") end)
    assert.has_error(function() core.tensor({ 2 ^ 31 }, "i32") end)
    assert.has_error(function() core.tensor({ -1 }, "u8") end)
    assert.has_error(function() core.tensor({ 256 }, "u8") end)
    assert.has_error(function() core.tensor({ nan }, "i64") end)
    assert.has_error(function() core.tensor({ 2 ^ 63 }, "i64") end)
    assert.same({ 255 }, core.tensor({ 255 }, "u8"):totable())
  end)
end)
