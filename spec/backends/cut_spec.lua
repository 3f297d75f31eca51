-- Long lines: kernels that work along one are cut into many jobs and rounds, so that a slice ends in time; the results are those of
-- a whole run, and right.
local core = require "moonlet.core"

local N = 50000

local function numbers(shape) return core.uniform { shape = shape, lo = -1, hi = 1 } end
local function few(shape) return core.integers { shape = shape, lo = 0, hi = 7 } end

-- name, inputs, function, least slices
local cases = {
  { "sort", { numbers { N } }, function(x) return (core.sort(x, { axis = 1 })) end, 40 },
  { "sort of few different ones, descending", { few { 3, N } },
    function(x) return (core.sort(x, { axis = 2, descending = true })) end, 100 },
  { "sort along the first axis", { numbers { N / 10, 4 } }, function(x) return (core.sort(x, { axis = 1 })) end, 10 },
  { "topk", { numbers { N } }, function(x) return (core.topk(x, { k = 5 })) end, 40 },
  { "permutation", {}, function() return core.permutation(N) end, 40 },
  { "argmax", { numbers { N } }, function(x) return core.argmax(x, 1) end, 5 },
  { "argmin along the first axis", { numbers { N, 2 } }, function(x) return core.argmin(x, 1) end, 5 },
  { "cumsum", { numbers { N } }, function(x) return core.cumsum(x, { axis = 1 }) end, 5 },
  { "cumsum, reversed and exclusive", { numbers { 2, N } },
    function(x) return core.cumsum(x, { axis = 2, reverse = true, exclusive = true }) end, 5 },
  { "softmax", { numbers { 300000 } }, function(x) return core.softmax(x) end, 3 },
  { "scatter_add", { numbers { 10, 3 }, core.integers({ shape = { N }, lo = 0, hi = 10 }), numbers { N, 3 } },
    function(x, index, updates) return core.scatter_add(x, index, updates, 1) end, 5 },
}

local function program_of(case)
  local formals = {}
  core.trace_begin()
  for i, t in ipairs(case[2]) do formals[i] = core.placeholder("x" .. i, t.dtype, t.shape) end
  local y = case[3]((table.unpack or unpack)(formals)) -- luacheck: ignore 113 143
  core.trace_end()
  return core.graph(formals, { y }):program()
end

local function arguments(case)
  local args = { step = 5 }
  for i, t in ipairs(case[2]) do args[i] = t end
  return args
end

describe("a long line is cut:", function()
  for _, case in ipairs(cases) do
    it(case[1], function()
      local program, args = program_of(case), arguments(case)
      local want = core.tostring(program:run(args))
      args.budget_us = 0.001
      local slices, done, y = 0
      repeat
        done, y = program:run(args)
        slices = slices + 1
        if slices % 7 == 3 and slices < 30 then -- given up half way, and begun again
          program:cancel()
          args = arguments(case)
          args.budget_us = 0.001
        end
      until done
      assert.equal(want, core.tostring(y))
      assert.is_true(slices >= case[4], slices .. " slices")
    end)
  end
end)

describe("a sorted line", function()
  for _, n in ipairs { 1, 2, 1023, 1024, 1025, 2048, 2049, 5000, 20001 } do
    it("of " .. n .. " is stable and complete", function()
      local x = core.integers { shape = { 2, n }, lo = 0, hi = 12 }
      local values, positions = core.sort(x, { axis = 2 })
      values, positions = values:totable(), positions:totable()
      for r, row in ipairs(x:totable()) do
        local order = {}
        for i = 1, n do order[i] = i end
        table.sort(order, function(a, b)
          if row[a] ~= row[b] then return row[a] < row[b] end
          return a < b
        end)
        for i = 1, n do
          assert(values[r][i] == row[order[i]])
          assert(positions[r][i] == order[i] - 1)
        end
      end
    end)
  end
end)
