--- Images in the terminal: `ml.show`.
-- Here: characters for pixels. Invariant: without a terminal only printable characters and newlines come out.
-- @module moonlet.show
-- @usage ml.show(image)                                    -- [h, w], [h, w, 1] or [h, w, 3]
-- ml.show({ a, b, c }, { captions = { "7", "2", "1" } })   -- side by side

local core = require "moonlet.core"
local util = require "moonlet.util"

local show = {}

local OPTIONS = {
  { "low", "number" }, { "high", "number" }, { "captions", "table" }, { "color", "boolean" }, { "write", "function" },
  { "gap", "natural", default = 2 },
}
local SHADES = { " ", "░", "▒", "▓", "█" }

local function read_image(value, place)
  if core.kind(value) == "variable" then value = value:read() end
  if core.kind(value) == nil and type(value) == "table" then value = core.tensor(value) end
  if core.kind(value) ~= "tensor" then core.fail("show: %s must be a Tensor, got %s", place, util.describe(value)) end
  local shape = value.shape
  local channels = shape[3] or 1
  if #shape < 2 or #shape > 3 or (channels ~= 1 and channels ~= 3) then
    core.fail("show: %s must have shape (h, w), (h, w, 1) or (h, w, 3), got %s", place, util.shape_text(shape))
  end
  return { rows = value:totable(), height = shape[1], width = shape[2], flat = #shape == 2 }
end

local function pixel(image, row, column)
  local value = image.rows[row][column]
  if image.flat then return value, value, value end
  return value[1], value[2] or value[1], value[3] or value[1]
end

local function range_of(image, opts)
  local low, high = math.huge, -math.huge
  for row = 1, image.height do
    for column = 1, image.width do
      local r, g, b = pixel(image, row, column)
      low, high = math.min(low, r, g, b), math.max(high, r, g, b)
    end
  end
  low, high = opts.low or low, opts.high or high
  if low ~= low or low == math.huge then low = 0 end
  if high ~= high or high <= low then high = low + 1 end
  return low, high
end

local function scaled(x, low, high)
  local part = (x - low) / (high - low)
  if part ~= part then return 0 end
  return math.max(0, math.min(1, part))
end

-- A pixel is two characters wide, so that it is about square.
local function cell(image, row, column, low, high, color)
  local r, g, b = pixel(image, row, column)
  r, g, b = scaled(r, low, high), scaled(g, low, high), scaled(b, low, high)
  if color then return string.format("\27[48;2;%.0f;%.0f;%.0fm  ", r * 255, g * 255, b * 255) end
  local light = 0.299 * r + 0.587 * g + 0.114 * b
  return SHADES[math.floor(light * (#SHADES - 1) + 0.5) + 1]:rep(2)
end

local function row_text(image, row, color)
  if row > image.height then return string.rep("  ", image.width) end
  local cells = {}
  for column = 1, image.width do cells[column] = cell(image, row, column, image.low, image.high, color) end
  return table.concat(cells) .. (color and "\27[0m" or "")
end

local function padded(text, width)
  local _, continuation = text:gsub("[\128-\191]", "")
  return text .. string.rep(" ", width - (#text - continuation))
end

-- A list of images, and whether there were several.
local function images_of(images)
  if core.kind(images) == "tensor" then
    local shape, list = images.shape, {}
    if #shape ~= 4 then return { images }, false end
    for i = 1, shape[1] do list[i] = images[i] end
    return list, true
  end
  local several = type(images) == "table" and core.kind(images) == nil and core.kind(images[1]) ~= nil
  return several and images or { images }, several
end

--- The text of one image, or of several side by side.
-- @param images a Tensor or nested table of numbers [h, w], [h, w, 1] or [h, w, 3]; a list of Tensors, or a batch [n, h, w, c]
-- @tparam[opt] table opts `low` and `high` (what is black and white; default the range of each image), `captions` (a text below
--   each), `color` (24-bit colours; default false), `gap` (columns between images)
-- @treturn string
function show.text(images, opts)
  opts = util.options("show", OPTIONS, opts)
  local list, height = {}, 0
  local values, several = images_of(images)
  for i, value in ipairs(values) do
    local image = read_image(value, several and "image " .. i or "the image")
    image.low, image.high = range_of(image, opts)
    list[i], height = image, math.max(height, image.height)
  end
  local lines, gap = {}, string.rep(" ", opts.gap)
  for row = 1, height do
    local parts = {}
    for i, image in ipairs(list) do parts[i] = row_text(image, row, opts.color) end
    lines[row] = (table.concat(parts, gap):gsub(" +$", ""))
  end
  if opts.captions then
    local parts = {}
    for i, image in ipairs(list) do parts[i] = padded(tostring(opts.captions[i] or ""), image.width * 2) end
    lines[#lines + 1] = (table.concat(parts, gap):gsub(" +$", ""))
  end
  return table.concat(lines, "\n") .. "\n"
end

--- Prints images.
-- @param images see `show.text`
-- @tparam[opt] table opts as for `show.text`; `color` is on when stdout is a terminal that says it has 24-bit colours; `write`,
--   a function that takes the text instead of stdout
function show.draw(images, opts)
  opts = util.options("show", OPTIONS, opts)
  if opts.color == nil then
    local says = os.getenv "COLORTERM"
    opts.color = not opts.write and (says == "truecolor" or says == "24bit") and require("moonlet.host").is_terminal()
  end
  local write = opts.write or require("moonlet.host").write
  write(show.text(images, opts))
end

return setmetatable(show, { __call = function(_, images, opts) return show.draw(images, opts) end })
