--- The lines that a user sees first, as they stand in the design and the README, and what each does.
local ml = require "moonlet"

local FUNCTIONAL = [[
local ml, train, test = ...
local nn = ml.nn

local image = ml.input { nil, 8, 8, 1, name = "image" }
local h = nn.Conv2D { 32, 3, activation = "relu" } (image)
h = nn.MaxPool2D { 2 } (h)
h = nn.Flatten {} (h)
local logits = nn.Dense { 10 } (h)
local model = ml.Model { inputs = image, outputs = logits }

model:summary()
model:compile { optimizer = ml.optim.Adam { lr = 1e-3 }, loss = "sparse_categorical_crossentropy", metrics = { "accuracy" } }
local history = model:fit(train, { epochs = 20, batch_size = 64, validation = test })
model:save "digits.moon"
return model, history, image, h
]]

local CLASSES = [[
local ml = ...
local nn = ml.nn
local mlp = ml.Sequential { nn.Dense { 32, activation = "relu" }, nn.Dense { 10 } }
local Net = nn.module("Net", function(self) self.a = nn.Dense { 32, activation = "relu" }; self.b = nn.Dense { 10 } end)
function Net:call(x) return self.b(self.a(x)) end
return mlp, Net
]]

local BY_HAND = [[
local ml, x, y, print = ...
local w = ml.variable(ml.randn { 5, 1 })
local step = ml.fn(function(x, y)
  local loss = ((x:matmul(w) - y) ^ 2):mean()
  local dw = ml.grad(loss, w)
  w:assign(w - 0.1 * dw)
  print(loss)
  return loss
end)
print(step(x, y):item())
ml.eager(true)
return step, w
]]

local README = [[
local ml, images, labels = ...
local nn = ml.nn

local image = ml.input { nil, 8, 8, 1, name = "image" }
local h = nn.Conv2D { 32, 3, activation = "relu" } (image)
h = nn.MaxPool2D { 2 } (h)
h = nn.Flatten {} (h)
local model = ml.Model { inputs = image, outputs = nn.Dense { 10 } (h) }

model:compile { optimizer = "adam", loss = "sparse_categorical_crossentropy", metrics = { "accuracy" } }
local history = model:fit(images, labels, { epochs = 20, batch_size = 64, validation_split = 0.2 })
model:save "digits.moon"
return history
]]

-- Ten blurred pictures, each with its own place, that a network can learn.
local function pictures(n)
  local labels = ml.arange(n, "i64") % 10
  local noise = ml.uniform { n, 8, 8, 1 } * 0.3
  local place = ml.one_hot(labels, 64):reshape { n, 8, 8, 1 }
  return noise + place * 3, labels
end

-- Runs lines, quietly; what they save goes to a temporary file.
local function run(lines, ...)
  local path = os.tmpname()
  ml.log(function() end)
  local results = { pcall(assert(load((lines:gsub("digits%.moon", path)), "=page")), ...) }
  ml.log()
  os.remove(path)
  assert(results[1], results[2])
  return table.unpack(results, 2)
end

describe("the first page", function()
  it("builds a functional model, trains and saves it", function()
    local x, y = pictures(640)
    local train, test = ml.data.dataset { x, y }, ml.data.dataset { pictures(100) }
    local model, history, image, h = run(FUNCTIONAL, ml, train, test)
    assert.equal("Symbol 'image' f32 (?, 8, 8, 1)", tostring(image))
    assert.equal(288, h.shape[2])
    assert.equal(20, #history.history.loss)
    assert.is_true(history.history.val_accuracy[20] > 0.9, tostring(history.history.val_accuracy[20]))
    assert.equal(3 * 3 * 32 + 32 + 288 * 10 + 10, (model:count_params()))
  end)

  it("builds a sequential one, and one as a class", function()
    local mlp, Net = run(CLASSES, ml)
    for _, model in ipairs { mlp, Net {} } do
      model:compile { optimizer = "adam", loss = "sparse_categorical_crossentropy" }
      local x, y = ml.uniform { 8, 4 }, ml.integers({ 8 }, 0, 10)
      model:fit(x, y, { epochs = 1, verbose = 0 })
      assert.same({ 8, 10 }, model:predict(x).shape)
    end
  end)

  it("trains by hand, traced and at once", function()
    finally(function() ml.eager(false) end)
    local x, y = ml.randn { 16, 5 }, ml.randn { 16, 1 }
    local printed = {}
    local step = run(BY_HAND, ml, x, y, function(value) printed[#printed + 1] = tostring(value) end)
    assert.matches("^Symbol", printed[1]) -- while it is traced
    assert.equal(2, #printed)
    local first, second = tonumber(printed[2]), step(x, y):item()
    assert.matches("^Symbol 'mean' f32 %(%) %d", printed[3]) -- eager: the same line shows numbers
    assert.is_true(second < first)
    ml.eager(false)
    assert.is_true(step(x, y):item() < second)
    assert.equal(3, #printed)
  end)

  it("chooses a device, which is there or an error", function()
    finally(function() ml.device "cpu" end)
    local ok, message = pcall(ml.device, "opencl")
    assert.is_true(ok or message:find("opencl", 1, true) ~= nil, message)
    assert.equal("cpu", ml.device "cpu")
    assert.equal(2, ml.ones({ 2 }):sum():item())
  end)

  it("is what the README shows", function()
    local file = assert(io.open "README.md")
    local text = file:read "*a"
    file:close()
    local shown = text:match "```lua\n(.-)```"
    local function bare(lines) return (lines:gsub("local ml, images, labels = %.%.%.", "local ml = require \"moonlet\"")) end
    assert.equal(shown, (bare(README):gsub("return history\n$", "")))
    local history = run(README, ml, pictures(320))
    assert.is_true(history.history.val_accuracy[20] > 0.8)
    assert.equal(20, #history.history.accuracy)
  end)
end)
