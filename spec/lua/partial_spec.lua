-- A step of train_on_batch in slices and in the background gives what a whole step gives.
local core = require "moonlet.core"
local ml = require "moonlet"
local nn = ml.nn

local x, y = ml.uniform { 16, 8, 8, 1 }, ml.integers({ 16 }, 0, 4)

local function new_model(loss)
  ml.seed(3)
  local model = ml.Sequential {
    nn.Conv2D { 4, 3, activation = "relu" }, nn.Flatten {}, nn.Dropout { 0.3 }, nn.BatchNormalization {}, nn.Dense { 4 },
  }
  model:compile { optimizer = "adam", loss = loss or "sparse_categorical_crossentropy", metrics = { "accuracy" } }
  return model
end

local function state(model)
  local parts = {}
  for i, v in ipairs(model.variables) do parts[i] = core.tostring(v) end
  for _, v in ipairs(model.optimizer:variables()) do parts[#parts + 1] = core.tostring(v) end
  return table.concat(parts)
end

local function whole(steps)
  local model, logs = new_model(), nil
  for _ = 1, steps do logs = model:train_on_batch(x, y) end
  return state(model), logs
end

local function in_slices(model, budget_us)
  local done, logs
  local slices = 0
  repeat
    done, logs = model:train_on_batch(x, y, { budget_us = budget_us })
    slices = slices + 1
  until done
  return logs, slices
end

local function in_background(model)
  local ticket = model:train_on_batch(x, y, { background = true })
  while not ticket:done() do end
  return ticket:result()
end

describe("train_on_batch", function()
  it("in slices gives what it gives whole", function()
    local want, want_logs = whole(4)
    local model, logs, slices = new_model(), nil, nil
    for i = 1, 4 do logs, slices = in_slices(model, ({ 0.001, 5, 200, 1e9 })[i]) end
    assert.equal(1, slices)
    assert.equal(want, state(model))
    assert.same(want_logs, logs)
    assert.equal(4, model.net.step)
  end)

  it("in the background gives what it gives whole, with threads or without", function()
    local want, want_logs = whole(3)
    local threads = ml.threads()
    finally(function() ml.threads(threads) end)
    for n = 1, 2 do
      ml.threads(n)
      local model, logs = new_model(), nil
      for _ = 1, 3 do logs = in_background(model) end
      assert.equal(want, state(model))
      assert.same(want_logs, logs)
    end
  end)

  it("does not begin to read data again in the middle of a step", function()
    local want = whole(1)
    local model = new_model()
    assert.is_false((model:train_on_batch(x, y, { budget_us = 0.001 })))
    local done
    repeat done = model:train_on_batch(nil, nil, { budget_us = 1 }) until done
    assert.equal(want, state(model))
  end)

  it("leaves the weights alone until it is over, and predicts with them", function()
    local model = new_model()
    model:train_on_batch(x, y)
    local before, want = state(model), core.tostring(model:predict(x))
    model:train_on_batch(x, y, { budget_us = 0.001 })
    model:train_on_batch(x, y, { budget_us = 1 })
    assert.equal(before, state(model))
    assert.equal(want, core.tostring(model:predict(x)))
    model:cancel()
    model:cancel()
    assert.equal(before, state(model))
    local ticket = model:train_on_batch(x, y, { background = true })
    assert.equal(want, core.tostring(model:predict(x)))
    assert.error_matches(function() model:train_on_batch(x, y, { budget_us = 3 }) end, "a step is running in the background")
    ticket:cancel()
    assert.is_true(ticket:done())
    assert.error_matches(function() ticket:result() end, "the step was given up: it was cancelled")
    assert.equal(before, state(model))
    assert.equal(1, model.net.step)
    assert.equal(1, model.optimizer.steps)
  end)

  it("counts the budget from the call: what comes before the first slice is part of it", function()
    local model, clock, calls = new_model(), core.clock_us, 0
    finally(function() core.clock_us = clock end)
    core.clock_us = function()
      calls = calls + 1
      return calls * 1e9
    end
    assert.is_false((model:train_on_batch(x, y, { budget_us = 1e9 })))
    core.clock_us = clock
    assert.is_true((model:train_on_batch(x, y, { budget_us = 1e9 })))
  end)

  it("allocates nothing from slice to slice, the first step's as well, nor when later steps begin", function()
    local model, budget, slices = new_model(), { budget_us = 0.001 }, 0
    collectgarbage "stop"
    finally(function() collectgarbage "restart" end)
    for i = 1, 4 do
      local before = core.memory().calls
      local done = model:train_on_batch(x, y, budget)
      assert.is_true(i < 3 or core.memory().calls == before, "a step that begins")
      before = core.memory().calls
      local kb, grown = collectgarbage "count", 0
      while not done do
        grown = collectgarbage "count" - kb
        done = model:train_on_batch(x, y, budget)
        slices = slices + 1
      end
      assert.equal(before, core.memory().calls)
      assert.is_true(i == 1 or grown == 0, grown .. " KB of garbage")
    end
    assert.is_true(slices > 20, slices .. " slices")
  end)

  it("is given up by what trains the model otherwise", function()
    local want = whole(2)
    local model = new_model()
    model:train_on_batch(x, y, { budget_us = 0.001 })
    model:train_on_batch(x, y)
    local ticket = model:train_on_batch(x, y, { background = true })
    model:train_on_batch(x, y)
    assert.error_matches(function() ticket:result() end, "another one was begun")
    assert.equal(want, state(model))
    ticket = model:train_on_batch(x, y, { background = true })
    model:fit(x, y, { epochs = 1 })
    assert.error_matches(function() ticket:result() end, "fit was called")
    ticket = model:train_on_batch(x, y, { background = true })
    model:compile { optimizer = "sgd", loss = "sparse_categorical_crossentropy" }
    assert.error_matches(function() ticket:result() end, "compiled again")
  end)

  it("raises its error and goes on", function()
    local model = new_model()
    local bad = ml.full({ 16 }, 9, "i64")
    model:train_on_batch(x, y)
    local before = state(model)
    local ticket = model:train_on_batch(x, bad, { background = true })
    assert.error_matches(function() ticket:result() end, "out of range")
    local function slices()
      while not model:train_on_batch(x, bad, { budget_us = 50 }) do end
    end
    assert.error_matches(slices, "out of range")
    assert.equal(before, state(model))
    in_slices(model, 100)
    in_background(model)
    assert.error_matches(function() model:train_on_batch(x, y, { budget_us = 0 }) end, "budget_us must be a positive number, got 0")
  end)

  it("runs whole in eager mode", function()
    local model = new_model()
    ml.eager(true)
    finally(function() ml.eager(false) end)
    local done, logs = model:train_on_batch(x, y, { budget_us = 1 })
    assert.is_true(done)
    assert.is_true(logs.loss > 0)
    assert.error_matches(function() model:train_on_batch(x, y, { background = true }) end, "in eager mode")
  end)
end)
