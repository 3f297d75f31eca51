-- Every op: f32 with all passes and the fast kernels against the plain kernels in f64, on dense and strided inputs; integers and
-- bools exactly; every dtype an op takes. Tolerances stand here and are reached by rounding alone.
local core = require("moonlet.core")
local samples = require("spec.support.samples")

local sanitized = os.getenv("MOONLET_SANITIZER") ~= nil

-- Allowed: atol + rtol * |expected| + rtol * the largest |expected| (sums of numbers of both signs lose what they cancel).
-- Halves are computed in f32 and rounded once: at most one step off where f32 lies near the middle of two.
local tolerance = { default = { 5e-7, 1e-7 }, large = { 2e-6, 1e-7 }, bf16 = { 2 ^ -8, 1e-6 }, f16 = { 2 ^ -11, 1e-6 } }

local function allowed(case, list, dtype)
  local step, nodes = tolerance[dtype], list.nodes or 1
  if step then return step[1] * nodes, nodes > 1 and step[1] * nodes or step[2] end -- what cancels after a rounding was about 1
  if case.rtol or list.rtol then return case.rtol or list.rtol, case.atol or list.atol or 1e-7 end
  local pair = case.large and tolerance.large or tolerance.default
  return pair[1], pair[2]
end

local function flat(t)
  if samples.count(t.shape) == 0 then return {} end
  return t:reshape({ -1 }):totable()
end

local function same_shape(a, b)
  if a.ndim ~= b.ndim then return false end
  for i = 1, a.ndim do
    if a.shape[i] ~= b.shape[i] then return false end
  end
  return true
end

local function differ(got, want, rtol, atol)
  if not same_shape(got, want) then return "shapes " .. table.concat(got.shape, ",") .. " and " .. table.concat(want.shape, ",") end
  local x, y, top = flat(got), flat(want), 0
  local is_float = samples.float_dtypes[got.dtype]
  if is_float then
    for i = 1, #y do
      local size = math.abs(y[i])
      if size > top and size < math.huge then top = size end
    end
  elseif got.dtype ~= want.dtype then
    return "dtypes " .. got.dtype .. " and " .. want.dtype
  end
  for i = 1, #x do
    local p, q = x[i], y[i]
    local equal = p == q or (p ~= p and q ~= q)
    if not equal and is_float then equal = math.abs(p - q) <= atol + rtol * (math.abs(q) + top) end
    if not equal then return string.format("element %d: %.9g, expected %.9g", i, tonumber(p) or -1, tonumber(q) or -1) end
  end
end

local function check(label, got, want, rtol, atol)
  assert(#got == #want and #got > 0, label .. ": " .. #got .. " results, expected " .. #want)
  for i = 1, #got do
    local text = differ(got[i], want[i], rtol, atol)
    if text then error(label .. ", result " .. i .. ": " .. text, 0) end
  end
end

-- Exactly as they are in f64, where the op computes in f32.
local function widened(tensors)
  local list = {}
  for i, t in ipairs(tensors) do list[i] = samples.float_dtypes[t.dtype] and t:cast("f64") or t end
  return list
end

-- ---- Views: base(t) is a tensor whose view(base) holds the numbers of t (or as near as the view can) ----

local function halves(x, n)
  for axis = 1, #n do
    if n[axis] > 0 then x = x:slice(axis, 2, 2 * n[axis], 2) end
  end
  return x
end

local views = {
  { name = "transposed", base = function(t) return t:transpose():clone() end, view = function(x) return x:transpose() end },
  { name = "flipped", base = function(t) return t:flip():clone() end, view = function(x) return x:flip() end },
  {
    name = "every second",
    base = function(t)
      local shape = {}
      for i = 1, t.ndim do shape[i] = t.shape[i] > 0 and 2 * t.shape[i] + 1 or 0 end
      local base = core.zeros(shape, t.dtype)
      halves(base, t.shape):copy_from(t)
      return base
    end,
    view = function(x, shape) return halves(x, shape) end,
  },
  {
    name = "broadcast",
    base = function(t) return t.shape[1] > 1 and t:slice(1, 1, 1):clone() or t end,
    view = function(x, shape) return x:broadcast_to(shape) end,
  },
}

local function with_views(view, tensors)
  local bases, found = {}, false
  for i, t in ipairs(tensors) do
    bases[i] = t.ndim > 0 and view.base(t) or t
    found = found or t.ndim > 0
  end
  return found and bases or nil
end

local function seen(view, bases, shapes)
  local list = {}
  for i, x in ipairs(bases) do list[i] = #shapes[i] > 0 and view.view(x, shapes[i]) or x end
  return list
end

-- ---- The sweep ----

local function reference(op, case, tensors)
  local wide = case.same and tensors or widened(tensors)
  return samples.run(samples.trace(wide, function(xs) return samples.call(op, case, xs) end), wide, "all")
end

local function check_names(list, label, graph, tensors)
  if not list.expect then return end
  local text = graph:text()
  if list.compiled then
    graph:program({ mode = "train", inputs = tensors, dump = function(_, t) text = t end })
  end
  assert(text:find(" " .. list.expect .. "[%( ]"), label .. ": no " .. list.expect .. " in the graph\n" .. text)
end

local function check_case(op, list, case, label, dtype)
  local rtol, atol = allowed(case, list, dtype)
  local tensors = samples.tensors(case, dtype, label)
  local function build(xs) return samples.call(op, case, xs) end
  local graph = samples.trace(tensors, build)
  check_names(list, label, graph, tensors)
  local want = reference(op, case, tensors)
  check(label, samples.run(graph, tensors), want, rtol, atol)
  check(label .. " plain", samples.run(graph, tensors, "all"), want, rtol, atol)
  if op.internal or list.expect or op.random or list.at_once == false then return end
  check(label .. " at once", build(tensors), want, rtol, atol)
end

local function check_views(op, list, case, label, dtype)
  local rtol, atol = allowed(case, list, dtype)
  for _, view in ipairs(views) do
    local tensors = samples.tensors(case, dtype, label)
    local shapes = {}
    for i, t in ipairs(tensors) do shapes[i] = t.shape end
    local bases = with_views(view, tensors)
    if bases then
      local strided = seen(view, bases, shapes)
      local dense = {}
      for i, t in ipairs(strided) do dense[i] = t:clone() end
      local want = reference(op, case, dense)
      local function build(xs) return samples.call(op, case, seen(view, xs, shapes)) end
      local graph = samples.trace(bases, build)
      check(label .. " " .. view.name, samples.run(graph, bases), want, rtol, atol)
      check(label .. " plain " .. view.name, samples.run(graph, bases, "all"), want, rtol, atol)
      if not op.internal and not list.expect and list.at_once ~= false then
        check(label .. " at once " .. view.name, samples.call(op, case, strided), want, rtol, atol)
      end
      graph = samples.trace(dense, function(xs) return samples.call(op, case, xs) end)
      check(label .. " strided input " .. view.name, samples.run(graph, strided), want, rtol, atol)
    end
  end
end

local function has_float(case)
  for _, spec in ipairs(case) do
    if samples.is_float(spec) then return true end
  end
  return false
end

describe("forward", function()
  for _, op in ipairs(core.ops()) do
    it(op.name .. ": fast against plain", function()
      local list = samples.of(op)
      for i, case in ipairs(list) do
        if sanitized and i > 3 then break end
        check_case(op, list, case, samples.label(op, i), "f32")
      end
    end)

    it(op.name .. ": strided inputs", function()
      local list = samples.of(op)
      for i, case in ipairs(list) do
        if sanitized and i > 2 then break end
        check_views(op, list, case, samples.label(op, i), "f32")
      end
    end)

    it(op.name .. ": every dtype", function()
      local list = samples.of(op)
      for _, dtype in ipairs(samples.dtypes(list)) do
        for i, case in ipairs(list) do
          if i > (sanitized and 2 or 4) then break end
          if dtype ~= "f32" and has_float(case) then check_case(op, list, case, samples.label(op, i, dtype), dtype) end
        end
      end
    end)
  end

  it("ops that scripts cannot call are samples of a graph that holds them, or belong to another spec", function()
    for _, op in ipairs(core.ops()) do
      local list = samples.of(op)
      assert(#list > 0 or samples.elsewhere[op.name], op.name .. " has no case")
      if op.internal and not samples.elsewhere[op.name] then
        assert.are.equal(op.name, list.expect, op.name .. ": its samples must say `expect`")
      end
    end
  end)

  it("copy and size, which only graphs hold, compute what they say", function()
    local graph = core.graph_parse([[graph {
      %0 = input "x" : f32 [2,3]
      %1 = transpose(%0) perm=[1,0] : f32 [3,2]
      %2 = copy(%1) : f32 [3,2]
      %3 = size size=7 : i64 []
      inputs %0
      outputs %2, %3
    }]], {})
    for _, off in ipairs { "", "all" } do
      local y, n = graph:program({ passes_off = off }):run({ core.tensor { { 1, 2, 3 }, { 4, 5, 6 } } })
      assert.are.same({ { 1, 4 }, { 2, 5 }, { 3, 6 } }, y:totable())
      assert.are.equal(7, n:item())
    end
  end)

  it("an op without samples fails", function()
    assert.has_error(function() samples.of({ name = "no_such_op", kind = "structured" }) end)
  end)

  it("methods and functions are the same ops", function()
    local t = core.tensor({ 1, 2 })
    for _, op in ipairs(core.ops()) do
      if op.method and not op.internal then assert.is_function(t[op.name], op.name) end
      if not op.internal then assert.is_function(core[op.name], op.name) end
      if not op.method and not op.internal then assert.is_nil(t[op.name], op.name .. " is a method") end
    end
  end)
end)
