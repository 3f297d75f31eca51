--- Curves drawn with braille characters: two by four dots in each character cell.
-- Here: text only; what is plotted is decided in `moonlet.plot`. Invariant: without colour nothing but printable characters
-- and newlines comes out; several curves then differ by the character they are drawn with.
-- @module moonlet.plot.terminal

local axis = require "moonlet.plot.axis"
local core = require "moonlet.core"

local terminal = {}

local COLORS = { "34", "31", "32", "35", "33", "36" }
local MARKS = { "+", "o", "x", "*", "#", "@" }
-- Bit of a dot by its column (1, 2) and its row from the top (1 to 4), as Unicode numbers them.
local DOT_BITS = { { 1, 2, 4, 64 }, { 8, 16, 32, 128 } }

local function braille(bits)
  return string.char(0xE2, 0xA0 + math.floor(bits / 64), 0x80 + bits % 64)
end

local function has_bit(bits, bit)
  return math.floor(bits / bit) % 2 == 1
end

local Canvas = {}
Canvas.__index = Canvas

local function new_canvas(columns, rows)
  return setmetatable({ columns = columns, rows = rows, bits = {}, owner = {} }, Canvas)
end

--- Sets the dot (x, y), counted from 0 at the upper left corner.
function Canvas:dot(x, y, owner)
  local column, row = math.floor(x / 2), math.floor(y / 4)
  if column < 0 or column >= self.columns or row < 0 or row >= self.rows then return end
  local cell = row * self.columns + column
  local bit = DOT_BITS[x % 2 + 1][y % 4 + 1]
  local bits = self.bits[cell] or 0
  if not has_bit(bits, bit) then self.bits[cell] = bits + bit end
  self.owner[cell] = owner
end

function Canvas:line(x1, y1, x2, y2, owner)
  local steps = math.max(math.abs(x2 - x1), math.abs(y2 - y1), 1)
  for i = 0, steps do
    local x, y = x1 + (x2 - x1) * i / steps, y1 + (y2 - y1) * i / steps
    self:dot(math.floor(x + 0.5), math.floor(y + 0.5), owner)
  end
end

local function paint(owner, color, text)
  if not color then return text end
  return "\27[" .. COLORS[(owner - 1) % #COLORS + 1] .. "m" .. text .. "\27[0m"
end

-- The character of a cell: dots, except that without colour the second curve and those after it have a mark each.
local function glyph(bits, owner, color)
  if color or owner == 1 then return paint(owner, color, braille(bits)) end
  return MARKS[(owner - 2) % #MARKS + 1]
end

function Canvas:row_text(row, color)
  local cells, last = {}, 0
  for column = 0, self.columns - 1 do
    local cell = row * self.columns + column
    local bits = self.bits[cell]
    cells[column + 1] = bits and glyph(bits, self.owner[cell], color) or " "
    if bits then last = column + 1 end
  end
  return table.concat(cells, "", 1, last)
end

local function draw_curve(canvas, curve, owner, range)
  local width, height = canvas.columns * 2 - 1, canvas.rows * 4 - 1
  local x_before, y_before
  for i = 1, #curve.y do
    local x, y = curve.x[i], curve.y[i]
    if axis.is_finite(x) and axis.is_finite(y) then
      local px = math.floor((x - range.x_low) / (range.x_high - range.x_low) * width + 0.5)
      local py = math.floor((range.y_high - y) / (range.y_high - range.y_low) * height + 0.5)
      canvas:line(x_before or px, y_before or py, px, py, owner)
      x_before, y_before = px, py
    else
      x_before, y_before = nil, nil
    end
  end
end

-- Labels of the left side: from row to text, for at most one mark in three rows.
local function row_labels(range, rows)
  local labels, width = {}, 0
  for _, tick in ipairs(axis.ticks(range.y_low, range.y_high, math.max(2, math.floor(rows / 3)))) do
    local place = (range.y_high - tick) / (range.y_high - range.y_low)
    local text = axis.label(tick)
    labels[math.floor(place * (rows - 1) + 0.5)] = text
    width = math.max(width, #text)
  end
  return labels, width
end

local function x_axis_lines(range, columns, margin)
  local rule, numbers = {}, {}
  for i = 1, columns do rule[i] = "─" end
  local text, filled = "", 0
  for _, tick in ipairs(axis.ticks(range.x_low, range.x_high, math.max(2, math.floor(columns / 12)))) do
    local column = math.floor((tick - range.x_low) / (range.x_high - range.x_low) * (columns - 1) + 0.5)
    local label = axis.label(tick)
    local start = math.max(0, math.min(column - math.floor(#label / 2), columns - #label))
    rule[column + 1] = "┬"
    if start >= filled then
      text = text .. string.rep(" ", start - #text) .. label
      filled = #text + 1
    end
  end
  numbers[1] = string.rep(" ", margin) .. " └" .. table.concat(rule)
  numbers[2] = string.rep(" ", margin + 2) .. text
  return numbers
end

local function legend(series, color, margin)
  local parts = {}
  for i, curve in ipairs(series) do
    parts[i] = glyph(0xC0, i, color):rep(2) .. " " .. curve.name
  end
  return string.rep(" ", margin + 2) .. table.concat(parts, "   ")
end

local function default_width()
  local width = core.terminal_width()
  if type(width) ~= "number" or width <= 0 then width = 80 end
  return math.min(width - 1, 100)
end

--- Draws one panel.
-- @tparam table panel `{ title =, series = }`
-- @tparam[opt] table opts `width`, `height` in characters, `color`
-- @treturn string lines, each ended by a newline
function terminal.render(panel, opts)
  opts = opts or {}
  local color = opts.color
  if color == nil then color = core.is_terminal(1) and not opts.write end
  local rows = math.max(3, math.floor(opts.height or 12))
  local range = axis.ranges(panel.series)
  local labels, margin = row_labels(range, rows)
  local columns = math.max(10, math.floor(opts.width or default_width()) - margin - 2)
  local canvas = new_canvas(columns, rows)
  for i, curve in ipairs(panel.series) do draw_curve(canvas, curve, i, range) end

  local lines = {}
  if panel.title then lines[1] = string.rep(" ", margin + 2) .. panel.title end
  for row = 0, rows - 1 do
    local label = labels[row] or ""
    local edge = labels[row] and " ┤" or " │"
    lines[#lines + 1] = string.rep(" ", margin - #label) .. label .. edge .. canvas:row_text(row, color)
  end
  for _, line in ipairs(x_axis_lines(range, columns, margin)) do lines[#lines + 1] = line end
  lines[#lines + 1] = legend(panel.series, color, margin)
  return table.concat(lines, "\n") .. "\n"
end

return terminal
