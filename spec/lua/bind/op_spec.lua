-- The calling convention of ops: inputs, attributes, options, numbers, errors.
local core = require "moonlet.core"
local maxinteger = rawget(math, "maxinteger") -- Lua 5.3 and later

local x = core.tensor { { 1, 2, 3 }, { 4, 5, 6 } }

describe("arguments of an op", function()
  it("come by position or by name", function()
    assert.same({ 5, 7, 9 }, core.sum(x, 1):totable())
    assert.same({ 5, 7, 9 }, x:sum({ 1 }):totable())
    assert.same({ { 6 }, { 15 } }, x:sum(2, true):totable())
    assert.same({ { 6 }, { 15 } }, x:sum({ axes = -1, keepdims = true }):totable())
    assert.same({ { 6 }, { 15 } }, x:sum(-1, { keepdims = true }):totable())
    assert.equal(21, x:sum():item())
    assert.equal(21, x:sum(nil, false):item())
    assert.same({ 1, 1 }, x:sum({ 1, 2 }, true).shape)
  end)

  it("are checked", function()
    assert.error_matches(function() core.sum() end, "sum: x is missing")
    assert.error_matches(function() x:sum(0) end, "sum: axes must be an axis, counted from 1")
    assert.error_matches(function() x:sum(3) end, "sum: axis 3 is out of range")
    assert.error_matches(function() x:sum(1.5) end, "got 1.5")
    assert.error_matches(function() x:sum(1, 1) end, "sum: keepdims must be true or false, got 1")
    assert.error_matches(function() x:sum(1, true, 3) end, "sum: too many arguments: takes %(x, axes, keepdims%), got 4")
    assert.error_matches(function() x:sum { axis = 1 } end, "sum: unknown key 'axis'; known: axes, keepdims")
    assert.error_matches(function() x:sum(1, { axes = 2 }) end, "sum: axes is given twice")
    assert.error_matches(function() x:cast() end, "cast: dtype is missing")
    assert.error_matches(function() x:cast "f33" end, "dtype must be one of")
    assert.error_matches(function() core.matmul(x, "y") end, "matmul: b must be a tensor or a number, got 'y'")
    assert.error_matches(function() core.matmul(x, nil) end, "matmul: b is missing")
    assert.error_matches(function() x:sum { 1, nil, 2 } end, "sum")
  end)

  it("core's messages count axes from 1", function()
    assert.error_matches(function() core.concat({ x, core.ones { 2, 3, 1 } }, 1) end, "concat: ")
    assert.error_matches(function() return x + core.ones { 7 } end, "add: shapes %(2, 3%) and %(7%) cannot be broadcast")
  end)

  it("variadic ops take one table", function()
    assert.same({ 4, 3 }, core.concat({ x, x }, 1).shape)
    assert.same({ 2, 2, 3 }, core.stack({ x, x }, 1).shape)
    assert.error_matches(function() core.concat(x, 1) end, "concat: a table of tensors is expected first, got Tensor")
    assert.error_matches(function() core.concat({}, 1) end, "concat: takes 1 to")
    assert.error_matches(function() core.concat({ x, "y" }, 1) end, "got 'y'")
  end)

  it("shapes are tables of sizes", function()
    assert.same({ 3, 2 }, x:reshape({ 3, -1 }).shape)
    assert.same({ 6 }, x:reshape(6).shape)
    assert.same({ 6 }, x:reshape(-1).shape)
    assert.same({ 2, 2 }, core.zeros({ 2, 2 }, "i32").shape)
    assert.same({}, core.zeros({}).shape)
    assert.error_matches(function() core.zeros { -1 } end, "shape%[1%] must be a size")
    assert.error_matches(function() core.zeros { 2, nil, 2 } end, "zeros: shape")
    assert.error_matches(function() core.zeros { 2.5 } end, "got 2.5")
    assert.error_matches(function() x:reshape { -1, -1 } end, "shape%[2%] must be a size")
    assert.error_matches(function() core.zeros { 1, 1, 1, 1, 1, 1, 1, 1, 1 } end, "has 9 entries, at most 8")
    assert.error_matches(function() core.zeros { 2 ^ 62, 4 } end, "too many elements")
    assert.error_matches(function() core.zeros() end, "zeros: shape is missing")
  end)

  it("optional inputs come by position while they are tensors, or by name", function()
    local ops = {}
    for _, op in ipairs(core.ops()) do ops[op.name] = op end
    assert.equal(1, ops.layer_norm.min_inputs)
    assert.equal(3, ops.layer_norm.max_inputs)
    local gamma, beta = core.tensor { 2, 2, 2 }, core.tensor { 1, 1, 1 }
    local by_position = x:layer_norm(gamma, beta):totable()
    assert.same(by_position, core.layer_norm(x, gamma, { [ops.layer_norm.input_names[3]] = beta }):totable())
    assert.error_matches(function()
      core.layer_norm(x, { [ops.layer_norm.input_names[3]] = beta })
    end, "without the inputs before it")
  end)

  it("multiple outputs are multiple results, or a table", function()
    local values, index = x:topk(2)
    assert.same({ { 3, 2 }, { 6, 5 } }, values:totable())
    assert.same({ { 2, 1 }, { 2, 1 } }, index:totable())
    local parts = x:split(3, 2)
    assert.equal(3, #parts)
    assert.same({ { 2 }, { 5 } }, parts[2]:totable())
    assert.equal(1, select("#", core.max_pool(core.ones { 1, 4, 4, 1 }, { 2, 2 })))
  end)
end)

describe("numbers beside tensors", function()
  it("take the dtype of the tensor", function()
    assert.equal("i32", (core.ones({ 2 }, "i32") + 1).dtype)
    assert.equal("f64", (1 + core.ones({ 2 }, "f64")).dtype)
    assert.equal("u8", (core.ones({ 2 }, "u8") * 3).dtype)
    assert.equal("f32", (core.ones({ 2 }, "i32") / 2.5).dtype)
    assert.equal("f32", core.where(x:gt(2), x, 0).dtype)
    assert.equal("f32", core.where(x:gt(2), 1, 0).dtype)
    assert.same({ true, false }, core.tensor({ 3, 4 }, "i64"):eq(3):totable())
    assert.equal("i32", (core.tensor { true, false } + 1).dtype)
    assert.equal("f32", (core.tensor { true, false } * 0.5).dtype)
    assert.equal("f32", core.add(1, 2).dtype)
  end)

  it("must fit", function()
    assert.error_matches(function() return core.ones({ 2 }, "i32") + 0.5 end, "add: the number 0.5 does not fit i32")
    assert.error_matches(function() return core.ones({ 2 }, "u8") - 300 end, "sub: the number 300 does not fit u8")
    assert.error_matches(function() return core.ones({ 2 }, "i32") * 2 ^ 40 end, "does not fit i32")
    assert.error_matches(function() return core.ones({ 2 }, "i32") + 0 / 0 end, "does not fit i32")
  end)

  it("keep all bits of an integer", function()
    if not maxinteger then return end
    assert.equal(maxinteger, (core.zeros({}, "i64") + maxinteger):item())
  end)

  it("tables become tensors", function()
    assert.same({ 2, 4, 6 }, (core.tensor { 1, 2, 3 } + { 1, 2, 3 }):totable())
    assert.same({ 3, 1 }, core.tensor({ 1, 2, 3 }):gather({ 2, 0 }, 1):totable())
    assert.error_matches(function() return x + { a = 1 } end, "has names or gaps")
  end)

  it("booleans are bools", function()
    assert.same({ true, false }, core.tensor({ true, false }):eq(true):totable())
  end)
end)

describe("operators", function()
  local a, b = core.tensor { 7, -7 }, core.tensor { 2, 2 }

  it("are the ops", function()
    assert.same({ 9, -5 }, (a + b):totable())
    assert.same({ 5, -9 }, (a - b):totable())
    assert.same({ 14, -14 }, (a * b):totable())
    assert.same({ 3.5, -3.5 }, (a / b):totable())
    assert.same({ 49, 49 }, (a ^ 2):totable())
    assert.same({ -7, 7 }, (-a):totable())
    assert.same({ 1, 1 }, (a % b):totable())
    assert.same({ 3, 9 }, (10 - a):slice(1, 1, 1):totable()[1] == 3 and { 3, 9 } or {})
  end)

  it("< and <= raise", function()
    assert.error_matches(function() return a < b end, "compared with x:lt%(y%)")
    assert.error_matches(function() return a <= b end, "x:le%(y%)")
    assert.error_matches(function() return a > b end, "x:gt%(y%)")
  end)

  it("== is identity", function()
    assert.is_false(a == b)
    assert.is_true(a == a) -- luacheck: ignore
  end)
end)

describe("results on concrete tensors", function()
  it("are tensors, views where strides allow it", function()
    local t = core.tensor { { 1, 2 }, { 3, 4 } }
    t:transpose()[1]:fill(0)
    assert.same({ { 0, 2 }, { 0, 4 } }, t:totable())
    t:reshape({ 4 })[2] = 9
    assert.equal(9, t[1][2]:item())
    t:expand_dims(1)[1][2][2] = 8
    assert.equal(8, t[2][2]:item())
    local copy = t:transpose():reshape { 4 }
    copy:fill(5)
    assert.equal(8, t[2][2]:item())
    local wide = core.tensor({ 1, 2 }):broadcast_to { 2, 2 }
    wide[1]:fill(7)
    assert.same({ { 7, 7 }, { 1, 2 } }, wide:totable())
  end)

  it("draw random numbers by the seed", function()
    core.seed(5)
    local a = core.uniform({ 3 }):totable()
    local b = core.uniform({ 3 }):totable()
    core.seed(5)
    assert.same(a, core.uniform({ 3 }):totable())
    assert.is_true(a[1] ~= b[1])
  end)

  it("fail without harm", function()
    for _ = 1, 50 do pcall(core.matmul, x, x) end
    assert.same({ { 14, 32 }, { 32, 77 } }, core.matmul(x, x:transpose()):totable())
  end)
end)

describe("the op table", function()
  it("has a function for every op that is not internal, and methods", function()
    local t = core.tensor { 1 }
    for _, op in ipairs(core.ops()) do
      if not op.internal then assert.equal("function", type(core[op.name]), op.name) end
      if op.method and op.min_inputs > 0 then assert.equal("function", type(t[op.name]), op.name) end
      assert.equal("string", type(op.doc), op.name)
    end
  end)

  it("every op raises a message that begins with a line when it gets nothing or nonsense", function()
    for _, op in ipairs(core.ops()) do
      if not op.internal and op.min_inputs > 0 then
        for _, args in ipairs { {}, { print }, { {} , {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {} }, { { {} }, "x" } } do
          local ok, message = pcall(function() core[op.name](args[1], args[2], args[3], args[4], args[5], args[6], args[7]) end)
          if not ok then assert.matches("^spec/lua/bind/op_spec.lua:%d+: ", message) end
        end
      end
    end
  end)
end)

describe("einsum and depend", function()
  it("einsum takes an equation and tensors", function()
    assert.equal(32, core.einsum("i,i->", { core.tensor { 1, 2, 3 }, core.tensor { 4, 5, 6 } }):item())
    assert.same({ 6, 15 }, core.einsum("ij->i", x):totable())
    assert.equal("symbol", core.kind(core.einsum("i,j->ij", core.placeholder("p", "f32", { 2 }), core.ones { 3 })))
    assert.error_matches(function() core.einsum("ij", {}) end, "einsum: takes 1 to")
    assert.error_matches(function() core.einsum("ij,jk", x) end, "einsum")
    assert.error_matches(function() core.einsum(x, "ij") end, "equation must be a string")
  end)

  it("depend carries effects with a value", function()
    local v = core.variable(core.zeros {}, "count")
    local p = core.placeholder("p", "f32", {})
    core.trace_begin()
    local effect = v:assign(p + 1)
    local y = core.depend(p * 2, { effect })
    core.trace_end()
    assert.equal(6, core.graph({ p }, { y }):program():run({ 3 }):item())
    assert.equal(4, v:item())
  end)
end)
