-- The cost table and ml.tune: the table by a device whose clock is the spec's (tune.c), real kernels by rows that are written here,
-- and that nothing is measured or written unasked. No spec depends on how long something takes.
local ml = require("moonlet")
local nn = ml.nn
local process = require("spec.support.process")

local build = os.getenv "MOONLET_BUILD" or "build"

local function said_by(command)
  local pipe = io.popen(command .. " 2>&1")
  local said = pipe:read "*a"
  pipe:close()
  return said
end

local function with_folder(f)
  local folder = os.tmpname()
  os.remove(folder)
  os.execute("mkdir -p " .. folder)
  local ok, message = pcall(f, folder)
  os.execute("rm -r " .. folder)
  if not ok then error(message, 0) end
end

local function is_there(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

-- A file with these rows; in "TARGET conv .." TARGET is this machine's CPU.
local function put_rows(folder, rows)
  local command = { build .. "/spec/core/tune put " .. folder }
  for _, row in ipairs(rows) do command[#command + 1] = ("'%s'"):format(row) end
  assert.equal("ok\n", said_by(table.concat(command, " ")))
end

describe("the cost table", function()
  it("reads rows, finds the nearest, tunes by the clock and keeps to its time", function()
    assert.equal("ok\n", said_by(build .. "/spec/core/tune"))
  end)

  it("goes from process to process in a file, and ignores a broken one", function()
    with_folder(function(folder)
      assert.equal("ok\n", said_by(build .. "/spec/core/tune write " .. folder))
      assert.equal("ok\n", said_by(build .. "/spec/core/tune read " .. folder))
    end)
  end)
end)

describe("kernels and the table", function()
  local CONV = [[
    local ml = require "moonlet"
    local conv = ml.nn.Conv2D { 32, 3, padding = "same", kernel_initializer = "ones" }
    local model = ml.Sequential { ml.input { nil, 16, 16, 32 }, conv }
    local x = (ml.arange(16 * 16 * 32):reshape { 1, 16, 16, 32 } * 0.37):sin()
    local text = model:program("predict", x):explain()
    local name, why = text:match "(cpu_%w*_?conv%w*_f32)_%w+ (%b())"
    local y = model:predict(x):reshape { 8192 }
    print(name, why:match "tuned: .*%)" or why:match "table: .*%)" or "-)", ("%.9g"):format(y[4321]:item()))]]

  local function conv_by(rows)
    local name, words, value
    with_folder(function(folder)
      if rows then put_rows(folder, rows) end
      local said = process.output_of(CONV, "MOONLET_CACHE_DIR=" .. folder)
      name, words, value = said:match "^(%S+)\t(.-)%)\t(%S+)\n$"
      assert(name, said)
      assert.is_false(not rows and is_there(folder .. "/tuned"))
    end)
    return name, words, tonumber(value)
  end

  it("take a convolution's form from it, and give the same numbers", function()
    local name, words, value = conv_by(nil)
    assert.equal("-", words)
    if name == "cpu_conv_f32" then return pending("no kernel here for Winograd's algorithm") end
    assert.equal("cpu_winograd_conv_f32", name)
    for tile = 0, 4, 2 do
      local found, said, number = conv_by { "TARGET conv 3x3-infer f32 1x16x16x32x32 tile=" .. tile }
      assert.equal(tile == 0 and "cpu_conv_f32" or "cpu_winograd_conv_f32", found)
      assert.equal("tuned: tile=" .. tile, said)
      assert.near(value, number, 1e-4 * math.abs(value))
    end
    local found, said = conv_by { "TARGET conv 3x3-infer f32 2x16x16x32x32 tile=0" }
    assert.equal("cpu_conv_f32", found)
    assert.equal("tuned: nearest 2x16x16x32x32", said)
    -- What no dial offers, and rows of another kind of step, say nothing.
    for _, row in ipairs { "conv 3x3-infer f32 1x16x16x32x32 tile=3", "conv 3x3-train f32 1x16x16x32x32 tile=0" } do
      found, said = conv_by { "TARGET " .. row }
      assert.equal("cpu_winograd_conv_f32", found)
      assert.equal("-", said)
    end
  end)

  local PRODUCT = [[
    local ml = require "moonlet"
    local a = (ml.arange(96 * 160):reshape { 96, 160 } * 0.37):sin()
    local b = (ml.arange(160 * 130):reshape { 160, 130 } * 0.41):cos()
    local f = ml.fn(function(x, y) return x:matmul(y) end)
    local sum, y = 0, f(a, b):reshape { 96 * 130 }:totable()
    for i, v in ipairs(y) do sum = sum + v * (i % 61 - 30) end
    print(f:program(a, b):explain():match "tuned: ([^)]*)" or "-", ("%.17g"):format(sum))]]

  it("take a product's blocks from it; bits depend neither on them nor on threads", function()
    local value = tonumber(process.output_of(PRODUCT, "MOONLET_CACHE_DIR=off"):match "^%-\t(%S+)\n$")
    assert(value)
    local function by(dials)
      local said
      with_folder(function(folder)
        put_rows(folder, { "TARGET matmul nn f32 96x130x160x1 " .. dials })
        said = process.output_of(PRODUCT, "MOONLET_THREADS=1 MOONLET_CACHE_DIR=" .. folder)
        assert.equal(said, process.output_of(PRODUCT, "MOONLET_THREADS=2 MOONLET_CACHE_DIR=" .. folder))
      end)
      local words, number = said:match "^(.-)\t(%S+)\n$"
      assert.equal(dials, words)
      assert.near(value, tonumber(number), 1e-3)
      return number
    end
    local one = by "pack=0 width=2 tiles=1 panels=1 depth=64 segments=1"
    assert.equal(one, by "pack=1 width=4 tiles=8 panels=2 depth=64 segments=1")
    assert.equal(one, by "pack=2 width=2 tiles=32 panels=32 depth=64 segments=1")
    by "pack=1 width=4 tiles=2 panels=1 depth=512 segments=4" -- sums in another order
  end)

  it("of OpenCL devices take their tiles from it", function()
    local device
    for _, d in ipairs(ml.devices()) do
      if d.backend == "opencl" and d.kind == "cpu" then device = device or d end
    end
    if not device then return pending("there is no OpenCL device of this kind") end
    local target = (("opencl_%s_%s"):format(device.model:sub(1, 36), device.driver:sub(1, 18)):gsub("[%c =]", "_"))
    with_folder(function(folder)
      put_rows(folder, { target .. " matmul tiles f32 96x130x160x1 rows=4 vectors=1" })
      local said = process.output_of(PRODUCT, "MOONLET_DEVICE=opencl MOONLET_CACHE_DIR=" .. folder)
      local there = tonumber(said:match "^rows=4 vectors=1\t(%S+)\n$")
      assert(there, said)
      local here = tonumber(process.output_of(PRODUCT, "MOONLET_CACHE_DIR=off"):match "\t(%S+)")
      assert.near(here, there, 1e-3)
    end)
  end)
end)

describe("ml.tune", function()
  -- Rows that were set stay for the life of their process, so what sets them has one of its own.
  local function runs(script)
    assert.equal("ok\n", process.output_of('local ml = require "moonlet"\nlocal nn = ml.nn\n' .. script .. '\nprint "ok"', ""))
  end

  it("tells what it measured, changes no variable, and results by rounding alone", function()
    runs [[
      local model = ml.Sequential {
        ml.input { nil, 12, 12, 16 }, nn.Conv2D { 32, 3, activation = "relu" }, nn.Flatten {}, nn.Dense { 64 }, nn.Dense { 3 },
      }
      local how = { optimizer = "sgd", loss = "sparse_categorical_crossentropy" }
      model:compile(how)
      local x, y = ml.rand { 8, 12, 12, 16 }, ml.integers({ 8 }, 0, 3)
      local function is_near(a, b, most) assert((a - b):abs():max():item() < most) end
      local twin = ml.deserialize(model:serialize())
      local before = model:predict(x)
      local t = ml.tune(model, { seconds = 5, batch_size = 8, save = false })
      assert(#t >= 1 and t.left >= 0 and not t.saved and type(t.note) == "string")
      for _, row in ipairs(t) do
        assert(row.before_us > 0 and row.after_us > 0 and row.after_us <= row.before_us and row.candidates >= 1)
        assert(type(row.node) == "string" and type(row.kernel) == "string")
      end
      assert(#t + 1 == select(2, tostring(t):gsub("[^\n]+", "")))
      is_near(before, model:predict(x), 1e-5)
      model:train_on_batch(x, y)
      twin:compile(how)
      twin:train_on_batch(x, y)
      is_near(twin:predict(x), model:predict(x), 1e-4)]]
  end)

  it("takes programs, data, and inference alone", function()
    runs [[
      local f = ml.fn(function(a, b) return a:matmul(b) end)
      local a = ml.rand { 64, 64 }
      assert(#ml.tune(f:program(a, a), { seconds = 5, save = false }) == 1)
      local model = ml.Sequential { nn.Dense { 128 } }
      local x = ml.rand { 64, 100 }
      assert(#ml.tune(model, { x = x, seconds = 5, save = false }) == 1)
      model:compile { optimizer = "sgd", loss = "mse" }
      assert(#ml.tune(model, { x = x, training = false, seconds = 5, save = false }) == 1)
      assert(#ml.tune(model, { x = x, y = ml.zeros { 64, 128 }, seconds = 5, save = false }) == 2) -- and the gradient of w]]
  end)

  it("says what is wrong", function()
    local model = ml.Sequential { nn.Dense { 4 } }
    local function message(...)
      local ok, text = pcall(...)
      assert.is_false(ok)
      return text
    end
    assert.matches("ml.tune: expected a model or a program, got", message(ml.tune, 3))
    assert.matches("ml.tune: seconds must be a positive number, got", message(ml.tune, model, { seconds = 0 }))
    assert.matches("has no graph yet", message(ml.tune, model))
    model:predict(ml.ones { 2, 3 })
    assert.matches("ml.tune: the model is not compiled: call compile first", message(ml.tune, model, { training = true }))
    local steps = ml.input { nil, nil, 3, name = "steps" }
    local loose = ml.Model { inputs = steps, outputs = nn.Dense { 4 } (steps) }
    assert.matches("size 2 of 'steps' is not known; give one batch", message(ml.tune, loose))
  end)

  it("is the only one that measures: training and predicting leave no file", function()
    local TRAIN = [[
      local ml = require "moonlet"
      local model = ml.Sequential { ml.nn.Dense { 128, activation = "relu" }, ml.nn.Dense { 3 } }
      model:compile { optimizer = "sgd", loss = "sparse_categorical_crossentropy" }
      model:fit(ml.rand { 256, 64 }, ml.integers({ 256 }, 0, 3), { epochs = 2, verbose = 0 })
      model:predict(ml.rand { 256, 64 })
      TUNE
      print "done"]]
    with_folder(function(folder)
      assert.equal("done\n", process.output_of((TRAIN:gsub("TUNE", "")), "MOONLET_CACHE_DIR=" .. folder))
      assert.is_false(is_there(folder .. "/tuned"))
      -- Asked, it writes when something was faster and there is a folder, and says which.
      local tune = 'local t = ml.tune(model, { seconds = 5 }) assert(t.saved == t.kept)'
      assert.equal("done\n", process.output_of((TRAIN:gsub("TUNE", tune)), "MOONLET_CACHE_DIR=" .. folder))
      tune = 'local t = ml.tune(model, { seconds = 5 }) assert(not t.saved and (not t.kept or t.note:find "this process only"))'
      assert.equal("done\n", process.output_of((TRAIN:gsub("TUNE", tune)), "MOONLET_CACHE_DIR=off"))
    end)
  end)
end)
