-- Settings, and where the module is: LÖVE looks for C modules in package.cpath, as Lua does. Here it is what `make LUA=luajit`
-- leaves in build/ of the checkout (MOONLET_BUILD names another folder); a game that ships moonlet.so beside itself names that
-- folder.
local build = os.getenv "MOONLET_BUILD" or love.filesystem.getSource() .. "/../../build"
package.cpath = build .. "/lua-luajit/?.so;" .. build .. "/?.so;" .. package.cpath

local function given(word)
  for _, argument in ipairs(arg or {}) do
    if argument == word then return true end
  end
  return false
end

function love.conf(t)
  t.identity = "moonlet-love"
  t.version = "11.4"
  t.window.title = "Moonlet: the opponent learns while you play"
  t.window.width, t.window.height = 960, 640
  t.window.vsync = given "--frames" and 0 or 1
  for _, name in ipairs { "audio", "joystick", "physics", "sound", "touch", "video" } do t.modules[name] = false end
  if given "--no-window" then
    for _, name in ipairs { "window", "graphics", "font", "image", "mouse", "keyboard" } do t.modules[name] = false end
    t.window = nil
  end
end
