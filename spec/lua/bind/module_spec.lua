-- Loading: one core for all, files on disk or inside the library; the program `moonlet`.
local process = require "spec.support.process"
local build = os.getenv "MOONLET_BUILD" or "build"

local function run(command)
  local pipe = assert(io.popen("{ " .. command .. "; } 2>&1"))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

-- A shell word.
local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

describe("require", function()
  it("gives one core", function()
    local core = require "moonlet.core"
    assert.equal(core, package.loaded["moonlet.core"])
    assert.equal(core.kind, require("moonlet.core").kind)
  end)

  it("starts no thread", function()
    local script = [[
      local function threads()
        local n = 0
        for _ in io.popen("ls /proc/$PPID/task"):lines() do n = n + 1 end
        return n
      end
      local before = threads()
      require "moonlet"
      print(before >= 1 and threads() - before)
    ]]
    assert.equal("0\n", process.output_of(script, ""))
  end)

  it("finds the same programs inside the library as on disk", function()
    local script = [[
      local folder = os.tmpname()
      os.remove(folder)
      assert(os.execute("mkdir " .. folder .. " && cp " .. BUILD .. "/moonlet.so " .. folder))
      package.path, package.cpath = "", folder .. "/?.so"
      require "moonlet"
      os.execute("rm -r " .. folder)
      local n = 0
      local function check(module, path)
        local file = assert(io.open("lua/" .. path))
        local text = file:read "*a"
        file:close()
        local inside = assert(package.searchers[2](module))
        assert(type(inside) == "function", inside)
        -- Equal lines, names and code: what was taken out of the text can only be comments and spaces.
        assert(string.dump(inside) == string.dump(assert(load(text, "=" .. path))), module)
        n = n + 1
      end
      check("moonlet.init", "moonlet/init.lua")
      for path in io.popen("cd lua && find moonlet -name '*.lua'"):lines() do
        if path ~= "moonlet/init.lua" then check(path:gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."), path) end
      end
      print(n > 50 and "same" or n)
    ]]
    assert.equal("same\n", process.output_of(script:gsub("BUILD", ("%q"):format(build)), "LUA_PATH= MOONLET_LUA="))
  end)

  it("says which file is missing", function()
    local ok, message = pcall(require, "moonlet.no_such_file")
    assert.is_false(ok)
    assert.matches("no file of moonlet is 'moonlet.no_such_file'", message)
  end)
end)

describe("the program moonlet", function()
  local program = build .. "/moonlet"
  if not io.open(program) then
    pending("not built")
    return
  end

  it("runs code and scripts with arguments", function()
    assert.equal("3\n", run(program .. " -e 'print(1 + 2)'"))
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    local f = assert(io.open(path, "w"))
    f:write("local ml = require 'moonlet'\n")
    f:write("print(..., #arg, arg[1], arg[0] == ", string.format("%q", path), ", ml.version ~= nil)\n")
    f:close()
    assert.equal("a\t2\ta\ttrue\ttrue\n", run(program .. " " .. path .. " a 'b c'"):gsub("a\tb c", "a"))
  end)

  it("reports errors and fails", function()
    assert.matches("mine", run(program .. " -e " .. quote "error('mine')"))
    assert.matches("status 1", run(program .. " -e " .. quote "error('mine')" .. "; echo status $?"))
    assert.matches("usage", run(program .. " -q"))
    assert.matches("status 1", run(program .. " /no/such/script.lua; echo status $?"))
  end)

  it("evaluates lines at the prompt", function()
    local text = run("printf '1 + 1\\nx = 5\\nfor i = 1, 2 do\\nprint(i + x)\\nend\\nml.version\\nerror(\"oh\")\\n' | " .. program)
    assert.matches("^2\n6\n7\n%d+%.%d+%.%d+\n", text)
    assert.matches("oh", text)
  end)
end)
