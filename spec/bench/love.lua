--- What learning costs in a frame of the game for LÖVE, against the same game with the network off, in one run, drawn where Xvfb is
-- there. Nothing is printed where LÖVE, or the module for LuaJIT (make abi), is missing.

local FRAMES = tonumber(os.getenv "FRAMES") or 10000

local function found(program)
  local result = os.execute("command -v " .. program .. " >/dev/null 2>&1")
  return result == true or result == 0
end

-- What the game prints, or nil; and whether it was drawn.
local function play(build)
  local module = io.open(build .. "/lua-luajit/moonlet.so")
  if not module then return nil end
  module:close()
  local folder = build:sub(1, 1) == "/" and build or os.getenv "PWD" .. "/" .. build
  local drawn = found "xvfb-run"
  local program = drawn and "xvfb-run -a love examples/love" or "love examples/love --no-window"
  local pipe = io.popen(("MOONLET_BUILD='%s' %s --frames %d 2>/dev/null"):format(folder, program, FRAMES))
  local text = pipe:read "*a"
  pipe:close()
  return text ~= "" and text or nil, drawn
end

return function(bench, report)
  local text, drawn = play(bench.build)
  if not text then return end
  local p99, longest = text:match "frame, network on: median [%d.]+ ms, p99 ([%d.]+) ms, longest ([%d.]+) ms"
  local above, stretch, n = text:match "frame, p99 with the network: (%-?[%d.]+) ms above, (%-?[%d.]+) ms the median of (%d+)"
  local update, update_stretch = text:match "update, p99 with the network: (%-?[%d.]+) ms above, (%-?[%d.]+) ms the median"
  local last = text:match "score curve: [^\n]*%s([%d.]+)\n"
  if not (p99 and above and update and last) then return end
  report.figure("LÖVE game, p99 of a frame with the network", "embed", tonumber(p99) * 1000, "us",
    ("%d frames, %s"):format(FRAMES, drawn and "drawn under Xvfb" or "not drawn"))
  report.figure("LÖVE game, p99 above the game without it", "embed", tonumber(above) * 1000, "us",
    ("goal 1000; %s ms the median of %s stretches"):format(stretch, n))
  report.figure("LÖVE game, the same without what it draws", "embed", tonumber(update) * 1000, "us",
    ("what learning and acting add; %s ms the median of the stretches"):format(update_stretch))
  report.figure("LÖVE game, longest frame", "embed", tonumber(longest) * 1000, "us", "goal 33000")
  report.figure("LÖVE game, balls returned in the last second", "embed", tonumber(last) * 100, "%")
end
