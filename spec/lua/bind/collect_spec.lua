-- Garbage: temporaries are collected in time, states close in any order.
local core = require "moonlet.core"

describe("the collector", function()
  it("keeps up with large temporaries", function()
    local x = core.ones { 512, 1024 }
    collectgarbage()
    local live, peak = core.memory().live_bytes, 0
    for _ = 1, 500 do
      local y = x + x -- luacheck: ignore
      peak = math.max(peak, core.memory().live_bytes - live)
    end
    assert.is_true(peak < 60 * 2 ^ 20, peak / 2 ^ 20 .. " MB")
  end)

  it("is left alone when the script stopped it", function()
    if _VERSION == "Lua 5.1" then return end
    local weak = setmetatable({}, { __mode = "k" })
    collectgarbage()
    collectgarbage "stop"
    weak[{}] = true
    for _ = 1, 20 do core.ones { 1024, 1024 } end
    assert.is_true(next(weak) ~= nil)
    collectgarbage "restart"
    collectgarbage()
    assert.is_nil(next(weak))
  end)

  it("finds everything that fails half way", function()
    local function fail()
      pcall(core.tensor, { { 1, 2 }, { 3, "x" } })
      pcall(core.tensor, { 1, 2, 3.5 }, "i32")
      pcall(core.from_string, "abc", { 4 }, "f32")
      pcall(core.matmul, core.ones { 2, 3 }, core.ones { 4, 5 })
      pcall(core.graph_parse, "graph { %0 = input \"x\" : f32 [2]")
      pcall(core.gradients, core.placeholder("x", "f32", { 2 }), {})
    end
    local function live()
      collectgarbage()
      collectgarbage()
      return core.memory().live_bytes
    end
    fail()
    local before = live()
    for _ = 1, 20 do fail() end
    assert.is_true(live() <= before)
  end)
end)

describe("a state that closes", function()
  local interpreter = arg and arg[-1] or "lua"
  local function run(code)
    local path = os.tmpname()
    local f = assert(io.open(path, "w"))
    f:write("package.cpath = [[", package.cpath, "]]\nlocal core = require 'moonlet.core'\n", code)
    f:close()
    local pipe = assert(io.popen(interpreter .. " " .. path .. " 2>&1; echo status $?"))
    local text = pipe:read "*a"
    pipe:close()
    os.remove(path)
    return text
  end

  it("may hold anything", function()
    assert.equal("status 0\n", run [[
      t = core.ones { 10 }
      v = core.variable(t, "v")
      local p = core.placeholder("x", "f32", { 10 })
      g = core.graph({ p }, { p * v })
      program = g:program()
      program:run { t, budget_us = 0.001 }
      core.trace_begin()
      core.eager_push()
    ]])
  end)

  it("may use tensors in finalizers", function()
    if _VERSION == "Lua 5.1" then return end
    assert.matches("status 0\n", run [[
      local t = core.ones { 10 }
      keep = setmetatable({}, { __gc = function() print(pcall(function() return (t + 1):item() end)) end })
    ]])
  end)
end)
