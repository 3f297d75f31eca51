-- safetensors: what we write others can read, what others write we read, and what is hostile is refused with a reason.
local core = require "moonlet.core"
local bytes = require "spec.formats.bytes"
local graphs = require "spec.graph.graphs"
local random_graph = require "spec.support.random_graph"

local safetensors, entry = bytes.safetensors, bytes.entry
local few = os.getenv "MOONLET_SANITIZER" ~= nil

local function refuse(data, reason)
  local ok, message = pcall(core.file_decode, data)
  assert.is_false(ok, "taken for a file; expected: " .. tostring(reason))
  assert.matches(reason or "safetensors", message)
end

describe("a file of ours", function()
  local list = { { "b", core.tensor({ true, false, true }) }, { "f32", core.tensor { { 1, 2 }, { 3, 4 } } }, { "u8",
    core.tensor({ 255 }, "u8") },
    { "none", core.zeros { 0, 3 } }, { "i64", core.tensor({ -2 ^ 63 }, "i64") }, { "f64", core.tensor({ 0.1, 1 / 0 }, "f64") },
    { "scalar", core.tensor(7, "i32") },
    { "bf16", core.tensor({ 1, -0.5, 3 }, "bf16") }, { "f16", core.tensor({ 2 ^ -24 }, "f16") },
    { "turned/\195\169 \"x\\", core.arange(6):reshape({ 2, 3 }):transpose() } }
  local texts = { a = "", b = 'quotes " and \\ and \n\t and \195\169\240\159\140\153', c = ("x"):rep(10000) }

  it("gives back every byte", function()
    local data = core.file_encode(list, texts)
    local f = core.file_decode(data)
    assert.equal(#list, #f.names)
    for _, row in ipairs(list) do
      local t = f.tensors[row[1]]
      assert.equal(graphs.bytes { row[2] }, graphs.bytes { t })
    end
    for name, text in pairs(texts) do assert.equal(text, f.texts[name]) end
    local again = {}
    for i, name in ipairs(f.names) do again[i] = { name, f.tensors[name] } end
    assert.equal(#data, #core.file_encode(again, f.texts))
  end)

  it("has the form that the format asks for", function()
    local data = core.file_encode(list, texts)
    local n = 0
    for i = 8, 1, -1 do n = n * 256 + data:byte(i) end
    local header = data:sub(9, 8 + n)
    assert.equal("{", header:sub(1, 1))
    assert.equal(0, (8 + n) % 8)
    assert.is_nil(header:find "[%z\1-\31]")
    local at, size = {}, { BOOL = 1, U8 = 1, I32 = 4, I64 = 8, F32 = 4, F64 = 8, BF16 = 2, F16 = 2 }
    for dtype, first, last in header:gmatch '"dtype":"(%w+)","shape":%[[%d,]*%],"data_offsets":%[(%d+),(%d+)%]' do
      at[#at + 1] = { tonumber(first), tonumber(last) }
      assert.equal(0, tonumber(first) % size[dtype], dtype .. " is not aligned")
    end
    assert.equal(#list, #at)
    table.sort(at, function(a, b) return a[1] < b[1] or a[1] == b[1] and a[2] < b[2] end)
    local expected = 0
    for _, offsets in ipairs(at) do
      assert.equal(expected, offsets[1])
      expected = offsets[2]
    end
    assert.equal(#data - 8 - n, expected)
  end)

  it("refuses names that cannot be written", function()
    assert.error_matches(function() core.file_encode { { "__metadata__", core.ones {} } } end, "cannot be named")
    assert.error_matches(function() core.file_encode { { "\255", core.ones {} } } end, "cannot be named")
    assert.error_matches(function() core.file_encode({}, { a = "\255\254" }) end, "not UTF%-8")
    assert.error_matches(function() core.file_encode { list[1], list[1] } end, "already")
  end)
end)

describe("a file of others", function()
  it("may have metadata in any place, spaces, unknown members, padding", function()
    local header = '{ "w" : { "shape" : [ 2 ] , "extra": {"a":[1,{"b":null}],"c":true}, "data_offsets":[0,8],\n\t"dtype":"F32" } ,'
      .. ' "__metadata__":{"format":"pt","empty":""},' .. entry("b", "I16", { 1 }, 8, 10) .. "}" .. (" "):rep(17)
    local f = core.file_decode(safetensors(header, "\0\0\128\63\0\0\0\64\255\255"))
    assert.same({ 1, 2 }, f.tensors.w:totable())
    assert.same({ -1 }, f.tensors.b:totable())
    assert.equal("pt", f.texts.format)
    assert.equal("", f.texts.empty)
    assert.same({}, core.file_decode(safetensors "{}").names)
    assert.same({}, core.file_decode(safetensors '{"__metadata__":{}}').names)
  end)

  it("may have tensors in another order than their bytes", function()
    local header = "{" .. entry("late", "U8", { 2 }, 1, 3) .. "," .. entry("none", "F64", { 0 }, 1, 1) .. "," .. entry("early",
      "U8", {}, 0, 1) .. "}"
    local f = core.file_decode(safetensors(header, "\1\2\3"))
    assert.equal(1, f.tensors.early:item())
    assert.same({ 2, 3 }, f.tensors.late:totable())
    assert.same({ 0 }, f.tensors.none.shape)
  end)

  it("may have any dtype; those we lack become the next larger", function()
    local rows = {
      { "F16", "\0\60\0\192\1\0\0\124\255\123\0\128", "f16", { 1, -2, 2 ^ -24, math.huge, 65504, 0 } },
      { "BF16", "\128\63\128\255\0\64", "bf16", { 1, -math.huge, 2 } }, { "I8", "\255\128\127", "i32", { -1, -128, 127 } },
      { "U16", "\255\255\1\0", "i32", { 65535, 1 } }, { "I16", "\0\128", "i32", { -32768 } },
      { "U32", "\255\255\255\255", "i64", { 4294967295 } }, { "U64", "\1\0\0\0\0\0\0\0", "i64", { 1 } },
      { "BOOL", "\0\1\2", "bool", { false, true, true } }, { "F64", "\0\0\0\0\0\0\240\63", "f64", { 1 } },
      { "I32", "\255\255\255\255", "i32", { -1 } }, { "I64", "\254\255\255\255\255\255\255\255", "i64", { -2 } }, { "U8", "\200",
        "u8", { 200 } },
    }
    for _, row in ipairs(rows) do
      local header = "{" .. entry("t", row[1], { #row[4] }, 0, #row[2]) .. "}"
      local t = core.file_decode(safetensors(header, row[2])).tensors.t
      assert.equal(row[3], t.dtype)
      assert.same(row[4], t:totable())
    end
    local nan = core.file_decode(safetensors("{" .. entry("t", "F16", {}, 0, 2) .. "}", "\1\126")).tensors.t:item()
    assert.is_true(nan ~= nan)
    refuse(safetensors("{" .. entry("t", "U64", {}, 0, 8) .. "}", "\0\0\0\0\0\0\0\128"), "beyond what i64 holds")
  end)

  it("may have escapes in names", function()
    local header = '{"a\\u00e9\\/\\"\\\\\\n\\ud83c\\udf19":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}'
    local f = core.file_decode(safetensors(header, "\5"))
    assert.equal('a\195\169/"\\\n\240\159\140\153', f.names[1])
  end)
end)

describe("a hostile file", function()
  it("is refused: lengths", function()
    for _, data in ipairs { "", "x", "\0\0\0\0\0\0\0", "\0\0\0\0\0\0\0\0", "\1\0\0\0\0\0\0\0{", safetensors("{}", "", 3),
      safetensors("{}", "", 2 ^ 40), ("\255"):rep(8) .. "{}", "\255\255\255\255\255\255\255\127{}", ("\255"):rep(100) } do
      refuse(data, "not a safetensors file")
    end
    refuse(safetensors("{}", "", 1), "not a safetensors file")
    refuse(safetensors("{}", "more"), "4 bytes of data, but tensors fill 0")
  end)

  it("is refused: places of tensors", function()
    local function file(...) return safetensors("{" .. table.concat({ ... }, ",") .. "}", ("x"):rep(8)) end
    refuse(file(entry("a", "U8", { 8 }, 0, 9)), "outside")
    refuse(file(entry("a", "U8", { 8 }, 8, 0)), "outside")
    refuse(file(entry("a", "U8", { 4 }, 0, 4), entry("b", "U8", { 5 }, 3, 8)), "overlap")
    refuse(file(entry("a", "U8", { 8 }, 0, 8), entry("b", "U8", { 8 }, 0, 8)), "overlap")
    refuse(file(entry("a", "U8", { 3 }, 0, 3), entry("b", "U8", { 4 }, 4, 8)), "gap")
    refuse(file(entry("a", "U8", { 4 }, 4, 8)), "gap")
    refuse(file(entry("a", "U8", { 4 }, 0, 4)), "8 bytes of data, but tensors fill 4")
    refuse(file(entry("a", "F32", { 3 }, 0, 8)), "does not fill 8 bytes")
    refuse(file(entry("a", "F32", { 2, 0 }, 0, 8)), "does not fill 8 bytes")
    refuse(file(entry("a", "U8", { "4611686018427387904", "2" }, 0, 8)), "does not fill")
    refuse(file(entry("a", "U8", { "4294967296", "4294967296" }, 0, 8)), "does not fill")
    refuse(file(entry("a", "U8", { "9223372036854775807", 2, 0 }, 0, 8)), "does not fill")
    refuse(file(entry("a", "U8", { 8 }, 0, 8), entry("a", "U8", { 0 }, 8, 8)), "twice")
    refuse(file(entry("a", "U8", { 1, 1, 1, 1, 1, 1, 1, 1, 8 }, 0, 8)), "too long")
    refuse(file(entry("a", "F8", { 8 }, 0, 8)), "dtype F8 is not supported")
  end)

  it("is refused: numbers", function()
    for _, bad in ipairs { "-1", "1.5", "1e3", "9223372036854775808", "99999999999999999999999", '"8"', "null", "[8]", "{}", "",
      "+8", "0x8",
      "NaN", "true" } do
      refuse(safetensors('{"a":{"dtype":"U8","shape":[' .. bad .. '],"data_offsets":[0,8]}}', ("x"):rep(8)), "")
      refuse(safetensors('{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,' .. bad .. "]}}", ("x"):rep(8)), "")
    end
    assert.same({}, core.file_decode(safetensors('{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}')).tensors.a:totable())
  end)

  it("is refused: the shape of the header", function()
    local good = entry("a", "U8", { 1 }, 0, 1)
    for _, header in ipairs { "[]", "{", "}", "  ", "{" .. good .. ",}", "{" .. good .. "}}", "{" .. good .. "} x", "{,}", "{a:1}",
      '{"a"}', '{"a":}',
      '{"a":1}', '{"a":{}}', '{"a":{"dtype":"U8"}}', '{"a":{"dtype":"U8","shape":[1]}}', "{" .. good .. good .. "}", '{"a', '{"a\\',
      '{"\\u12":{}}', '{"\\ud800":{}}', '{"\\udc00":{}}', '{"\\x":{}}', '{"\255":{}}', '{"a\0b":{}}', '{"a\\u0000b":{}}',
        '{"a\nb":{}}',
      '{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}',
      '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}}', '{"a":{"dtype":8,"shape":[1],"data_offsets":[0,1]}}',
      '{"__metadata__":{"a":1}}', '{"__metadata__":[]}', '{"__metadata__":{"a":"1","a":"2"}}',
        '{"__metadata__":{},"__metadata__":{}}' } do
      refuse(safetensors(header, "x"), "")
    end
  end)

  it("is refused: nesting", function()
    for _, open in ipairs { "[", '{"a":', '{"a":[' } do
      refuse(safetensors('{"a":{"x":' .. open:rep(100000) .. "}}"), "nesting")
    end
  end)

  it("is refused: truncated anywhere", function()
    local data = core.file_encode({ { "w", core.ones { 3, 2 } }, { "b", core.tensor({ 1 }, "u8") } }, { note = "x",
      more = "\195\169" })
    for n = 0, #data - 1 do refuse(data:sub(1, n), "") end
    assert.same({ "w", "b" }, core.file_decode(data).names)
  end)

  it("never costs more memory than its size", function()
    local before = core.memory().peak_bytes
    local list = {}
    for i = 1, 2000 do list[i] = entry("t" .. i, "U8", { 0 }, 0, 0) end
    assert.equal(2000, #core.file_decode(safetensors("{" .. table.concat(list, ",") .. "}")).names)
    refuse(safetensors("{" .. entry("a", "U8", { "35184372088832" }, 0, 35184372088832) .. "}"), "outside")
    assert.is_true(core.memory().peak_bytes - before < 4e6)
  end)

  it("mutated is refused or is a file", function()
    local rng = random_graph.generator(3)
    local data = core.file_encode({ { "w", core.ones { 3, 2 } }, { "b", core.tensor({ 1 }, "u8") } }, { note = "x" })
    for _ = 1, few and 300 or 3000 do
      local at = rng.int(1, #data)
      local changed = data:sub(1, at - 1) .. string.char(rng.int(0, 255)) .. data:sub(at + rng.int(0, 2))
      local ok, f = pcall(core.file_decode, changed)
      if ok then
        for _, t in pairs(f.tensors) do assert.is_true(#core.tostring(t) <= #data) end
      else
        assert.is_string(f)
      end
    end
  end)
end)
