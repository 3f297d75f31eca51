--- Writes what LDoc reads to a folder: `lua5.4 spec/support/doc.lua FOLDER`, with the paths of our Lua files on standard input.
-- Here: the files as they are, save what LDoc cannot see by itself: a class is made by a call, so the comment above that call gets
-- the name under which scripts call the class. The page of ops comes from ops_doc.lua.
-- Invariant: no file of the library is changed.

local folder = assert(arg[1], "doc.lua: a folder is expected")

-- The name of the class, or of the part of the library, that the code under a comment makes; "" when it has no name of its own.
local function name_of(line)
  local class = line:match '^local %w+ = [%w%.]+:extend%("(%w+)"' or line:match '^return [%w%.]+:define%("(%w+)"'
  if class then return class end
  return line:find "^return " and ""
end

-- The comment of a class becomes that of a function; that of a nameless value an ordinary one.
local function rewrite(lines)
  local first
  for i, line in ipairs(lines) do
    if line:find "^%-%-%-" then
      first = i
    elseif not line:find "^%-%-" then
      local name = first and name_of(line)
      local named = first and table.concat(lines, "\n", first, i - 1):find "@function"
      if name == "" then
        lines[first] = lines[first]:sub(2)
      elseif name and not named then
        lines[i] = "-- @function " .. name .. "\n" .. line
      end
      first = nil
    end
  end
end

for path in io.lines() do
  local lines = {}
  for line in io.lines(path) do lines[#lines + 1] = line:gsub("^%-%- @classmod", "-- @module") end
  rewrite(lines)
  local out = assert(io.open(folder .. "/" .. path:gsub("^lua/", ""):gsub("/", "."), "w"))
  out:write(table.concat(lines, "\n"), "\n")
  out:close()
end
