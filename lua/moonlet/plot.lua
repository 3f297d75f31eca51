--- Curves of numbers, in the terminal or as SVG: `ml.plot` and `history:plot`.
-- Here: what may be plotted and where it goes. Drawing with characters is in `moonlet.plot.terminal`, drawing as SVG in
-- `moonlet.plot.svg`, axes that both share in `moonlet.plot.axis`. Invariant: numbers that are not finite leave a gap,
-- never an error, since curves of failed trainings are the ones that people want to see.
-- @module moonlet.plot

local core = require "moonlet.core"
local util = require "moonlet.util"

local OPTIONS = {
  { "path", "string" }, { "title", "string" }, { "x_label", "string" }, { "width", "positive" }, { "height", "positive" },
  { "color", "boolean" }, { "write", "function" },
}

local plot = {}

--- One curve: `name` and the points `x[i], y[i]`.
-- @table Series

local function is_list_of_numbers(value)
  return type(value) == "table" and type(value[1]) == "number"
end

local function numbers_of(value, name)
  if core.kind(value) == "tensor" then
    local shape = value.shape
    if #shape ~= 1 then core.fail("plot: %s must have one axis, got %d", name, #shape) end
    return value:totable()
  end
  if type(value) ~= "table" then core.fail("plot: %s must be a list of numbers, got %s", name, type(value)) end
  for i = 1, #value do
    if type(value[i]) ~= "number" then
      core.fail("plot: %s must hold numbers, got %s at %d", name, type(value[i]), i)
    end
  end
  return value
end

local function series_of(name, value)
  local y, x = value, nil
  if type(value) == "table" and value.y ~= nil then
    y, x, name = value.y, value.x, value.name or name
  end
  y = numbers_of(y, name)
  if x ~= nil then
    x = numbers_of(x, name .. ".x")
    if #x ~= #y then core.fail("plot: %s has %d values but %d positions", name, #y, #x) end
  else
    x = {}
    for i = 1, #y do x[i] = i end
  end
  return { name = name, x = x, y = y }
end

--- Brings what a script gives into a list of series.
-- @param data a list of numbers, a Tensor of one axis, a list of either, a table from names to either,
--   or a list of `{ name =, x =, y = }`
-- @treturn {Series,...}
function plot.series(data)
  if core.kind(data) == "tensor" or is_list_of_numbers(data) then return { series_of("y", data) } end
  if type(data) ~= "table" then core.fail("plot: expected lists of numbers, got %s", type(data)) end
  if data.y ~= nil and data[1] == nil and type(data.y) ~= "number" then return { series_of("y", data) } end
  local list = {}
  for i = 1, #data do list[i] = series_of("y" .. i, data[i]) end
  for _, name in ipairs(util.sorted_keys(data)) do list[#list + 1] = series_of(name, data[name]) end
  return list
end

local function write_panels(panels, opts)
  if opts.path then
    core.write_file(opts.path, require("moonlet.plot.svg").render(panels, opts))
    return opts.path
  end
  local terminal = require "moonlet.plot.terminal"
  local write = opts.write or require("moonlet.host").write
  for _, panel in ipairs(panels) do write(terminal.render(panel, opts)) end
  return nil
end

--- Draws several panels, each `{ title =, series = }`, one below the other.
-- @tparam table panels
-- @param opts as for `plot.draw`
-- @treturn ?string the path that was written
function plot.panels(panels, opts)
  if type(opts) == "string" then opts = { path = opts } end
  return write_panels(panels, util.options("plot", OPTIONS, opts))
end

--- Draws curves in the terminal, or writes them as SVG when a path is given.
-- @usage ml.plot { 3, 1, 2 }
-- ml.plot({ sine = a, cosine = b }, "waves.svg")
-- @param data see `plot.series`
-- @param[opt] opts a path that ends in .svg, or a table: `path`, `title`, `x_label`; in the terminal `width` and `height` in
--   characters and `color` (default: when stdout is a terminal); in SVG `width` and `height` in pixels; `write`, a function
--   that takes the text instead of stdout
-- @treturn ?string the path that was written
function plot.draw(data, opts)
  local title = type(opts) == "table" and opts.title or nil
  return plot.panels({ { title = title, series = plot.series(data) } }, opts)
end

--- The panels of a training history: each metric with its validation twin, loss first.
-- @tparam table history from names to lists of numbers
-- @tparam[opt] {string,...} metrics which metrics; default all
-- @treturn table for `plot.panels`
function plot.history_panels(history, metrics)
  local wanted, seen = {}, {}
  local function want(name)
    if seen[name] then return end
    seen[name] = true
    wanted[#wanted + 1] = name
  end
  if metrics then
    for _, name in ipairs(metrics) do
      if history[name] == nil then core.fail("plot: no metric '%s' in this history", tostring(name)) end
      want((name:gsub("^val_", "")))
    end
  else
    if history.loss then want "loss" end
    for _, name in ipairs(util.sorted_keys(history)) do want((name:gsub("^val_", ""))) end
  end
  local panels = {}
  for i, name in ipairs(wanted) do
    local series = {}
    for _, key in ipairs { name, "val_" .. name } do
      if history[key] then series[#series + 1] = series_of(key, history[key]) end
    end
    panels[i] = { title = name, series = series }
  end
  return panels
end

return setmetatable(plot, { __call = function(_, data, opts) return plot.draw(data, opts) end })
