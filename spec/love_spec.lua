--- The game for LÖVE: it runs headless, its opponent learns, a thread can do the learning, keys work. Pending where LÖVE, LuaJIT's
-- headers or, for what is drawn, Xvfb is missing.
local named = os.getenv "MOONLET_BUILD" or "build"
local build = named:sub(1, 1) == "/" and named or os.getenv "PWD" .. "/" .. named
local frames = os.getenv "MOONLET_SOAK" and 10000 or 600

local function succeeds(command)
  local result = os.execute(command .. " >/dev/null 2>&1")
  return result == true or result == 0
end

local function found(program)
  return succeeds("command -v " .. program)
end

-- LÖVE runs LuaJIT; its module shares all but the binding with the one that is tested. The folder is named as it was when that was
-- built: the compiler's flags contain it, and other flags make everything anew.
local function build_module()
  local command = "env -u MAKEFLAGS -u MAKEOVERRIDES -u MFLAGS make LUA=luajit O='%s' '%s/lua-luajit/moonlet.so'"
  return succeeds(command:format(named, named))
end

local function run(command)
  local pipe = assert(io.popen("{ MOONLET_BUILD='" .. build .. "' timeout 600 " .. command .. "; } 2>&1; echo status $?"))
  local text = pipe:read "*a"
  pipe:close()
  local output, status = text:match "^(.*)status (%d+)%s*$"
  assert.equal("0", status, output)
  return output
end

local function curve_of(output)
  local curve = {}
  for share in output:match("score curve: ([%d. ]*)"):gmatch "[%d.]+" do curve[#curve + 1] = tonumber(share) end
  return curve
end

local function mean(list, first, last)
  local sum = 0
  for i = first, last do sum = sum + list[i] end
  return sum / (last - first + 1)
end

local missing = os.getenv "MOONLET_SANITIZER" and "LÖVE is built without the sanitizer" or
  not found "love" and "LÖVE is not installed" or not succeeds "pkg-config --exists luajit" and "LuaJIT's headers are not installed"
local no_display = missing or not found "xvfb-run" and "Xvfb is not installed"

local function check(reason, name, f)
  if reason then return pending(name .. " (" .. reason .. ")") end
  return it(name, f)
end

describe("the game for LÖVE", function()
  if not missing then setup(function() assert.is_true(build_module(), "the module for LuaJIT does not build") end) end

  check(missing, "has an opponent that learns while it plays", function()
    local output = run("love examples/love --no-window --fps 0 --frames " .. frames)
    print("\n" .. output)
    local curve = curve_of(output)
    assert.equal(math.floor(frames / 60), #curve)
    local before, after = mean(curve, 1, 2), mean(curve, #curve - 1, #curve)
    assert.is_true(before < 0.5 and after > 0.7, output) -- the share of balls that are returned
    for _, name in ipairs { "on", "off" } do
      assert.truthy(output:find("network " .. name .. ": median %d+%.%d+ ms, p99 %d+%.%d+ ms, longest %d+%.%d+ ms\n"), output)
    end
    assert.truthy(output:find "p99 with the network: %-?%d+%.%d+ ms above, %-?%d+%.%d+ ms the median of %d+ stretches\n", output)
  end)

  check(missing, "learns in a second Lua state, in a thread", function()
    local output = run "love examples/love --no-window --thread --fps 0 --frames 400"
    local curve = curve_of(output)
    assert.is_true(#curve > 4, output)
    assert.is_true(curve[1] < 0.5 and curve[#curve] > curve[1] + 0.1, output)
    assert.truthy(output:find "learning steps: 0\n", output) -- none of it in the game's own state
  end)

  check(no_display, "draws", function()
    local output = run "xvfb-run -a love examples/love --fps 0 --frames 60"
    assert.truthy(output:find "network on: median", output)
  end)

  check(no_display, "obeys its keys", function()
    local folder = os.tmpname()
    os.remove(folder)
    assert(os.execute(("cp -r examples/love '%s' && mv '%s/main.lua' '%s/play.lua'"):format(folder, folder, folder)))
    local file = assert(io.open(folder .. "/main.lua", "w"))
    file:write [[
      require "play"
      local update, frame, keys = love.update, 0, { "l", "c", "t", "r", "l", "c", "t", "down", "escape" }
      function love.update(dt)
        update(dt)
        frame = frame + 1
        if frame % 10 ~= 0 then return end
        print("key " .. keys[frame / 10])
        love.event.push("keypressed", keys[frame / 10], keys[frame / 10], false)
      end
    ]]
    file:close()
    local output = run("xvfb-run -a love '" .. folder .. "'")
    os.execute("rm -r '" .. folder .. "'")
    assert.truthy(output:find "key escape", output)
    assert.is_nil(output:find "Error", output)
  end)
end)
