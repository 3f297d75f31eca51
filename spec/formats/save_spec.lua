-- Saving: all or nothing, also when it is interrupted, and no temporary is left.
local core = require "moonlet.core"
local bytes = require "spec.formats.bytes"

local list = { { "w", core.ones { 3 } } }

describe("saving", function()
  it("into a folder that is not there is an error that names the path, and leaves nothing", function()
    local folder = bytes.folder(finally)
    for _, f in ipairs { function(path) core.file_save(path, list) end, function(path) core.npy_save(path, list[1][2]) end,
      function(path) core.write_file(path, "x") end } do
      local ok, message = pcall(f, folder .. "/missing/file")
      assert.is_false(ok)
      assert.matches("save_spec.lua:%d+: .*missing/file': No such file", message)
      assert.has_error(function() f(folder) end)
      assert.has_error(function() f(folder .. "/") end)
      assert.has_error(function() f "" end)
      assert.has_error(function() f(folder .. "/" .. ("x"):rep(5000)) end)
    end
    assert.same({}, bytes.list(folder))
  end)

  it("replaces a file, and leaves nothing beside it", function()
    local folder = bytes.folder(finally)
    local path = folder .. "/model.moon"
    for i = 1, 3 do core.file_save(path, { { "w", core.full({ i }, i) } }) end
    assert.same({ 3, 3, 3 }, core.file_load(path).tensors.w:totable())
    assert.same({ "model.moon" }, bytes.list(folder))
  end)

  it("that fails leaves the old file", function()
    local folder = bytes.folder(finally)
    local path = folder .. "/model.moon"
    core.file_save(path, list)
    local old = bytes.read(path)
    assert.has_error(function() core.file_save(path, { { "\255", core.ones {} } }) end)
    assert.has_error(function() core.file_save(path, { list[1], list[1] }) end)
    assert.has_error(function() core.file_save(path, list, { a = "\255" }) end)
    assert.equal(old, bytes.read(path))
    assert.same({ "model.moon" }, bytes.list(folder))
  end)

  it("where nothing may be written leaves the old file", function()
    local folder = bytes.folder(finally)
    local path = folder .. "/model.moon"
    core.file_save(path, list)
    local old = bytes.read(path)
    -- A file size limit of 8 blocks stops the write half way; the process that writes is its own.
    local build = os.getenv "MOONLET_BUILD" or "build"
    local script = bytes.file(string.format([[
package.cpath = %q .. package.cpath
local core = require "moonlet.core"
local ok, message = pcall(core.file_save, %q, { { "w", core.ones { 100000 } } })
io.stdout:write(tostring(ok), " ", tostring(message))
]], build .. "/?.so;", path), finally)
    local program = os.getenv "MOONLET_SANITIZER" and build .. "/moonlet" or "lua5.4"
    local pipe = assert(io.popen("trap '' XFSZ; ulimit -f 8; " .. program .. " " .. script .. " 2>&1"))
    local said = pipe:read "*a"
    pipe:close()
    assert.matches("^false .*cannot write '.*model.moon': File too large", said)
    assert.equal(old, bytes.read(path))
    assert.same({ "model.moon" }, bytes.list(folder))
  end)

  it("that is killed leaves the old file or the new one", function()
    local folder = bytes.folder(finally)
    local path = folder .. "/model.moon"
    core.file_save(path, { { "w", core.zeros { 500000 } } })
    local build = os.getenv "MOONLET_BUILD" or "build"
    local script = bytes.file(string.format([[
package.cpath = %q .. package.cpath
local core = require "moonlet.core"
for i = 1, 1000000 do core.file_save(%q, { { "w", core.full({ 500000 }, i) } }) end
]], build .. "/?.so;", path), finally)
    local program = os.getenv "MOONLET_SANITIZER" and build .. "/moonlet" or "lua5.4"
    for _, seconds in ipairs { "0.11", "0.13", "0.17", "0.19" } do
      os.execute("timeout -s KILL " .. seconds .. " " .. program .. " " .. script .. " > /dev/null 2>&1")
      local w = core.file_load(path).tensors.w
      assert.same({ 500000 }, w.shape)
      assert.equal(w[1]:item(), w[500000]:item())
      assert.equal(w:min():item(), w:max():item())
    end
  end)

  it("keeps the file's permissions, and follows the umask for new ones", function()
    local folder = bytes.folder(finally)
    local path = folder .. "/model.moon"
    core.file_save(path, list)
    os.execute("chmod 640 " .. path)
    core.file_save(path, list)
    local pipe = assert(io.popen("stat -c %a " .. path))
    assert.equal("640", pipe:read "*l")
    pipe:close()
  end)

  it("loading what is no file is an error", function()
    local folder = bytes.folder(finally)
    for _, load in ipairs { core.file_load, core.npy_load, core.csv_load } do
      for _, path in ipairs { folder, "/dev/null", "/dev/zero", folder .. "/missing", "", folder .. "/a\0b" } do
        local ok, message = pcall(load, path)
        assert.is_false(ok, path)
        assert.matches("save_spec.lua:%d+: ", message)
      end
      os.execute("mkfifo " .. folder .. "/fifo 2> /dev/null")
      assert.has_error(function() load(folder .. "/fifo") end)
    end
  end)
end)
