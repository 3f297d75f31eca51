-- Every allocation fails once: the program spec/core/oom.c builds, trains, saves and loads a model with an allocator that fails at
-- the n-th call. In the long form every n is tried, else every few.
local build = os.getenv "MOONLET_BUILD" or "build"

describe("out of memory", function()
  it("is reported, leaks nothing, and the state goes on", function()
    local stride = os.getenv "MOONLET_SOAK" and 1 or os.getenv "MOONLET_SANITIZER" and 41 or 7
    local pipe = assert(io.popen(build .. "/spec/core/oom " .. stride .. " 2>&1; echo status $?"))
    local said = pipe:read "*a"
    pipe:close()
    assert.matches("ok: %d+ points of failure, %d+ allocations\nstatus 0\n$", said)
    assert.is_true(tonumber(said:match "ok: (%d+)") >= 20, said)
  end)

  it("in Lua is an error each time, leaks nothing, and the state trains on to the same result", function()
    local soak = os.getenv "MOONLET_SOAK"
    local points = soak and 0 or os.getenv "MOONLET_SANITIZER" and 5 or 25
    local parts, pipes = soak and tonumber(os.getenv "JOBS") or 1, {}
    for part = 1, parts do -- side by side
      local command = ("%s/spec/core/oom_lua %s %d %d %d 2>&1; echo status $?"):format(build, build, points, part - 1, parts)
      pipes[part] = assert(io.popen(command))
    end
    for _, pipe in ipairs(pipes) do
      local said = pipe:read "*a"
      pipe:close()
      if said:match "^none" then return pending(said) end
      assert.matches("^ok: %d+ points of %d+\nstatus 0\n$", said)
    end
  end)
end)
