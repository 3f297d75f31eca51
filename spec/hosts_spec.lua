--- The same script in hosts that hold Lua: our one-file program, our window with its own memory, threads and log, Neovim, HAProxy
-- and mpv; in Luanti, whose mods have neither require nor files, one of its own. Pending where a host, or the module for its Lua
-- (make abi), is missing.
local build = os.getenv "MOONLET_BUILD" or "build"
if build:sub(1, 1) ~= "/" then build = os.getenv "PWD" .. "/" .. build end
local script = "examples/host/smoke.lua"

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

local function found(program)
  local pipe = io.popen("command -v " .. program)
  local text = pipe:read "*a"
  pipe:close()
  return text ~= ""
end

local function run(command)
  local pipe = assert(io.popen("{ timeout 120 " .. command .. "; } 2>&1; echo status $?"))
  local text = pipe:read "*a"
  pipe:close()
  local output, status = text:match "^(.*)status (%d+)%s*$"
  assert.equal("0", status, output)
  return output
end

local function works(output, lua)
  assert.truthy(output:find("moonlet " .. require("moonlet").version .. " works in " .. lua, 1, true), output)
end

-- The folder of the module for a Lua; without it the spec is pending.
local function module_for(lua)
  local folder = build .. "/lua-" .. lua
  if not exists(folder .. "/moonlet.so") then pending("there is no module for " .. lua .. " (make abi)") end
  return folder
end

describe("a host", function()
  it("of one file, with Lua and the library in it", function()
    local host = build .. "/examples/host/single"
    if not exists(host) then return pending "liblua5.4.a was not there when cspec was made" end
    works(run(("'%s' %s"):format(host, script)), "Lua 5.4")
    assert.truthy(run("sh -c '! " .. host .. " examples/host/none.lua'"):find("cannot open", 1, true))
  end)

  it("with a window gives its memory, threads, log and clock, and has all memory back", function()
    local host = build .. "/examples/host/window"
    if not exists(host) then return pending "SDL2 was not there when cspec was made" end
    local output = run(("env SDL_VIDEODRIVER=dummy '%s' examples/host/window.lua 400"):format(host))
    local steps, first, last = output:match "(%d+) steps, loss ([%d.]+) to ([%d.]+)"
    assert.is_true(tonumber(steps) > 0 and tonumber(last) < tonumber(first), output)
    assert.matches("the library holds %d+ bytes and wrote 1 lines", output)
    assert.matches("epoch 1/1 .* loss", output)
    assert.matches("\n0 bytes are left", output)
  end)

  it("Neovim", function()
    if not found "nvim" then return pending "Neovim is not installed" end
    local folder = module_for "luajit"
    local command = ("package.cpath=[[%s/?.so;]]..package.cpath; dofile [[%s]]"):format(folder, script)
    works(run(("nvim --headless --clean -c 'lua %s' -c 'qa!'"):format(command)), "LuaJIT 2.1")
  end)

  it("HAProxy", function()
    if not found "haproxy" and not exists "/usr/sbin/haproxy" then return pending "HAProxy is not installed" end
    local folder = module_for "5.3"
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(([[
global
  lua-prepend-path %s/?.so cpath
  lua-load %s
defaults
  mode http
  timeout client 1s
  timeout server 1s
  timeout connect 1s
frontend none
  bind 127.0.0.1:1
]]):format(folder, script))
    file:close()
    local output = run("env PATH=\"$PATH:/usr/sbin\" haproxy -c -f " .. path)
    os.remove(path)
    works(output, "Lua 5.3")
  end)

  it("mpv", function()
    if not found "mpv" then return pending "mpv is not installed" end
    local path = os.tmpname()
    local function say(text)
      local file = assert(io.open(path, "w"))
      file:write(text)
      file:close()
      return run("mpv --no-config --idle=yes --vo=null --ao=null --script=" .. path)
    end
    os.remove(path)
    path = path .. ".lua"
    local lua = say "print(jit and 'luajit' or _VERSION:match '%d.%d') mp.command 'quit'":match "luajit" or "5.2"
    local folder = module_for(lua)
    local output = say(("package.cpath = [[%s/?.so;]] .. package.cpath dofile [[%s]] mp.command 'quit'"):format(folder, script))
    os.remove(path)
    works(output, lua == "luajit" and "LuaJIT 2.1" or "Lua 5.2")
  end)

  it("Luanti, whose mods cannot require", function()
    local server = found "luanti" and "luanti --server" or exists "/usr/games/minetestserver" and "/usr/games/minetestserver"
    if not server then return pending "Luanti (Minetest) is not installed" end
    local module, folder = module_for "luajit" .. "/moonlet.so", os.tmpname()
    os.remove(folder)
    local mod = folder .. "/worldmods/learner"
    assert(os.execute("mkdir -p " .. mod))
    local function write(path, text)
      local file = assert(io.open(path, "w"))
      file:write(text)
      file:close()
    end
    write(folder .. "/world.mt", "gameid = devtest\nbackend = dummy\n")
    write(folder .. "/minetest.conf", "secure.trusted_mods = learner\n")
    write(mod .. "/mod.conf", "name = learner\n")
    write(mod .. "/init.lua", ([[
local ml = core.request_insecure_environment().package.loadlib("%s", "luaopen_moonlet")()
assert(not pcall(require, "moonlet"), "this host has become a kinder one")
local x = ml.linspace(-1, 1, 64):reshape { 64, 1 }
local model = ml.Sequential { ml.nn.Dense { 16, activation = "tanh" }, ml.nn.Dense { 1 } }
model:compile { optimizer = "adam", loss = "mse" }
while not model:train_on_batch(x, ml.sin(x * 3), { budget_us = 50 }) do end
local again = ml.deserialize(model:serialize())
assert((again:predict(x) - model:predict(x)):abs():max():item() == 0)
print(("moonlet %%s works in %%s"):format(ml.version, jit and jit.version or _VERSION))
core.after(0, core.request_shutdown)
]]):format(module))
    local command = "env HOME='%s' %s --world '%s' --config '%s/minetest.conf' --gameid devtest --port 39123"
    local output = run(command:format(folder, server, folder, folder))
    os.execute("rm -r '" .. folder .. "'")
    works(output, "LuaJIT 2.1")
  end)
end)
