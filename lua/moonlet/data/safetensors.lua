--- Files of named tensors: .safetensors.
-- Here: argument checks; the format itself is read and written by the core. Models are files of this kind too.
-- @module moonlet.data.safetensors

local core = require "moonlet.core"
local util = require "moonlet.util"

local safetensors = {}

--- Reads all tensors of a file.
-- @usage local tensors, texts = ml.data.safetensors "state.safetensors"
-- @tparam string path
-- @treturn table tensors by name
-- @treturn table texts by name
function safetensors.load(path)
  local file = core.file_load(util.check("safetensors", { "path", "name" }, path))
  return file.tensors, file.texts
end

local function check_names(what, value)
  for name in pairs(value) do
    if type(name) ~= "string" then core.fail("safetensors_save: %s: a name must be a string, got %s", what, util.describe(name)) end
  end
end

--- Writes tensors; a file of that name is replaced once all is written.
-- @usage ml.data.safetensors_save("state.safetensors", { weights = w, steps = 12 })
-- @tparam string path
-- @tparam table tensors by name; Variables and nested tables of numbers become tensors
-- @tparam[opt] table texts strings by name
function safetensors.save(path, tensors, texts)
  util.check("safetensors_save", { "path", "name" }, path)
  util.check("safetensors_save", { "tensors", "table" }, tensors)
  texts = texts or {}
  check_names("tensors", tensors)
  check_names("texts", texts)
  local list = {}
  for i, name in ipairs(util.sorted_keys(tensors)) do
    local value = tensors[name]
    if core.kind(value) == "variable" then value = value:read() end
    if core.kind(value) ~= "tensor" then value = core.tensor(value) end
    list[i] = { name, value }
  end
  core.file_save(path, list, texts)
end

return safetensors
