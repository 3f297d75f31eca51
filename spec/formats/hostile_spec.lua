--- Files are data: whatever the bytes are, reading them gives tensors or an error with a reason, and the state stays usable.
local core = require("moonlet.core")

local function sample()
  local a = core.tensor({ { 1, 2, 3 }, { 4, 5, 6 } })
  local b = core.tensor({ 7, 8, 9 }, "i64")
  return core.file_encode({ { "a/kernel", a }, { "b", b } }, { note = "x", other = "two words" })
end

local function header(text, data)
  local n = #text
  local bytes = {}
  for i = 1, 8 do
    bytes[i] = string.char(n % 256)
    n = math.floor(n / 256)
  end
  return table.concat(bytes) .. text .. (data or "")
end

local function refused(bytes, pattern)
  local ok, message = pcall(core.file_decode, bytes)
  assert.is_false(ok)
  assert.is_truthy(tostring(message):find(pattern), message)
end

describe("safetensors", function()
  it("come back as they were", function()
    local back = core.file_decode(sample())
    assert.are.same({ "a/kernel", "b" }, back.names)
    assert.are.same({ { 1, 2, 3 }, { 4, 5, 6 } }, back.tensors["a/kernel"]:totable())
    assert.are.same({ 7, 8, 9 }, back.tensors.b:totable())
    assert.are.equal("i64", back.tensors.b.dtype)
    assert.are.equal("two words", back.texts.other)
  end)

  it("are refused when cut anywhere", function()
    local bytes = sample()
    for n = 0, #bytes - 1 do
      assert.is_false(pcall(core.file_decode, bytes:sub(1, n)), "cut after " .. n)
    end
  end)

  it("written by others load: padding, order of keys, half precision", function()
    local text = '{"x":{"shape":[2],"data_offsets":[0,4],"dtype":"F16"},"__metadata__":{"format":"pt"}}   '
    local back = core.file_decode(header(text, "\0\60\0\192"))
    assert.are.same({ 1, -2 }, back.tensors.x:totable())
    assert.are.equal("f16", back.tensors.x.dtype)
  end)

  it("with bad headers are refused with a reason", function()
    refused(header("{"), "%S")
    refused(header('{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', "abcd"), "x")
    refused(header('{"x":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}', "a"), "F8")
    refused(header('{"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', "abcd"), "%S")
    refused(header('{"x":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}}', "abcd"), "%S")
    local function two(name, size, first, last)
      local form = '{"x":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]},"%s":{"dtype":"U8","shape":[%d],"data_offsets":[%d,%d]}}'
      return header(form:format(size, size, name, size, first, last), ("abc"):sub(1, last))
    end
    refused(two("y", 2, 1, 3), "%S") -- they overlap
    refused(two("y", 1, 2, 3), "%S") -- a hole between them
    refused(two("x", 1, 1, 2), "x")
    refused(header(string.rep("[", 100000)), "%S")
    refused("\255\255\255\255\255\255\255\127{}", "%S")
  end)

  it("with changed bytes give tensors or an error, and the state goes on", function()
    local bytes = sample()
    local seed = 12345
    local function draw(n)
      seed = (seed * 16807) % 2147483647
      return seed % n
    end
    for _ = 1, os.getenv("MOONLET_SOAK") and 200000 or 3000 do
      local at = draw(#bytes) + 1
      pcall(core.file_decode, bytes:sub(1, at - 1) .. string.char(draw(256)) .. bytes:sub(at + 1))
    end
    assert.are.same({ 7, 8, 9 }, core.file_decode(bytes).tensors.b:totable())
  end)
end)

describe("files on disk", function()
  it("that cannot be written say so and leave nothing", function()
    local ok, message = pcall(core.npy_save, "/nonexistent/folder/x.npy", core.zeros({ 2 }))
    assert.is_false(ok)
    assert.is_truthy(message:find("/nonexistent/folder/x.npy", 1, true))
  end)

  it("npy round trip, and cut files are refused", function()
    local path = os.tmpname()
    core.npy_save(path, core.tensor({ { 1.5, 2 }, { 3, 4 } }))
    local file = assert(io.open(path, "rb"))
    local bytes = file:read("*a")
    file:close()
    assert.are.same({ { 1.5, 2 }, { 3, 4 } }, core.npy_load(path):totable())
    for n = 0, #bytes - 1 do
      file = assert(io.open(path, "wb"))
      file:write(bytes:sub(1, n))
      file:close()
      assert.is_false(pcall(core.npy_load, path), "cut after " .. n)
    end
    os.remove(path)
  end)

  it("csv errors name row and column", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write("1,2\n3,four\n")
    file:close()
    local ok, message = pcall(core.csv_load, path)
    os.remove(path)
    assert.is_false(ok)
    assert.is_truthy(message:find("2"), message)
    assert.is_truthy(message:find("four", 1, true), message)
  end)
end)
