--- Curves as SVG: axes with marks, grid, legend, several curves in several panels.
-- Here: text only; what is plotted is decided in `moonlet.plot`. Invariant: the text is well-formed XML whatever the names
-- of the curves are.
-- @module moonlet.plot.svg

local axis = require "moonlet.plot.axis"

local svg = {}

-- Okabe and Ito's palette, which stays distinct for colour-blind readers.
local COLORS = { "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000" }
local MARGIN = { left = 64, right = 20, top = 36, bottom = 44 }

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&apos;" }
local function escape(text)
  text = tostring(text):gsub("[&<>\"']", ENTITIES)
  return (text:gsub("%c", " "))
end

local function add(out, fmt, ...)
  out[#out + 1] = string.format(fmt, ...)
end

local function color_of(i)
  return COLORS[(i - 1) % #COLORS + 1]
end

local function add_text(out, x, y, anchor, text)
  add(out, '<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>', x, y, anchor, escape(text))
end

local function add_line(out, x1, y1, x2, y2, color)
  add(out, '<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>', x1, y1, x2, y2, color)
end

local function add_axes(out, box, range, x_label)
  for _, tick in ipairs(axis.ticks(range.x_low, range.x_high, 8)) do
    local x = box.x(tick)
    add_line(out, x, box.top, x, box.bottom, "#e6e6e6")
    add_text(out, x, box.bottom + 16, "middle", axis.label(tick))
  end
  for _, tick in ipairs(axis.ticks(range.y_low, range.y_high, 6)) do
    local y = box.y(tick)
    add_line(out, box.left, y, box.right, y, "#e6e6e6")
    add_text(out, box.left - 6, y + 4, "end", axis.label(tick))
  end
  add_line(out, box.left, box.bottom, box.right, box.bottom, "#333333")
  add_line(out, box.left, box.top, box.left, box.bottom, "#333333")
  if x_label then add_text(out, (box.left + box.right) / 2, box.bottom + 36, "middle", x_label) end
end

local function add_run(out, points, color)
  if #points == 1 then
    local x, y = points[1]:match "^(.-),(.*)$"
    add(out, '<circle cx="%s" cy="%s" r="3" fill="%s"/>', x, y, color)
  elseif #points > 1 then
    add(out, '<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>', table.concat(points, " "), color)
  end
end

local function add_curve(out, box, curve, color)
  local points = {}
  for i = 1, #curve.y do
    local x, y = curve.x[i], curve.y[i]
    if axis.is_finite(x) and axis.is_finite(y) then
      points[#points + 1] = string.format("%.1f,%.1f", box.x(x), box.y(y))
    else
      add_run(out, points, color)
      points = {}
    end
  end
  add_run(out, points, color)
end

local function add_legend(out, box, series)
  for i, curve in ipairs(series) do
    local y = box.top + 4 + 18 * i
    add(out, '<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="3"/>', box.right - 28, y - 4, box.right - 8,
      y - 4, color_of(i))
    add_text(out, box.right - 34, y, "end", curve.name)
  end
end

local function add_panel(out, panel, top, width, height, x_label)
  local range = axis.ranges(panel.series)
  local box = { left = MARGIN.left, right = width - MARGIN.right, top = top + MARGIN.top, bottom = top + height - MARGIN.bottom }
  function box.x(x) return box.left + (x - range.x_low) / (range.x_high - range.x_low) * (box.right - box.left) end
  function box.y(y) return box.bottom - (y - range.y_low) / (range.y_high - range.y_low) * (box.bottom - box.top) end
  if panel.title then add_text(out, (box.left + box.right) / 2, top + 22, "middle", panel.title) end
  add_axes(out, box, range, x_label)
  for i, curve in ipairs(panel.series) do add_curve(out, box, curve, color_of(i)) end
  add_legend(out, box, panel.series)
end

--- Draws panels one below the other.
-- @tparam table panels a list of `{ title =, series = }`
-- @tparam[opt] table opts `width` and `height` of a panel in pixels, `x_label`
-- @treturn string an SVG document
function svg.render(panels, opts)
  opts = opts or {}
  local width, height = opts.width or 640, opts.height or 400
  local out = {}
  add(out, '<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" font-family="sans-serif" font-size="12">',
    width, height * #panels)
  add(out, '<rect width="100%%" height="100%%" fill="#ffffff"/>')
  for i, panel in ipairs(panels) do add_panel(out, panel, (i - 1) * height, width, height, opts.x_label) end
  out[#out + 1] = "</svg>"
  return table.concat(out, "\n") .. "\n"
end

return svg
