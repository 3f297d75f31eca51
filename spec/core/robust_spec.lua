-- What must not wear out: deep graphs on small stacks, long runs, states and contexts that come and go.
local core = require "moonlet.core"
local graphs = require "spec.graph.graphs"
local testing = require "moonlet.testing"

local build = os.getenv "MOONLET_BUILD" or "build"
local sanitizer = os.getenv "MOONLET_SANITIZER" ~= nil

local function said_by(command)
  local pipe = assert(io.popen(command .. " 2>&1; echo status $?"))
  local said = pipe:read "*a"
  pipe:close()
  return said
end

describe("deep graphs", function()
  -- Alone in a process with a stack of 512 KB, so that any recursion along nodes shows.
  local script = [[
package.cpath = BUILD .. "/?.so;" .. package.cpath
local core = require "moonlet.core"
local function live() collectgarbage() collectgarbage() return core.memory().live_blocks end
local function deep(n)
  local x = core.placeholder("x", "f64", { 3 })
  local y = x
  core.trace_begin()
  for i = 1, n / 2 do y = (y + x) * (i % 2 == 0 and 1.5 or 0.5) end
  local dx = core.gradients(y:sum(), { x })[1]
  local g = core.graph({ x }, { y, dx })
  core.trace_end()
  assert(g:count() > n)
  local plain = { g:program({ passes_off = "all" }):run { core.ones({ 3 }, "f64") } }
  local fast = { g:program():run { core.ones({ 3 }, "f64") } }
  for i = 1, 2 do
    local a, b = plain[i][1]:item(), fast[i][1]:item()
    assert(math.abs(a - b) <= 1e-6 * math.abs(a), a .. " and " .. b)
  end
  local again = core.graph_parse(g:text())
  assert(again:text() == g:text())
  assert(#g:dot() > n)
  local z = core.placeholder("z", "f64", { 3 })
  g:call { z }
end
local function wide(n)
  local x = core.placeholder("x", "f64", { 3 })
  local parts = {}
  for i = 1, n do parts[i] = x * i end
  while #parts > 1 do
    local next = {}
    for i = 1, #parts, 2 do next[#next + 1] = parts[i + 1] and parts[i] + parts[i + 1] or parts[i] end
    parts = next
  end
  local y = core.graph({ x }, { parts[1] }):program():run { core.ones({ 3 }, "f64") }
  assert(y[1]:item() == n * (n + 1) / 2)
end
deep(100)
wide(100)
local before = live()
deep(N)
wide(N / 2)
print("ok", live() - before < 200)
]]

  it("of 20,000 nodes are built, differentiated, compiled, printed, parsed, called and freed on a small stack", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    local f = assert(io.open(path, "w"))
    f:write(string.format("BUILD, N = %q, %d\n", build, sanitizer and 2000 or 20000), script)
    f:close()
    local program = sanitizer and build .. "/moonlet" or "lua5.4"
    assert.equal("ok\ttrue\nstatus 0\n", said_by((sanitizer and "" or "ulimit -s 512; ") .. program .. " " .. path))
  end)

  it("in eager mode are freed as well", function()
    core.eager_push()
    local y = core.constant(core.ones {})
    for _ = 1, sanitizer and 1000 or 20000 do y = y + 1 end
    core.eager_pop()
    assert.is_true(y:item() > 1000)
    y = nil
    collectgarbage()
    assert.is_nil(y)
  end)
end)

describe("1,000 steps", function()
  for _, name in ipairs(graphs.names) do
    it("leave memory as it was: " .. name, function()
      local g, tensors, variables = graphs[name]()
      local program = g:program { mode = "train", inputs = tensors }
      local args = { step = 0 }
      for i, t in ipairs(tensors) do args[i] = t end
      local function steps(n)
        for i = 1, n do
          args.step = i
          program:run(args)
          if i % 10 == 0 then
            program:cancel() -- the run that began ten steps ago is given up, and another begins
            program:run { tensors[1], tensors[2], budget_us = 0.001 }
          end
        end
        program:cancel()
      end
      steps(20)
      local before = testing.live_bytes()
      steps(sanitizer and 100 or 1000)
      assert.equal(before, testing.live_bytes())
      assert.is_true(variables == nil or #variables > 0)
    end)
  end

  it("at once, and with new shapes, stay within the cache", function()
    local function work(n)
      for i = 1, n do
        local t = core.ones { i % 50 + 1, 3 }
        assert.equal(3 * (i % 50 + 1), (t * 2 - 1):sum():item())
      end
    end
    work(100)
    local before = testing.live_bytes()
    work(sanitizer and 100 or 1000)
    assert.is_true(testing.live_bytes() - before < 1e5, testing.live_bytes() - before)
  end)

  it("of building and compiling leave nothing behind", function()
    local function work(n)
      for _ = 1, n do
        local g, tensors = graphs.training()
        g:program { mode = "train", inputs = tensors, passes_off = "fuse" }
        g:text()
      end
    end
    work(3)
    local before = testing.live_bytes()
    work(sanitizer and 5 or 60)
    assert.equal(before, testing.live_bytes())
  end)

  it("of failing leave nothing behind", function()
    local x = core.placeholder("x", "f32", { core.dim "n", 3 })
    local g = core.graph({ x }, { x:reshape { 6 } })
    local function work(n)
      for _ = 1, n do
        pcall(g.program, g, { inputs = { { shape = { 5, 3 } } } })
        pcall(function() return x:matmul(x) end)
        pcall(core.graph_parse, "graph { %0 = input \"x\" : f32 [2] %1 = exp(%0) : f32 [3]")
        pcall(core.file_decode, "\8\0\0\0\0\0\0\0{\"a\":{}}")
      end
    end
    work(5)
    local before = testing.live_bytes()
    work(1000)
    assert.equal(before, testing.live_bytes())
  end)
end)

describe("a host", function()
  it("decides about memory, threads, files and time", function()
    assert.equal("ok: hooks, and none\nstatus 0\n", said_by(build .. "/spec/core/host"))
  end)
end)

describe("a slice", function()
  it("keeps to its budget on the calling thread and allocates nothing", function()
    assert.equal("ok\nstatus 0\n", said_by(build .. "/spec/core/slices"))
  end)
end)

describe("a steady step", function()
  it("makes no system call, and allocates nothing in C or Lua", function()
    if sanitizer then return end
    local steps = os.getenv "MOONLET_SOAK" and 1000000 or 10000
    local said = said_by(build .. "/spec/core/steady " .. build .. " " .. steps)
    if said:match "^none" then return pending(said) end
    assert.equal("ok: no calls\nstatus 0\n", said)
  end)
end)

describe("a child of a fork", function()
  it("computes on, with threads of its own", function()
    if sanitizer then return end
    assert.equal("ok\nstatus 0\n", said_by(build .. "/spec/core/fork"))
  end)
end)

describe("many", function()
  it("contexts come and go, and share a runtime between threads", function()
    assert.equal("ok: 200 lives, 4 threads\nstatus 0\n", said_by(build .. "/spec/core/contexts"))
  end)

  it("jobs are each done once, by more threads than cores", function()
    local runs = os.getenv "MOONLET_SOAK" and 1000000 or 20000
    assert.equal("ok: " .. runs .. " runs\nstatus 0\n", said_by(build .. "/spec/core/pool " .. runs))
  end)

  it("Lua states train and infer on threads of their own, with a runtime each or one for all", function()
    local rounds = os.getenv "MOONLET_SOAK" and 500 or sanitizer and 2 or 10
    local said = said_by(build .. "/spec/core/threads " .. build .. " " .. rounds)
    if said:match "^none" then return pending(said) end
    assert.equal(("ok: 2 threads, %d states each\nstatus 0\n"):format(2 * rounds), said)
  end)

  it("Lua states come and go in one process", function()
    local rounds = os.getenv "MOONLET_SOAK" and 10000 or sanitizer and 20 or 200
    local said = said_by(build .. "/spec/core/states " .. build .. " " .. rounds)
    if said:match "^none" then return pending(said) end
    assert.matches("^ok: " .. rounds .. " states, %-?%d+ pages more after the first quarter\nstatus 0\n$", said)
    if not sanitizer then assert.is_true(tonumber(said:match "(%-?%d+) pages") < 500, said) end
  end)
end)
