-- Models in save games, and models that are changed while they are used.
local core = require "moonlet.core"
local ml = require "moonlet"
local nn = ml.nn

local x, y = ml.uniform { 8, 3 }, ml.uniform { 8, 2 }

local function new_model(hidden)
  local model = ml.Sequential { nn.Dense { hidden or 5, activation = "tanh" }, nn.Dropout { 0.2 }, nn.Dense { 2 } }
  model:compile { optimizer = ml.optim.Adam { lr = 0.01 }, loss = "mse", metrics = { "mae" } }
  model:train_on_batch(x, y)
  return model
end

local function state(model)
  local parts = {}
  for i, v in ipairs(model.variables) do parts[i] = v.name .. core.tostring(v) end
  for _, v in ipairs(model.optimizer:variables()) do parts[#parts + 1] = v.name .. core.tostring(v) end
  return table.concat(parts) .. model.net.step
end

describe("serialize", function()
  it("holds model, optimizer, random numbers and step: the copy trains on to the same", function()
    ml.seed(11)
    local model = new_model()
    local saved = model:serialize()
    for _ = 1, 3 do model:train_on_batch(x, y) end
    local noise, want = core.tostring(ml.randn { 4 }), state(model)
    local copy = ml.deserialize(saved)
    for _ = 1, 3 do copy:train_on_batch(x, y) end
    assert.equal(want, state(copy))
    ml.deserialize(saved)
    assert.equal(noise, core.tostring(ml.randn { 4 }))
  end)

  it("gives what save writes", function()
    local model = new_model()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    for _, opts in ipairs { {}, { training = true } } do
      model:save(path, opts)
      local f = assert(io.open(path, "rb"))
      assert.equal(f:read "*a", model:serialize(opts))
      f:close()
    end
  end)

  it("is read and written by C", function()
    local path, copy = os.tmpname(), os.tmpname()
    finally(function()
      os.remove(path)
      os.remove(copy)
    end)
    new_model():save(path)
    local build = os.getenv "MOONLET_BUILD" or "build"
    local pipe = assert(io.popen(build .. "/spec/formats/model " .. path .. " " .. copy .. " 2>&1"))
    assert.equal("ok\n", pipe:read "*a")
    pipe:close()
    assert.equal(7, ml.load(copy).net.step)
  end)

  it("is checked as files are", function()
    local saved = new_model():serialize()
    assert.error_matches(function() ml.deserialize(3) end, "ml.deserialize: a string is expected, got 3")
    assert.error_matches(function() ml.deserialize "" end, "safetensors")
    assert.error_matches(function() ml.deserialize(saved:sub(1, -2)) end, "safetensors")
    assert.error_matches(function() ml.deserialize((saved:gsub("moonlet.version\":\"0", "moonlet.version\":\"9"))) end, "the older")
    assert.error_matches(function() ml.deserialize(saved, { x = 1 }) end, "unknown option 'x'")
  end)
end)

describe("load_weights of a running model", function()
  it("takes a string or a path, all weights or none", function()
    local model, other = new_model(), new_model()
    local saved = other:serialize()
    model:load_weights(saved)
    for i, v in ipairs(model.variables) do assert.equal(core.tostring(other.variables[i]), core.tostring(v)) end
    local before = state(model)
    assert.error_matches(function() model:load_weights(new_model(6):serialize()) end,
      "'dense_1/kernel' has shape %(3, 6%) in 'the string', expected %(3, 5%)")
    assert.error_matches(function() model:load_weights(saved:sub(1, -2)) end, "safetensors")
    assert.error_matches(function() model:load_weights "/nowhere/at all" end, "/nowhere/at all")
    assert.equal(before, state(model))
  end)

  it("gives up a step that has begun", function()
    local model, other = new_model(), new_model()
    local saved, want = other:serialize(), core.tostring(other:predict(x))
    local ticket = model:train_on_batch(x, y, { background = true })
    model:load_weights(saved)
    assert.error_matches(function() ticket:result() end, "the weights were replaced")
    assert.equal(want, core.tostring(model:predict(x)))
    model:train_on_batch(x, y, { budget_us = 0.001 })
    model:load_weights(saved)
    assert.equal(want, core.tostring(model:predict(x)))
    model:train_on_batch(x, y)
  end)

  it("leaves a run that has begun its old weights", function()
    local model, other = new_model(), new_model()
    local program = model:program("predict", x)
    local want = core.tostring(program:run { x })
    local ticket = program:start { x }
    local done, out = program:run { x, budget_us = 0.001 }
    model:load_weights(other:serialize())
    while not done do done, out = program:run() end
    assert.equal(want, core.tostring(out))
    assert.equal(want, core.tostring((ticket:result())))
    assert.equal(core.tostring(other:predict(x)), core.tostring(program:run { x }))
  end)
end)

describe("replace", function()
  it("keeps weights of the same name and shape, the optimizer's state for them, and the step", function()
    local model = new_model()
    model:train_on_batch(x, y)
    local kernel = core.tostring(model.variables[1])
    local slots = {}
    for _, v in ipairs(model.optimizer:variables()) do slots[v.name] = core.tostring(v) end
    local other = ml.Sequential { nn.Dense { 5, activation = "relu" }, nn.Dense { 7 }, nn.Dense { 2 } }
    local kept, new = model:replace(other)
    assert.same({ "dense_1/kernel", "dense_1/bias" }, kept)
    assert.same({ "dense_2/kernel", "dense_2/bias", "dense_3/kernel", "dense_3/bias" }, new)
    assert.equal(kernel, core.tostring(model.variables[1]))
    assert.equal(2, model.net.step)
    assert.equal(3, #model.layers)
    for _, v in ipairs(model.optimizer:variables()) do
      if slots[v.name] and not v.name:find "dense_2" then assert.equal(slots[v.name], core.tostring(v)) end
    end
    local before = model:train_on_batch(x, y).loss
    for _ = 1, 50 do model:train_on_batch(x, y) end
    assert.is_true(model:train_on_batch(x, y).loss < before)
  end)

  it("by the same architecture changes nothing", function()
    ml.seed(5)
    local model = new_model()
    local want = state(model)
    local other = ml.Sequential { nn.Dense { 5, activation = "tanh" }, nn.Dropout { 0.2 }, nn.Dense { 2 } }
    local ticket = model:train_on_batch(x, y, { background = true })
    model:replace(other)
    assert.error_matches(function() ticket:result() end, "the model was replaced")
    assert.equal(want, state(model))
    model:train_on_batch(x, y)
  end)

  it("checks its arguments", function()
    local model = new_model()
    assert.error_matches(function() model:replace(3) end, "replace: another model is expected, got 3")
    assert.error_matches(function() model:replace(model) end, "got the same one")
    assert.error_matches(function() ml.Sequential({ nn.Dense { 2 } }):replace(model) end, "has no graph yet")
    model:compile { optimizer = "sgd", loss = function(a, b) return (a - b):square():mean() end }
    local other = ml.Sequential { nn.Dense { 2 } }
    assert.error_matches(function() model:replace(other) end, "compile the other model before")
    other:compile { optimizer = "sgd", loss = "mse" }
    model:replace(other)
    model:train_on_batch(x, y)
  end)
end)
