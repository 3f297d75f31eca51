-- lstm and gru over whole sequences: fast kernels against the plain scan in f64, forward and through time, over sizes that cut
-- steps by units, by rows and not at all; any number of threads gives the same bits.
local core = require("moonlet.core")
local samples = require("spec.support.samples")
local util = require("moonlet.util")

local sanitized = os.getenv("MOONLET_SANITIZER") ~= nil

local function random(rng, shape, dtype, scale)
  local list = {}
  for i = 1, samples.count(shape) do list[i] = (rng.next() * 2 - 1) * (scale or 1) end
  return #list == 0 and core.zeros(shape, dtype) or core.tensor(list, dtype):reshape(shape)
end

local function random_mask(rng, b, t)
  local list = {}
  for i = 1, b * t do list[i] = rng.next() < 0.6 end
  return #list == 0 and core.zeros({ b, t }, "bool") or core.tensor(list, "bool"):reshape { b, t }
end

-- Inputs of op, in its order; the mask is last.
local function inputs(op, s, dtype)
  local rng = samples.generator("recurrent")
  local gates = op == "lstm" and 4 or 3
  local list = {
    random(rng, { s.b, s.t, s.d }, dtype), random(rng, { s.d, gates * s.u }, dtype, 0.5),
    random(rng, { s.u, gates * s.u }, dtype, 1 / math.sqrt(math.max(s.u, 1))),
    random(rng, op == "lstm" and { 4 * s.u } or { 2, 3 * s.u }, dtype, 0.3),
  }
  if s.states or s.mask then
    for _ = 1, op == "lstm" and 2 or 1 do list[#list + 1] = random(rng, { s.b, s.u }, dtype, 0.7) end
  end
  if s.mask then list[#list + 1] = random_mask(rng, s.b, s.t) end
  return list
end

-- Outputs and gradients of a weighted sum of them.
local function graph(op, s, tensors, forward_only)
  return samples.trace(tensors, function(xs)
    local rng, args, loss = samples.generator("weights"), { util.unpack(xs) }, nil
    args[#args + 1] = { go_backwards = s.backwards or false }
    local out = { core[op](util.unpack(args)) }
    if forward_only then return out end
    for i, y in ipairs(out) do
      if s.only == nil or s.only == i then
        local part = core.sum(y * core.constant(random(rng, y.shape, y.dtype)))
        loss = loss and loss + part or part
      end
    end
    local wrt = {}
    for i = 1, #xs - (s.mask and 1 or 0) do wrt[i] = xs[i] end
    for _, g in ipairs(core.gradients(loss, wrt)) do out[#out + 1] = g end
    return out
  end)
end

local function flat(t)
  return samples.count(t.shape) == 0 and {} or t:reshape({ -1 }):totable()
end

local function close(label, got, want)
  for i = 1, #got do
    local x, y, top = flat(got[i]), flat(want[i]), 1e-6
    assert.are.equal(#y, #x, label)
    for k = 1, #y do top = math.max(top, math.abs(y[k])) end
    for k = 1, #y do
      if math.abs(x[k] - y[k]) > 5e-6 * top or x[k] ~= x[k] then
        error(("%s: result %d, element %d: %.9g, expected %.9g"):format(label, i, k, x[k], y[k]), 0)
      end
    end
  end
end

local function label_of(op, s)
  local words = {}
  for k, v in pairs(s) do words[#words + 1] = k .. "=" .. tostring(v) end
  table.sort(words)
  return op .. " " .. table.concat(words, " ")
end

-- The oracle is slow: beyond the small sizes, which meet all kinds, every size meets some.
local soak = os.getenv("MOONLET_SOAK") ~= nil
local small = { { b = 3, t = 4, d = 2, u = 5 }, { b = 2, t = 3, d = 1, u = 1 }, { b = 9, t = 2, d = 2, u = 17 } }
local large = {
  { b = 1, t = 1, d = 3, u = 64 }, { b = 1, t = 9, d = 2, u = 70 }, { b = 19, t = 3, d = 3, u = 33 },
  { b = 67, t = 2, d = 2, u = 16 }, { b = 8, t = 2, d = 1, u = 130 }, { b = 0, t = 3, d = 2, u = 4 },
  { b = 2, t = 0, d = 2, u = 4 }, { b = 2, t = 3, d = 0, u = 4 }, { b = 2, t = 3, d = 2, u = 0 }, { b = 40, t = 4, d = 2, u = 64 },
}
if soak then large[#large + 1] = { b = 32, t = 64, d = 256, u = 256 } end
local kinds = {
  {}, { states = true }, { backwards = true }, { mask = true }, { mask = true, backwards = true }, { only = 1 },
  { only = 2, states = true },
}

local function each_case(f)
  local function case(size, kind)
    local s = {}
    for key, v in pairs(size) do s[key] = v end
    for key, v in pairs(kind) do s[key] = v end
    f("lstm", s)
    f("gru", s)
  end
  for i, size in ipairs(small) do
    for k, kind in ipairs(kinds) do
      if not sanitized or (i + k) % 3 == 0 then case(size, kind) end
    end
  end
  for i, size in ipairs(large) do
    for k, kind in ipairs(kinds) do
      if soak or (i + k) % 7 == 0 then case(size, kind) end
    end
    case(size, { mask = true })
  end
end

describe("recurrent sequences", function()
  it("are what the scan gives, and their gradients", function()
    each_case(function(op, s)
      local x, exact = inputs(op, s, "f32"), inputs(op, s, "f64")
      for i, t in ipairs(x) do
        if t.dtype == "f32" then exact[i] = t:cast("f64") end
      end
      local want = samples.run(graph(op, s, exact), exact, "all")
      close(label_of(op, s), samples.run(graph(op, s, x), x), want)
      close(label_of(op, s) .. " forward", samples.run(graph(op, s, x, true), x), want)
    end)
  end)

  -- Where the sums go beyond all numbers, gates are 0 or 1: nothing is NaN.
  it("take infinite weights and states", function()
    for _, op in ipairs { "lstm", "gru" } do
      for _, place in ipairs { { input = 3, at = { 2, 5 } }, { input = 5, at = { 7, 3 } } } do
        local s = { b = 40, t = 3, d = 2, u = 64, states = true }
        local x = inputs(op, s, "f32")
        if op == "lstm" or place.input == 3 then x[place.input][place.at[1]][place.at[2]] = math.huge end
        local exact = {}
        for i, t in ipairs(x) do exact[i] = t:cast("f64") end
        close(label_of(op, s), samples.run(graph(op, s, x, true), x), samples.run(graph(op, s, exact, true), exact))
      end
    end
  end)

  it("use the kernels made for them, and none of a scan", function()
    local s = { b = 4, t = 3, d = 2, u = 8 }
    for _, op in ipairs { "lstm", "gru" } do
      local x = inputs(op, s, "f32")
      local text = graph(op, s, x):program({ mode = "train", inputs = x }):explain()
      assert.is_truthy(text:find("cpu_" .. op .. "_sequence_f32", 1, true))
      assert.is_truthy(text:find("cpu_" .. op .. "_sequence_grad_f32", 1, true))
      assert.is_nil(text:find("scan", 1, true))
    end
  end)
end)
