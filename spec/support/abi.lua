--- The Lua face on whichever Lua runs this: `lua5.1 spec/support/abi.lua`, with MOONLET_BUILD naming the folder of moonlet.so.
-- Here: one check of each part that could differ between Lua 5.1, LuaJIT, 5.2, 5.3 and 5.4: numbers, metamethods, calls and errors
-- across C, coroutines, garbage. What a part computes is the business of the specs. No busted: it need not exist for each Lua.
-- Invariant: prints what failed, then one line of totals; exits with 1 when anything failed.

package.cpath = (os.getenv "MOONLET_BUILD" or "build") .. "/?.so"
package.path = ""

local jit = rawget(_G, "jit")
local this_lua = jit and jit.version:match "^LuaJIT %d+%.%d+" or _VERSION
local loaded, ml = pcall(require, "moonlet")
if not loaded then
  print(this_lua .. ": " .. tostring(ml))
  os.exit(1)
end
local nn, core, testing = ml.nn, require "moonlet.core", ml.testing

local passed, failed = 0, 0

local function check(name, f)
  local ok, message = pcall(f)
  if ok then
    passed = passed + 1
  else
    failed = failed + 1
    print(string.format("%s: %s: %s", this_lua, name, tostring(message)))
  end
end

local function same(actual, expected)
  if actual ~= expected then error(string.format("expected %s, got %s", tostring(expected), tostring(actual)), 2) end
end

-- f raises just this message, with the line of this file in front.
local function raises(expected, f, ...)
  local ok, message = pcall(f, ...)
  if ok then error("there was no error like: " .. expected, 2) end
  same(type(message), "string")
  local bare = message:match "^[^\n]*abi%.lua:%d+: ([^\n]*)$"
  if bare ~= expected then error(string.format("expected the message '<line>: %s', got '%s'", expected, message), 2) end
end

local function globals()
  local names = {}
  for name in pairs(_G) do names[name] = true end
  return names
end
local globals_before = globals()

-- ---- Tensors ----

check("tensor of tables", function()
  local t = ml.tensor { { 1, 2.5 }, { -3, 4 } }
  same(t.dtype, "f32")
  same(t.ndim, 2)
  same(#t, 2)
  same(t[1][2]:item(), 2.5)
  same(t:totable()[2][1], -3)
end)

check("integers", function()
  local t = ml.tensor({ 1, 2, 2147483648 }, "i64")
  same(t:sum():item(), 2147483651)
  same(string.format("%.0f", t:max():item()), "2147483648")
  same((t / 2).dtype, "f32")
  same(ml.tensor({ 250, 10 }, "u8"):sum():item(), 260)
  same(ml.tensor({ 9007199254740992 }, "i64"):item(), 9007199254740992)
end)

check("whole numbers are whole in any subtype", function()
  local n = tonumber "3.0" -- a float where Lua has two subtypes
  same(ml.zeros({ n, 2 }).shape[1], 3)
  same(ml.arange(n):totable()[3], 2)
  same(ml.tensor({ n }, "i32"):item(), 3)
  raises("zeros: shape[1] must be a size (a whole number from 0, or a Dim), got 1.5", ml.zeros, { 1.5 })
  raises("zeros: shape[1] must be a size (a whole number from 0, or a Dim), got '2'", ml.zeros, { "2" })
end)

check("booleans", function()
  local t = ml.tensor { true, false }
  same(t.dtype, "bool")
  same(t[1]:item(), true)
  same(ml.all(t):item(), false)
  same(ml.any(t):item(), true)
end)

check("views write through, subscripts count from the end too", function()
  local t = ml.zeros { 2, 3 }
  t[1]:fill(2)
  t[-1][-1] = 5
  same(t:sum():item(), 11)
  same(t:slice(2, 1, -1, 2):sum():item(), 9)
  same(t:transpose()[3][2]:item(), 5)
end)

check("loops over a tensor", function()
  local sum = 0
  for _, row in ml.tensor({ { 1, 2 }, { 3, 4 } }):iter() do sum = sum + row[2]:item() end
  same(sum, 6)
end)

check("printing", function()
  same(tostring(ml.tensor { { 1, 2 }, { 3, 4 } }), "Tensor f32 (2, 2)\n[[1  2]\n [3  4]]")
  same(tostring(ml.tensor({ 1, 2 }, "i64")), "Tensor i64 (2) [1  2]")
  same(tostring(ml.tensor { true }), "Tensor bool (1) [true]")
  same(tostring(ml.input { nil, 3, name = "x" }), "Symbol 'x' f32 (?, 3)")
  same(tostring(ml.zeros { 100, 100 }):match "^[^\n]*", "Tensor f32 (100, 100)")
end)

check("random numbers are the same on every Lua", function()
  ml.seed(7)
  local first = ml.randn({ 4 }):totable()
  ml.seed(7)
  testing.equal(ml.randn { 4 }, first)
  same(ml.integers({ shape = { 100 }, lo = 0, hi = 3, dtype = "i64" }):max():item(), 2)
end)

-- ---- Ops and operators ----

check("operators", function()
  local a, b = ml.tensor { 1, 2, 3 }, ml.tensor { 4, 5, 6 }
  testing.equal(a + b, { 5, 7, 9 })
  testing.equal(10 - a, { 9, 8, 7 })
  testing.equal(a * b, { 4, 10, 18 })
  testing.equal(b / 2, { 2, 2.5, 3 })
  testing.equal(a ^ 2, { 1, 4, 9 })
  testing.equal(-a, { -1, -2, -3 })
  testing.equal(b % 4, { 0, 1, 2 })
  same(a == a, true)
  same(a == b, false)
end)

check("operators of variables and symbols", function()
  local w = ml.variable { 1, 2 }
  testing.equal(w * 2 + 1, { 3, 5 })
  local f = ml.fn(function(x) return -(2 ^ x) % 3 end)
  testing.equal(f(ml.tensor { 1, 2 }), { 1, 2 })
end)

check("< and <= say what to write", function()
  local text = "tensors are compared with x:lt(y), x:le(y), x:gt(y), x:ge(y): < and <= can only give one boolean"
  local t = ml.ones { 2 }
  raises(text, function() return t < t end)
  raises(text, function() return t <= t end)
  raises(text, function() return t > -t end)
  -- Lua 5.1 asks the metamethod only when both sides are of one type; its own message comes then.
  if _VERSION == "Lua 5.1" then text = "attempt to compare userdata with number" end
  raises(text, function() return t < 1 end)
end)

check("functions, methods, names and options are one", function()
  local x = ml.tensor { { 1, 2 }, { 3, 4 } }
  testing.equal(ml.sum(x, 1), { 4, 6 })
  testing.equal(x:sum(-1), { 3, 7 })
  testing.equal(x:sum { axes = { 1 }, keepdims = true }, { { 4, 6 } })
  testing.equal(ml.op("sum", x), 10)
  testing.equal(ml.concat({ x, x }, 2)[1], { 1, 2, 1, 2 })
  testing.allclose(ml.einsum("ij,jk->ik", x, x), x:matmul(x))
end)

check("several results", function()
  local values, index = ml.topk(ml.tensor { 3, 9, 4 }, 2)
  testing.equal(values, { 9, 4 })
  testing.equal(index, { 1, 2 })
end)

check("control flow calls Lua from C", function()
  local total, sums = ml.scan(function(c, x) return c + x, c + x end, ml.zeros {}, ml.tensor { 1, 2, 3 })
  same(total:item(), 6)
  testing.equal(sums, { 1, 3, 6 })
  same(ml.while_loop(function(c) return c:lt(20) end, function(c) return c * 2 end, ml.ones {}):item(), 32)
end)

-- ---- Functions and gradients ----

check("fn traces once for a signature", function()
  local calls = 0
  local f = ml.fn(function(x, scale)
    calls = calls + 1
    return (x * scale):sum()
  end)
  same(f(ml.ones { 3 }, 2):item(), 6)
  same(f(ml.ones { 3 }, 4):item(), 12)
  same(f(ml.ones { 5 }, 4):item(), 20)
  same(calls, 2)
  same(f:stats().traces, 2)
end)

check("gradients", function()
  local w = ml.variable { 1, 2, 3 }
  local f = ml.fn(function(x)
    local loss = ((x - w) ^ 2):mean()
    local grads = ml.grad(loss, { w = w, x = x })
    return loss, grads.w, grads.x
  end)
  local loss, dw, dx = f(ml.zeros { 3 })
  testing.allclose(loss, 14 / 3)
  testing.allclose(dw, { 2 / 3, 4 / 3, 2 })
  testing.allclose(dx, { -2 / 3, -4 / 3, -2 })
end)

check("custom gradient", function()
  local f = ml.custom_gradient(function(x) return x * 1 end, function(_, _, dy) return dy * 10 end)
  local g = ml.fn(function(x) return ml.grad(f(x):sum(), x) end)
  testing.equal(g(ml.ones { 2 }), { 10, 10 })
end)

check("variables are assigned when the step runs", function()
  local w = ml.variable(0)
  local step = ml.fn(function()
    w:assign(w + 1)
    return w * 1
  end)
  for i = 1, 3 do same(step():item(), i) end
end)

check("eager mode", function()
  ml.eager(true)
  local seen
  local f = ml.fn(function(x)
    local y = x * x
    seen = y:item()
    return ml.grad(y, x)
  end)
  local ok, dx = pcall(f, ml.tensor(3))
  ml.eager(false)
  if not ok then error(dx, 0) end
  same(seen, 9)
  same(dx:item(), 6)
end)

check("yielding out of a trace is an error or works, and leaves nothing broken", function()
  local f = ml.fn(function(x)
    coroutine.yield(1)
    return x + 1
  end)
  local routine = coroutine.create(function() return f(ml.zeros {}):item() end)
  local _, came = coroutine.resume(routine)
  if came == 1 then
    _, came = coroutine.resume(routine)
    same(came, 1)
  else
    same(type(came), "string")
  end
  same(ml.fn(function(x) return x + 1 end)(ml.zeros {}):item(), 1)
end)

check("inside a coroutine", function()
  local f = ml.fn(function(x) return x + 1 end)
  local routine = coroutine.wrap(function()
    local x = ml.zeros {}
    for _ = 1, 3 do
      x = f(x)
      coroutine.yield(x)
    end
  end)
  routine()
  routine()
  same(routine():item(), 3)
end)

-- ---- Models ----

local path = os.tmpname()

local function points()
  ml.seed(3)
  local x = ml.uniform({ 64, 2 }, -1, 1)
  return x, x:matmul(ml.tensor { { 2 }, { -1 } }) + 0.5
end

local function regressor()
  local model = ml.Sequential { nn.Dense { 8, activation = "tanh" }, nn.Dense { 1 } }
  model:compile { optimizer = ml.optim.Adam { lr = 0.02 }, loss = "mse", metrics = { "mae" } }
  return model
end

local trained, trained_x

check("fit, evaluate, predict", function()
  local x, y = points()
  local model = regressor()
  local history = model:fit(x, y, { epochs = 40, batch_size = 16, validation_split = 0.25, verbose = 0 })
  local loss = history.history.loss
  same(#loss, 40)
  if loss[40] >= 0.1 * loss[1] then error("the loss went from " .. loss[1] .. " to " .. loss[40]) end
  local mae = model:evaluate(x, y).mae
  if mae >= 0.3 then error("mae is " .. mae) end
  same(table.concat(model:predict(x).shape, " "), "64 1")
  trained, trained_x = model, x
end)

check("save and load", function()
  trained:save(path, { training = true })
  local again = ml.load(path)
  testing.equal(again:predict(trained_x), trained:predict(trained_x))
end)

check("a functional model", function()
  local image = ml.input { nil, 6, 6, 1, name = "image" }
  local h = nn.Conv2D { 4, 3, activation = "relu" } (image)
  h = nn.Flatten {} (nn.MaxPool2D { 2 } (h))
  local model = ml.Model { inputs = image, outputs = nn.Dense { 3 } (h) }
  model:compile { optimizer = "sgd", loss = "sparse_categorical_crossentropy", metrics = { "accuracy" } }
  local history = model:fit(ml.rand { 12, 6, 6, 1 }, ml.arange(12, "i64") % 3, { epochs = 2, batch_size = 4, verbose = 0 })
  same(#history.history.accuracy, 2)
end)

check("a model as a class", function()
  local Net = nn.module("Net", function(self)
    self.a = nn.Dense { 4, activation = "relu" }
    self.b = nn.Dense { 2 }
  end)
  function Net:call(x) return self.b(self.a(x)) end
  local net = Net {}
  same(table.concat(net(ml.zeros { 5, 3 }).shape, " "), "5 2")
  same(#net.trainable_variables, 4)
end)

check("a recurrent layer and a layer check", function()
  testing.check_layer(nn.LSTM, { 3 }, { 2, 4, 5 }, { 2, 3 })
  testing.check_layer(nn.Dense, { 3 }, { 2, 5 }, { 2, 3 })
end)

-- ---- Reinforcement learning ----

check("each algorithm learns, and computes the same numbers on every Lua", function()
  local texts = {}
  for i, x in ipairs(dofile "spec/support/abi_rl.lua"(ml)) do texts[i] = string.format("%.17g", x) end
  local numbers, shared = table.concat(texts, "\n"), os.getenv "MOONLET_ABI_NUMBERS"
  if not shared then return end -- make abi names a file: the first Lua writes it, the others compare
  local file = io.open(shared)
  if file then
    same(numbers, file:read "*a")
  else
    file = assert(io.open(shared, "w"))
    file:write(numbers)
  end
  file:close()
end)

-- ---- Data ----

check("datasets", function()
  local data = ml.data.dataset { ml.arange(10):reshape { 10, 1 }, ml.arange(10) }
  local sizes, sum = {}, 0
  for x, y in data:shuffle(1):batch(4):map(function(x, y) return x * 2, y end):batches() do
    sizes[#sizes + 1] = #x
    sum = sum + x:sum():item() - y:sum():item()
  end
  same(table.concat(sizes, " "), "4 4 2")
  same(sum, 45)
end)

check("generators", function()
  local data = ml.data.generator(function()
    local i = 0
    return function()
      i = i + 1
      if i <= 5 then return { i, i + 0.5 }, i end
    end
  end):batch(2)
  local last
  for x in data:batches() do last = x end
  testing.equal(last, { { 5, 5.5 } })
end)

check("csv", function()
  local file = assert(io.open(path, "w"))
  file:write "a,b,label\n1,2.5,0\n3,-4e2,1\n"
  file:close()
  local x, y = ml.data.csv(path, { label = -1 }):tensors()
  testing.equal(x, { { 1, 2.5 }, { 3, -400 } })
  testing.equal(y, { 0, 1 })
end)

-- ---- Errors ----

check("messages", function()
  raises("matmul: inner sizes differ: a (2, 3), b (4, 5)", function() return ml.zeros({ 2, 3 }):matmul(ml.zeros { 4, 5 }) end)
  raises("add: shapes (2) and (3) cannot be broadcast: sizes 2 and 3 differ", function() return ml.zeros { 2 } + ml.zeros { 3 } end)
  raises("mean: axis 3 is out of range for shape (2, 2)", function() return ml.zeros({ 2, 2 }):mean(3) end)
  raises("Dense: units must be a positive integer, got -3", function() return nn.Dense { -3 } end)
  raises("ml.op: unknown op 'nonsense'", function() return ml.op "nonsense" end)
  raises("zeros: dtype must be one of bool, u8, i32, i64, bf16, f16, f32, f64, got 'f99'", ml.zeros, { 2 }, "f99")
end)

check("errors of a user's function come through unchanged", function()
  local thrown = {}
  local f = ml.fn(function() error(thrown) end)
  local _, message = pcall(f, ml.zeros {})
  same(message, thrown)
  same(ml.fn(function(x) return x + 1 end)(ml.zeros {}):item(), 1)
end)

check("wrong values of every type are errors", function()
  local values = { "text", true, {}, print, coroutine.create(function() end), io.stdout, 0 / 0, 1e300, -1, ml.dim "t" }
  local x = ml.ones { 2, 2 }
  local functions = {
    ml.zeros, ml.tensor, ml.tanh, ml.matmul, ml.reshape, ml.concat, ml.gather, ml.load, ml.fn, ml.grad, nn.Dense, x.slice, x.mean,
  }
  for _, f in ipairs(functions) do
    for _, value in ipairs(values) do
      pcall(f, value)
      pcall(f, x, value)
      pcall(f, x, value, value)
    end
    pcall(f)
  end
  testing.equal(x:sum(), 4)
end)

-- ---- What the first page of the documentation shows ----

check("a functional model, saved and read", function()
  ml.seed(3)
  local train = ml.data.dataset({ ml.uniform { 24, 8, 8, 1 }, ml.integers({ 24 }, 0, 10) }):batch(8)
  local image = ml.input { nil, 8, 8, 1, name = "image" }
  local h = nn.Conv2D { 4, 3, activation = "relu" } (image)
  h = nn.MaxPool2D { 2 } (h)
  h = nn.Flatten {} (h)
  local logits = nn.Dense { 10 } (h)
  local model = ml.Model { inputs = image, outputs = logits }
  local lines = {}
  model:summary { print = function(line) lines[#lines + 1] = line end }
  if not table.concat(lines, "\n"):find "conv2d_1" then error "the summary names no layer" end
  model:compile { optimizer = ml.optim.Adam { lr = 1e-3 }, loss = "sparse_categorical_crossentropy", metrics = { "accuracy" } }
  local history = model:fit(train, { epochs = 2, validation = train, verbose = 0 })
  same(type(history.history.val_accuracy[2]), "number")
  model:save(path)
  local again = ml.load(path)
  local x = ml.ones { 1, 8, 8, 1 }
  testing.equal(again:predict(x), model:predict(x))
  again:fit(train, { epochs = 3, resume = true, verbose = 0 })
  same(#again.history.history.loss, 1)
end)

check("a sequential model and a class", function()
  local mlp = ml.Sequential { nn.Dense { 32, activation = "relu" }, nn.Dense { 10 } }
  same(mlp(ml.ones { 2, 3 }).shape[2], 10)
  local Net = nn.module("Net", function(self) self.a = nn.Dense { 32, activation = "relu" }; self.b = nn.Dense { 10 } end)
  function Net:call(x) return self.b(self.a(x)) end
  same(Net {} (ml.ones { 2, 3 }).shape[2], 10)
end)

check("a step by hand", function()
  ml.seed(1)
  local w = ml.variable(ml.randn { 5, 1 })
  local x, y = ml.randn { 8, 5 }, ml.randn { 8, 1 }
  local step = ml.fn(function(a, b)
    local loss = ((a:matmul(w) - b) ^ 2):mean()
    local dw = ml.grad(loss, w)
    w:assign(w - 0.1 * dw)
    return loss
  end)
  local first = step(x, y):item()
  ml.eager(true)
  local second = step(x, y):item()
  ml.eager(false)
  if not (step(x, y):item() < second and second < first) then error "the loss does not fall" end
  same(ml.device "cpu", "cpu")
end)

-- ---- In a game ----

local function fresh_model()
  ml.seed(5)
  local x, y = points()
  local model = ml.Sequential { nn.Dense { 8, activation = "tanh" }, nn.Dropout { 0.2 }, nn.Dense { 1 } }
  model:compile { optimizer = "adam", loss = "mse" }
  return model, x, y
end

-- The weights after some steps, each done by step(model, x, y).
local function weights_after(step)
  local model, x, y = fresh_model()
  for _ = 1, 3 do step(model, x, y) end
  local parts = {}
  for i, v in ipairs(model.variables) do parts[i] = core.tostring(v) end
  return table.concat(parts)
end

check("a step in slices, and one in the background, give the bits of a whole step", function()
  local want = weights_after(function(model, x, y) model:train_on_batch(x, y) end)
  same(weights_after(function(model, x, y)
    repeat local done = model:train_on_batch(x, y, { budget_us = 2 }) until done
  end), want)
  same(weights_after(function(model, x, y)
    local ticket = model:train_on_batch(x, y, { background = true })
    while not ticket:done() do end
    same(type(ticket:result().loss), "number")
  end), want)
end)

check("programs run in slices and in the background, and are cancelled", function()
  local program = ml.fn(function(x) return (x:matmul(x)):tanh():sum() end):program(ml.ones { 32, 32 })
  local x = ml.full({ 32, 32 }, 0.01)
  local want = program:run({ x }):item()
  local done, out = program:run { x, budget_us = 1 }
  while not done do done, out = program:run() end
  same(out:item(), want)
  same(program:start({ x }):result():item(), want)
  local ticket = program:start { x }
  ticket:cancel()
  raises("result: the run was cancelled", function() return ticket:result() end)
end)

check("a model goes to a string and back, and on to the same; weights and graph are replaced", function()
  local model, x, y = fresh_model()
  model:train_on_batch(x, y)
  local copy = ml.deserialize(model:serialize())
  same(model:train_on_batch(x, y).loss, copy:train_on_batch(x, y).loss)
  testing.equal(copy:predict(x), model:predict(x))
  local other = fresh_model()
  other:train_on_batch(x, y)
  model:load_weights(other:serialize())
  testing.equal(model:predict(x), other:predict(x))
  local kept = model:replace(ml.Sequential { nn.Dense { 8, activation = "relu" }, nn.Dense { 1 } })
  same(table.concat(kept, " "), "dense_1/kernel dense_1/bias dense_2/kernel dense_2/bias")
end)

check("a steady step with reused tables makes no garbage", function()
  local program = ml.fn(function(x) return x * 2 end):program(ml.ones { 2, 3 })
  local x, out, rows, into = ml.zeros { 2, 3 }, ml.zeros { 2, 3 }, { { 1, 2, 3 }, { 4, 5, 6 } }, {}
  local args = { x, out = { out } }
  local function step()
    x:set(rows)
    program:run(args)
    out:totable(into)
  end
  step()
  same(into[2][3], 12)
  step()
  local first, before = into[1], ml.memory().calls
  collectgarbage()
  collectgarbage "stop"
  step() -- a collection lets go of room that the stack had
  local garbage = collectgarbage "count"
  for _ = 1, 1000 do step() end
  garbage = collectgarbage "count" - garbage
  collectgarbage "restart"
  same(into[1], first)
  same(ml.memory().calls, before)
  if garbage > 1 then error(garbage * 1024 .. " bytes of garbage") end -- LuaJIT counts what it compiles
end)

check("realtime mode collects in steps", function()
  ml.realtime(true)
  for _ = 1, 100 do ml.zeros { 64, 64 } end
  ml.realtime(false)
  same(ml.ones({ 2 }):sum():item(), 2)
end)

if jit then
  check("FFI reads and writes what a pointer points to", function()
    local ffi = require "ffi"
    local x, out = ml.zeros { 2, 3 }, ml.zeros { 2, 3 }
    local program = ml.fn(function(a) return a + 1 end):program(x)
    local into, from = ffi.cast("float *", x:pointer()), ffi.cast("const float *", out:pointer())
    for step = 1, 3 do
      for i = 0, 5 do into[i] = step * i end
      program:run { x, out = { out } }
      for i = 0, 5 do same(from[i], step * i + 1) end
    end
    same(ffi.cast("int64_t *", ml.tensor({ 7, -9 }, "i64"):pointer())[1], ffi.cast("int64_t", -9))
    same(ffi.cast("float *", x[2]:pointer()) - into, 3)
  end)
end

-- ---- Memory ----

check("release", function()
  local t = ml.ones { 2 }
  t:release()
  t:release()
  raises("Tensor was released", function() return t + 1 end)
end)

check("garbage is freed, cycles too", function()
  local function work()
    local w = ml.variable(ml.zeros { 64, 64 })
    local f = ml.fn(function(x) return ml.grad((x:matmul(w)):sum(), w) end)
    return f(ml.ones { 64, 64 })
  end
  local function live()
    collectgarbage()
    collectgarbage()
    return testing.live_bytes()
  end
  work()
  local before = live()
  for _ = 1, 5 do work() end
  local grown = live() - before
  if grown > 4096 then error(grown .. " bytes are still alive") end
end)

check("memory outside Lua drives the collector", function()
  collectgarbage()
  local highest = 0
  local before = ml.memory().live_bytes
  for _ = 1, 100 do
    ml.zeros { 512, 512 }
    highest = math.max(highest, ml.memory().live_bytes - before)
  end
  if highest > 64 * 1048576 then error(highest .. " bytes were alive at once") end
end)

-- The most memory that the process held, in bytes; nil where the system does not say.
local function peak_bytes()
  local file = io.open "/proc/self/status"
  local text = file and file:read "*a"
  if file then file:close() end
  local kilobytes = text and text:match "VmHWM:%s*(%d+) kB"
  return kilobytes and kilobytes * 1024
end

check("temporaries do not pile up: gigabytes of them with 4 MB alive, and no call of collectgarbage", function()
  local gigabytes = os.getenv "MOONLET_SOAK" and 20 or 2
  local t = ml.ones { 1024, 1024 }
  for _ = 1, gigabytes * 256 do t = t * 1 end
  local peak = peak_bytes()
  if peak and peak > 100e6 then error(string.format("the process held %d MB", peak / 1e6)) end
end)

check("programs run into buffers", function()
  local f = ml.fn(function(x) return x * 2 end)
  local x, out = ml.ones { 3 }, ml.zeros { 3 }
  local program = f:program(x)
  program:run { x, out = { out } }
  testing.equal(out, { 2, 2, 2 })
end)

if _VERSION == "Lua 5.4" then
  check("to-be-closed variables release", function()
    local chunk = assert(load "local ml = ... local kept do local t <close> = ml.ones { 2 } kept = t end return kept")
    raises("Tensor was released", function(t) return t + 1 end, chunk(ml))
  end)
end

-- ---- The library as a whole ----

check("every module loads, none makes a global", function()
  local files = assert(io.popen "find lua/moonlet -name '*.lua' | sort")
  local count = 0
  for file in files:lines() do
    require((file:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")))
    count = count + 1
  end
  files:close()
  if count < 50 then error("only " .. count .. " modules were found; run this at the top of the checkout") end
  for name in pairs(globals()) do
    if not globals_before[name] then error("a global was made: " .. tostring(name)) end
  end
end)

check("requiring again gives the same", function()
  package.loaded.moonlet = nil
  same(require "moonlet", ml)
  same(core.version, ml.version)
end)

os.remove(path)
print(string.format("%s: %d passed, %d failed", this_lua, passed, failed))
if failed > 0 then os.exit(1) end
