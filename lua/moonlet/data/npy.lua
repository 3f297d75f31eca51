--- NumPy's .npy files.
-- Here: argument checks; the format itself is read and written by the core.
-- @module moonlet.data.npy

local core = require "moonlet.core"
local util = require "moonlet.util"

local npy = {}

--- Reads one array.
-- @usage local data = ml.data.dataset { ml.data.npy "x.npy", ml.data.npy "y.npy" }
-- @tparam string path
-- @treturn Tensor
function npy.load(path)
  return core.npy_load(util.check("npy", { "path", "name" }, path))
end

--- Writes one array.
-- @tparam string path
-- @param tensor a Tensor or nested tables of numbers
function npy.save(path, tensor)
  util.check("npy", { "path", "name" }, path)
  if core.kind(tensor) ~= "tensor" then tensor = core.tensor(tensor) end
  core.npy_save(path, tensor)
end

return npy
