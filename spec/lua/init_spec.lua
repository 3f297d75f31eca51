--- Specs of what `require "moonlet"` gives: making tensors, random numbers, variables, parts, ops by name, control flow.
local ml = require "moonlet"
local core = require "moonlet.core"
local testing = require "moonlet.testing"
local nn = ml.nn

describe("making tensors", function()
  it("of one number, of nested tables, of a range", function()
    testing.equal(ml.zeros { 2 }, { 0, 0 })
    testing.equal(ml.zeros(2), { 0, 0 })
    testing.equal(ml.ones({ 1, 2 }, "i32"), ml.tensor({ { 1, 1 } }, "i32"))
    testing.equal(ml.full({ 2 }, 2.5), { 2.5, 2.5 })
    assert.equal("f64", ml.full({ 2 }, 2.5, { dtype = "f64" }).dtype)
    testing.equal(ml.tensor { { 1, 2 }, { 3, 4 } }, { { 1, 2 }, { 3, 4 } })
    testing.equal(ml.zeros_like(ml.tensor({ 3, 4 }, "i64")), ml.tensor({ 0, 0 }, "i64"))
    testing.equal(ml.ones_like(ml.tensor { 3 }), { 1 })
    testing.equal(ml.arange(3), { 0, 1, 2 })
    testing.equal(ml.arange(1, 3), { 1, 2 })
    testing.equal(ml.arange(1, 8, 3), { 1, 4, 7 })
    assert.equal("f32", ml.arange(3).dtype)
    assert.equal("i32", ml.arange(3, "i32").dtype)
    testing.allclose(ml.linspace(0, 1, 3), { 0, 0.5, 1 })
    testing.equal(ml.eye(2), { { 1, 0 }, { 0, 1 } })
  end)

  it("names what is wrong", function()
    testing.raises(function() ml.zeros "x" end, "ml.zeros: the shape must be a table of sizes, got 'x'")
    testing.raises(function() ml.zeros({ 2 }, { dtyp = "f32" }) end, "ml.zeros: unknown option 'dtyp'; known: dtype")
    testing.raises(function() ml.zeros({ 2 }, "float") end, "dtype")
  end)
end)

describe("random numbers", function()
  it("follow the seed", function()
    ml.seed(3)
    local a = ml.randn { 5 }
    ml.seed(3)
    testing.equal(ml.randn { 5 }, a)
    assert.is_true((ml.randn { 5 } - a):abs():max():item() > 0)
  end)

  it("have the moments they should have", function()
    local x = ml.uniform({ 4000 }, 2, 4)
    assert.is_true(math.abs(x:mean():item() - 3) < 0.05 and x:min():item() >= 2 and x:max():item() < 4)
    x = ml.normal({ 4000 }, 1, 2)
    assert.is_true(math.abs(x:mean():item() - 1) < 0.1 and math.abs(x:std():item() - 2) < 0.1)
    x = ml.rand { 1000 }
    assert.is_true(x:min():item() >= 0 and x:max():item() < 1)
  end)
end)

describe("ml.variable", function()
  it("begins with numbers, a tensor, or another variable", function()
    testing.equal(ml.variable(3):read(), 3)
    local v = ml.variable({ 1, 2 }, { name = "v", trainable = false })
    assert.equal("v", v.name)
    assert.is_false(v.trainable)
    testing.equal(ml.variable(v):read(), { 1, 2 })
    assert.equal("f64", ml.variable({ 1 }, { dtype = "f64" }).dtype)
    assert.equal("w", ml.variable({ 1 }, "w").name)
  end)

  it("names what is wrong", function()
    testing.raises(function() ml.variable() end, "ml.variable: what it begins with is missing")
    testing.raises(function() ml.variable({ 1 }, { nam = "v" }) end,
      "ml.variable: unknown option 'nam'; known: dtype, name, trainable")
  end)
end)

describe("parts and ops", function()
  it("are loaded when they are named", function()
    for _, name in ipairs { "nn", "optim", "losses", "metrics", "callbacks", "data", "initializers", "activations", "Model",
      "Sequential", "plot", "show", "progress", "testing" } do
      assert.is_truthy(ml[name], name)
    end
    assert.is_nil(ml.nothing)
    assert.is_nil(ml.trace_begin)
    assert.is_truthy(ml.version:match "^%d+%.%d+%.%d+$")
  end)

  it("are functions and methods", function()
    testing.allclose(ml.tanh(ml.tensor { 0 }), { 0 })
    testing.allclose(ml.op("add", ml.tensor { 1 }, 2), { 3 })
    testing.equal(ml.concat({ ml.tensor { 1 }, ml.tensor { 2 } }, 1), { 1, 2 })
    testing.allclose(ml.einsum("ij,jk->ik", { ml.eye(2), ml.tensor { { 1, 2 }, { 3, 4 } } }), { { 1, 2 }, { 3, 4 } })
    testing.raises(function() ml.op "nothing" end, "ml.op: unknown op 'nothing'")
    assert.is_true(#ml.ops() > 100)
  end)

  it("tell of devices and memory", function()
    assert.is_truthy(ml.device():find "cpu")
    assert.is_truthy(ml.devices()[1].name)
    assert.is_true(ml.memory().live_bytes > 0)
    testing.raises(function() ml.device "nowhere" end, "nowhere")
  end)

  it("choose and repeat", function()
    local f = ml.fn(function(x)
      local y = ml.cond(x:sum():gt(0), function() return x * 2 end, function() return x - 1 end)
      local total, sums = ml.scan(function(c, v) return c + v, c + v end, ml.zeros {}, x)
      local doubled = ml.while_loop(function(c) return c:lt(100) end, function(c) return c * 2 end, x:max())
      return y, total, sums, doubled
    end)
    local y, total, sums, doubled = f(ml.tensor { 1, 2, 3 })
    testing.equal(y, { 2, 4, 6 })
    testing.equal(total, 6)
    testing.equal(sums, { 1, 3, 6 })
    testing.equal(doubled, 192)
  end)
end)

describe("what a user writes", function()
  it("functional, sequential and by hand", function()
    local image = ml.input { nil, 8, 8, 1, name = "image" }
    local h = nn.Conv2D { 4, 3, activation = "relu" } (image)
    h = nn.MaxPool2D { 2 } (h)
    h = nn.Flatten {} (h)
    local logits = nn.Dense { 10 } (h)
    local model = ml.Model { inputs = image, outputs = logits }
    model:compile { optimizer = ml.optim.Adam { lr = 1e-3 }, loss = "sparse_categorical_crossentropy", metrics = { "accuracy" } }
    local x, y = ml.randn { 20, 8, 8, 1 }, ml.integers({ 20 }, 0, 10)
    local history = model:fit(x, y, { epochs = 2, batch_size = 8, validation = { x, y }, verbose = 0 })
    assert.equal(2, #history.history.loss)
    assert.equal(2, #history.history.val_accuracy)

    local a, b = ml.randn { 6, 5 }, ml.randn { 6, 1 }
    local w = ml.variable(ml.randn { 5, 1 })
    local step = ml.fn(function(p, q)
      local loss = ((p:matmul(w) - q) ^ 2):mean()
      local dw = ml.grad(loss, w)
      w:assign(w - 0.1 * dw)
      return loss
    end)
    local first = step(a, b):item()
    ml.eager(true)
    local second = step(a, b):item()
    ml.eager(false)
    assert.is_true(second < first and step(a, b):item() < second)
    ml.eager(false)
    assert.is_false(core.is_eager())
    testing.raises(function() ml.eager(3) end, "ml.eager: the argument must be true or false, got 3")
  end)
end)
