-- Every differentiable op: gradients against central differences in f64, with all passes and with none, by a random cotangent.
-- Differences are taken over four points (error of order step^4), so 1e-6 of the largest gradient is far above their own error.
-- Second derivatives are checked the same way, over the gradient as a function.
local core = require("moonlet.core")
local derivative = require("spec.support.derivative")
local samples = require("spec.support.samples")

local sanitized = os.getenv("MOONLET_SANITIZER") ~= nil
local STEP, RTOL, ATOL = 5e-4, 1e-6, 1e-9
local MOST = sanitized and 4 or 24 -- elements moved of each input

local function flat(t)
  if samples.count(t.shape) == 0 then return {} end
  return t:reshape({ -1 }):totable()
end

-- Elements to move, spread evenly.
local function chosen(n)
  local list, take = {}, math.min(n, MOST)
  for i = 1, take do list[i] = math.floor((i - 1) * n / take) + 1 end
  return list
end

local function numeric(program, tensors, view, at)
  local x = view[at]:item()
  local h = STEP * math.max(1, math.abs(x))
  local function loss(offset)
    view[at] = x + offset
    local value = program:run(tensors):item()
    view[at] = x
    return value
  end
  return (8 * (loss(h) - loss(-h)) - (loss(2 * h) - loss(-2 * h))) / (12 * h)
end

local function largest(list)
  local top = 0
  for _, x in ipairs(list) do top = math.max(top, math.abs(x)) end
  return top
end

local function compare(label, program, tensors, which, grads)
  for k, i in ipairs(which) do
    local got, view = flat(grads[k]), tensors[i]:reshape({ -1 })
    local scale = largest(got)
    for _, at in ipairs(chosen(#got)) do
      local want = numeric(program, tensors, view, at)
      local off = math.abs(got[at] - want)
      if off ~= off or off > ATOL + RTOL * math.max(scale, math.abs(want)) then
        error(string.format("%s, input %d, element %d: the graph says %.12g, differences %.12g", label, i, at, got[at], want), 0)
      end
    end
  end
end

local function run(graph, tensors, passes_off)
  local program = graph:program({ mode = "train", inputs = tensors, passes_off = passes_off })
  local results = { program:run(tensors) }
  return program, { (table.remove(results, 1)), grads = results }
end

local function agree(label, a, b)
  for k = 1, #a do
    local x, y = flat(a[k]), flat(b[k])
    local scale = largest(y)
    for i = 1, #x do
      local same = math.abs(x[i] - y[i]) <= 1e-10 * (1 + scale) or (x[i] ~= x[i] and y[i] ~= y[i])
      if not same then
        error(string.format("%s, gradient %d, element %d: %.15g optimised, %.15g not", label, k, i, x[i], y[i]), 0)
      end
    end
  end
end

-- True when there was something to check.
local function check(op, case, label, order)
  local tensors = samples.tensors(case, "f64", label)
  local which = derivative.moving(case, tensors)
  if #which == 0 then return false end
  local graph = derivative.graph(op, case, tensors, which, order, label)
  if not graph then return false end
  local program, fast = run(graph, tensors)
  local _, plain = run(graph, tensors, "all")
  compare(label, program, tensors, which, plain.grads)
  agree(label, fast.grads, plain.grads)
  compare(label .. " optimised", program, tensors, which, fast.grads)
  return true
end

local function is_small(case)
  local n = 0
  for _, spec in ipairs(case) do n = n + samples.count(spec.shape) end
  return not case.large and n <= 400
end

local function sweep(op, order)
  local list, checked, with_numbers = samples.of(op), 0, 0
  for i, case in ipairs(list) do
    if case.smooth ~= false and is_small(case) and (not sanitized or checked < 3) then
      local label = samples.label(op, i, order == 2 and "second" or nil)
      if check(op, case, label, order) then
        checked = checked + 1
        if samples.count(case[1].shape) > 0 then with_numbers = with_numbers + 1 end
      end
      if order == 2 and with_numbers > 1 then break end
    end
  end
  return with_numbers
end

describe("gradient", function()
  for _, op in ipairs(core.ops()) do
    local list = samples.of(op)
    if op.differentiable and not list.constant then
      it(op.name, function()
        assert(sweep(op, 1) > 0, op.name .. ": no case has a gradient to check")
      end)
      if list.second ~= false then
        it(op.name .. ", second", function()
          assert(sweep(op, 2) > 0, op.name .. ": no case has a second derivative to check")
        end)
      end
    end
  end

  it("that is wrong is found", function()
    local off = 1.00001
    local case = { samples.of({ name = "softsign", kind = "composite" })[1][1], f = function(xs)
      return core.call_custom(function(x) return x:sin() end, function(x, _, dy) return dy[1] * x[1]:cos() * off end, { xs[1] })
    end }
    assert.has_error(function() check({ name = "wrong" }, case, "wrong", 1) end)
    off = 1
    assert.is_true(check({ name = "right" }, case, "right", 1))
  end)

  it("is zero where an op has none", function()
    for _, op in ipairs(core.ops()) do
      local list = samples.of(op)
      local case = list[1]
      if not op.differentiable and not op.internal and case and samples.is_float(case[1]) then
        local tensors = samples.tensors(case, "f64", op.name)
        local graph = samples.trace(tensors, function(xs)
          local y = samples.call(op, case, xs)[1]
          return { core.gradients(core.sum(y:cast("f64")) + core.sum(xs[1]), { xs[1] })[1] }
        end)
        for _, g in ipairs(flat(samples.run(graph, tensors)[1])) do assert.are.equal(1, g, op.name) end
      end
    end
  end)

  it("of views of an input goes to the elements that were seen", function()
    local x = core.tensor({ { 1, 2, 3 }, { 4, 5, 6 } }, "f64")
    local graph = samples.trace({ x }, function(xs)
      local y = xs[1]:transpose():flip({ 1 }):slice(1, 1, 3, 2):broadcast_to({ 2, 2, 2 })
      return core.gradients((y * y):sum(), { xs[1] })
    end)
    for _, off in ipairs({ "", "all" }) do
      assert.are.same({ { 4, 0, 12 }, { 16, 0, 24 } }, samples.run(graph, { x }, off)[1]:totable())
    end
  end)

  it("of one value used twice adds up, of none used is zeros", function()
    local x, y = core.tensor({ 1, 2 }, "f64"), core.tensor({ 5, 7 }, "f64")
    local graph = samples.trace({ x, y }, function(xs)
      return core.gradients((xs[1] * xs[1] + xs[1]):sum(), { xs[1], xs[2] })
    end)
    local got = samples.run(graph, { x, y })
    assert.are.same({ 3, 5 }, got[1]:totable())
    assert.are.same({ 0, 0 }, got[2]:totable())
  end)
end)
