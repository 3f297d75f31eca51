--- Graphs with everything in them, for specs of text, drawing, slices and hostile input.
-- Here: functions that build one graph each, with tensors to run it on. What single ops need is in spec/support/samples.lua.
-- Invariant: each builds the same graph every time, and running it gives the same numbers for the same seed and step.
local core = require "moonlet.core"

local graphs = {}

--- Traces build() -> outputs; makes a graph of it with the effects that were assigned. tensors fit the inputs.
local function trace(inputs, build)
  core.trace_begin()
  local ok, outputs = pcall(build)
  local effects = ok and core.trace_effects()
  core.trace_end()
  if not ok then error(outputs, 0) end
  return core.graph(inputs, outputs, effects)
end
graphs.trace = trace

--- Numbers 0, 1, 2 ... scaled into [-1, 1), in a shape.
function graphs.numbers(shape, dtype)
  local n, list = 1, {}
  for i = 1, #shape do n = n * shape[i] end
  for i = 1, n do list[i] = (i * 7 % 16 - 8) / 8 end
  return core.tensor(list, dtype):reshape(shape)
end

--- cond, while_loop and scan in each other, with captures and a gradient.
function graphs.bodies()
  local xs, p = core.placeholder("xs", "f32", { 4, 3 }), core.placeholder("p", "bool", {})
  local w = core.variable({ 0.5, -1, 2 }, "w")
  local g = trace({ xs, p }, function()
    local last, ys = core.scan(function(carry, x)
      local h = (carry * w + x):tanh()
      return core.cond(p, function(a) return a * 0.5 + carry end, function(a) return a - w end, { h }), h:sum()
    end, core.zeros { 3 }, xs)
    local dw = core.gradients(last:sum() + ys:sum(), { w, xs })
    local grown = core.while_loop(function(s) return s[2]:lt(40) end, function(s)
      local inner = core.scan(function(c, x) return c + x end, s[1], xs, { reverse = true })
      return { inner, s[2] * 2 + 1 }
    end, { last, ys:sum():abs() })
    return { last, ys, dw[1], dw[2], grown[1], grown[2] }
  end)
  return g, { graphs.numbers { 4, 3 }, core.tensor(true) }
end

--- Every random op, also inside a scan.
function graphs.random()
  local x = core.placeholder("x", "f32", { 5 })
  local g = trace({ x }, function()
    local noisy, marks = core.scan(function(carry, v)
      local u = core.uniform { 2 }
      return carry + u * v, core.bernoulli({ 3 }, 0.5, "i32")
    end, core.zeros { 2 }, x)
    return { core.uniform { 3, 4 }, core.normal({ 7 }, { mean = 2, std = 3, dtype = "f64" }), core.bernoulli({ 20 }, 0.25),
      core.integers({ 9 }, { lo = -3, hi = 9 }), core.permutation(11), noisy, marks, x * core.uniform { 5 } }
  end)
  return g, { graphs.numbers { 5 } }
end

--- Constants of each dtype with their extreme values, short and long.
function graphs.constants()
  local x = core.placeholder("x", "f64", {})
  local inf, nan = math.huge, 0 / 0
  local g = trace({ x }, function()
    return { x + core.constant(core.tensor({ inf, -inf, nan, -0.0, 0, 1e-310, 1.7976931348623157e308, 0.1 }, "f64")),
      core.constant(core.tensor({ 0.1, 1e-45, 3.4028234663852886e38, -0.0 }, "f32")), core.constant(core.tensor({ 0, 255 }, "u8")),
      core.constant(core.tensor({ -2147483648, 2147483647 }, "i32")), core.constant(core.tensor({ -2 ^ 63, 2 ^ 53 + 2 }, "i64")),
      core.constant(core.tensor({ { true, false }, { false, false } })), core.constant(core.zeros { 0, 3 }),
      core.constant(core.tensor(7, "i64")), x * core.constant(graphs.numbers({ 5, 5 }, "f64")),
      core.constant(core.arange(40):reshape { 5, 8 }:transpose()) }
  end)
  return g, { core.tensor(2, "f64") }
end

--- Sizes that are known when data comes, in shapes and in attributes.
function graphs.dims()
  local batch, time = core.dim "batch", core.dim "time"
  local x = core.placeholder("x", "f32", { batch, time, 4 })
  local y = core.placeholder("y", "f32", { batch * 2 + 1, time:floordiv(2) })
  local g = trace({ x, y }, function()
    local flat = x:reshape { batch * time, 4 }
    return { flat:matmul(flat:transpose()):sum(), core.concat({ x, x }, 2):mean { 1, 3 }, x:slice(2, 2), y:pad({ 1, 0 }, { 0, 2 }),
      core.zeros { batch, time:floordiv(2) } + 1, x:max(2), core.full({ time }, 2.5), y:reshape { -1 } }
  end)
  return g, { graphs.numbers { 2, 5, 4 }, graphs.numbers { 5, 2 } }
end

--- Names that need quotes, effects, depend and mode.
function graphs.effects()
  local odd = 'a "quoted\\ na%%me"\nline\twith {braces} \195\169\127'
  local x = core.placeholder('in "put" \\ 1', "f32", { 3 })
  local v, step = core.variable({ 1, 2, 3 }, odd), core.variable(core.tensor(0, "i64"), "optimizer/iterations")
  core.path_push 'lay"er'
  local ok, g = pcall(trace, { x }, function()
    local before = v * 1
    v:assign(v + x)
    step:assign_add(1)
    v:assign(core.mode(v * 2, v))
    return { before, v * step:cast "f32", core.depend(x * 3, { v:sum() }) }
  end)
  core.path_pop()
  if not ok then error(g, 0) end
  return g, { graphs.numbers { 3 } }, { v, step }
end

--- A training step of a small classifier.
function graphs.training()
  local x, y = core.placeholder("x", "f32", { core.dim "batch", 6 }), core.placeholder("y", "i64", { core.dim "batch" })
  local w, b = core.variable(graphs.numbers { 6, 4 }, "dense/kernel"), core.variable(core.zeros { 4 }, "dense/bias")
  local m, s = core.variable(core.zeros { 6, 4 }, "optimizer/m"), core.variable(core.zeros { 6, 4 }, "optimizer/v")
  local t = core.variable(core.tensor(0, "i64"), "optimizer/iterations")
  local g = trace({ x, y }, function()
    local loss = core.sparse_categorical_crossentropy(x:matmul(w) + b, y, { from_logits = true }):mean()
    local d = core.gradients(loss, { w, b })
    t:assign_add(1)
    local w2, m2, s2 = core.adam_update(w, d[1], m, s, 0.1, t:cast "f32")
    w:assign(w2)
    m:assign(m2)
    s:assign(s2)
    b:assign(b - d[2] * 0.1)
    return { loss }
  end)
  return g, { graphs.numbers { 5, 6 }, core.tensor({ 0, 3, 1, 2, 2 }, "i64") }, { w, b, m, s, t }
end

graphs.names = { "bodies", "random", "constants", "dims", "effects", "training" }

--- Parses the text of a graph back, with its own variables and large constants.
function graphs.parse_again(g, text)
  local texts, constants = core.graph_texts { g }
  local variables = {}
  for _, v in ipairs(g:variables()) do variables[v.name] = v end
  return core.graph_parse(text or texts[1], {
    variable = function(name) return variables[name] end,
    constant = function(name) return constants[tonumber(name:match "^constant/(%d+)$")] end,
  })
end

--- Runs g on tensors in training mode; the variables are put back to what they were. Results, then numbers of variables.
function graphs.run(g, tensors, opts)
  local variables, saved = g:variables(), {}
  for i, v in ipairs(variables) do saved[i] = v:read() end
  local program = g:program { mode = opts and opts.mode or "train", inputs = tensors, passes_off = opts and opts.passes_off }
  local args = { step = 3 }
  for i, t in ipairs(tensors) do args[i] = t end
  local results = { program:run(args) }
  for i, v in ipairs(variables) do
    results[#results + 1] = v:read()
    v:write(saved[i])
  end
  return results
end

--- The bytes of a list of tensors, dtypes and shapes included.
function graphs.bytes(results)
  local list = {}
  for i, t in ipairs(results) do list[i] = t.dtype .. "(" .. table.concat(t.shape, ",") .. ")" .. core.tostring(t) end
  return table.concat(list, ";")
end

return graphs
