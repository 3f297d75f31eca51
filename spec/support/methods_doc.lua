--- Writes the reference of the objects made in C as LDoc comments to a folder, a page for each class: `lua5.4
-- spec/support/methods_doc.lua FOLDER`, with the paths of the binding's C files on standard input.
-- Here: comments that stand beside the C functions, in the form `/*: Class, Class:method(a, b) -> result. Text */`, or with a
-- point in place of the colon for a property. Invariant: a method or property that a table of the binding lists has such a
-- comment, else this fails and names it.

local folder = assert(arg[1], "methods_doc.lua: a folder is expected")

local CLASSES = {
  Tensor = "Numbers: dtype, shape and strides over storage that views share. Ops are methods too: see `moonlet.ops`.",
  Symbol = "One output of a graph's node: a tensor whose numbers exist when its program runs. Ops are methods too.",
  Variable = "State that lives between runs; made by `ml.variable` and by layers. Ops are methods too.",
  Dim = "A size that is known when data comes; made by `ml.dim`, or found in the shape of a Symbol.",
  Graph = "Inputs, outputs and effects; what `f:graph(...)` and `model:step_graph(...)` give.",
  Program = "A graph compiled for inputs of one type; what `f:program(...)` and `model:program(...)` give.",
  Ticket = "A run in the background; what `program:start` gives.",
}
local pages, known = {}, {}
for class in pairs(CLASSES) do pages[class] = { methods = {}, fields = {} } end

local function put(class, kind, name, arguments, result, text)
  local page = assert(pages[class], "methods_doc.lua: there is no class " .. class)
  known[class .. "." .. name] = true
  local list = kind == ":" and page.methods or page.fields
  list[#list + 1] = { name = name, arguments = arguments, result = result, text = text }
end

local function read_comments(source)
  for comment in source:gmatch "/%*: (.-) ?%*/" do
    comment = comment:gsub("\n%*%* ?", " ")
    local classes, kind, rest = comment:match "^([%a, ]+)([:.])(.*)$"
    local name, arguments, result, text = (rest or ""):match "^([%w_]+)(%b())([^.]*)%. (.+)$"
    if not name then
      name, result, text = (rest or ""):match "^([%w_]+)([^.]*)%. (.+)$"
      arguments = ""
    end
    assert(name, "methods_doc.lua: this comment is not in the form Class:method(a) -> result. Text: " .. comment)
    for class in classes:gmatch "%a+" do put(class, kind, name, arguments, result:match "%-> *(.+)", text) end
  end
end

-- What the tables of a file list: { class, name }.
local wanted = {}
local function read_tables(source)
  local class = source:match "%.kind = MOON_LUA_(%u+)"
  class = class and class:sub(1, 1) .. class:sub(2):lower()
  for head, body in source:gmatch "luaL_Reg ([%w_]*methods)%[%] = (%b{})" do
    local classes = { class }
    if head:find "shared" then classes = { "Tensor", "Symbol", "Variable" } end
    if head:find "^meta" or not pages[classes[1]] then classes = {} end
    for _, c in ipairs(classes) do
      for name in body:gmatch '{"([%a_]+)"' do wanted[#wanted + 1] = { c, name } end
    end
  end
  for body in source:gmatch "const properties%[%] = (%b{})" do
    for name in body:gmatch '"([%a_]+)"' do wanted[#wanted + 1] = { class, name } end
  end
end

for path in io.lines() do
  local file = assert(io.open(path))
  local source = file:read "a"
  file:close()
  read_comments(source)
  read_tables(source)
end

local ALIAS = { ["Tensor.clone"] = true } -- documented with `copy`
for _, entry in ipairs(wanted) do
  local key = entry[1] .. "." .. entry[2]
  if not known[key] and not ALIAS[key] then error("methods_doc.lua: " .. key .. " has no comment beside its C function", 0) end
end

local function write_entry(out, entry, lines)
  out:write("\n--- ", entry.text, "\n")
  for _, line in ipairs(lines) do out:write("-- ", line, "\n") end
  if entry.result then out:write("-- @return ", entry.result, "\n") end
end

for class, page in pairs(pages) do
  local out = assert(io.open(folder .. "/" .. class .. ".lua", "w"))
  out:write("--- ", CLASSES[class], "\n-- @module ", class, "\n")
  local function by_name(a, b) return a.name < b.name end
  table.sort(page.methods, by_name)
  table.sort(page.fields, by_name)
  out:write "\n--- Methods\n-- @section methods\n"
  for _, entry in ipairs(page.methods) do
    local lines = { "@function " .. class .. ":" .. entry.name }
    for name in entry.arguments:gmatch "[%a_]+" do lines[#lines + 1] = "@param " .. name end
    write_entry(out, entry, lines)
  end
  if #page.fields > 0 then out:write "\n--- Properties\n-- @section properties\n" end
  for _, entry in ipairs(page.fields) do
    out:write("\n--- ", entry.text, " ", entry.result or "", "\n-- @field ", entry.name, "\n")
  end
  out:close()
end
