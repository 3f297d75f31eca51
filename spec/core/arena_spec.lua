-- Arenas: idle programs share one, the largest wins; programs that run at the same time have one each.
local core = require "moonlet.core"
local graphs = require "spec.graph.graphs"
local testing = require "moonlet.testing"

local function live()
  collectgarbage()
  collectgarbage()
  return testing.live_bytes()
end

-- A program over [n, n] whose products lie in the arena.
local function chain(n, depth)
  local x = core.placeholder("x", "f32", { n, n })
  core.trace_begin()
  local y = x
  for _ = 1, depth or 4 do y = (y:matmul(x) * 0.01):tanh():matmul(x) end
  y = y:sum()
  core.trace_end()
  return core.graph({ x }, { y }):program()
end

local function arguments(n) return { core.full({ n, n }, 0.1), out = { core.zeros {} } } end

describe("idle programs", function()
  it("share the arena of the largest", function()
    local sizes, programs, args = { 96, 128, 160, 192, 256, 64 }, {}, {}
    local largest, sum = 0, 0
    for i, n in ipairs(sizes) do
      programs[i], args[i] = chain(n), arguments(n)
      local bytes = programs[i]:stats().arena_bytes
      largest, sum = math.max(largest, bytes), sum + bytes
    end
    local before = live()
    for i, program in ipairs(programs) do program:run(args[i]) end
    local more = live() - before
    assert.is_true(more >= largest and more < largest + (sum - largest) / 2, more .. " of " .. largest .. ", " .. sum)
    local calls = core.memory().calls
    for _ = 1, 3 do
      for i, program in ipairs(programs) do program:run(args[i]) end
    end
    assert.equal(calls, core.memory().calls)
    programs[5]:release() -- the arena goes with the program that needed it
    assert.is_true(live() - before < largest / 2 + 65536)
  end)

  it("keep apart from one that is in the middle of a run", function()
    local a, b = chain(128), chain(96)
    local args_a, args_b = arguments(128), arguments(96)
    a:run(args_a)
    b:run(args_b)
    local want_a, want_b = args_a.out[1]:item(), args_b.out[1]:item()
    args_a.budget_us = 1
    local function both()
      local done
      repeat
        done = a:run(args_a)
        b:run(args_b)
        assert.equal(want_b, args_b.out[1]:item())
      until done
      assert.equal(want_a, args_a.out[1]:item())
    end
    both()
    local calls = core.memory().calls
    both()
    assert.equal(calls, core.memory().calls)
  end)

  it("share with bodies of control flow", function()
    local function looped(n, steps)
      local x = core.placeholder("x", "f32", { n, n })
      core.trace_begin()
      local y = core.scan(function(c)
        return ((c:matmul(c) * 0.001):tanh():matmul(c) * 0.001):tanh()
      end, x, nil, { length = steps })
      local z = core.cond(y:sum():gt(0), function() return y:matmul(y):tanh() end, function() return (y - 1):matmul(y) end)
      z = z:sum()
      core.trace_end()
      return core.graph({ x }, { z }):program()
    end
    local a, b, c = looped(64, 3), looped(96, 2), chain(80)
    local args = { arguments(64), arguments(96), arguments(80) }
    local want = {}
    for round = 1, 3 do
      for i, program in ipairs { a, b, c } do
        program:run(args[i])
        want[i] = want[i] or args[i].out[1]:item()
        assert.equal(want[i], args[i].out[1]:item(), "round " .. round)
      end
    end
    local sliced = arguments(96)
    sliced.budget_us = 1
    local done
    repeat
      done = b:run(sliced)
      a:run(args[1])
      assert.equal(want[1], args[1].out[1]:item())
    until done
    assert.equal(want[2], sliced.out[1]:item())
  end)

  it("of all graphs compute the same in any order", function()
    local list = {}
    for _, name in ipairs(graphs.names) do
      local g, tensors = graphs[name]()
      if #g:variables() == 0 then
        local program = g:program { inputs = tensors }
        tensors.step = 2
        list[#list + 1] = { program, tensors, graphs.bytes { program:run(tensors) } }
      end
    end
    assert.is_true(#list >= 2)
    for round = 1, 3 do
      for i = #list, 1, -1 do
        local entry = list[(i * round) % #list + 1]
        assert.equal(entry[3], graphs.bytes { entry[1]:run(entry[2]) })
      end
    end
  end)
end)

describe("a large block", function()
  -- Bytes of this process for which large pages were asked.
  local function asked_bytes()
    local sum, bytes = 0, 0
    for line in io.lines "/proc/self/smaps" do
      bytes = 1024 * (tonumber(line:match "^Size:%s*(%d+) kB") or bytes / 1024)
      if line:find "^VmFlags:.* hg" then sum = sum + bytes end
    end
    return sum
  end

  it("lies on large pages where there are any", function()
    local there = io.open "/sys/kernel/mm/transparent_hugepage/enabled"
    if not there then return pending "no large pages on this system" end
    there:close()
    local t = core.zeros { 4096, 2048 }
    assert.is_true(asked_bytes() >= 2 ^ 25, asked_bytes())
    t:release()
  end)
end)
