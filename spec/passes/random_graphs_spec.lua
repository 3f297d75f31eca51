local core = require("moonlet.core")
local random_graph = require("spec.support.random_graph")

local soak = os.getenv("MOONLET_SOAK") ~= nil
local total = soak and 100000 or os.getenv("MOONLET_SANITIZER") and 200 or 2000

local function run(graph, tensors, off)
  local program = graph:program({ mode = "train", inputs = tensors, passes_off = off })
  return { program:run(tensors) }
end

local function check_graph(seed, graph, tensors, off)
  local plain = run(graph, tensors, "all")
  local fast = run(graph, tensors, off)
  assert.are.equal(#plain, #fast)
  for i = 1, #plain do
    local difference = random_graph.difference(plain[i], fast[i])
    if difference then
      error(string.format("seed %d, output %d: %s\n%s", seed, i, difference, graph:text()))
    end
  end
end

local function check(seed, off)
  local graph, tensors = random_graph.build(seed, 6 + seed % 20)
  check_graph(seed, graph, tensors, off)
end

describe("random graphs", function()
  it("give the same optimised and unoptimised, " .. total .. " of them", function()
    for seed = 1, total do
      check(seed)
      if seed % 100 == 0 then collectgarbage() end
    end
  end)

  for _, pass in ipairs({ "lower", "fold", "simplify", "cse", "dce", "place", "select", "layout", "fuse" }) do
    it("give the same without " .. pass, function()
      for seed = 100001, 100000 + math.floor(total / 20) do check(seed, pass) end
    end)
  end
end)

describe("random products", function()
  it("give the same with what stands behind them joined and not", function()
    local joined = 0
    for seed = 1, math.floor(total / 5) do
      local graph, tensors = random_graph.product(seed)
      check_graph(seed, graph, tensors)
      local text = graph:program({ mode = "train", inputs = tensors }):explain()
      if text:find("matmul [", 1, true) then joined = joined + 1 end
    end
    if core.device() == "cpu" then assert.is_true(joined > total / 20) end
  end)
end)

describe("the generator", function()
  it("draws the same numbers from the same seed", function()
    local a, b = random_graph.generator(7), random_graph.generator(7)
    for _ = 1, 10 do assert.are.equal(a.next(), b.next()) end
    assert.are_not.equal(random_graph.generator(8).next(), random_graph.generator(9).next())
    assert.is_truthy(core.ops())
  end)
end)
