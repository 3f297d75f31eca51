-- Hostile bytes: changed graphs, models, arrays and tables are refused with a message, or are what they say. A fixed sample; with
-- MOONLET_SOAK=1 the long form. A crash ends the whole run: MOONLET_FUZZ_TRACE=1 prints the seed before each try.
local core = require "moonlet.core"
local bytes = require "spec.formats.bytes"
local graphs = require "spec.graph.graphs"
local mutate = require "spec.fuzz.mutate"
local samples = require "spec.support.samples"
local ml = require "moonlet"

local factor = os.getenv "MOONLET_SOAK" and 200 or os.getenv "MOONLET_SANITIZER" and 0.2 or 1
local tracing = os.getenv "MOONLET_FUZZ_TRACE" ~= nil

--- For what must hold of accepted input: raises no string, which would pass for a refusal.
local function must(holds, what)
  if not holds then error({ broken = what }) end
end

--- Calls try(changed) for n changes of each of the seeds' data; try raises for what is refused.
local function loop(name, data, n, words, try, first)
  local accepted = 0
  for seed = first or 1, (first or 1) + math.max(1, math.floor(n)) - 1 do
    if tracing then io.stderr:write(name, " seed ", seed, "\n") end
    local ok, message = pcall(try, mutate.change(data, seed, words))
    if ok then accepted = accepted + 1
    elseif type(message) ~= "string" or #message < 10 then
      error(name .. " seed " .. seed .. ": " .. tostring(type(message) == "table" and message.broken or message))
    end
    if seed % 500 == 0 then collectgarbage() end
  end
  return accepted
end

local graph_words = { "%0", "%1", "%4", "exp", "matmul", "scan", "cond", "while_loop", "constant", "variable", "assign", "input",
  "reshape",
  "shape=[", "axes=[0]", "f32", "f64", "i64", "bool", "[n]", "[0]", "[1,1]", "{", "}", "inputs", "outputs", "effects", ":", "@",
    '"', "floor(n/2)",
  "max(n,1)", "ncarry=1", "length=0", "reverse=true", "perm=[1,0]", "stream=0", "n-1", "2*n" }

local function small(shape)
  local count = 1
  for i = 1, #shape do
    if type(shape[i]) ~= "number" then return false end
    count = count * shape[i]
  end
  return count <= 4096
end

local resolver = {
  variable = function(name, dtype, shape) return small(shape) and core.variable(core.zeros(shape, dtype), name) or nil end,
  constant = function(_, dtype, shape) return small(shape) and core.zeros(shape, dtype) or nil end,
}

--- What a program would do with a graph from a stranger: parse, print, compile, and run where that is small.
local function use_graph(text)
  local g = core.graph_parse(text, resolver)
  local ok, again = pcall(core.graph_parse, g:text(), resolver)
  must(ok, again)
  must(g:text() == again:text(), "the text of a graph does not come back")
  g:dot()
  local types, tensors = {}, {}
  for i, x in ipairs(g:inputs()) do
    local shape = {}
    for k, n in ipairs(x.shape) do shape[k] = type(n) == "number" and n or 3 end
    if not small(shape) then return end
    types[i] = { dtype = x.dtype, shape = shape }
    tensors[i] = core.zeros(shape, x.dtype)
  end
  local program = g:program { mode = "train", inputs = types }
  if program:stats().arena_bytes > 1e6 or program:stats().launches > 500 or g:text():find "while_loop" then return end
  for _, o in ipairs(program:outputs()) do
    if not small(o.shape) then return end
  end
  local first = { program:run(tensors) }
  for i, t in ipairs(first) do
    must(table.concat(program:outputs()[i].shape, ",") == table.concat(t.shape, ","), "an output of another shape")
  end
end

describe("fuzz", function()
  -- New sizes are kept for good, so the long form goes in portions that a second run of the same shows to be no leak.
  for _, name in ipairs(graphs.names) do
    local total = math.floor(250 * factor)
    for first = 1, total, 1000 do
      it("graph text: " .. name .. " from seed " .. first, function()
        local g = graphs[name]()
        loop(name, core.graph_texts({ g })[1], math.min(1000, total - first + 1), graph_words, use_graph, first)
      end)
    end
  end

  it("graph text: every op", function()
    for _, op in ipairs(core.ops()) do
      local case = samples.of(op)[1]
      if case then
        local tensors = samples.tensors(case, "f32", op.name)
        local g = samples.trace(tensors, function(xs) return samples.call(op, case, xs) end)
        loop(op.name, g:text(), 12 * factor, graph_words, use_graph)
      end
    end
  end)

  it("attributes given by a script", function()
    local rng = require("spec.support.random_graph").generator(5)
    local values = { 0, 1, -1, 2, 7, -9, 2 ^ 31, 2 ^ 53, -2 ^ 53, 1e300, 0.5, 1 / 0, 0 / 0, true, false, "same", "valid", "f32",
      "i64", {}, { 0 },
      { 1, 1 }, { 2, 2 }, { -1, 3 }, { 2 ^ 40, 1 }, { 1, 2, 3 }, { "x" }, { 1, 1, 1, 1, 1, 1, 1, 1, 1 } }
    local function any_attrs(op, attrs)
      local copy = {}
      for k, v in pairs(attrs or {}) do copy[k] = v end
      if #op.attrs > 0 then
        for _ = 1, rng.int(1, 2) do copy[rng.pick(op.attrs).name] = rng.pick(values) end
      end
      return copy
    end
    local ops = core.ops()
    local refused, done = 0, 0
    for _ = 1, math.floor(1500 * factor) do
      local op = rng.pick(ops)
      local case = not op.internal and samples.of(op)[1]
      -- Ops without inputs are computed at once: a large size would not be refused but tried.
      if case and not case.f and op.max_inputs ~= 0 then
        local tensors = samples.tensors(case, "f32", op.name)
        local changed = { attrs = any_attrs(op, case.attrs), list = case.list }
        if tracing then io.stderr:write(op.name, "\n") end
        local inputs = {}
        for i, t in ipairs(tensors) do inputs[i] = core.placeholder("x" .. i, t.dtype, t.shape, t.ndim) end
        local ok, message = pcall(function()
          core.trace_begin()
          local built, outputs = pcall(samples.call, op, changed, inputs)
          core.trace_end()
          if not built then error(outputs, 0) end
          local program = core.graph(inputs, outputs):program { inputs = tensors }
          for _, o in ipairs(program:outputs()) do
            if not small(o.shape) then return end
          end
          if program:stats().arena_bytes < 1e6 then program:run(tensors) end
        end)
        if ok then done = done + 1 else refused = refused + 1 end
        assert.is_true(ok or type(message) == "string")
      end
    end
    assert.is_true(refused > 10 * factor and done > 10 * factor)
  end)

  it("safetensors", function()
    local data = core.file_encode({ { "w", graphs.numbers { 3, 4 } }, { "b", core.tensor({ 1, 2 }, "u8") }, { "s", core.tensor(1,
      "i64") } },
      { note = "x", ["moonlet.version"] = "0.1.0" })
    local words = { '"dtype":"F16"', '"shape":[]', '"data_offsets":[0,0]', "{}", "__metadata__", '\\u0000', "\\ud83c", ",", "F64",
      "BOOL" }
    loop("safetensors", data, 2500 * factor, words, function(changed)
      local f = core.file_decode(changed)
      for _, name in ipairs(f.names) do must(#core.tostring(f.tensors[name]) <= 8 * #changed, "tensors larger than the file") end
      local list = {}
      for i, name in ipairs(f.names) do list[i] = { name, f.tensors[name] } end
      must(pcall(function() core.file_decode(core.file_encode(list, f.texts)) end), "what was read cannot be written")
    end)
  end)

  it("npy", function()
    local path = bytes.file("", finally)
    local words = { "'descr'", "'<f8'", "'>i2'", "True", "(", ")", "2L", "'shape': (3,)", "\147NUMPY" }
    for _, data in ipairs { bytes.npy(bytes.dictionary("<f4", true, "2, 3"), ("\0\1\2\3"):rep(6)),
      bytes.npy(bytes.dictionary("|b1", false, ""), "\1", 2) } do
      loop("npy", data, 500 * factor, words, function(changed)
        bytes.write(path, changed)
        must(#core.tostring(core.npy_load(path)) <= 8 * #changed, "an array larger than the file")
      end)
    end
  end)

  it("csv", function()
    local path = bytes.file("", finally)
    local words = { ",", "\n", "\r\n", '"', "nan", "-", "1e5", "\0", " ", ",,", ";" }
    loop("csv", 'a,"b",c\n1,2.5,-3\n"4",5e3,.5\r\n\n7,8,9\n', 800 * factor, words, function(changed)
      bytes.write(path, changed)
      local t = core.csv_load(path)
      must(t.ndim == 2 and t.shape[1] * t.shape[2] <= #changed, "a table larger than the file")
    end)
  end)

  it("saved models", function()
    local nn = ml.nn
    local path = bytes.file("", finally)
    local model = ml.Sequential { nn.Dense { 4, activation = "relu" }, nn.BatchNormalization {}, nn.Dense { 2 } }
    model:compile { optimizer = "adam", loss = "mse" }
    model:fit(core.ones { 8, 3 }, core.zeros { 8, 2 }, { epochs = 1, verbose = 0 })
    model:save(path, { training = true })
    local data = bytes.read(path)
    local x = core.ones { 2, 3 }
    local want = model:predict(x):totable()
    local accepted = loop("model", data, 150 * factor, graph_words, function(changed)
      bytes.write(path, changed)
      local loaded = ml.load(path)
      loaded:predict(x)
    end)
    bytes.write(path, data)
    local loaded = ml.load(path)
    assert.same(want, loaded:predict(x):totable())
    assert.is_true(accepted < 150 * math.max(1, factor))
  end)
end)
