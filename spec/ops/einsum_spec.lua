-- einsum: NumPy's results as literal numbers, gradients, sizes of 0, and what is said of equations that make no sense.
local core = require("moonlet.core")
local samples = require("spec.support.samples")
local testing = require("moonlet.testing")

-- { equation, inputs, what np.einsum gives }
local rows = {
  { "ij,jk->ik", { { { -1.3, -1.9, -0.1 }, { 0.9, -0.3, -0.1 } }, { { -1.9, -0.1 }, { 1.8, 1.4 }, { 0.9, -1.6 } } }, { { -1.04,
    -2.37 }, { -2.34, -0.35 } } },
  { "ij,jk", { { { 1.6, 1.4, -1.3 }, { 0.5, -1.9, -1.5 } }, { { -0.7, -1.4 }, { 1, 1.3 }, { -0.6, -0.7 } } }, { { 1.06, 0.49 },
    { -1.35, -2.12 } } },
  { "ij->ji", { { { -1.6, -1.7, 0.9 }, { 0.4, -1.8, -0.1 } } }, { { -1.6, 0.4 }, { -1.7, -1.8 }, { 0.9, -0.1 } } },
  { "ji", { { { -0.4, 1.4, 0.9 }, { 0.4, 0.2, 1.8 } } }, { { -0.4, 0.4 }, { 1.4, 0.2 }, { 0.9, 1.8 } } },
  { "ij->", { { { 1.9, -0.6, -1 }, { 1.2, -1.7, -0.5 } } }, -0.7 },
  { "ij->i", { { { -1.7, -0.7, -1.7 }, { -0.8, 1.2, 1.6 } } }, { -4.1, 2 } },
  { "ij->j", { { { 1.2, 0.2, 0.5 }, { -0.6, -1.3, -0.3 } } }, { 0.6, -1.1, 0.2 } },
  { "ii->i", { { { 0.9, -1.7, -1.9 }, { 1.1, -0.8, 0.8 }, { 0.9, 1.7, -0.4 } } }, { 0.9, -0.8, -0.4 } },
  { "ii", { { { -0.6, 1.2, 1.1 }, { 0.6, 1.2, 0.6 }, { 1.8, -0.7, 1 } } }, 1.6 },
  { "i,i->", { { 1.8, -0.7, 0.4 }, { -0.5, -0.2, -1.7 } }, -1.44 },
  { "i,j->ij", { { -1.9, 1 }, { -0.2, 0.5, 1 } }, { { 0.38, -0.95, -1.9 }, { -0.2, 0.5, 1 } } },
  { "bij,bjk->bik", { { { { -0.3, -0.5 } }, { { -1.3, 1.2 } } }, { { { 1.3, 0.9 }, { 1.5, 0.6 } }, { { 0.8, -1.2 }, { 1.1,
    -0.7 } } } }, { { { -1.14, -0.57 } }, { { 0.28, 0.72 } } } },
  { "...ij,...jk->...ik", { { { { -0.2, -0.7 } }, { { 0.3, 0.6 } } }, { { 0.3, -0.7, -1.1 }, { 1.4, -0.8, -0.2 } } },
    { { { -1.04, 0.7, 0.36 } }, { { 0.93, -0.69, -0.45 } } } },
  { "...,...->...", { { { -1.6, -0.8, -1.7 }, { -0.6, 0.8, 1.9 } }, { 0.5, -0.9, 0.6 } }, { { -0.8, 0.72, -1.02 }, { -0.3, -0.72,
    1.14 } } },
  { "ab,cb->ac", { { { 0.5, 1.3, 0.1 }, { 1.6, -0.3, -0.9 } }, { { 0.1, 1.7, 0.9 }, { -0.0, -0.0, 0.6 } } }, { { 2.35, 0.06 },
    { -1.16, -0.54 } } },
  { "abc,cd,bd->a", { { { { -0.2, 0.2 }, { 1.9, 1.7 } }, { { 1.4, -1.5 }, { 0.2, -0.5 } } }, { { 1.6, -0.7, 1.7 }, { -1, -0.3,
    1.8 } }, { { 0.4, 1.7, 0.2 }, { -1.1, 0.9, 0.1 } } }, { -2.569, -0.418 } },
  { "i,ij,j->", { { 0, -1.5 }, { { -1.4, 1.7, 1.8 }, { 1.9, -0.6, -1.8 } }, { 0.2, 0.9, 0.6 } }, 1.86 },
  { "iij->j", { { { { -1.8, -1.1, 0.8 }, { -1.8, 1.4, 2 } }, { { -1, -1.8, 1.9 }, { 1.1, -0.2, -0.1 } } } }, { -0.7, -1.3, 0.7 } },
  { "ij,ij->ij", { { { 1.7, -0.6, -1.8 }, { 0.5, -0.7, 0.7 } }, { { 1.8, -0.6, -1 }, { -1.8, 1.3, -1.7 } } }, { { 3.06, 0.36,
    1.8 }, { -0.9, -0.91, -1.19 } } },
  { "bhtd,bhsd->bhts", { { { { { 1.8, 0.8, 1.6 }, { 1.3, -1.2, -1.3 } }, { { 1.8, -0.8, 1.2 }, { -1.3, -0.8, 0.7 } } } },
    { { { { -1, 1, 1.5 } }, { { -0.7, -0.8, -1.9 } } } } }, { { { { 1.4 }, { -4.45 } }, { { -2.9 }, { 0.22 } } } } },
  { "ij, jk -> ik", { { { -0.3, -1.7 } }, { { 0.3 }, { 0.8 } } }, { { -1.45 } } },
  { "i->i", { { 0.3, 0.4, 0.4 } }, { 0.3, 0.4, 0.4 } },
  { "Aa,aB->AB", { { { 1.6, 0.1 } }, { { 1.4, -0.6 }, { -1.4, -1.1 } } }, { { 2.1, -1.07 } } },
  { "...a->...", { { { 1.2, -1.1 }, { 1.1, 1.6 } } }, { 0.1, 2.7 } },
  { "i...->...", { { { 0.2, -1.4, 0.5 }, { -0.5, 1.6, -1.1 } } }, { -0.3, 0.2, -0.6 } },
  { "ij,k->jk", { { { -1.1, -0.1 }, { -0.0, -1.2 } }, { -0.5, 0.7 } }, { { 0.55, -0.77 }, { 0.65, -0.91 } } },
  { "ijk->kji", { { { { -0.1, -1.8, -0.3 }, { -0.3, -0.2, -1.9 } } } }, { { { -0.1 }, { -0.3 } }, { { -1.8 }, { -0.2 } },
    { { -0.3 }, { -1.9 } } } },
  { ",ij->ij", { -0.9, { { 1.8, 1.5 }, { 1.8, 1 } } }, { { -1.62, -1.35 }, { -1.62, -0.9 } } },
}

local function tensors_of(row, dtype)
  local list = {}
  for i, values in ipairs(row[2]) do list[i] = core.tensor(values, dtype) end
  return list
end

describe("einsum", function()
  for i, row in ipairs(rows) do
    it(i .. ": " .. row[1], function()
      for dtype, tolerance in pairs { f64 = 1e-12, f32 = 1e-5 } do
        local tensors = tensors_of(row, dtype)
        local want, opts = core.tensor(row[3], dtype), { rtol = tolerance, atol = tolerance }
        testing.allclose(core.einsum(row[1], tensors), want, opts)
        local graph = samples.trace(tensors, function(xs) return { core.einsum(row[1], xs) } end)
        testing.allclose(samples.run(graph, tensors)[1], want, opts)
        testing.allclose(samples.run(graph, tensors, "all")[1], want, opts)
      end
    end)

    it(i .. ": " .. row[1] .. ", gradient", function()
      testing.check_gradient(function(...) return core.einsum(row[1], { ... }) end, row[2])
    end)
  end

  it("of integers is exact", function()
    local a, b = core.tensor({ { 1, 2 }, { 3, 4 } }, "i64"), core.tensor({ 5, 6 }, "i64")
    local y = core.einsum("ij,j->i", { a, b })
    assert.are.equal("i64", y.dtype)
    assert.are.same({ 17, 39 }, y:totable())
  end)

  it("takes tensors one by one, and views", function()
    local a = core.tensor { { 1, 2 }, { 3, 4 } }
    assert.are.same({ { 7, 15 }, { 10, 22 } }, core.einsum("ij,kj->ik", a:transpose(), a:flip({ 2 }):flip({ 2 })):totable())
  end)

  it("sums nothing to 0, and keeps sizes of 0", function()
    assert.are.same({ { 0, 0 }, { 0, 0 } }, core.einsum("ij,jk->ik", core.zeros { 2, 0 }, core.zeros { 0, 2 }):totable())
    assert.are.same({ 0, 2 }, core.einsum("ij,jk->ik", core.zeros { 0, 3 }, core.zeros { 3, 2 }).shape)
    assert.are.equal(0, core.einsum("i->", core.zeros { 0 }):item())
  end)

  it("refuses what makes no sense", function()
    local a, b = core.zeros { 2, 3 }, core.zeros { 4, 5 }
    for _, bad in ipairs {
      { "ij,jk->ik", { a, b }, "index 'j' has size 3, but 4 in input 2" },
      { "ij,jk->ik", { a }, "needs 2 inputs, got 1" },
      { "ij->ij", { a, b }, "needs 1 inputs, got 2" },
      { "ijk->i", { a }, "input 1 has shape %(2, 3%), which is not 3 indices" },
      { "i...j...->", { a }, "'...' appears twice" },
      { "i1->i", { a }, "indices are letters" },
      { "ij->ik", { a }, "k" },
      { "ij->ii", { a }, "i" },
      { "ij-i", { a }, "ij%-i" },
      { "ij->i->j", { a }, "ij%->i%->j" },
      { "", { a }, "einsum" },
    } do
      for _, traced in ipairs { false, true } do
        local ok, message = pcall(function()
          if not traced then return core.einsum(bad[1], bad[2]) end
          return samples.trace(bad[2], function(xs) return { core.einsum(bad[1], xs) } end)
        end)
        assert(not ok, bad[1] .. " was taken")
        assert(message:find "einsum_spec%.lua:%d+: einsum: " and message:find(bad[3]), message)
      end
    end
    assert.are.equal(0, core.trace_depth())
  end)
end)
