-- Text that is no graph: refused with line and column, whatever it is; never a crash. Long loops are in spec/fuzz.
local core = require "moonlet.core"
local graphs = require "spec.graph.graphs"

local sparse = os.getenv "MOONLET_SANITIZER" ~= nil

--- A resolver that has what the text asks for.
local resolver = {
  variable = function(name, dtype, shape)
    for _, n in ipairs(shape) do
      if type(n) ~= "number" or n > 100 then return nil end
    end
    return core.variable(core.zeros(shape, dtype), name)
  end,
  constant = function(_, dtype, shape)
    for _, n in ipairs(shape) do
      if type(n) ~= "number" or n > 100 then return nil end
    end
    return core.zeros(shape, dtype)
  end,
}

local function message_of(text)
  local ok, message = pcall(core.graph_parse, text, resolver)
  return not ok and message or nil
end

--- A graph around the line of one node whose input is %0 : f32 [2,3].
local function with(line) return 'graph {\n  %0 = input "x" : f32 [2,3]\n  ' .. line .. "\n  inputs %0\n  outputs %0\n}\n" end

describe("malformed graph text", function()
  for _, name in ipairs(graphs.names) do
    it("truncated anywhere is refused: " .. name, function()
      local g = graphs[name]()
      local text = core.graph_texts({ g })[1]
      for n = 0, #text - 3, sparse and 37 or #text > 3000 and 5 or 1 do
        local message = message_of(text:sub(1, n))
        assert.is_string(message, "the first " .. n .. " bytes are taken for a graph")
        assert.matches("graph text: line %d+, column %d+: ", message)
      end
    end)
  end

  local cases = {
    { "", "line 1, column 1: 'graph' expected, got ''" },
    { "graf {", "line 1, column 1: 'graph' expected, got 'graf'" },
    { "graph {\n}", "line 2, column 1: a value or 'inputs' expected, got '}'" },
    { "graph { inputs outputs }", nil },
    { "graph { inputs outputs } more", "line 1, column 26: the end of the text expected, got 'more'" },
    { with "%2 = exp(%0) : f32 [2,3]", "line 3, column 3: the next number expected, got '%%2'" },
    { with "%1 = exq(%0) : f32 [2,3]", "line 3, column 8: an op expected, got 'exq" },
    { with "%1 = exp(%1) : f32 [2,3]", "line 3, column 12: a value that was made before expected" },
    { with "%1 = exp(%-1) : f32 [2,3]", "the number of a value expected" },
    { with "%1 = exp(%99999999999999999999) : f32 [2,3]", "the number of a value expected" },
    { with "%1 = exp(%0, %0) : f32 [2,3]", "line 3, column 3: .*exp" },
    { with "%1 = exp : f32 [2,3]", "exp" },
    { with "%1 = exp(%0) : f32 [3,2]", "result of 'exp' is f32 %(2, 3%), the graph has it as f32 %(3, 2%)" },
    { with "%1 = exp(%0) : f64 [2,3]", "f64" },
    { with "%1 = exp(%0) : f33 [2,3]", "line 3, column 18: a dtype expected, got 'f33'" },
    { with "%1 = exp(%0) : f32 [2,3", "line 4, column 3: ']' expected, got 'inputs'" },
    { with "%1 = exp(%0) : f32 [1,1,1,1,1,1,1,1,1]", "after 8 sizes" },
    { with "%1 = exp(%0) : f32 [-1]", "line 3, column" },
    { with "%1 = exp(%0) : f32 [9223372036854775808]", "line 3, column" },
    { with "%1, %2 = exp(%0) : f32 [2,3], f32 [2,3]", "gives 1 values, the text has 2" },
    { with "%1 = topk(%0) k=1 : f32 [2,1]", "gives 2 values, the text has 1" },
    { with "%1 = sum(%0) axes=[5] : f32 [2,3]", "line 3, column" },
    { with "%1 = sum(%0) axis=[0] : f32 [3]", "line 3, column .*axis" },
    { with "%1 = sum(%0) axes=[0 : f32 [3]", "line 3, column" },
    { with "%1 = sum(%0) axes=[0,0] : f32 [3]", "line 3, column" },
    { with "%1 = sum(%0) axes=[0] axes=[0] : f32 [3]", "line 3, column .*'axes' is given twice" },
    { with "%1 = reshape(%0) shape=[4] : f32 [4]", "line 3, column 3: .*reshape" },
    { with "%1 = cast(%0) dtype=f31 : f32 [2,3]", "f31" },
    { with "%1 = slice(%0) first=[9223372036854775807,0] size=[1,3] step=[1,1] : f32 [1,3]", "position 9223372036854775807" },
    { with "%1 = sum(%0) axes=[9223372036854775807] : f32 [2]", "axis 9223372036854775807" },
    { with "%1 = sum(%0) axes=[-9223372036854775808] : f32 [2]", "axis %-9223372036854775808" },
    { with "%1 = constant [1,2] : f32 [3]", "3 numbers are expected" },
    { with "%1 = constant [1,2,3,4] : f32 [3]", "3 numbers are expected" },
    { with "%1 = constant 1 : f32 [17]", "up to 16 numbers" },
    { with "%1 = constant [1] : f32 [n]", "up to 16 numbers" },
    { with "%1 = constant x : f32 []", "1 numbers are expected" },
    { with "%1 = constant 1.5 : i32 []", "1 numbers are expected" },
    { with '%1 = constant "c" : f32 [n]', "line 3" },
    { with '%1 = input "" : f32 []', "a name of 1 to 255 characters" },
    { with('%1 = input "' .. ("x"):rep(300) .. '" : f32 []'), "a name of 1 to 255 characters" },
    { with '%1 = input "y" : f32 []', nil },
    { with '%1 = input "y" : f32 []\n  %2 = add(%1, %1) : f32 []\n  %3 = assign "v"(%2) : f32 []', nil },
    { with '%1 = exp "name"(%0) : f32 [2,3]', "has no name of its own" },
    { with '%1 = variable "v\\q" : f32 [2,3]', "a printable character or an escape expected" },
    { with '%1 = variable "v\\x00" : f32 [2,3]', "a printable character or an escape expected" },
    { with '%1 = variable "v\t" : f32 [2,3]', "a printable character or an escape expected" },
    { with '%1 = variable "v : f32 [2,3]', "line 3, column" },
    { with '%1 = variable "v" : f32 [n]', "v" },
    { with '%1 = assign "v" : f32 [2,3]', "assign" },
    { with "%1 = loop(%0) : f32 [2,3]", "loop" },
    { with "%1 = scan(%0) ncarry=1 : f32 [2,3]", "scan" },
    { with "%1 = scan(%0) ncarry=-1 nxs=5 length=3 : f32 [2,3] { inputs outputs }", "scan" },
    { with "%1 = scan(%0) ncarry=1 nxs=0 length=-3 : f32 [2,3] { %0 = input \"c\" : f32 [2,3] inputs %0 outputs %0 }", "scan" },
    { with "%1 = call(%0) : f32 [2,3] {", "line 4, column 10" },
    { with "%1 = cond(%0) : f32 [2,3] { inputs outputs } { inputs outputs }", "cond" },
    { with "%1 = exp(%0) : f32 [2,3] { inputs outputs }", "exp: has no bodies" },
    { with "%1 = exp(%0) : f32 [2,3] @ x", "line 3, column .*'\"' expected" },
    { 'graph { %0 = input "x" : f32 [] inputs %0, %0 outputs %0 }', "listed once" },
    { 'graph { %0 = input "x" : f32 [] inputs outputs %0 }', "input 'x', which is not among the inputs" },
    { 'graph { %0 = input "x" : f32 [] %1 = exp(%0) : f32 [] inputs %1 outputs %0 }', "must be an input listed once, got exp" },
    { 'graph { %0 = input "x" : f32 [] inputs %0 outputs %0 effects %0 }', "is no assign but input" },
    { "graph { inputs outputs %0 }", "a value that was made before" },
  }

  it("says what is wrong and where", function()
    for i, case in ipairs(cases) do
      local message = message_of(case[1])
      if case[2] then
        assert.is_string(message, "case " .. i .. " is taken for a graph: " .. case[1])
        assert.matches("line %d+, column %d+: ", message)
        assert.matches(case[2], message, 1, false)
      elseif message and not message:match "listed" then
        error("case " .. i .. ": " .. message)
      end
    end
  end)

  it("nested too deeply is refused", function()
    local function nested(depth)
      local open = 'graph { %0 = input "x" : f32 [] %1 = call(%0) : f32 [] {'
      local inner = ' %0 = input "x" : f32 [] %1 = call(%0) : f32 [] {'
      local close = " } inputs %0 outputs %1"
      return open .. inner:rep(depth) .. ' %0 = input "x" : f32 [] inputs %0 outputs %0' .. close:rep(depth + 1) .. " }"
    end
    local ok = core.graph_parse(nested(10))
    assert.equal("f32", ok:outputs()[1].dtype)
    assert.matches("less nesting expected", message_of(nested(40)))
    assert.matches("less nesting expected", message_of(nested(20000)))
    for _, open in ipairs { "{", "(", "[", '"', "floor(", "max(", "%0 = ", "graph {" } do
      assert.is_string(message_of("graph {" .. open:rep(50000)))
      assert.is_string(message_of(with("%1 = exp(%0) : f32 [" .. open:rep(50000))))
      assert.is_string(message_of(with("%1 = sum(%0) axes=" .. open:rep(50000))))
      assert.is_string(message_of(with("%1 = reshape(%0) shape=[" .. open:rep(50000) .. " : f32 [6]")))
    end
    local floors = ("floor("):rep(5000) .. "n" .. ("/2)"):rep(5000)
    assert.is_string(message_of('graph { %0 = input "x" : f32 [' .. floors .. "] inputs %0 outputs %0 }"))
  end)

  it("asking for more memory than the text justifies is refused", function()
    local before = core.memory().peak_bytes
    local huge = "3037000500,3037000500"
    assert.matches("graph text", message_of(with("%1 = full shape=[" .. huge .. "] value=1 dtype=f32 : f32 [" .. huge .. "]")))
    huge = "9223372036854775807,2,3"
    assert.matches("graph text", message_of(with("%1 = broadcast_to(%0) shape=[" .. huge .. "] : f32 [" .. huge .. "]")))
    local body = '{ %0 = input "c" : f32 [2,3] inputs %0 outputs %0 }'
    message_of(with("%1 = scan(%0) ncarry=1 nxs=0 length=9223372036854775807 : f32 [2,3] " .. body))
    message_of(with "%1 = full shape=[1000000000,100] value=1 dtype=f32 : f32 [1000000000,100]")
    assert.is_true(core.memory().peak_bytes - before < 1e6)
  end)

  it("mutated graphs are refused or are graphs", function()
    local rng = require("spec.support.random_graph").generator(11)
    for _, name in ipairs(graphs.names) do
      local g = graphs[name]()
      local text = core.graph_texts({ g })[1]
      for _ = 1, sparse and 40 or 200 do
        local at = rng.int(1, #text)
        local changed = text:sub(1, at - 1) .. string.char(rng.int(0, 255)) .. text:sub(at + 1)
        local message = message_of(changed)
        if message then assert.matches("graph text: line %d+, column %d+: ", message) end
      end
    end
  end)
end)
