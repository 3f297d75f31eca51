-- Draws: what makes them equal and different, their distribution (seeds are fixed, so a check passes always or never), and that
-- neither threads, nor passes, nor the program around them change them.
local core = require("moonlet.core")
local ml = require("moonlet")
local samples = require("spec.support.samples")
local testing = require("moonlet.testing")

local COUNT = 20000

local function numbers(t) return t:reshape({ -1 }):totable() end

local function moments(t)
  local list = numbers(t)
  local mean, variance = 0, 0
  for i = 1, #list do mean = mean + list[i] / #list end
  for i = 1, #list do variance = variance + (list[i] - mean) ^ 2 / #list end
  return mean, variance
end

-- Within five standard errors of n draws.
local function near(got, want, deviation, n)
  assert(math.abs(got - want) < 5 * deviation / math.sqrt(n), got .. " is far from " .. want)
end

local draws = {
  uniform = function(n) return core.uniform({ n }) end,
  normal = function(n) return core.normal({ n }, { dtype = "f64" }) end,
  bernoulli = function(n) return core.bernoulli({ n }) end,
  integers = function(n) return core.integers({ n }, 0, 1000) end,
  permutation = function(n) return core.permutation(n) end,
}

local function seeded(seed, text, f)
  it(text, function()
    ml.seed(seed)
    f()
  end)
end

local function differ(a, b)
  local x, y, n = numbers(a), numbers(b), 0
  for i = 1, #x do
    if x[i] ~= y[i] then n = n + 1 end
  end
  return n
end

describe("draws", function()
  seeded(7, "are every random op of the table", function()
    for _, op in ipairs(core.ops()) do
      if op.random then assert(draws[op.name], op.name .. " is missing in random_spec") end
    end
  end)

  for name, draw in pairs(draws) do
    seeded(7, name .. ": one seed, one sequence; another seed, another", function()
      local a, b = draw(200), draw(200)
      ml.seed(7)
      testing.equal(draw(200), a)
      testing.equal(draw(200), b)
      assert(differ(a, b) > 50)
      ml.seed(8)
      assert(differ(draw(200), a) > 50)
    end)

    seeded(7, name .. ": in a trace by stream and step, whatever the passes", function()
      local graph = samples.trace({}, function() return { draw(300), draw(300) } end)
      local fast, plain = graph:program({}), graph:program({ passes_off = "all" })
      local a, b = fast:run({ step = 1 })
      local c, d = plain:run({ step = 1 })
      testing.equal(a, c)
      testing.equal(b, d)
      assert(differ(a, b) > 50, "two streams are alike")
      testing.equal((fast:run({ step = 1 })), a)
      assert(differ((fast:run({ step = 2 })), a) > 50, "two steps are alike")
      local text = core.graph_parse(graph:text(), {})
      testing.equal((text:program({}):run({ step = 1 })), a)
    end)
  end

  seeded(7, "do not depend on what else is computed", function()
    local function build(more)
      local x = core.zeros({ 400 })
      local graph = samples.trace({ x }, function(xs)
        local noise = core.uniform({ 400 })
        return { noise, more and (noise * xs[1] + core.exp(xs[1])):sum() or xs[1] * 2 }
      end)
      return (graph:program({ mode = "train" }):run({ x, step = 3 }))
    end
    testing.equal(build(true), build(false))
  end)

  seeded(7, "of one node are one draw, of two nodes two: never merged", function()
    local graph = samples.trace({}, function()
      local a, b = core.normal({ 50 }), core.normal({ 50 })
      return { a - a, a - b }
    end)
    local same, different = graph:program({}):run({ step = 1 })
    for _, x in ipairs(numbers(same)) do assert.are.equal(0, x) end
    assert(differ(different, same) == 50)
  end)

  seeded(7, "depend on the element's place, not on the shape", function()
    local a = core.uniform({ 6, 50 })
    ml.seed(7)
    testing.equal(core.uniform({ 300 }), a:reshape({ 300 }))
    ml.seed(7)
    testing.equal(core.uniform({ 100 }), a:reshape({ 300 }):slice(1, 1, 100))
  end)
end)

describe("distributions", function()
  seeded(42, "uniform: within its bounds, flat", function()
    for _, dtype in ipairs { "f32", "f64" } do
      local t = core.uniform({ COUNT }, -2, 4, dtype)
      local mean, variance = moments(t)
      near(mean, 1, math.sqrt(3), COUNT)
      near(variance, 3, 2.7, COUNT)
      local bins = {}
      for _, x in ipairs(numbers(t)) do
        assert(x >= -2 and x < 4)
        local k = math.floor((x + 2) / 6 * 20)
        bins[k] = (bins[k] or 0) + 1
      end
      local chi = 0
      for k = 0, 19 do chi = chi + (bins[k] - COUNT / 20) ^ 2 / (COUNT / 20) end
      assert(chi < 45, "chi squared of 19 degrees: " .. chi)
    end
    assert.are.same({ 3, 3 }, core.uniform({ 2 }, 3, 3):totable())
  end)

  seeded(42, "normal: mean, variance, symmetry, tails", function()
    for _, dtype in ipairs { "f32", "f64" } do
      local t = core.normal({ COUNT }, 1, 2, dtype)
      local mean, variance = moments(t)
      near(mean, 1, 2, COUNT)
      near(variance, 4, 4 * math.sqrt(2), COUNT)
      local skew, kurtosis, beyond = 0, 0, 0
      for _, x in ipairs(numbers(t)) do
        local z = (x - 1) / 2
        skew, kurtosis = skew + z ^ 3 / COUNT, kurtosis + z ^ 4 / COUNT
        if math.abs(z) > 1.959964 then beyond = beyond + 1 end
      end
      near(skew, 0, math.sqrt(15), COUNT)
      near(kurtosis, 3, math.sqrt(96), COUNT)
      near(beyond / COUNT, 0.05, math.sqrt(0.05 * 0.95), COUNT)
    end
    assert.are.same({ 3, 3 }, core.normal({ 2 }, 3, 0):totable())
  end)

  seeded(42, "neighbours are not correlated", function()
    local list, sum = numbers(core.normal({ COUNT })), 0
    for i = 2, #list do sum = sum + list[i] * list[i - 1] / #list end
    near(sum, 0, 1, COUNT)
  end)

  seeded(42, "bernoulli: the share of ones; never and always", function()
    local mean = moments(core.bernoulli({ COUNT }, 0.3))
    near(mean, 0.3, math.sqrt(0.21), COUNT)
    assert.are.equal(0, core.sum(core.bernoulli({ COUNT }, 0)):item())
    assert.are.equal(COUNT, core.sum(core.bernoulli({ COUNT }, 1)):item())
    for _, dtype in ipairs { "bool", "u8", "i32", "i64", "f64" } do
      assert.are.equal(dtype, core.bernoulli({ 3 }, { dtype = dtype }).dtype)
    end
  end)

  seeded(42, "integers: every number of the range about as often, none outside", function()
    for _, dtype in ipairs { "u8", "i32", "i64" } do
      local bins = {}
      for _, x in ipairs(numbers(core.integers({ COUNT }, 3, 10, dtype))) do bins[x] = (bins[x] or 0) + 1 end
      local chi = 0
      for x = 3, 9 do chi = chi + (bins[x] - COUNT / 7) ^ 2 / (COUNT / 7) end
      for x in pairs(bins) do assert(x >= 3 and x < 10) end
      assert(chi < 23, "chi squared of 6 degrees: " .. chi)
    end
    local wide = numbers(core.integers({ COUNT }, -2 ^ 52, 2 ^ 52))
    local above = 0
    for _, x in ipairs(wide) do above = above + (x > 0 and 1 or 0) end
    near(above / COUNT, 0.5, 0.5, COUNT)
  end)

  seeded(42, "permutation: each number once, each place about equally likely", function()
    for _, n in ipairs { 0, 1, 2, 17, 1000 } do
      local list = numbers(core.permutation(n))
      table.sort(list)
      for i = 1, n do assert.are.equal(i - 1, list[i]) end
      assert.are.equal(n, #list)
    end
    local first = {}
    for _ = 1, 600 do
      local x = core.permutation(3):slice(1, 1, 1):item()
      first[x] = (first[x] or 0) + 1
    end
    for x = 0, 2 do near(first[x] / 600, 1 / 3, 0.47, 600) end
  end)
end)

describe("dropout in a trace", function()
  it("has the gradient of what was kept, drawn anew each step", function()
    local x = core.ones({ 500 }, "f64")
    local graph = samples.trace({ x }, function(xs)
      local keep = core.bernoulli({ 500 }, 0.8, "f64") / 0.8
      local y = xs[1] * keep
      return { y, core.gradients(y:sum(), { xs[1] })[1] }
    end)
    for _, off in ipairs { "", "all" } do
      local program = graph:program({ mode = "train", passes_off = off })
      local y, g = program:run({ x, step = 5 })
      testing.equal(y, g)
      near(moments(y), 1, 0.5, 500)
      assert(differ((program:run({ x, step = 6 })), y) > 50)
    end
  end)

  it("in scan draws anew each step of it", function()
    local x = core.ones({ 4, 100 }, "f64")
    local graph = samples.trace({ x }, function(xs)
      local _, ys = core.scan(function(c, v) return c, v * core.uniform({ 100 },
        { dtype = "f64" }) end, core.zeros({}, "f64"), xs[1])
      return { ys }
    end)
    local fast = samples.run(graph, { x })[1]
    testing.equal(samples.run(graph, { x }, "all")[1], fast)
    for t = 2, 4 do assert(differ(fast[t], fast[1]) > 90) end
  end)
end)

describe("threads", function()
  -- A sum over draws in another process with another number of threads.
  local script = [[
    package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
    package.cpath = (os.getenv "MOONLET_BUILD" or "build") .. "/?.so;" .. package.cpath
    local ml = require "moonlet"
    local core = require "moonlet.core"
    ml.seed(3)
    local x, w = core.normal({ 300, 400 }), core.normal({ 400, 200 })
    local y = core.matmul(x, w):tanh()
    local image, kernel = core.normal({ 4, 20, 20, 8 }), core.normal({ 3, 3, 8, 16 })
    local z = core.conv(image, kernel, { padding = "same" })
    print(string.format("%a %a %a %a %a", core.sum(x):item(), core.sum(y):item(), core.sum(z):item(),
      core.sum(core.softmax(x) * y:slice(2, 1, 1)):item(), core.sum(core.permutation(1000):cast("f64") * core.uniform({ 1000 },
        { dtype = "f64" })):item()))
  ]]

  local function run(threads)
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(script)
    file:close()
    local program = arg and arg[-1] or "lua5.4"
    for i = -1, -8, -1 do
      if arg and arg[i] then program = arg[i] end
    end
    local pipe = assert(io.popen(string.format("MOONLET_THREADS=%d %s %s 2>&1", threads, program, path)))
    local text = pipe:read "*a"
    pipe:close()
    os.remove(path)
    return text
  end

  it("do not change any bit", function()
    local one = run(1)
    assert(one:find "^%-?0x", one)
    for _, threads in ipairs { 2, 3, 7 } do assert.are.equal(one, run(threads)) end
  end)
end)
