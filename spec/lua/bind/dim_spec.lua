-- Dims: sizes that are known when data comes.
local core = require "moonlet.core"

describe("dims", function()
  local n, m = core.dim "n", core.dim "m"

  it("have arithmetic and text", function()
    assert.equal("dim", core.kind(n))
    assert.equal("n", tostring(n))
    assert.equal("2*n+1", tostring(n * 2 + 1))
    assert.equal("n-2", tostring(n - 2))
    assert.equal("n-2", tostring(n + -2))
    assert.equal("dim", core.kind(n:floordiv(2)))
    assert.equal(0, n - n)
    assert.equal(6, (n + 6) - n)
    assert.equal("dim", core.kind(1 + n * m))
  end)

  it("are equal when they are the same expression", function()
    assert.is_true(n + m == m + n)
    assert.is_true(core.dim "n" == n)
    assert.is_false(n == m)
    assert.is_false(n == 3)
  end)

  it("refuse nonsense", function()
    assert.error_matches(function() return n + 1.5 end, "an operand must be a whole number, got 1.5")
    assert.error_matches(function() return n * -2 end, "negative number")
    assert.error_matches(function() return n + "a" end, "got 'a'")
    assert.error_matches(function() return n:floordiv(0) end, "divisor must be 1 or more, got 0")
    assert.error_matches(function() core.dim "a b" end, "a b")
    assert.error_matches(function() core.dim(3) end, "name must be a string, got 3")
  end)

  it("are released", function()
    local d = core.dim "n"
    d:release()
    assert.error_matches(function() return d + 1 end, "Dim was released")
    assert.equal("Dim (released)", tostring(d))
    assert.equal("n", tostring(n))
  end)

  it("make creation ops symbolic", function()
    assert.equal("symbol", core.kind(core.zeros { n, 2 }))
    assert.equal("tensor", core.kind(core.zeros { 2, 2 }))
  end)
end)
