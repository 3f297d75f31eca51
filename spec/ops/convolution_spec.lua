-- Convolution's kernels against each other, on every instruction set and with 1 and 2 threads, which must agree to the bit: direct
-- sums against plain kernels in f64, Winograd's algorithm against direct sums, over odd sizes, paddings and channels. The sweep of
-- forward_spec has the small cases of every op; here are the ones that fast kernels need to be chosen at all.
local core = require("moonlet.core")
local process = require("spec.support.process")

-- x, w, attributes; against: passes that the reference does without ("all": plain kernels in f64).
local script = [[
local core = require("moonlet.core")
local graphs = require("spec.graph.graphs")
core.seed(11)
local sum = 0
local function note(t)
  local bytes = graphs.bytes({ t })
  for i = 1, #bytes, 97 do sum = (sum * 31 + bytes:byte(i)) % 2147483629 end
end
local function results(tensors, attrs, off)
  core.trace_begin()
  local s = {}
  for i, t in ipairs(tensors) do s[i] = core.placeholder("x" .. i, t.dtype, t.shape, t.ndim) end
  local y = core.conv(s[1], s[2], attrs)
  local dx = core.gradients((y * s[3]):sum(), { s[1], s[2] })
  core.trace_end()
  return { core.graph(s, { y, dx[1], dx[2] }):program({ inputs = tensors, passes_off = off }):run(tensors) }
end
-- Loops before and after: what finishes the products and their gradients where they are computed.
local function finished(tensors, attrs, off)
  core.trace_begin()
  local s = {}
  for i, t in ipairs(tensors) do s[i] = core.placeholder("x" .. i, t.dtype, t.shape, t.ndim) end
  local h = core.conv((s[1] + s[4]):relu(), s[2], attrs)
  local y = (h + s[5]):relu() * 0.5 + s[3]
  local d = core.gradients((y * s[3]):sum(), { s[1], s[2], s[4], s[5] })
  local z = core.conv(s[1], s[2], attrs) + s[5]
  local clamped = (core.conv(s[1], s[2], attrs) + s[5]):relu():minimum(1.5):maximum(0.25)
  local outputs = { y, d[1], d[2], d[3], d[4], z, z:tanh(), clamped }
  core.trace_end()
  return { core.graph(s, outputs):program({ inputs = tensors, passes_off = off }):run(tensors) }
end
local function compare(label, got, want, tolerance)
  for i = 1, #want do
    local d, size = (got[i] - want[i]):abs():max():item(), (want[i] * want[i]):mean():item() ^ 0.5
    if not (d <= tolerance * (size + 1e-30)) then print(label .. " " .. i .. ": " .. d .. " off, of about " .. size) end
    note(got[i])
  end
end
local function check(label, x, w, attrs, against, tolerance)
  x, w = core.normal(x), core.normal(w)
  local tensors = { x, w, core.normal(core.conv(x, w, attrs).shape) }
  local wide = {}
  for i, t in ipairs(tensors) do wide[i] = against == "all" and t:cast("f64") or t end
  compare(label, results(tensors, attrs, ""), results(wide, attrs, against), tolerance)
  tensors[4], tensors[5] = core.normal { x.shape[x.ndim] }, core.normal { w.shape[w.ndim] }
  for i = 4, 5 do wide[i] = against == "all" and tensors[i]:cast("f64") or tensors[i] end
  compare(label .. " finished", finished(tensors, attrs, ""), finished(wide, attrs, against .. ",fuse"), tolerance * 4)
end
]]

local direct = [[
for _, case in ipairs {
  { { 2, 9, 11, 3 }, { 3, 3, 3, 20 }, { padding = "same" } },
  { { 1, 17, 15, 3 }, { 7, 7, 3, 16 }, { strides = 2, padding = "same" } },
  { { 2, 8, 8, 24 }, { 3, 3, 24, 40 }, { strides = 2, padding = "same" } }, { { 3, 7, 7, 40 }, { 1, 1, 40, 24 }, { strides = 2 } },
  { { 2, 10, 9, 16 }, { 3, 3, 16, 16 }, { dilation = 2, padding = "same" } }, { { 1, 6, 6, 32 }, { 3, 3, 8, 32 }, { groups = 4 } },
  { { 2, 9, 10, 40 }, { 3, 3, 1, 40 }, { groups = 40, padding = "same" } },
  { { 1, 12, 13, 19 }, { 3, 3, 1, 19 }, { groups = 19, strides = 2, padding = "same" } },
  { { 2, 7, 5, 8 }, { 5, 4, 1, 8 }, { groups = 8, pad_lo = { 3, 0 }, pad_hi = { 0, 2 } } }, { { 1, 1, 1, 5 }, { 1, 1, 5, 7 }, {} },
  { { 1, 4, 4, 2 }, { 3, 3, 2, 3 }, { padding = "same", strides = 3 } }, { { 1, 5, 4, 32 }, { 1, 1, 32, 288 }, { strides = 2 } },
  { { 1, 3, 4, 32 }, { 3, 3, 32, 256 }, { padding = "same" } }, { { 1, 3, 3, 96 }, { 3, 2, 96, 256 }, { padding = "same" } },
  { { 2, 1, 40, 12 }, { 1, 3, 12, 12 }, { padding = "same" } }, { { 2, 5, 7, 24 }, { 1, 1, 24, 64 }, {} },
  { { 1, 4, 5, 600 }, { 1, 1, 600, 64 }, {} }, { { 1, 6, 6, 300 }, { 3, 3, 300, 33 }, { strides = 2, padding = "same" } },
  { { 2, 9, 8, 40 }, { 3, 3, 40, 36 }, { strides = 2, padding = "same" } },
  { { 4, 13, 13, 32 }, { 3, 3, 32, 160 }, { strides = 2 } },
  { { 2, 7, 6, 80 }, { 3, 3, 40, 144 }, { groups = 2, padding = "same" } },
  { { 1, 5, 70, 72 }, { 3, 3, 1, 72 }, { groups = 72 } }, { { 1, 14, 14, 64 }, { 1, 1, 64, 384 }, {} },
  { { 1, 14, 14, 128 }, { 3, 3, 1, 128 }, { groups = 128, padding = "same" } }, { { 19, 5, 6, 16 }, { 3, 3, 16, 24 }, {} },
  { { 1, 7, 7, 160 }, { 3, 3, 160, 96 }, { padding = "same" } }, { { 1, 1, 400, 3 }, { 1, 41, 3, 24 }, { padding = "same" } },
  { { 2, 3, 290, 75 }, { 1, 3, 75, 40 }, { strides = { 1, 2 }, padding = "same" } },
} do check("direct " .. table.concat(case[1], ","), case[1], case[2], case[3], "all", 2e-5) end
print(sum)
]]

local winograd = [[
for _, case in ipairs {
  { { 2, 12, 9, 32 }, { 3, 3, 32, 48 }, { padding = "same" } }, { { 3, 19, 17, 48 }, { 3, 3, 48, 32 }, {} },
  { { 2, 21, 10, 32 }, { 3, 3, 32, 32 }, { pad_lo = { 2, 0 }, pad_hi = { 0, 3 } } },
  { { 40, 2, 2, 64 }, { 3, 3, 64, 64 }, { padding = "same" } }, { { 31, 3, 5, 64 }, { 3, 3, 64, 32 }, { padding = "same" } },
  { { 1, 33, 28, 64 }, { 3, 3, 64, 128 }, { padding = "same" } }, { { 1, 24, 22, 112 }, { 3, 3, 112, 160 }, { padding = "same" } },
  { { 4, 33, 30, 16 }, { 3, 3, 16, 32 }, { padding = "same" } }, { { 4, 33, 30, 32 }, { 3, 3, 32, 16 }, { padding = "same" } },
  { { 1, 25, 16, 32 }, { 3, 3, 32, 32 }, { pad_lo = 3, pad_hi = 2 } }, { { 5, 8, 8, 96 }, { 3, 3, 96, 336 }, { padding = "same" } },
} do check("winograd " .. table.concat(case[1], ","), case[1], case[2], case[3], "winograd", 2e-4) end
print(sum)
]]

local function compiled(off, channels)
  local x = core.placeholder("x", "f32", { 8, 32, 32, channels })
  core.trace_begin()
  local w = core.placeholder("w", "f32", { 3, 3, channels, 32 })
  local y = core.conv(x, w, { padding = "same" })
  local d = core.gradients((y * y):sum(), { x, w })
  core.trace_end()
  local last
  core.graph({ x, w }, { y, d[1], d[2] }):program({ passes_off = off, dump = function(_, text) last = text end })
  return last
end

describe("convolution", function()
  for name, text in pairs { direct = direct, winograd = winograd } do
    it(name .. " agrees with the reference and does not depend on threads, on every instruction set", function()
      process.on_all_machines(script .. text, function(where, ok, said) assert(ok, where .. ": " .. said) end)
    end)
  end

  it("goes by Winograd's algorithm where that pays, unless the pass is off", function()
    if os.getenv("MOONLET_ISA") == "baseline" then return end -- whose direct sums it does not replace
    for channels = 16, 32, 16 do
      local with, without = compiled("", channels), compiled("winograd", channels)
      for _, op in ipairs { "winograd_filter", "winograd_conv", "winograd_input_grad", "winograd_filter_grad" } do
        assert.matches("= " .. op .. "%(", with)
        assert.is_nil(without:find(op, 1, true), op)
      end
      assert.is_nil(with:find("= conv", 1, true))
    end
  end)

  it("goes by direct sums where the environment says so", function()
    local said = process.output_of([[
      local core = require("moonlet.core")
      local x = core.placeholder("x", "f32", { 2, 16, 16, 32 })
      core.trace_begin()
      local y = core.conv(x, core.normal { 3, 3, 32, 32 })
      core.trace_end()
      core.graph({ x }, { y }):program({ dump = function(pass, text)
        if pass == "winograd" then print(text:find("winograd", 1, true)) end
      end })
    ]], "MOONLET_WINOGRAD=0")
    assert.equal("nil\n", said)
  end)

  local function parsed(u, op)
    return core.graph_parse(([[graph {
      %%0 = input "x" : f32 [2,16,16,32]
      %%1 = input "w" : f32 [3,3,32,32]
      %%2 = input "u" : f32 [%s]
      %%3 = %s(%%0, %%1, %%2) padding=same%s : f32 [2,16,16,32]
      inputs %%0, %%1, %%2
      outputs %%3
    }]]):format(u, op, op == "winograd_conv" and "" or " shape=[2,16,16,32]"), {})
  end

  it("does not read a transformed filter of other sizes", function()
    local x, w = core.normal { 2, 16, 16, 32 }, core.normal { 3, 3, 32, 32 }
    for _, op in ipairs { "winograd_conv", "winograd_input_grad" } do
      for _, u in ipairs { "1,36,31,32", "2,36,32,32", "1,35,32,32", "1,36,32,16", "3", "0,36,32,32", "" } do
        local sizes = {}
        for n in u:gmatch("%d+") do sizes[#sizes + 1] = tonumber(n) end
        local graph, tensors = parsed(u, op), { x, w, core.zeros(sizes) }
        local got = graph:program({ inputs = tensors }):run(tensors)
        local want = graph:program({ inputs = tensors, passes_off = "all" }):run(tensors)
        assert.is_true((got - want):abs():max():item() < 1e-3)
      end
    end
  end)

  it("packs filters once where weights last and lie a power of two apart", function()
    local x, w = core.placeholder("x", "f32", { 1, 5, 5, 32 }), core.normal { 3, 3, 32, 256 }
    core.trace_begin()
    local y = core.conv(x, w, { padding = "same", strides = 2 }):relu()
    core.trace_end()
    local graph, text = core.graph({ x }, { y }), nil
    local program = graph:program({ dump = function(_, t) text = t end })
    assert.matches("= conv_packed%(", text)
    local input = core.normal { 1, 5, 5, 32 }
    local want = graph:program({ passes_off = "all" }):run { input }
    assert.is_true((program:run { input } - want):abs():max():item() < 1e-4)
    graph:program({ mode = "train", dump = function(_, t) text = t end })
    assert.is_nil(text:find("conv_packed", 1, true))
    local _, said = pcall(core.graph_parse, [[graph {
      %0 = input "w" : f32 [4,40]
      %1 = pack_filter(%0) : f32 [2,1,4,32]
      inputs %0
      outputs %1
    }]], {})
    assert.matches("needs w %[k.., c, f%], f known: w %(4, 40%)", tostring(said))
  end)

  it("packs filters as the definition says", function()
    for _, f in ipairs { 8, 32, 40 } do
      local graph = core.graph_parse(([[graph {
        %%0 = input "w" : f32 [2,3,5,%d]
        %%1 = pack_filter(%%0) : f32 [%d,6,5,32]
        inputs %%0
        outputs %%1
      }]]):format(f, math.ceil(f / 32)), {})
      local w = core.normal { 2, 3, 5, f }
      local got, want = graph:program():run { w }, graph:program({ passes_off = "all" }):run { w }
      assert.equal(0, (got - want):abs():max():item())
    end
  end)

  it("transforms filters as the definition says", function()
    for _, case in ipairs { { 32, 48, 4, false }, { 48, 32, 4, true }, { 16, 80, 2, false }, { 80, 16, 2, true },
      { 5, 3, 4, true } } do
      local c, f, tile, turned = case[1], case[2], case[3], case[4]
      local rows, columns = turned and f or c, turned and c or f
      local graph = core.graph_parse(([[graph {
        %%0 = input "w" : f32 [3,3,%d,%d]
        %%1 = winograd_filter(%%0) tile=%d turned=%s : f32 [%d,%d,%d,32]
        inputs %%0
        outputs %%1
      }]]):format(c, f, tile, tostring(turned), math.ceil(columns / 32), (tile + 2) ^ 2, rows), {})
      local w = core.normal { 3, 3, c, f }
      local got, want = graph:program():run { w }, graph:program({ passes_off = "all" }):run { w }
      assert.is_true((got - want):abs():max():item() < 1e-5)
    end
  end)

  it("says what is wrong with a filter to be transformed", function()
    local function parse(w, tile)
      local _, text = pcall(core.graph_parse, ([[graph {
        %%0 = input "w" : f32 [%s]
        %%1 = winograd_filter(%%0) tile=%d : f32 [1,36,32,32]
        inputs %%0
        outputs %%1
      }]]):format(w, tile), {})
      return tostring(text)
    end
    assert.matches("tile must be 2 or 4, got 3", parse("3,3,32,32", 3))
    assert.matches("needs w %[3, 3, c, f%] of known sizes: w %(3, 2, 32, 32%)", parse("3,2,32,32", 4))
  end)
end)
