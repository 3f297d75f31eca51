-- Files of tensors.
local core = require "moonlet.core"

local function temporary()
  local path = os.tmpname()
  finally(function() os.remove(path) end)
  return path
end

describe("files", function()
  local list = { { "b", core.tensor { 1, 2 } }, { "a/kernel", core.tensor({ { 1 }, { 2 } }, "i32") } }
  local texts = { ["moonlet.version"] = "1", config = "k=v\n" }

  local function check(f)
    assert.same({ "b", "a/kernel" }, f.names)
    assert.same({ 1, 2 }, f.tensors.b:totable())
    assert.equal("i32", f.tensors["a/kernel"].dtype)
    assert.equal("1", f.texts["moonlet.version"])
    assert.equal("k=v\n", f.texts.config)
  end

  it("go to disk and back", function()
    local path = temporary()
    core.file_save(path, list, texts)
    check(core.file_load(path))
  end)

  it("go to a string and back", function()
    check(core.file_decode(core.file_encode(list, texts)))
    assert.same({}, core.file_decode(core.file_encode({})).names)
  end)

  it("take variables", function()
    local f = core.file_decode(core.file_encode { { "w", core.variable({ 3 }, "w") } })
    assert.same({ 3 }, f.tensors.w:totable())
  end)

  it("are checked before anything is written", function()
    local path = temporary()
    os.remove(path)
    assert.error_matches(function() core.file_save(path, { { "a", 3 } }) end, "an entry's tensor must be a Tensor, got 3")
    assert.error_matches(function() core.file_save(path, { { 3, core.ones {} } }) end, "a name must be a string")
    assert.error_matches(function() core.file_save(path, list, { x = 3 }) end, "a text must be a string, got 3")
    assert.error_matches(function() core.file_save(path, { list[1], list[1] }) end, "b")
    assert.is_nil(io.open(path))
    assert.error_matches(function() core.file_load(path) end, "No such file")
    assert.error_matches(function() core.file_decode "nonsense" end, "safetensors")
    local _, message = pcall(function() core.file_decode "nonsense" end)
    assert.matches("^spec/lua/bind/file_spec.lua:%d+: ", message)
    assert.error_matches(function() core.file_save("/nowhere/at/all", list) end, "nowhere")
  end)

  it("npy, csv and texts", function()
    local path = temporary()
    local t = core.tensor({ { 1, 2 }, { 3, 4 } }, "f64")
    core.npy_save(path, t:transpose())
    assert.same({ { 1, 3 }, { 2, 4 } }, core.npy_load(path):totable())
    core.write_file(path, "a,b\n1,2\n3,4.5\n")
    assert.same({ { 1, 2 }, { 3, 4.5 } }, core.csv_load(path):totable())
    local f = assert(io.open(path))
    assert.equal("a,b\n1,2\n3,4.5\n", f:read "*a")
    f:close()
    assert.error_matches(function() core.csv_load "/nowhere" end, "nowhere")
    assert.error_matches(function() core.npy_load(path) end, "npy")
    assert.error_matches(function() core.write_file("/nowhere/at/all", "x") end, "nowhere")
    assert.error_matches(function() core.write_file(path) end, "text must be a string")
  end)
end)
