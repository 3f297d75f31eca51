-- Datasets: order, batches, streams, files, messages.
local ml = require "moonlet"
local core = require "moonlet.core"
local data = require "moonlet.data"
local testing = require "moonlet.testing"

local function range(first, last)
  local list = {}
  for i = first, last do list[#list + 1] = i end
  return list
end

-- x [n, 2] with row i = { i, -i }, y [n] with y[i] = i.
local function numbered(n)
  local x, y = {}, {}
  for i = 1, n do x[i], y[i] = { i, -i }, i end
  return data.dataset { core.tensor(x), core.tensor(y) }
end

-- All labels of an epoch, in order, and the sizes of the batches.
local function labels(dataset, epoch)
  local seen, sizes = {}, {}
  for x, y in dataset:batches(epoch) do
    local list = y:totable()
    if type(list) == "number" then list = { list } end
    for i, label in ipairs(list) do
      seen[#seen + 1] = label
      if dataset.batch_size then assert.equal(label, x[i][1]:item()) else assert.equal(label, x[1]:item()) end
    end
    sizes[#sizes + 1] = #list
  end
  return seen, sizes
end

local function sorted(list)
  local copy = {}
  for i, value in ipairs(list) do copy[i] = value end
  table.sort(copy)
  return copy
end

describe("data.dataset", function()
  it("yields rows one by one before batch", function()
    local rows = numbered(3)
    assert.equal(3, rows:size())
    assert.is_nil(rows.batch_size)
    assert.same({ 1, 2, 3 }, (labels(rows)))
  end)

  it("cuts batches, the last one smaller", function()
    local batched = numbered(7):batch(3)
    assert.equal(3, batched:size())
    assert.equal(3, batched.batch_size)
    local seen, sizes = labels(batched)
    assert.same(range(1, 7), seen)
    assert.same({ 3, 3, 1 }, sizes)
  end)

  it("leaves a smaller last batch out when asked", function()
    local batched = numbered(7):batch(3, { drop_remainder = true })
    assert.equal(2, batched:size())
    local seen, sizes = labels(batched)
    assert.same(range(1, 6), seen)
    assert.same({ 3, 3 }, sizes)
  end)

  it("takes tables of numbers", function()
    local batched = data.dataset { { { 1, 2 }, { 3, 4 } }, { 0, 1 } }:batch(2)
    local x, y = batched:batches()()
    assert.same({ { 1, 2 }, { 3, 4 } }, x:totable())
    assert.same({ 0, 1 }, y:totable())
  end)

  it("takes tables of tensors", function()
    local a, b = core.tensor { { 1 }, { 2 }, { 3 } }, core.tensor { { 4 }, { 5 }, { 6 } }
    local dataset = data.dataset { { a, b }, { score = core.tensor { 7, 8, 9 } } }
    local x, y = dataset:batch(2):batches()()
    assert.same({ { 1 }, { 2 } }, x[1]:totable())
    assert.same({ { 4 }, { 5 } }, x[2]:totable())
    assert.same({ 7, 8 }, y.score:totable())
    local single = dataset:batches()()
    assert.same({ 4 }, single[2]:totable())
  end)

  it("works without labels", function()
    local count = 0
    for x, y in data.dataset({ core.tensor { 1, 2, 3 } }):batch(2):batches() do
      count = count + #x
      assert.is_nil(y)
    end
    assert.equal(3, count)
  end)

  it("shuffles by seed and epoch, and mixes rows as wholes", function()
    local shuffled = numbered(40):shuffle(7):batch(8)
    local first, second = labels(shuffled, 1), labels(shuffled, 2)
    assert.same(range(1, 40), sorted(first))
    assert.same(range(1, 40), sorted(second))
    assert.not_same(first, second)
    assert.same(first, (labels(shuffled, 1)))
    assert.same(first, (labels(numbered(40):shuffle(7):batch(8))))
    assert.not_same(first, (labels(numbered(40):shuffle(8):batch(8), 1)))
  end)

  it("counts epochs by itself", function()
    local shuffled = numbered(20):shuffle(3):batch(20)
    local first, second = labels(shuffled), labels(shuffled)
    assert.same(first, (labels(shuffled, 1)))
    assert.same(second, (labels(shuffled, 2)))
  end)

  it("shuffles by the seed of the library when none is given", function()
    local shuffled = numbered(20):shuffle():batch(20)
    core.seed(5)
    local first = labels(shuffled, 1)
    core.seed(6)
    assert.not_same(first, (labels(shuffled, 1)))
    core.seed(5)
    assert.same(first, (labels(shuffled, 1)))
  end)

  it("gives the same order in every Lua", function()
    assert.same({ 5, 8, 4, 6, 2, 3, 7, 1 }, (labels(numbered(8):shuffle(1), 1)))
  end)

  it("takes and skips rows", function()
    assert.same({ 1, 2 }, (labels(numbered(5):take(2))))
    assert.same({ 3, 4, 5 }, (labels(numbered(5):skip(2):batch(2))))
    assert.same({ 2, 3 }, (labels(numbered(5):skip(1):take(2):batch(4))))
    assert.equal(0, numbered(5):skip(9):size())
    assert.same({}, (labels(numbered(5):skip(9):batch(2))))
    assert.same({ 1, 2, 3, 4, 5 }, (labels(numbered(5):take(9))))
  end)

  it("takes and skips batches", function()
    local batched = numbered(10):batch(2)
    assert.same({ 1, 2, 3, 4 }, (labels(batched:take(2))))
    assert.same({ 7, 8, 9, 10 }, (labels(batched:skip(3))))
    assert.equal(2, batched:skip(3):size())
  end)

  it("splits by position", function()
    local head, tail = numbered(10):split(0.8)
    assert.same(range(1, 8), (labels(head)))
    assert.same({ 9, 10 }, (labels(tail:batch(5))))
  end)

  it("splits at random, without overlap and by seed", function()
    local train, test = numbered(50):split(0.8, 3)
    assert.equal(40, train:size())
    assert.equal(10, test:size())
    local all = labels(train)
    for _, label in ipairs((labels(test))) do all[#all + 1] = label end
    assert.not_same(range(1, 50), all)
    assert.same(range(1, 50), sorted(all))
    local _, again = numbered(50):split(0.8, 3)
    assert.same((labels(test)), (labels(again)))
  end)

  it("keeps the split while the parts are shuffled", function()
    local train = numbered(20):split(0.5, 1)
    local rows = sorted((labels(train)))
    assert.same(rows, sorted((labels(train:shuffle(2):batch(3), 4))))
  end)

  it("maps batches and elements", function()
    local doubled = numbered(4):batch(2):map(function(x, y) return x * 2, y * 2 end)
    assert.same({ 2, 4, 6, 8 }, (labels(doubled)))
    local single = numbered(4):map(function(x, y) return x * 3, y * 3 end):batch(3)
    local seen, sizes = labels(single)
    assert.same({ 3, 6, 9, 12 }, seen)
    assert.same({ 3, 1 }, sizes)
  end)

  it("repeats with a new order each time", function()
    local repeated = numbered(10):shuffle(1):repeat_(2)
    assert.equal(20, repeated:size())
    local seen = labels(repeated)
    local first, second = {}, {}
    for i = 1, 10 do first[i], second[i] = seen[i], seen[i + 10] end
    assert.same(range(1, 10), sorted(first))
    assert.same(range(1, 10), sorted(second))
    assert.not_same(first, second)
  end)

  it("repeats for ever", function()
    local endless = numbered(3):repeat_()
    assert.is_nil(endless:size())
    assert.same({ 1, 2, 3, 1, 2, 3, 1 }, (labels(endless:take(7))))
    assert.same({ 1, 2, 3, 1 }, (labels(endless:batch(2):take(2))))
    assert.same({}, (labels(numbered(3):skip(3):repeat_())))
  end)

  it("gives all rows at once", function()
    local x, y = numbered(3):tensors()
    assert.same({ { 1, -1 }, { 2, -2 }, { 3, -3 } }, x:totable())
    assert.same({ 1, 2, 3 }, y:totable())
    local _, tail = numbered(10):split(0.7)
    x, y = tail:tensors()
    assert.same({ 8, 9, 10 }, y:totable())
    assert.same({ 3, 2 }, { x.shape[1], x.shape[2] })
  end)

  it("prints", function()
    assert.equal("Dataset of 5 samples", tostring(numbered(5)))
    assert.equal("Dataset of 3 batches of 2", tostring(numbered(5):batch(2)))
    assert.equal("Dataset of ? samples", tostring(numbered(5):repeat_()))
  end)

  it("blames what is wrong", function()
    local x, y = core.tensor { { 1 }, { 2 } }, core.tensor { 1, 2, 3 }
    assert.error_matches(function() data.dataset { x, y } end, "dataset: x has 2 rows, y has 3")
    assert.error_matches(function() data.dataset {} end, "expected a table { x, y }")
    assert.error_matches(function() data.dataset(x) end, "expected a table { x, y }")
    assert.error_matches(function() data.dataset { x = x } end, "expected a table { x, y }")
    assert.error_matches(function() data.dataset { x, lables = y } end, "the key 'lables'")
    assert.error_matches(function() data.dataset { "a" } end, "expected a Tensor or a table, got string")
    assert.error_matches(function() data.dataset { core.tensor(3) } end, "rank 0")
    local rows = numbered(4)
    assert.error_matches(function() rows:batch(0) end, "batch size must be a positive integer, got 0")
    assert.error_matches(function() rows:batch(2.5) end, "batch size must be")
    assert.error_matches(function() rows:batch(2):batch(2) end, "batched already, by 2")
    assert.error_matches(function() rows:batch(2):split(0.5) end, "split needs rows in memory")
    assert.error_matches(function() rows:split(1.5) end, "fraction between 0 and 1, got 1.5")
    assert.error_matches(function() rows:map(3) end, "must be a function, got 3")
    assert.error_matches(function() rows:batch(2, { drop = true }) end, "unknown option 'drop'; known: drop_remainder")
  end)
end)

describe("data.generator", function()
  local function counter(n)
    return data.generator(function()
      local i = 0
      return function()
        i = i + 1
        if i <= n then return { i, -i }, i end
      end
    end, { size = n })
  end

  it("makes batches of what a function yields", function()
    local batched = counter(5):batch(2)
    assert.equal(3, batched:size())
    local seen, sizes = labels(batched)
    assert.same(range(1, 5), seen)
    assert.same({ 2, 2, 1 }, sizes)
    assert.same(range(1, 5), (labels(batched)))
  end)

  it("shuffles through a buffer", function()
    local shuffled = counter(30):shuffle(4, 10):batch(30)
    local first = labels(shuffled, 1)
    assert.same(range(1, 30), sorted(first))
    assert.not_same(range(1, 30), first)
    assert.same(first, (labels(shuffled, 1)))
    assert.not_same(first, (labels(shuffled, 2)))
  end)

  it("passes the epoch on", function()
    local epochs = {}
    local dataset = data.generator(function(epoch)
      epochs[#epochs + 1] = epoch
      return function() return nil end
    end)
    assert.is_nil(dataset:size())
    for _ = 1, 2 do
      for _ in dataset:batches() do error "not reached" end
    end
    assert.same({ 1, 2 }, epochs)
  end)

  it("keeps batches that the function made", function()
    local dataset = data.generator(function()
      local done = false
      return function()
        if done then return nil end
        done = true
        return core.tensor { { 1, -1 }, { 2, -2 } }, core.tensor { 1, 2 }
      end
    end, { batch_size = 2 })
    assert.equal(2, dataset.batch_size)
    assert.same({ 1, 2 }, (labels(dataset)))
  end)

  it("blames what is wrong", function()
    assert.error_matches(function() data.generator(3) end, "must be a function")
    local bad = data.generator(function() return 3 end)
    assert.error_matches(function() bad:batches() end, "must return a function that gives the next element, got number")
    local uneven = data.generator(function()
      local i = 0
      return function()
        i = i + 1
        return i, i == 1 and 1 or nil
      end
    end):batch(2)
    assert.error_matches(function() uneven:batches()() end, "element 2 of a batch has no component 2")
  end)
end)

describe("data.csv", function()
  local path

  local function write(text)
    path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write(text)
    file:close()
    return path
  end

  after_each(function()
    if path then os.remove(path) end
    path = nil
  end)

  it("splits the label off", function()
    local dataset = data.csv(write "1,2,0\n3,4,1\n5,6,0\n", { label = -1 })
    local x, y = dataset:tensors()
    assert.same({ { 1, 2 }, { 3, 4 }, { 5, 6 } }, x:totable())
    assert.same({ 0, 1, 0 }, y:totable())
    assert.is_nil(dataset.names)
  end)

  it("reads a header", function()
    local dataset = data.csv(write "a,kind,b\n1,0,2\n3,1,4\n", { label = "kind" })
    local x, y = dataset:tensors()
    assert.same({ { 1, 2 }, { 3, 4 } }, x:totable())
    assert.same({ 0, 1 }, y:totable())
    assert.same({ "a", "kind", "b" }, dataset.names)
  end)

  it("reads a header of numbers when told", function()
    local x = data.csv(write "2020,2021\n1,2\n", { header = true }):tensors()
    assert.same({ { 1, 2 } }, x:totable())
  end)

  it("takes names for a file without them, several labels, chosen columns", function()
    local dataset = data.csv(write "1,2,3,4\n5,6,7,8\n", { header = { "a", "b", "c", "d" }, label = { "c", "d" } })
    local x, y = dataset:tensors()
    assert.same({ { 1, 2 }, { 5, 6 } }, x:totable())
    assert.same({ { 3, 4 }, { 7, 8 } }, y:totable())
    x = data.csv(path, { columns = { 1, 3 } }):tensors()
    assert.same({ { 1, 3 }, { 5, 7 } }, x:totable())
  end)

  it("blames what is wrong", function()
    write "1,2\n3,4\n"
    assert.error_matches(function() data.csv(path, { label = 3 }) end, "column 3 is out of range: .* has 2 columns")
    assert.error_matches(function() data.csv(path, { label = "x" }) end, "no column 'x', nor names of columns")
    assert.error_matches(function() data.csv(path, { labels = 1 }) end, "unknown option 'labels'; known: columns, header, label")
    assert.error_matches(function() data.csv(path, { header = { "a" } }) end, "has 2 columns, the header names 1")
    assert.error_matches(function() data.csv "no/such/file.csv" end, "csv: cannot read 'no/such/file.csv'")
    local named = write "a,b\n1,2\n"
    assert.error_matches(function() data.csv(named, { label = "c" }) end, "no column 'c'; it has: a, b")
    assert.error_matches(function() data.csv(named, { header = false }) end, "header is false")
  end)
end)

describe("data.npy", function()
  it("reads what it wrote", function()
    local path = os.tmpname()
    data.npy_save(path, { { 1, 2, 3 }, { 4, 5, 6 } })
    local back = data.npy(path)
    os.remove(path)
    assert.same({ { 1, 2, 3 }, { 4, 5, 6 } }, back:totable())
    assert.error_matches(function() data.npy(3) end, "npy: path must be a string")
  end)
end)

describe("datasets in fit", function()
  local x = ml.linspace(-1, 1, 48):reshape { 48, 1 }
  local y = x * 2

  local function compiled()
    ml.seed(1)
    local model = ml.Sequential { ml.nn.Dense { 1 } }
    model:compile { optimizer = "sgd", loss = "mse" }
    return model
  end

  local function losses_of(dataset, opts)
    opts.verbose = 0
    return compiled():fit(dataset, opts).history.loss
  end

  it("train, judge and predict", function()
    local model = compiled()
    local rows = data.dataset { x, y }
    local train, test = rows:split(0.75, 1)
    local history = model:fit(train:shuffle(1):batch(6), { epochs = 3, validation = test:batch(12), verbose = 0 })
    assert.equal(3, #history.history.val_loss)
    local logs = model:evaluate(rows:batch(16))
    testing.allclose(logs.loss, model:evaluate(x, y).loss, { rtol = 1e-4 })
    testing.allclose(model:predict(rows:batch(20)), model:predict(x))
  end)

  it("give the same training for the same seed", function()
    local function run(seed) return losses_of(data.dataset({ x, y }):shuffle(seed):batch(5), { epochs = 3 }) end
    local first = run(4)
    assert.same(first, run(4))
    assert.not_same(first, run(5))
  end)

  it("are batched by fit when they are not", function()
    local rows = data.dataset { x, y }
    assert.same(losses_of(rows:batch(32), { epochs = 2 }), losses_of(rows, { epochs = 2 }))
    assert.same(losses_of(rows:batch(8), { epochs = 2 }), losses_of(rows, { epochs = 2, batch_size = 8 }))
    assert.error_matches(function() losses_of(rows:batch(8), { batch_size = 8 }) end, "batch_size")
  end)

  it("may be endless with steps_per_epoch", function()
    local steps = 0
    local count = ml.callbacks.Lambda { on_batch_end = function() steps = steps + 1 end }
    losses_of(data.dataset({ x, y }):repeat_():batch(8), { epochs = 2, steps_per_epoch = 5, callbacks = { count } })
    assert.equal(10, steps)
  end)

  it("may come from a function", function()
    local dataset = data.generator(function()
      local i = 0
      return function()
        i = i + 1
        if i <= 20 then return { i / 20 }, { i / 10 } end
      end
    end, { size = 20 }):batch(5)
    assert.equal(2, #losses_of(dataset, { epochs = 2 }))
  end)
end)

describe("data.safetensors", function()
  it("writes and reads named tensors and texts", function()
    local path = os.tmpname()
    data.safetensors_save(path, { a = ml.tensor { { 1, 2 } }, b = { 3, 4 }, c = 5, d = ml.variable { 6 } }, { note = "of today" })
    local tensors, texts = data.safetensors(path)
    ml.testing.equal(tensors.a, { { 1, 2 } })
    ml.testing.equal(tensors.b, { 3, 4 })
    assert.equal(5, tensors.c:item())
    ml.testing.equal(tensors.d, { 6 })
    assert.equal("of today", texts.note)
    os.remove(path)
    assert.error_matches(function() data.safetensors(3) end, "safetensors: path must be a string")
    assert.error_matches(function() data.safetensors_save(path, { 1 }) end, "safetensors_save: tensors: a name must be a string")
    assert.error_matches(function() data.safetensors_save(path, {}, { [1] = "x" }) end, "safetensors_save: texts: a name must be")
  end)
end)
