-- Tensors as text.
local core = require "moonlet.core"

describe("printing a tensor", function()
  it("shows dtype, shape and aligned values", function()
    assert.equal("Tensor f32 () 3.5", tostring(core.tensor(3.5)))
    assert.equal("Tensor i64 (3) [1  2  3]", tostring(core.tensor({ 1, 2, 3 }, "i64")))
    assert.equal("Tensor f32 (2, 2)\n[[  1.0    2.5]\n [-10.0  100.0]]", tostring(core.tensor { { 1, 2.5 }, { -10, 100 } }))
    assert.equal("Tensor bool (2) [ true  false]", tostring(core.tensor { true, false }))
  end)

  it("shows special values and large ones", function()
    assert.equal("Tensor f32 (3) [ nan   inf  -inf]", tostring(core.tensor { 0 / 0, 1 / 0, -1 / 0 }))
    assert.equal("Tensor f64 (2) [1.0000e+10  1.0000e+00]", tostring(core.tensor({ 1e10, 1 }, "f64")))
    assert.equal("Tensor f64 (2) [1.0000e-05  0.0000e+00]", tostring(core.tensor({ 1e-5, 0 }, "f64")))
    assert.equal("Tensor f32 (2) [0.3333  0.1250]", tostring(core.tensor { 1 / 3, 0.125 }))
  end)

  it("shows tensors without elements", function()
    assert.equal("Tensor f32 (0) []", tostring(core.zeros { 0 }))
    assert.equal("Tensor f32 (2, 0)\n[[]\n []]", tostring(core.zeros { 2, 0 }))
    assert.is_true(#tostring(core.zeros { 100000, 0 }) < 200)
  end)

  it("abbreviates more than 1000 elements", function()
    local text = tostring(core.arange(0, 5000))
    assert.equal("Tensor f32 (5000) [   0     1     2  ...  4997  4998  4999]", text)
    text = tostring(core.zeros { 100, 100 })
    assert.equal(8, select(2, text:gsub("\n", "\n")) + 1)
    assert.matches("%[0  0  0  %.%.%.  0  0  0%]", text)
  end)

  it("breaks long rows", function()
    for line in tostring(core.arange(0, 200)):gmatch "[^\n]+" do assert.is_true(#line <= 82) end
  end)

  it("shows views as they are", function()
    assert.equal("Tensor f32 (2) [3  1]", tostring(core.tensor({ 1, 2, 3 }):slice(1, 3, 1, -2)))
  end)
end)
