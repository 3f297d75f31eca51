--- Training for long leaves memory as it was: the steps of the examples' kinds of model, a thousand times.
local ml = require("moonlet")
local nn = ml.nn
local steps = os.getenv("MOONLET_SANITIZER") and 100 or 1000

local function flat(step)
  for _ = 1, 20 do step() end
  collectgarbage()
  collectgarbage()
  local before = require("moonlet.core").memory().live_bytes
  for _ = 1, steps do step() end
  collectgarbage()
  collectgarbage()
  local after = require("moonlet.core").memory().live_bytes
  assert.is_true(after - before < 4096, ("grew by %d bytes"):format(after - before))
end

describe("memory after " .. steps .. " steps", function()
  it("of a convolutional classifier is flat", function()
    local model = ml.Sequential { nn.Conv2D { 4, 3, activation = "relu" }, nn.MaxPool2D { 2 }, nn.Flatten {}, nn.Dense { 10 } }
    model:compile { optimizer = "adam", loss = "sparse_categorical_crossentropy", metrics = { "accuracy" } }
    local x, y = ml.uniform({ 8, 8, 8, 1 }), ml.zeros({ 8 }, "i64")
    flat(function() model:train_on_batch(x, y) end)
  end)

  it("of a hand-written loop is flat", function()
    local w = ml.variable(ml.randn { 3, 1 })
    local step = ml.fn(function(x, y)
      local loss = ((x:matmul(w) - y) ^ 2):mean()
      w:assign(w - 0.01 * ml.grad(loss, w))
      return loss
    end)
    local x, y = ml.randn { 4, 3 }, ml.randn { 4, 1 }
    flat(function() step(x, y) end)
  end)

  it("of a recurrent model is flat", function()
    local model = ml.Sequential { nn.Embedding { 12, 4 }, nn.LSTM { 5, return_sequences = true }, nn.Dense { 12 } }
    model:compile { optimizer = "sgd", loss = "sparse_categorical_crossentropy" }
    local x = ml.integers({ 2, 6 }, 0, 12)
    flat(function() model:train_on_batch(x, x) end)
  end)

  it("of eager arithmetic is flat", function()
    local a = ml.randn { 16, 16 }
    flat(function() return (a:matmul(a) + 1):tanh():sum() end)
  end)
end)

-- Lua's bytes and calls of the allocator in 100 steps of fit, between two reads in a callback that costs nothing itself.
local function cost_of_steps(fit)
  local core = require("moonlet.core")
  local calls, bytes = {}, {}
  local probe = setmetatable({}, { __index = ml.callbacks.Callback })
  function probe.on_batch_end(_, n)
    if n ~= 50 and n ~= 150 then return end
    bytes[n], calls[n] = collectgarbage("count"), core.memory().calls
  end
  collectgarbage()
  collectgarbage("stop")
  local ok, message = pcall(fit, { probe })
  collectgarbage("restart")
  assert.is_true(ok, message)
  return (bytes[150] - bytes[50]) * 1024 - 1000, calls[150] - calls[50]
end

describe("a steady step of fit", function()
  local x, y = ml.randn { 16 * 160, 8 }, ml.zeros({ 16 * 160 }, "i64")
  for name, fit in pairs({
    ["on shuffled tensors"] = function(model, opts) return model:fit(x, y, opts) end,
    ["on tensors in order"] = function(model, opts)
      opts.shuffle = false
      return model:fit(x, y, opts)
    end,
    ["on a dataset of rows"] = function(model, opts)
      opts.batch_size = nil
      return model:fit(ml.data.dataset({ x, y }):shuffle():batch(16), opts)
    end,
  }) do
    it("costs no memory " .. name, function()
      local model = ml.Sequential { nn.Dense { 16, activation = "relu" }, nn.Dropout { 0.2 }, nn.Dense { 3 } }
      local rate = ml.optim.schedules.CosineDecay { 1e-3, decay_steps = 100 }
      model:compile { optimizer = ml.optim.Adam { lr = rate }, loss = "sparse_categorical_crossentropy", metrics = { "accuracy" } }
      local bytes, calls = cost_of_steps(function(list)
        fit(model, { batch_size = 16, verbose = 0, callbacks = list })
      end)
      assert.is_true(bytes <= 0, ("100 steps cost %d bytes of Lua"):format(bytes))
      assert.equal(0, calls)
    end)
  end
end)
