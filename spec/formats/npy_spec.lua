-- npy: versions 1 to 3, both orders of axes and of bytes, and headers that are refused.
local core = require "moonlet.core"
local bytes = require "spec.formats.bytes"
local random_graph = require "spec.support.random_graph"

local function load(data)
  local path = os.tmpname()
  bytes.write(path, data)
  local ok, t = pcall(core.npy_load, path)
  os.remove(path)
  if not ok then error(t, 0) end
  return t
end

local function refuse(data, reason)
  local ok, message = pcall(load, data)
  assert.is_false(ok, "taken for an array; expected: " .. tostring(reason))
  assert.matches("npy_spec.lua:%d+: ", message)
  assert.matches(reason, message)
end

local six = "\1\2\3\4\5\6"

describe("npy", function()
  it("of ours comes back, and has NumPy's form", function()
    local path = bytes.file("", finally)
    for _, t in ipairs { core.tensor { { 1, 2, 3 }, { 4, 5, 6 } }, core.tensor({ 1, -1 }, "i64"), core.tensor({ 7 }, "u8"),
      core.tensor(3, "i32"), core.tensor({ 1, -0.5, 2 ^ -24 }, "f16"),
      core.tensor { true, false }, core.tensor({ 0.1 }, "f64"), core.zeros { 0, 4 }, core.arange(6):reshape({ 2,
        3 }):transpose() } do
      core.npy_save(path, t)
      local back = core.npy_load(path)
      assert.same({ t.dtype, t.shape, t:totable() }, { back.dtype, back.shape, back:totable() })
      local data = bytes.read(path)
      assert.equal("\147NUMPY\1\0", data:sub(1, 8))
      local n = data:byte(9) + 256 * data:byte(10)
      assert.equal(0, (10 + n) % 64)
      assert.equal("\n", data:sub(10 + n, 10 + n))
      assert.equal(t.nbytes, #data - 10 - n)
    end
    core.npy_save(path, core.tensor({ 1 }, "f32"))
    assert.matches("{'descr': '<f4', 'fortran_order': False, 'shape': %(1,%), }", bytes.read(path))
    core.npy_save(path, core.tensor(true))
    assert.matches("'descr': '|b1', 'fortran_order': False, 'shape': %(%), }", bytes.read(path))
  end)

  it("has no bf16", function()
    assert.error_matches(function() core.npy_save(bytes.file("", finally), core.tensor({ 1 }, "bf16")) end,
      "the format has no bf16; cast the tensor to f32 or f16")
  end)

  it("of each version", function()
    local header = bytes.dictionary("|u1", false, "2, 3")
    for version = 1, 3 do assert.same({ { 1, 2, 3 }, { 4, 5, 6 } }, load(bytes.npy(header, six, version)):totable()) end
    for _, version in ipairs { 0, 4, 255 } do refuse(bytes.npy(header, six, version), "version " .. version .. " is not known") end
  end)

  it("in Fortran's order", function()
    assert.same({ { 1, 3, 5 }, { 2, 4, 6 } }, load(bytes.npy(bytes.dictionary("|u1", true, "2, 3"), six)):totable())
    assert.same({ 1, 2, 3, 4, 5, 6 }, load(bytes.npy(bytes.dictionary("|u1", true, "6,"), six)):totable())
    assert.same({ { { 1, 3, 5 }, { 2, 4, 6 } } }, load(bytes.npy(bytes.dictionary("|u1", true, "1, 2, 3"), six)):totable())
    assert.same({ 0, 3 }, load(bytes.npy(bytes.dictionary("|u1", true, "0, 3"), "")).shape)
  end)

  it("of each order of bytes and dtype", function()
    local rows = { { "<i2", "\1\0\255\255", { 1, -1 }, "i32" }, { ">i2", "\0\1\255\255", { 1, -1 }, "i32" }, { ">f4",
      "\63\128\0\0", { 1 }, "f32" },
      { "<f2", "\0\60\0\192", { 1, -2 }, "f16" }, { ">f8", "\63\240\0\0\0\0\0\0", { 1 }, "f64" }, { ">i8", "\0\0\0\0\0\0\1\0",
        { 256 }, "i64" },
      { "<u4", "\255\255\255\255", { 4294967295 }, "i64" }, { "=i4", "\1\0\0\0", { 1 }, "i32" }, { "|b1", "\0\1", { false, true },
        "bool" },
      { "|i1", "\255", { -1 }, "i32" }, { ">u2", "\1\0", { 256 }, "i32" } }
    for _, row in ipairs(rows) do
      local t = load(bytes.npy(bytes.dictionary(row[1], false, #row[3] .. ","), row[2]))
      assert.same({ row[4], row[3] }, { t.dtype, t:totable() })
    end
  end)

  it("with other spaces and quotes", function()
    assert.same({ 1, 2 }, load(bytes.npy('{"shape":(2L,),"fortran_order":False,"descr":"|u1"}', "\1\2")):totable())
    assert.same({ 1, 2 }, load(bytes.npy("  {  'shape' : ( 2 , ) , 'descr' : '|u1' ,\n'fortran_order' :False}   \n",
      "\1\2")):totable())
  end)

  it("that is hostile is refused", function()
    local dictionary = bytes.dictionary
    for _, data in ipairs { "", "x", "\147NUMPY", "\147NUMPY\1\0", "\147NUMPY\1\0\255", "\147NUMPX\1\0\0\0" } do refuse(data,
      "not a npy file") end
    refuse("\147NUMPY\1\0\255\255{}", "longer than the file")
    refuse("\147NUMPY\2\0\255\255", "longer than the file")
    refuse("\147NUMPY\2\0\255\255\255\255{}", "longer than the file")
    refuse(bytes.npy "", "'{' expected")
    refuse(bytes.npy "{}", "descr, fortran_order and shape expected")
    refuse(bytes.npy(dictionary("|u1", false, "2,"), "\1"), "1 bytes of data do not fill shape %(2%)")
    refuse(bytes.npy(dictionary("|u1", false, "2,"), "\1\2\3"), "3 bytes of data")
    refuse(bytes.npy(dictionary("<f4", false, "4611686018427387904,"), ""), "do not fill")
    refuse(bytes.npy(dictionary("|u1", false, "4294967296, 4294967296"), ""), "do not fill")
    refuse(bytes.npy(dictionary("|u1", false, "9223372036854775808,"), ""), "a size expected")
    refuse(bytes.npy(dictionary("|u1", false, "-1,"), ""), "a size expected")
    refuse(bytes.npy(dictionary("|u1", false, "1.5,"), ""), "',' or '%)' expected")
    refuse(bytes.npy(dictionary("|u1", false, ("1,"):rep(9)), "\1"), "at most 8 axes")
    refuse(bytes.npy(dictionary("|u1", false, "("), "\1"), "a size expected")
    for _, descr in ipairs { "<f3", "<c8", "<U4", "|O", "<M8[ns]", "f4", "", "<", "<f", "<f4x", ">f99999999999999999999", "|S1" } do
      refuse(bytes.npy(dictionary(descr, false, "1,"), "\1\1\1\1"), "dtype '")
    end
    refuse(bytes.npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "\1\1\1\1"), "records are not supported")
    refuse(bytes.npy("{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (1,), }", "\1"), "once expected")
    refuse(bytes.npy("{'descr': '|u1', 'fortran_order': 1, 'shape': (1,), }", "\1"), "True or False expected")
    refuse(bytes.npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'x': 1}", "\1"), "once expected")
    refuse(bytes.npy("{'descr': '" .. ("x"):rep(1000) .. "', 'fortran_order': False, 'shape': (1,), }", "\1"),
      "a short string expected")
    refuse(bytes.npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1,), } import os", "\1"), "the end of the header expected")
  end)

  it("truncated anywhere or mutated is refused or is an array", function()
    local data = bytes.npy(bytes.dictionary("<i2", true, "3, 2"), six .. six)
    for n = 0, #data - 1 do refuse(data:sub(1, n), "") end
    local rng = random_graph.generator(8)
    for _ = 1, 300 do
      local at = rng.int(1, #data)
      local ok, t = pcall(load, data:sub(1, at - 1) .. string.char(rng.int(0, 255)) .. data:sub(at + 1))
      if ok then assert.is_true(#core.tostring(t) <= 48) end
    end
  end)
end)
