-- csv: numbers in rows, and messages that tell the row and the column.
local core = require "moonlet.core"
local bytes = require "spec.formats.bytes"

local function load(text)
  local path = os.tmpname()
  bytes.write(path, text)
  local ok, t = pcall(core.csv_load, path)
  os.remove(path)
  if not ok then error(t, 0) end
  return t
end

describe("csv", function()
  it("reads what spreadsheets write", function()
    local want = { { 1, 2 }, { 3, 4.5 } }
    for _, text in ipairs { "1,2\n3,4.5\n", "1,2\n3,4.5", "1,2\r\n3,4.5\r\n", "a,b\n1,2\n3,4.5\n", "\239\187\1911,2\n3,4.5",
      " 1 ,\t2\n3 , 4.5 ",
      '"1","2"\n"3","4.5"\n', "\n\n1,2\n\n3,4.5\n\n", '"name","x"\r\n1,2\r\n3,4.5', "# words\n1,2\n3,4.5",
        "1.0,2e0\n+3,45e-1\n" } do
      assert.same(want, load(text):totable(), text)
    end
    assert.same({ { -1, 0.5, 1e10 } }, load("-1,.5,1e10"):totable())
    assert.equal("f32", load("1").dtype)
    assert.same({ 1, 1 }, load("7").shape)
    local t = load "nan,inf,-inf"
    assert.is_true(t[1][1]:item() ~= t[1][1]:item())
    assert.equal(-math.huge, t[1][3]:item())
  end)

  it("does not depend on the locale", function()
    local before = os.setlocale()
    finally(function() os.setlocale(before) end)
    for _, name in ipairs { "de_DE.UTF-8", "fr_FR.UTF-8", "C" } do
      os.setlocale(name)
      assert.same({ { 1.5 } }, load("1.5"):totable())
    end
  end)

  local cases = {
    { "1,2\n3,x\n", "line 2, column 2: a number is expected, got 'x'" }, { "a,b\n1,2\n3,\n",
      "line 3, column 2: a number is expected, got ''" },
    { "1,2\n3\n", "line 2 has 1 columns, the rows before have 2" }, { "1\n2,3\n", "line 2 has 2 columns, the rows before have 1" },
    { "", "there are no numbers" }, { "\n\n", "there are no numbers" }, { "a,b\n", "there are no numbers" },
    { "1,2\n\n3,4 5\n", "line 3, column 2: a number is expected, got '4 5'" }, { '1,"2\n', "line 1, column 2" },
    { "1,2,\n", "line 1, column 3" }, { "1\n,2\n", "line 2, column 1: a number is expected, got ''" }, { "1;2\n3;4\n",
      "line 2, column 1.*'3;4'" },
    { "1\n0x10\n", "line 2, column 1" }, { "1\n1.2.3\n", "line 2, column 1" }, { "1\n" .. ("y"):rep(200), "got 'y+'" }, { "1,\0",
      "line 1, column 2" },
  }
  it("tells where it went wrong", function()
    for _, case in ipairs(cases) do
      local ok, message = pcall(load, case[1])
      assert.is_false(ok, case[1])
      assert.matches(case[2], message)
      assert.matches("csv_spec.lua:%d+: .*lua_", message)
    end
  end)

  it("reads long files", function()
    local rows = {}
    for i = 1, 5000 do rows[i] = i .. "," .. i * 2 .. ",0.5" end
    local t = load(table.concat(rows, "\n"))
    assert.same({ 5000, 3 }, t.shape)
    assert.same({ 5000, 10000, 0.5 }, t[5000]:totable())
  end)
end)
