-- Outputs of 32 MB and more are stored past the caches, by code of their own. A part of the rows, which is not, has the same bits.
local ml = require "moonlet"
local core = require "moonlet.core"

local ROWS = 2052 -- of 4096 numbers: more than 8 M
local SOME = { 1, 2, 1027, 2051, 2052 }

local function check(columns, f)
  local x = core.normal { ROWS, columns }
  local whole = f(x)
  for _, i in ipairs(SOME) do
    local part = x:slice(1, i, i)
    local far = (whole:slice(1, i, i) - f(part)):abs():max():item()
    assert.equal(0, far, "row " .. i)
  end
end

describe("an output larger than caches", function()
  it("of a chain whose rows end within a vector has the numbers of a small one", function()
    check(4100, ml.fn(function(x) return ((x * 2 + 1):tanh() * x):exp() end))
  end)

  it("of softmax has the numbers of a small one", function()
    check(4096, function(x) return x:softmax() end)
  end)

  it("of layer normalization has the numbers of a small one", function()
    local gamma, beta = core.normal { 4096 }, core.normal { 4096 }
    check(4096, function(x) return x:layer_norm(gamma, beta) end)
  end)
end)
