-- Tickets: runs in the background, polled, waited for, cancelled, forgotten.
local core = require "moonlet.core"
local graphs = require "spec.graph.graphs"
local testing = require "moonlet.testing"

local threads = core.threads()

-- Many launches over v, which counts runs, and an input.
local function long_program(n)
  local v = core.variable(core.zeros {}, "v")
  local p = core.placeholder("p", "f32", { 48, 48 })
  local g = graphs.trace({ p }, function()
    local y = p
    for _ = 1, n or 30 do y = y:matmul(p):softmax() end
    v:assign(v + 1)
    return { y, y:sum() }
  end)
  return g:program { mode = "train" }, v
end

local function bytes(list) return graphs.bytes(list) end

-- Two threads: a background thread is allowed. One: done() does slices.
for _, n in ipairs { 2, 1 } do
  describe(n == 1 and "a run that is polled" or "a run in the background", function()
    setup(function() core.threads(n) end)
    teardown(function() core.threads(threads) end)

    it("gives the bits of a whole run, and shows when it is over", function()
      local program, v = long_program()
      local x = core.uniform { 48, 48 }
      local want = bytes { program:run { x } }
      v:write(0)
      local ticket = program:start { x }
      x:fill(0) -- inputs were copied
      assert.equal(0, v:item())
      local polls = 0
      while not ticket:done(50) do
        polls = polls + 1
        assert.equal(0, v:item())
      end
      assert.equal(1, v:item())
      assert.equal(want, bytes { ticket:result() })
      assert.equal(want, bytes { ticket:result() })
      assert.is_true(ticket:done())
      assert.is_true(n == 2 or polls > 0)
      assert.equal("ticket", core.kind(ticket))
      assert.equal("Ticket (done)", tostring(ticket))
    end)

    it("is waited for by result, and writes into the caller's tensors", function()
      local program, v = long_program()
      local out = { core.zeros { 48, 48 }, nil }
      local y, sum = program:start({ core.eye(48), out = out }):result()
      assert.equal(out[1], y)
      assert.is_true(math.abs(sum:item() - 48) < 1e-2)
      assert.equal(1, v:item())
      assert.equal(y:sum():item(), sum:item())
    end)

    it("leaves variables alone when it is cancelled, forgotten or released", function()
      local program, v = long_program()
      local ticket = program:start { core.eye(48) }
      ticket:cancel()
      ticket:cancel()
      assert.is_true(ticket:done())
      assert.error_matches(function() ticket:result() end, "the run was cancelled")
      program:start { core.eye(48) }
      collectgarbage()
      collectgarbage()
      ticket = program:start { core.eye(48) }
      ticket:release()
      assert.error_matches(function() ticket:done() end, "released Ticket")
      assert.equal(0, v:item())
      assert.equal("Ticket (released)", tostring(ticket))
    end)

    it("lets go of what it made when it is over", function()
      local program = long_program()
      local y = program:start({ core.eye(48) }):result()
      local live = core.memory().live_bytes
      y:release()
      assert.is_true(core.memory().live_bytes <= live - 48 * 48 * 4)
    end)

    it("takes turns with whole runs, runs in slices and other tickets", function()
      local program, v = long_program(6)
      local first, second = program:start { core.eye(48) }, program:start { core.eye(48) }
      program:run { core.eye(48) }
      assert.equal(1, v:item())
      assert.is_false((program:run { core.eye(48), budget_us = 0.001 }))
      second:result()
      first:result()
      assert.equal(1, v:item()) -- each began at 0; the last that is over wins
      program:cancel()
      for _ = 1, 3 do program:start({ core.eye(48) }):result() end
      assert.equal(4, v:item())
    end)

    it("raises its error from result", function()
      local rows, at = core.placeholder("rows", "f32", { 4, 2 }), core.placeholder("at", "i64", { 3 })
      local program = core.graph({ rows, at }, { core.gather(rows, at, 1) }):program()
      local ticket = program:start { core.ones { 4, 2 }, core.tensor({ 0, 9, 1 }, "i64") }
      while not ticket:done() do end
      assert.equal("Ticket (failed)", tostring(ticket))
      for _ = 1, 2 do assert.error_matches(function() ticket:result() end, "gather: index 9 is out of range") end
      assert.same({ { 1, 1 }, { 1, 1 }, { 1, 1 } },
        program:start({ core.ones { 4, 2 }, core.tensor({ 0, 3, 1 }, "i64") }):result():totable())
    end)

    it("checks its arguments", function()
      local program = long_program()
      assert.error_matches(function() program:start { core.eye(48), budget_us = 3 } end, "budget_us goes with run")
      assert.error_matches(function() program:start {} end, "takes 1 inputs, got 0")
      assert.error_matches(function() program:start { core.eye(3) } end, "%(3, 3%)")
      local ticket = program:start { core.eye(48) }
      assert.error_matches(function() ticket:done(0) end, "budget_us must be more than 0, got 0")
      assert.error_matches(function() ticket:done "x" end, "budget_us")
      ticket:result()
    end)

    it("takes no more memory with every start", function()
      local program = long_program(3)
      local x, out = core.eye(48), { core.zeros { 48, 48 }, core.zeros {} }
      for _ = 1, 3 do program:start({ x, out = out }):result() end
      local before, calls = testing.live_bytes(), core.memory().calls
      for _ = 1, 20 do program:start({ x, out = out }):result() end
      assert.equal(calls, core.memory().calls)
      assert.equal(before, testing.live_bytes())
    end)

    for _, name in ipairs(graphs.names) do
      it("is equal to a whole run: " .. name, function()
        local g, tensors = graphs[name]()
        local program = g:program { mode = "train", inputs = tensors }
        local saved, args = {}, { step = 3 }
        for i, v in ipairs(g:variables()) do saved[i] = v:read() end
        for i, t in ipairs(tensors) do args[i] = t end
        local want = bytes { program:run(args) }
        local after = {}
        for i, v in ipairs(g:variables()) do
          after[i] = v:read()
          v:write(saved[i])
        end
        assert.equal(want, bytes { program:start(args):result() })
        for i, v in ipairs(g:variables()) do assert.equal(bytes { after[i] }, bytes { v:read() }) end
      end)
    end
  end)
end
