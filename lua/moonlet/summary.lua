--- The table that `model:summary` prints.
-- Here: its lines. Invariant: nothing but the text is computed; a network without a graph shows "?" where it has no shapes.
-- @module moonlet.summary

local util = require "moonlet.util"

local summary = {}

local function thousands(n)
  local text = string.format("%d", n)
  local head, count = text, 1
  while count > 0 do head, count = head:gsub("^(%d+)(%d%d%d)", "%1,%2") end
  return head
end

local function bytes_text(bytes)
  if bytes < 1024 then return string.format("%d B", bytes) end
  if bytes < 1024 * 1024 then return string.format("%.2f KB", bytes / 1024) end
  return string.format("%.2f MB", bytes / 1024 / 1024)
end

local function shape_of(child)
  local shape = child.shape or child.layer.output_shape
  if not shape then return "?" end
  local copy = { "?" }
  for i = 2, #shape do copy[i] = shape[i] end
  return util.shape_text(copy)
end

local function input_rows(model, rows)
  local entry = model.net.list[1]
  for _, formal in ipairs(entry and entry.formals or {}) do
    rows[#rows + 1] = { formal.name .. " (input)", util.shape_text(formal.shape), "0" }
  end
end

local function add_rows(model, rows, indent)
  for _, child in ipairs(model:children()) do
    local layer = child.layer
    local frozen = layer.trainable == false and " frozen" or ""
    rows[#rows + 1] = {
      string.format("%s%s (%s)%s", indent, layer.name, getmetatable(layer).class_name, frozen), shape_of(child),
      thousands((layer:count_params())),
    }
    if #layer:children() > 0 then add_rows(layer, rows, indent .. "  ") end
  end
  -- Layers tell the number of their weights in one line; models and layers around others show what is their own.
  for _, weight in ipairs(model:own_weights()) do
    local n = 1
    for _, size in ipairs(weight.variable.shape) do n = n * size end
    rows[#rows + 1] = { indent .. weight.name .. " (weight)", util.shape_text(weight.variable.shape), thousands(n) }
  end
end

local function aligned(rows)
  local width = { 0, 0, 0 }
  for _, row in ipairs(rows) do
    for i = 1, 3 do width[i] = math.max(width[i], #row[i]) end
  end
  local lines = {}
  for i, row in ipairs(rows) do
    lines[i] = string.format("%-" .. width[1] .. "s  %-" .. width[2] .. "s  %" .. width[3] .. "s", row[1], row[2], row[3])
  end
  return lines, width[1] + width[2] + width[3] + 4
end

local function total_bytes(model)
  local bytes = 0
  for _, variable in ipairs(model.variables) do bytes = bytes + variable.nbytes end
  return bytes
end

--- The lines of the table.
-- @tparam Network model
-- @treturn {string,...}
function summary.lines(model)
  model:name_layers()
  local rows = { { "Layer", "Output shape", "Weights" } }
  input_rows(model, rows)
  add_rows(model, rows, "")
  local lines, width = aligned(rows)
  local rule = string.rep("-", width)
  table.insert(lines, 1, model:who())
  table.insert(lines, 3, rule)
  lines[#lines + 1] = rule
  local all, trains = model:count_params()
  lines[#lines + 1] = string.format("Total: %s weights (%s), %s of them train", thousands(all), bytes_text(total_bytes(model)),
    thousands(trains))
  return lines
end

--- Prints the table.
-- @tparam Network model
-- @tparam[opt] table opts `print`: a function that takes a line
function summary.print(model, opts)
  local settings = util.options(model:who() .. ": summary", { { "print", "function" } }, opts)
  local write = settings.print or function(line) require("moonlet.host").write(line .. "\n") end
  for _, line in ipairs(summary.lines(model)) do write(line) end
end

return summary
