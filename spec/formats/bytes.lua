--- Files as other writers would make them, byte by byte, for specs of formats.
-- Here: building safetensors and npy from Lua strings, temporary folders. Invariant: nothing here uses the library's own writers.
local bytes = {}

--- n as bytes, lowest first.
function bytes.little(n, width)
  local list = {}
  for i = 1, width do
    list[i] = string.char(n % 256)
    n = math.floor(n / 256)
  end
  return table.concat(list)
end

--- A safetensors file of a header and data; length: what the first 8 bytes say, default the truth.
function bytes.safetensors(header, data, length) return bytes.little(length or #header, 8) .. header .. (data or "") end

--- One entry of a safetensors header.
function bytes.entry(name, dtype, shape, first, last)
  return string.format('"%s":{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]}', name, dtype, table.concat(shape, ","), first,
    last)
end

--- A npy file of a header text (a Python dictionary), as version 1, 2 or 3.
function bytes.npy(header, data, version)
  return "\147NUMPY" .. string.char(version or 1, 0) .. bytes.little(#header,
    (version or 1) == 1 and 2 or 4) .. header .. (data or "")
end

function bytes.dictionary(descr, fortran, shape)
  return string.format("{'descr': '%s', 'fortran_order': %s, 'shape': (%s), }\n", descr, fortran and "True" or "False", shape)
end

--- Writes a file of its own, which is gone when the spec ends; gives its path.
function bytes.file(data, finally)
  local path = os.tmpname()
  finally(function() os.remove(path) end)
  bytes.write(path, data)
  return path
end

function bytes.write(path, data)
  local f = assert(io.open(path, "wb"))
  f:write(data)
  f:close()
end

function bytes.read(path)
  local f = assert(io.open(path, "rb"))
  local data = f:read "*a"
  f:close()
  return data
end

--- A new empty folder, removed when the spec ends.
function bytes.folder(finally)
  local path = os.tmpname()
  os.remove(path)
  assert(os.execute("mkdir " .. path))
  finally(function() os.execute("rm -rf " .. path) end)
  return path
end

--- The names of the files in a folder, hidden ones included.
function bytes.list(folder)
  local pipe, names = assert(io.popen("ls -A " .. folder)), {}
  for name in pipe:lines() do names[#names + 1] = name end
  pipe:close()
  return names
end

return bytes
