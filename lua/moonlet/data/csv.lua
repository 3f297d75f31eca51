--- Datasets from comma separated files.
-- Here: the header and the choice of columns. The numbers are read by the core. Invariant: columns that a script writes count
-- from 1, negative from the end.
-- @module moonlet.data.csv

local core = require "moonlet.core"
local dataset = require "moonlet.data.dataset"
local util = require "moonlet.util"

local csv = {}

local function is_header(value)
  return type(value) == "boolean" or type(value) == "table"
end
local function is_column(value)
  return type(value) == "string" or util.is_integer(value) or type(value) == "table"
end
local OPTIONS = {
  { "label", "any", text = "a column (number or name) or a list of columns", test = is_column },
  { "columns", "table" },
  { "header", "any", text = "true, false or a list of names", test = is_header },
}

local function fields_of(line)
  local fields = {}
  for field in (line:gsub("\r$", "") .. ","):gmatch "([^,]*)," do
    fields[#fields + 1] = field:match '^%s*"?(.-)"?%s*$'
  end
  return fields
end

local function is_numeric(fields)
  for _, field in ipairs(fields) do
    if field ~= "" and not tonumber(field) then return false end
  end
  return true
end

local function read_first_line(path)
  local text = core.read_file(path, "csv")
  if text == "" then core.fail("csv: '%s' is empty", path) end
  local line = text:match "^[^\n]*"
  return (line:gsub("^\239\187\191", ""))
end

-- Names of the columns (nil: none), and how many rows of the table the header takes there.
local function read_header(path, header)
  local fields = fields_of(read_first_line(path))
  local numeric = is_numeric(fields)
  if type(header) == "table" then return header, 0 end
  if header == true then return fields, numeric and 1 or 0 end
  if header == false and not numeric then core.fail("csv: the first line of '%s' holds words, but header is false", path) end
  return not numeric and fields or nil, 0
end

local function find_column(path, names, count, column)
  if type(column) == "string" then
    for i, name in ipairs(names or {}) do
      if name == column then return i end
    end
    core.fail("csv: '%s' has no column '%s'%s", path, column,
      names and "; it has: " .. table.concat(names, ", ") or ", nor names of columns")
  end
  util.check("csv", { "a column", "integer" }, column)
  local i = column < 0 and count + 1 + column or column
  if i < 1 or i > count then
    core.fail("csv: column %s is out of range: '%s' has %d columns", tostring(column), path, count)
  end
  return i
end

-- One column gives [rows], several [rows, columns].
local function pick(rows, columns, single)
  if single then return rows:slice(2, columns[1], columns[1]):reshape { rows.shape[1] } end
  local first, last = columns[1], columns[#columns]
  if last - first + 1 == #columns then return rows:slice(2, first, last) end
  local positions = {}
  for i, column in ipairs(columns) do positions[i] = column - 1 end
  return core.gather(rows, core.tensor(positions, "i64"), 2)
end

local function columns_of(path, names, count, wanted)
  if type(wanted) ~= "table" then return { find_column(path, names, count, wanted) }, true end
  local list = {}
  for i, column in ipairs(wanted) do list[i] = find_column(path, names, count, column) end
  if #list == 0 then core.fail("csv: an empty list of columns") end
  return list, false
end

local function all_but(count, left_out)
  local out, list = {}, {}
  for _, column in ipairs(left_out) do out[column] = true end
  for i = 1, count do
    if not out[i] then list[#list + 1] = i end
  end
  return list
end

--- Reads a file of numbers.
-- @usage local data = ml.data.csv("flowers.csv", { label = "species" })
-- @tparam string path
-- @tparam[opt] table opts `label`: the column (number or name) that is y, or a list of them; `columns`: a list of those that
--   make x, default all others; `header`: true (the first line names the columns), false (it does not), or a list of names;
--   default: the first line is a header when it holds words
-- @treturn Dataset x [rows, columns], y [rows] (or [rows, labels] for a list), both f32
function csv.load(path, opts)
  util.check("csv", { "path", "name" }, path)
  opts = util.options("csv", OPTIONS, opts)
  local names, header_rows = read_header(path, opts.header)
  local rows = core.csv_load(path)
  if header_rows > 0 then rows = rows:slice(1, 1 + header_rows, rows.shape[1]) end
  local count = rows.shape[2]
  if names and #names ~= count then core.fail("csv: '%s' has %d columns, the header names %d", path, count, #names) end

  local labels, single = {}, true
  if opts.label ~= nil then labels, single = columns_of(path, names, count, opts.label) end
  local columns = opts.columns and columns_of(path, names, count, opts.columns) or all_but(count, labels)
  if #columns == 0 then core.fail("csv: no column of '%s' is left for x", path) end
  local x = pick(rows, columns, false)
  local data = dataset.new { x, #labels > 0 and pick(rows, labels, single) or nil }
  data.names = names
  return data
end

return csv
