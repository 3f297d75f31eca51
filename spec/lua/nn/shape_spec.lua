--- Specs of the layers that move, join, drop or look up: Flatten, Reshape, Activation, Lambda, Dropout, Embedding, merges.
local ml = require "moonlet"
local testing = require "moonlet.testing"
local nn = ml.nn

describe("nn.Flatten and nn.Reshape", function()
  it("are proper layers", function()
    testing.check_layer(nn.Flatten, {}, { 2, 5, 2 }, { 2, 10 })
    testing.check_layer(nn.Reshape, { { 2, -1 } }, { 2, 5, 2 }, { 2, 2, 5 })
  end)

  it("keep the order of numbers; channels first moves channels before", function()
    local x = ml.arange(8):reshape { 1, 2, 2, 2 }
    testing.equal(nn.Flatten {} (x), { { 0, 1, 2, 3, 4, 5, 6, 7 } })
    testing.equal(nn.Flatten { data_format = "channels_first" } (x), { { 0, 4, 1, 5, 2, 6, 3, 7 } })
    testing.equal(nn.Reshape { { 4, 2 } } (x), { { { 0, 1 }, { 2, 3 }, { 4, 5 }, { 6, 7 } } })
  end)

  it("Flatten works on unknown sizes", function()
    local x = ml.input { nil, ml.dim "t", 3 }
    assert.equal("(?, 3*t)", require("moonlet.util").shape_text(nn.Flatten {} (x).shape))
  end)

  it("Reshape names what does not fit", function()
    testing.raises(function() nn.Reshape { { 3, 3 }, name = "r" } (ml.ones { 2, 8 }) end,
      "Reshape 'r': a sample of shape %(8,%) has 8 elements, which do not fit %(3, 3%)")
    testing.raises(function() nn.Reshape { { 3, -1 }, name = "r" } (ml.ones { 2, 8 }) end, "do not fit %(3, %-1%)")
    testing.raises(function() nn.Reshape { { -1, -1 } } end, "a table of positive integers, of which one may be %-1")
  end)
end)

describe("nn.Activation and nn.Lambda", function()
  it("apply functions", function()
    testing.equal(nn.Activation { "relu" } { { -1, 2 } }, { { 0, 2 } })
    testing.equal(nn.Lambda { function(x) return x * 2 end } { { -1, 2 } }, { { -2, 4 } })
    testing.check_layer(nn.Activation, { "tanh" }, { 2, 3 }, { 2, 3 })
    testing.check_layer(nn.Lambda, { function(x) return x * 2 end }, { 2, 3 }, { 2, 3 })
  end)
end)

describe("nn.Dropout", function()
  it("leaves inference alone", function()
    local x = ml.ones { 2, 5 }
    testing.equal(nn.Dropout { 0.5 } (x), x)
    testing.check_layer(nn.Dropout, { 0.5 }, { 2, 5 }, { 2, 5 }, { weights = 0 })
  end)

  it("zeroes that part in training and scales the others", function()
    local y = nn.Dropout { 0.25 } (ml.ones { 100, 100 }, { training = true })
    local kept = y:gt(0):cast("f32"):mean():item()
    assert.is_true(math.abs(kept - 0.75) < 0.02)
    testing.allclose(y:max(), 1 / 0.75)
    assert.is_true(math.abs(y:mean():item() - 1) < 0.03)
  end)

  it("draws anew in each step of fit, and the same after the same seed", function()
    local function train()
      ml.seed(3)
      local x = ml.input { nil, 50 }
      local model = ml.Model { inputs = x, outputs = nn.Dropout { 0.5 } (x) }
      model:compile { optimizer = "sgd", loss = "mse" }
      local ones = ml.ones { 8, 50 }
      local a = model:train_on_batch(ones, ones * 0).loss
      local b = model:train_on_batch(ones, ones * 0).loss
      return a, b
    end
    local a, b = train()
    local c, d = train()
    assert.not_equal(a, b)
    assert.equal(a, c)
    assert.equal(b, d)
  end)

  it("keeps a byte of each element for the gradient, which has the bits of the definition", function()
    local B, D, LAYERS = 64, 128, 6
    local function program(rate, off)
      ml.seed(5)
      local x = ml.input { B, D }
      local h = x
      for _ = 1, LAYERS do h = h + nn.Dropout { rate } (nn.Dense { D } (h)) end
      local model = ml.Model { inputs = x, outputs = h }
      model:compile { optimizer = "sgd", loss = "mse" }
      local inputs = { ml.uniform { B, D }, ml.zeros { B, D }, step = 1 }
      local graph = model:step_graph("train", inputs[1], inputs[2])
      local found = graph:program { mode = "train", inputs = inputs, passes_off = off }
      return found, found:run(inputs):item(), found:run(inputs):item()
    end
    local none, dropping = program(0):stats().arena_bytes, program(0.5)
    if ml.device() == "cpu" then
      local each = (dropping:stats().arena_bytes - none) / (LAYERS * B * D)
      assert.is_true(each <= 1.1, each)
    end
    local _, first, second = program(0.5)
    local _, first_plain, second_plain = program(0.5, "all")
    testing.allclose(first, first_plain)
    testing.allclose(second, second_plain)
  end)

  it("may share its mask along axes", function()
    local y = nn.Dropout { 0.5, noise_shape = { -1, 1, -1 } } (ml.ones { 4, 6, 8 }, { training = true })
    testing.equal(y:max { 2 }, y:min { 2 })
    testing.raises(function() nn.Dropout { 0.5, noise_shape = { 1 }, name = "d" } (ml.ones { 2, 2 }, { training = true }) end,
      "Dropout 'd': noise_shape must have 2 entries, got 1")
  end)

  it("takes a rate below 1", function()
    testing.raises(function() nn.Dropout { 1 } end, "Dropout: rate must be a number from 0 up to, not including, 1, got 1")
  end)
end)

describe("nn.Embedding", function()
  it("is a proper layer", function()
    testing.check_layer(nn.Embedding, { 10, 4 }, { 2, 3 }, { 2, 3, 4 }, { input_dtype = "i32", low = 0, high = 9.9, weights = 1 })
  end)

  it("looks rows up, counted from 0; floats are cast", function()
    local layer = nn.Embedding { 3, 2 }
    layer { { 0 } }
    layer:set_weights { { { 1, 2 }, { 3, 4 }, { 5, 6 } } }
    testing.equal(layer(ml.tensor({ { 2, 0 } }, "i32")), { { { 5, 6 }, { 1, 2 } } })
    testing.equal(layer { { 1 } }, { { { 3, 4 } } })
    testing.raises(function() layer { { 3 } } end, "3")
  end)
end)

describe("merging layers", function()
  local a, b = ml.tensor { { 1, 5 } }, ml.tensor { { 3, 2 } }

  it("are proper layers", function()
    testing.check_layer(nn.Add, {}, { { 2, 4 }, { 2, 4 }, { 2, 4 } }, { 2, 4 })
    testing.check_layer(nn.Multiply, {}, { { 2, 4 }, { 2, 4 } }, { 2, 4 })
    testing.check_layer(nn.Concatenate, {}, { { 2, 4 }, { 2, 3 } }, { 2, 7 })
    testing.check_layer(nn.Concatenate, { axis = 2 }, { { 2, 4, 2 }, { 2, 3, 2 } }, { 2, 7, 2 })
  end)

  it("join from left to right", function()
    testing.equal(nn.Add {} { a, b, b }, { { 7, 9 } })
    testing.equal(nn.Subtract {} { a, b }, { { -2, 3 } })
    testing.equal(nn.Multiply {} { a, b }, { { 3, 10 } })
    testing.equal(nn.Average {} { a, b }, { { 2, 3.5 } })
    testing.equal(nn.Maximum {} { a, b }, { { 3, 5 } })
    testing.equal(nn.Minimum {} { a, b }, { { 1, 2 } })
    testing.equal(nn.Concatenate {} { a, b }, { { 1, 5, 3, 2 } })
  end)

  it("name what is wrong", function()
    testing.raises(function() nn.Add { name = "s" } (a) end, "Add 's': expected a table of at least 2 inputs, got one tensor")
    testing.raises(function() nn.Subtract { name = "s" } { a, b, b } end,
      "Subtract 's': expected a table of 2 inputs, got a table of 3")
    testing.raises(function() nn.Concatenate { name = "c" } (a) end, "Concatenate 'c': expected a table of inputs, got one tensor")
    testing.raises(function() nn.Add {} { a, ml.ones { 1, 3 } } end, "add: ")
  end)
end)
