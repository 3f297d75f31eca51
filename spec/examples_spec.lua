-- Every example runs from a checkout, in its quick form, and says what it should.
local build = os.getenv "MOONLET_BUILD" or "build"

-- Output (stdout and stderr) and exit status of a shell command.
local function run(command)
  local pipe = assert(io.popen("{ " .. command .. "; } 2>&1; echo status $?"))
  local text = pipe:read "*a"
  pipe:close()
  local output, status = text:match "^(.*)status (%d+)%s*$"
  return output, tonumber(status)
end

local function example(name, argument)
  local output, status = run(string.format("EPOCHS=1 %s/moonlet examples/%s %s", build, name, argument or ""))
  assert.equal(0, status, output)
  return output
end

local function has(output, pattern)
  assert.truthy(output:find(pattern), string.format("no '%s' in:\n%s", pattern, output))
end

describe("examples in Lua", function()
  it("digits: trains, shows digits, saves, tells its accuracy last", function()
    local path = os.tmpname()
    local output = example("digits.lua", path)
    has(output, "^device: %w+")
    has(output, "\nepoch 1/1 .- loss %d")
    has(output, "reads %d")
    has(output, "█")
    has(output, "\nmodel saved: " .. path:gsub("%p", "%%%0"))
    has(output, "\ntest accuracy: %d+%.%d %%\n$")
    assert.is_nil(output:find "\27", "control characters without a terminal")
    local accuracy = tonumber(output:match "test accuracy: ([%d.]+)")
    assert.is_true(accuracy > 60, output)
    os.remove(path)
  end)

  it("regression: fits and plots", function()
    local output = example "regression.lua"
    has(output, "loss\n")
    has(output, "fitted")
    has(output, "mean absolute error: %d+%.%d+\n$")
  end)

  it("training_loop: traces once", function()
    local output = example "training_loop.lua"
    has(output, "epoch%s+1  loss %d")
    has(output, "traced 1 times")
  end)

  it("vae: writes digits", function()
    local output = example "vae.lua"
    has(output, "epoch%s+1  loss %d")
    has(output, "[░▒▓█]")
  end)

  it("characters: writes text", function()
    local output = example "characters.lua"
    has(output, "^%d+ characters")
    has(output, "\nlocal ")
  end)

  it("cart_pole: learns to balance, and shows it", function()
    local output = example "cart_pole.lua"
    has(output, "^after  4%d+ steps the pole stays up for +%d+\n")
    has(output, "learnt: %d+ steps of at most 500")
    has(output, "\n +[/|\\] +x +%-?%d%.%d+  angle")
  end)

  it("swish_layer: trains", function()
    local output = example "swish_layer.lua"
    has(output, "^loss %d")
    has(output, "[sS]wish")
  end)

  it("swish_layer_spec: passes", function()
    local output, status = run(build .. "/moonlet spec/support/run_busted.lua -o plainTerminal examples/swish_layer_spec.lua")
    assert.equal(0, status, output)
    has(output, "3 successes / 0 failures / 0 errors")
  end)
end)

-- `make cspec` builds them with the library.
describe("examples in C", function()
  local folder = os.tmpname()
  local model, resumed = folder .. ".moon", folder .. ".resumed.moon"
  local data = "examples/data/digits.csv"

  local function program(name, ...)
    return run(table.concat({ build .. "/examples/" .. name, ... }, " "))
  end

  setup(function() example("digits.lua", model) end)
  teardown(function()
    for _, path in ipairs { folder, model, resumed } do os.remove(path) end
  end)

  it("embed: reads what Lua saved", function()
    local output, status = program("embed", model, data, "17")
    assert.equal(0, status, output)
    has(output, "^row 17: the model reads %d, the label is 7\n$")
  end)

  it("embed: says what is wrong", function()
    local output, status = program("embed", "no-such-file.moon")
    assert.equal(1, status)
    has(output, "no%-such%-file.moon")
    output, status = program("embed", model, data, "99999")
    assert.equal(1, status)
    has(output, "no image at row 99999")
  end)

  it("train: the loss falls", function()
    local output, status = program "train"
    assert.equal(0, status, output)
    local first, last = output:match "^step%s+0  loss ([%d.]+)", output:match "step 2000  loss ([%d.]+)\n$"
    assert.is_true(tonumber(last) < tonumber(first) / 10, output)
  end)

  it("resume: goes on training", function()
    local output, status = program("resume", model, data, resumed)
    assert.equal(0, status, output)
    has(output, "step %d+  loss %d")
    has(output, "trained from step 45 on, saved: ")
    output, status = program("embed", resumed)
    assert.equal(0, status, output)
  end)

  for name, arguments in pairs {
    embed = function() return model, data, "17" end,
    train = function() end,
    resume = function() return model, data, resumed end,
  } do
    it(name .. ": a thousand steps leave memory as it was", function()
      local output, status = program("repeat/" .. name, arguments())
      assert.equal(0, status, output)
      has(output, "memory before and after 1000 steps: %d+ and %d+ bytes")
    end)
  end
end)
