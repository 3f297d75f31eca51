--- Writes the numbers of each epoch to a comma separated file.
-- Here: the file and its columns. Invariant: after each epoch the file on disk is complete up to it.
-- @classmod CSVLogger
-- @usage ml.callbacks.CSVLogger "training.csv"

local Callback = require "moonlet.callbacks.callback"
local core = require "moonlet.core"
local logs_of = require "moonlet.callbacks.logs"
local util = require "moonlet.util"

local OPTIONS = {
  { "path", "name", at = 1, required = true }, { "separator", "name", default = "," }, { "append", "boolean", default = false },
}

local CSVLogger = Callback:extend "CSVLogger"

--- @param opts a path, or a table: `[1]` or `path`, `separator` (default ","), `append` (go on with a file that exists)
-- @function CSVLogger
function CSVLogger:init(opts)
  if type(opts) == "string" then opts = { opts } end
  util.options("CSVLogger", OPTIONS, opts, self)
end

function CSVLogger:split(line)
  local names = {}
  for name in (line .. self.separator):gmatch("(.-)" .. self.separator:gsub("%p", "%%%0")) do names[#names + 1] = name end
  table.remove(names, 1)
  return names
end

-- The columns of a file that exists already, so that appended rows fit them.
function CSVLogger:read_columns()
  local file = self.append and io.open(self.path, "r")
  if not file then return nil end
  local line = file:read "*l"
  file:close()
  return line and self:split(line)
end

function CSVLogger:on_train_begin()
  self.columns = self:read_columns()
  if self.columns then return end
  self:write("", "w")
end

function CSVLogger:write(text, mode)
  local file, reason = io.open(self.path, mode)
  if not file then core.fail("CSVLogger: cannot write %s", reason) end
  local ok, failure = file:write(text)
  file:close()
  if not ok then core.fail("CSVLogger: cannot write '%s': %s", self.path, failure) end
end

function CSVLogger:on_epoch_end(epoch, logs)
  local text = ""
  if not self.columns then
    self.columns = logs_of.names(logs)
    text = "epoch"
    for _, name in ipairs(self.columns) do text = text .. self.separator .. name end
    text = text .. "\n"
  end
  local cells = { string.format("%d", epoch) }
  for _, name in ipairs(self.columns) do
    local value = logs[name]
    cells[#cells + 1] = value == nil and "" or string.format("%.9g", value)
  end
  self:write(text .. table.concat(cells, self.separator) .. "\n", "a")
end

return CSVLogger
