-- Updates of many weights as one launch: the same numbers as one by one and as their bodies; what may not be joined is not.
local ml = require "moonlet"
local core = require "moonlet.core"
local testing = require "moonlet.testing"

local SHAPES = { { 3, 5 }, { 1 }, {}, { 40, 17 }, { 0, 4 }, { 2, 2, 2 } }

local function numbers(shape, start)
  local n, list = 1, {}
  for _, size in ipairs(shape) do n = n * size end
  if n == 0 then return core.zeros(shape, "f32") end
  for i = 1, n do list[i] = math.sin(i * 0.7 + start) end
  return core.tensor(list, "f32"):reshape(shape)
end

-- The graph of a step: loss = sum of squares of (w - target), over fresh variables. Gives graph, variables, optimizer.
local function make(optimizer)
  local variables = {}
  for i, shape in ipairs(SHAPES) do variables[i] = core.variable(numbers(shape, i), "w" .. i) end
  local graph
  local step = ml.fn(function(target)
    local loss = 0
    for _, v in ipairs(variables) do loss = loss + core.sum((v - target) ^ 2) end
    optimizer:apply(core.gradients(loss, variables), variables)
    return loss
  end)
  local target = core.tensor(0.25, "f32")
  graph = step:program(target)
  return graph, variables, step, target
end

-- State after three steps, with passes off.
local function after(make_optimizer, off)
  local optimizer = make_optimizer()
  local _, variables, step, target = make(optimizer)
  local graph = step:graph(target)
  local program = graph:program({ mode = "train", inputs = { target }, passes_off = off })
  for i = 1, 3 do program:run { target, step = i } end
  local state = {}
  for i, v in ipairs(variables) do state[i] = v:read() end
  for _, entry in ipairs(optimizer.slot_order) do state[#state + 1] = entry.slot:read() end
  return state, program:explain()
end

local function flat(t)
  local n = 1
  for _, size in ipairs(t.shape) do n = n * size end
  return n == 0 and {} or t:reshape({ -1 }):totable()
end

local optimizers = {
  sgd = function() return ml.optim.SGD { lr = 0.05, momentum = 0.9 } end,
  nesterov = function() return ml.optim.SGD { lr = 0.05, momentum = 0.9, nesterov = true } end,
  adam = function() return ml.optim.Adam { lr = 0.05 } end,
  adamw = function() return ml.optim.AdamW { lr = 0.05, weight_decay = 0.1 } end,
  rmsprop = function() return ml.optim.RMSprop { lr = 0.05 } end,
  moving = function() return ml.optim.RMSprop { lr = 0.05, momentum = 0.5 } end,
  clipped = function() return ml.optim.Adam { lr = 0.05, global_clipnorm = 1 } end,
  each = function() return ml.optim.SGD { lr = 0.05, momentum = 0.5, clipnorm = 0.5 } end,
}

describe("pass join", function()
  for name, make_optimizer in pairs(optimizers) do
    it("changes no number: " .. name, function()
      local joined, text = after(make_optimizer, "")
      local single, other = after(make_optimizer, "join")
      local plain = after(make_optimizer, "all")
      assert.is_truthy(text:find("_updates: ", 1, true))
      assert.is_nil(other:find("_updates: ", 1, true))
      for i = 1, #joined do
        testing.allclose(flat(joined[i]), flat(single[i]), { rtol = 1e-6, atol = 1e-7 })
        testing.allclose(flat(joined[i]), flat(plain[i]), { rtol = 1e-4, atol = 1e-5 })
      end
    end)
  end

  it("makes one launch of all updates, and takes the factor of clipping along", function()
    local _, text = after(optimizers.clipped, "")
    local _, count = text:gsub("adam_updates: ", "")
    assert.are.equal(1, count)
    assert.is_nil(text:find("adam_update: ", 1, true))
    assert.is_truthy(text:find("cpu_sum_squares_f32", 1, true))
  end)

  it("leaves an update alone whose result goes elsewhere", function()
    local a, b = core.variable(numbers({ 4 }, 1), "a"), core.variable(numbers({ 4 }, 2), "b")
    local m, n = core.variable(numbers({ 4 }, 3), "m"), core.variable(numbers({ 4 }, 4), "n")
    local function step(off)
      a:write(numbers({ 4 }, 1))
      b:write(numbers({ 4 }, 2))
      local f = ml.fn(function(g)
        local x, mx = core.sgd_update(a, g, m, core.constant(core.tensor(0.1, "f32")), { momentum = 0.5 })
        local y, ny = core.sgd_update(b, g, n, core.constant(core.tensor(0.1, "f32")), { momentum = 0.5 })
        a:assign(y)
        b:assign(x)
        m:assign(mx)
        n:assign(ny)
        return core.sum(g)
      end)
      local g = numbers({ 4 }, 5)
      f:graph(g):program({ mode = "train", inputs = { g }, passes_off = off }):run { g }
      return a:read(), b:read()
    end
    m:write(numbers({ 4 }, 3))
    n:write(numbers({ 4 }, 4))
    local x, y = step("")
    m:write(numbers({ 4 }, 3))
    n:write(numbers({ 4 }, 4))
    local u, v = step("all")
    testing.allclose(x, u, { rtol = 1e-6 })
    testing.allclose(y, v, { rtol = 1e-6 })
  end)
end)
