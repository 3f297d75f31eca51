--- Specs of nn.module: models as Lua classes.
local ml = require "moonlet"
local testing = require "moonlet.testing"
local nn = ml.nn

local function names(model)
  local list = {}
  for i, v in ipairs(model.variables) do list[i] = v.name end
  return list
end

local function make_net()
  local Net = nn.module("Net", function(self, opts)
    self.first = nn.Dense { opts.units or 4, activation = "relu" }
    self.second = nn.Dense { 2 }
  end)
  function Net:call(x) return self.second(self.first(x)) end
  return Net
end

describe("nn.module", function()
  it("makes classes that are called", function()
    local net = make_net()()
    assert.same({ 3, 2 }, net(ml.ones { 3, 5 }).shape)
    assert.is_truthy(net.name:match "^net_%d+$")
    assert.equal("Net 'mine'", tostring(make_net() { name = "mine" }))
  end)

  it("hands its table to the constructor", function()
    local net = make_net() { units = 7 }
    net(ml.ones { 1, 5 })
    assert.same({ 5, 7 }, net.variables[1].shape)
  end)

  it("notes layers, variables and tables of them in the order of assignment", function()
    local Deep = nn.module("Deep", function(self)
      self.last = nn.Dense { 1 }
      self.blocks = {}
      for i = 1, 2 do self.blocks[i] = nn.Dense { 3 } end
      self.parts = { b = nn.Dense { 3, name = "bee" }, a = nn.Dense { 3, name = "ay" } }
      self.bias = ml.variable({ 0 }, { name = "ignored" })
      self.count = 3
    end)
    function Deep:call(x)
      for _, block in ipairs(self.blocks) do x = block(x) end
      return self.last(self.parts.a(self.parts.b(x))) + self.bias
    end
    local net = Deep()
    net:predict(ml.ones { 2, 3 })
    assert.same({ "bias", "dense_1/kernel", "dense_1/bias", "dense_2/kernel", "dense_2/bias", "dense_3/kernel", "dense_3/bias",
      "ay/kernel", "ay/bias", "bee/kernel", "bee/bias" }, names(net))
    assert.equal(5, #net.layers)
    assert.equal(net.last, net:get_layer "dense_1")
  end)

  it("compiles, fits, evaluates and predicts", function()
    local net = make_net()()
    net:compile { optimizer = ml.optim.SGD { lr = 0.05 }, loss = "mse", metrics = { "mae" } }
    local x, y = ml.randn { 16, 3 }, ml.ones { 16, 2 }
    local history = net:fit(x, y, { epochs = 20, batch_size = 8, verbose = 0 })
    assert.is_true(history.history.loss[20] < history.history.loss[1])
    assert.is_true(net:evaluate(x, y).loss < history.history.loss[1])
    assert.same({ 16, 2 }, net:predict(x).shape)
  end)

  it("saves and loads", function()
    local net = make_net() { name = "net" }
    local x = ml.randn { 4, 3 }
    local y = net:predict(x)
    local path = os.tmpname()
    net:save(path)
    testing.equal(ml.load(path):predict(x), y)
    local other = make_net()()
    other(x)
    other:load_weights(path)
    testing.equal(other:predict(x), y)
    os.remove(path)
  end)

  it("hands the mode down to layers inside", function()
    local Drop = nn.module("Drop", function(self) self.drop = nn.Dropout { 0.9 } end)
    function Drop:call(x) return self.drop(x) end
    local net, x = Drop(), ml.ones { 8, 8 }
    testing.equal(net(x), x)
    assert.is_true(net(x, { training = true }):min():item() == 0)
  end)

  it("takes several inputs and gives several outputs", function()
    local Two = nn.module("Two", function(self) self.d = nn.Dense { 1 } end)
    function Two:call(x) return { sum = self.d(x.a) + x.b, difference = self.d(x.a) - x.b } end
    local net = Two()
    local x = { a = ml.ones { 2, 3 }, b = ml.ones { 2, 1 } }
    local y = net:predict(x)
    testing.allclose(y.sum - y.difference, { { 2 }, { 2 } })
    net:compile { optimizer = "sgd", loss = { sum = "mse", difference = "mae" } }
    local logs = net:train_on_batch(x, { sum = ml.ones { 2, 1 }, difference = ml.ones { 2, 1 } })
    testing.allclose(logs.loss, logs.sum_loss + logs.difference_loss, { rtol = 1e-5 })
  end)

  it("can stand inside another model", function()
    local net = make_net() { name = "inner" }
    local x = ml.input { nil, 3 }
    local model = ml.Model { inputs = x, outputs = nn.Dense { 1 } (net(x)) }
    assert.same({ "inner/dense_1/kernel", "inner/dense_1/bias", "inner/dense_2/kernel", "inner/dense_2/bias", "dense_1/kernel",
      "dense_1/bias" }, names(model))
    assert.equal(net.second, model:get_layer "inner/dense_2")
    assert.same({ 2, 1 }, model:predict(ml.ones { 2, 3 }).shape)
  end)

  it("names what is wrong", function()
    testing.raises(function() nn.module() end, "nn.module: the first argument must be a string that is not empty, got nothing")
    testing.raises(function() nn.module("Net", 3) end, "nn.module 'Net': the second argument must be a function, got 3")
    local Empty = nn.module "Empty"
    testing.raises(function() Empty()(ml.ones { 1 }) end, "define its method: function Empty:call%(x%) return ... end")
    testing.raises(function() make_net()():fit(ml.ones { 1, 1 }, ml.ones { 1, 1 }) end, "call compile before fit")
  end)
end)
