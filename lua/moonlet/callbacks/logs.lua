--- The order in which numbers of the logs are shown.
-- @module moonlet.callbacks.logs

local logs = {}

local function rank(name)
  local base = name:gsub("^val_", "")
  return (name == base and 0 or 2) + (base == "loss" and 0 or 1)
end

--- Names of the numbers: loss, metrics, validation loss, validation metrics; each group by alphabet.
-- @tparam ?table values
-- @treturn {string,...}
function logs.names(values)
  local names = {}
  for name, value in pairs(values or {}) do
    if type(name) == "string" and type(value) == "number" then names[#names + 1] = name end
  end
  table.sort(names, function(a, b)
    local ra, rb = rank(a), rank(b)
    if ra ~= rb then return ra < rb end
    return a < b
  end)
  return names
end

--- All numbers as text: "loss 0.1234  accuracy 0.9876".
-- @tparam ?table values
-- @treturn string
function logs.text(values)
  local number = require("moonlet.progress").number
  local parts = {}
  for i, name in ipairs(logs.names(values)) do parts[i] = name .. " " .. number(values[name]) end
  return table.concat(parts, "  ")
end

return logs
