-- What the program around a script decides: threads, texts, files, the collector.
local core = require "moonlet.core"
local ml = require "moonlet"
local nn = ml.nn

describe("ml.threads", function()
  it("says and sets how many threads compute", function()
    local before = ml.threads()
    local x = core.uniform { 200, 200 }
    local want = core.tostring(x:matmul(x))
    for _, n in ipairs { 1, 3, 2, 1, 4 } do
      assert.equal(n, ml.threads(n))
      assert.equal(want, core.tostring(x:matmul(x)))
    end
    assert.is_true(ml.threads(0) >= 1)
    ml.threads(before)
    assert.error_matches(function() ml.threads(-1) end, "threads: the number must be 0 or more, got %-1")
    assert.error_matches(function() ml.threads "x" end, "threads: the number must be")
  end)
end)

describe("ml.log", function()
  it("is the logarithm of a tensor", function()
    ml.testing.allclose(ml.log(ml.tensor { 1, math.exp(2) }), { 0, 2 })
    ml.testing.allclose(ml.fn(function(x) return ml.log(x) end)(ml.tensor { math.exp(1) }), { 1 })
  end)

  teardown(function() ml.log() end)

  it("takes what would be shown", function()
    local texts = {}
    ml.log(function(text) texts[#texts + 1] = text end)
    local model = ml.Sequential { nn.Dense { 1 } }
    model:compile { optimizer = "sgd", loss = "mse" }
    model:fit(ml.ones { 4, 2 }, ml.ones { 4, 1 }, { epochs = 2 })
    assert.same({}, texts) -- quiet unless asked
    model:fit(ml.ones { 4, 2 }, ml.ones { 4, 1 }, { epochs = 2, verbose = true })
    assert.equal(2, #texts)
    assert.matches("^epoch 1/2 .*loss", texts[1])
    model:summary()
    assert.matches("Dense", table.concat(texts))
    assert.error_matches(function() ml.log(3) end, "ml.log: the argument must be a function, got 3")
  end)
end)

describe("ml.files", function()
  teardown(function() ml.files() end)

  it("brings the bytes of everything that is read", function()
    local path = os.tmpname()
    finally(function()
      ml.files()
      os.remove(path)
    end)
    local model = ml.Sequential { nn.Dense { 2 } }
    local x = ml.ones { 1, 3 }
    model:compile { optimizer = "sgd", loss = "mse" }
    local want = model:predict(x):totable()
    model:save(path)
    local f = assert(io.open(path, "rb"))
    local pack, asked = { ["a.moon"] = f:read "*a", ["t.csv"] = "a,b\n1,2\n3,4\n", ["empty.csv"] = "" }, {}
    f:close()
    ml.data.npy_save(path, ml.tensor { 1, 2, 3 })
    f = assert(io.open(path, "rb"))
    pack["x.npy"] = f:read "*a"
    f:close()
    ml.files(function(name)
      asked[#asked + 1] = name
      if name == "odd" then return 3 end
      return pack[name], "not in the pack"
    end)
    assert.same(want, ml.load("a.moon")(x):totable())
    assert.same({ 1, 2, 3 }, ml.data.npy("x.npy"):totable())
    assert.same({ { 1, 2 }, { 3, 4 } }, core.csv_load("t.csv"):totable())
    assert.same({ "a.moon", "x.npy", "t.csv" }, asked)
    assert.equal(pack["t.csv"], core.read_file "t.csv")
    assert.error_matches(function() ml.load "b.moon" end, "cannot read 'b.moon': not in the pack")
    assert.error_matches(function() ml.load "odd" end, "cannot read 'odd': the reader gave no string")
    assert.error_matches(function() core.csv_load "empty.csv" end, "there are no numbers")
    ml.files(function() error("broken", 0) end)
    assert.error_matches(function() ml.load "a.moon" end, "broken")
    ml.files()
    assert.error_matches(function() ml.load "a.moon" end, "No such file")
    assert.error_matches(function() ml.files(3) end, "files: the reader must be a function, got 3")
  end)
end)

describe("ml.realtime", function()
  teardown(function() ml.realtime(false) end)

  it("never runs a full collection", function()
    assert.is_false(ml.realtime())
    local before = _VERSION == "Lua 5.4" and collectgarbage "generational"
    if before then finally(function() collectgarbage(before) end) end
    assert.is_true(ml.realtime(true))
    collectgarbage()
    local x, peak = core.ones { 512, 1024 }, 0
    local live = core.memory().live_bytes
    for _ = 1, 300 do
      local y = x + x -- luacheck: ignore
      peak = math.max(peak, core.memory().live_bytes - live)
    end
    assert.is_true(peak < 100 * 2 ^ 20, peak / 2 ^ 20 .. " MB")
    if before then assert.equal("incremental", collectgarbage "incremental") end
    assert.is_false(ml.realtime(false))
    assert.error_matches(function() ml.realtime(1) end, "ml.realtime: the argument must be true or false, got 1")
  end)
end)
