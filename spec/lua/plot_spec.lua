-- Curves in the terminal and as SVG.
local callbacks = require "moonlet.callbacks"
local core = require "moonlet.core"
local plot = require "moonlet.plot"
local axis = require "moonlet.plot.axis"

local function drawn(data, opts)
  local out = {}
  opts = opts or {}
  opts.write = function(text) out[#out + 1] = text end
  opts.width, opts.height = opts.width or 40, opts.height or 6
  plot(data, opts)
  return table.concat(out)
end

local function lines_of(text)
  local lines = {}
  for line in text:gmatch "(.-)\n" do lines[#lines + 1] = line end
  return lines
end

local function count(text, pattern)
  local _, n = text:gsub(pattern, "")
  return n
end

-- Every tag that opens closes, in order.
local function is_well_formed(xml)
  local stack = {}
  for closing, name, rest in xml:gmatch "<(/?)(%w+)([^>]*)>" do
    if closing == "/" then
      if table.remove(stack) ~= name then return false end
    elseif rest:sub(-1) ~= "/" then
      stack[#stack + 1] = name
    end
  end
  return #stack == 0
end

describe("plot in the terminal", function()
  it("draws a rising line from the lower left to the upper right", function()
    local lines = lines_of(drawn({ 1, 2, 3, 4 }, { height = 4 }))
    assert.equal(4 + 3, #lines)
    assert.truthy(lines[1]:find("⠉$") or lines[1]:find("⡠") or lines[1]:find("⠔") or lines[1]:find("⠊"), lines[1])
    assert.truthy(lines[4]:find "[│┤]⣀" or lines[4]:find "⡠", lines[4])
  end)

  it("keeps to the width", function()
    for _, line in ipairs(lines_of(drawn({ 1, 5, 2 }, { width = 50 }))) do
      local plain = line:gsub("[\128-\191]", "")
      assert.is_true(#plain <= 50, line)
    end
  end)

  it("marks curves differently, with and without colour", function()
    local plain = drawn { loss = { 3, 2, 1 }, val_loss = { 3, 3, 3 } }
    assert.truthy(plain:find("++ val_loss", 1, true))
    assert.is_nil(plain:find "\27")
    local color = drawn({ loss = { 3, 2, 1 }, val_loss = { 3, 3, 3 } }, { color = true })
    assert.truthy(color:find("\27[34m", 1, true))
    assert.truthy(color:find("\27[31m", 1, true))
  end)

  it("bears whatever numbers come", function()
    local huge, nan = math.huge, 0 / 0
    for _, list in ipairs { {}, { 1 }, { 5, 5 }, { nan, nan }, { huge, 1, -huge, 2 }, { 1e300, -1e300 }, { 0, 1e-300 } } do
      assert.equal("string", type(drawn { curve = list }))
    end
  end)

  it("takes tensors, positions and lists of lists", function()
    assert.truthy(drawn(core.tensor { 1, 2, 3 }):find("y", 1, true))
    assert.truthy(drawn({ { name = "points", x = { 0, 10 }, y = { 1, 2 } } }):find("points", 1, true))
    assert.truthy(drawn({ { 1, 2 }, { 2, 1 } }):find("y2", 1, true))
  end)

  it("blames what is wrong", function()
    assert.error_matches(function() plot(3) end, "expected lists of numbers, got number")
    assert.error_matches(function() plot { loss = { "x" } } end, "loss must hold numbers, got string at 1")
    assert.error_matches(function() plot { { name = "a", x = { 1 }, y = { 1, 2 } } } end, "a has 2 values but 1 positions")
    assert.error_matches(function() plot({ 1 }, { paht = "x.svg" }) end, "unknown option 'paht'; known: .*path")
  end)
end)

describe("plot as SVG", function()
  local path
  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  local function written(data, opts)
    opts = opts or {}
    opts.path = path
    assert.equal(path, plot(data, opts))
    local file = assert(io.open(path, "rb"))
    local text = file:read "*a"
    file:close()
    assert.is_true(is_well_formed(text))
    return text
  end

  it("writes axes, curves and legend", function()
    local text = written({ loss = { 3, 2, 1 }, val_loss = { 3, 2.5, 2 } }, { title = "training", x_label = "epoch" })
    assert.equal(2, count(text, "<polyline"))
    for _, word in ipairs { ">loss<", ">val_loss<", ">training<", ">epoch<", ">1<", ">3<" } do
      assert.truthy(text:find(word, 1, true), word)
    end
  end)

  it("escapes names", function()
    local text = written { ["a<b & \"c\""] = { 1, 2 } }
    assert.truthy(text:find("a&lt;b &amp; &quot;c&quot;", 1, true))
  end)

  it("leaves gaps where numbers are not finite", function()
    local text = written { { 1, 2, 0 / 0, 3, math.huge, 1, 2 } }
    assert.equal(2, count(text, "<polyline"))
    assert.equal(1, count(text, "<circle"))
    assert.is_nil(text:find "nan")
    assert.is_nil(text:find "inf")
  end)
end)

describe("history:plot", function()
  local function history()
    local h = callbacks.History()
    for epoch = 1, 3 do
      h:on_epoch_end(epoch, { loss = 3 / epoch, val_loss = 4 / epoch, accuracy = epoch / 3, val_accuracy = epoch / 4 })
    end
    return h
  end

  it("draws a panel per metric, loss first", function()
    local out = {}
    history():plot { width = 40, write = function(text) out[#out + 1] = text end }
    assert.equal(2, #out)
    assert.truthy(out[1]:find "^%s*loss\n")
    assert.truthy(out[1]:find("val_loss", 1, true))
    assert.truthy(out[2]:find "^%s*accuracy\n")
  end)

  it("draws chosen metrics", function()
    local out = {}
    history():plot { metrics = { "val_accuracy" }, width = 40, write = function(text) out[#out + 1] = text end }
    assert.equal(1, #out)
    assert.truthy(out[1]:find "^%s*accuracy\n")
    assert.error_matches(function() history():plot { metrics = { "f1" } } end, "no metric 'f1' in this history")
  end)

  it("writes SVG", function()
    local path = os.tmpname()
    assert.equal(path, history():plot(path))
    local file = assert(io.open(path, "rb"))
    local text = file:read "*a"
    file:close()
    os.remove(path)
    assert.equal(4, count(text, "<polyline"))
    assert.truthy(text:find(">epoch<", 1, true))
  end)
end)

describe("plot axes", function()
  it("have round marks inside the range", function()
    assert.same({ 0, 2, 4, 6, 8, 10 }, axis.ticks(0, 10, 5))
    assert.same({ 1, 1.5, 2 }, axis.ticks(0.9, 2.1, 3))
    assert.equal("0.5", axis.label(0.5))
    assert.equal("0", axis.label(1e-310))
  end)
end)
