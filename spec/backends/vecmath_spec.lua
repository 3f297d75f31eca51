--- The functions of the tile VM against libm in double precision: a program prints the largest error of each in units in the last
-- place, over a sample here and over all 2^32 floats with MOONLET_SOAK=1.
local build = os.getenv("MOONLET_BUILD") or "build"

local function errors(program)
  local all = os.getenv("MOONLET_SOAK") and " --all" or ""
  local pipe = assert(io.popen(program .. all .. " 2>&1"))
  local text, found, count = pipe:read("*a"), {}, 0
  pipe:close()
  for name, ulp in text:gmatch("([%w_]+)%s+([%d.]+) ulp") do
    found[name], count = tonumber(ulp), count + 1
  end
  return found, count, text
end

local function check(program)
  local found, count, text = errors(program)
  if text:find "^not on this machine" then return pending "an instruction set that this machine lacks" end
  assert.is_true(count >= 28, text)
  for name, ulp in pairs(found) do
    local limit = (name:find "sigmoid" or name:find "gelu") and 4 or 2
    assert.is_true(ulp <= limit, ("%s: %g ulp"):format(name, ulp))
  end
  assert.is_nil(text:find "FAILED", text)
  assert.is_truthy(found.exp and found.log and found.tanh and found.erf and found.sin and found.cos and found.vexp)
end

describe("vector math", function()
  local plain = build .. "/spec/support/vecmath_check"
  it("is right within 2 ulp, the composed forms within 4", function() check(plain) end)
  for _, isa in ipairs { "avx2", "avx512" } do
    local file = io.open(plain .. "." .. isa)
    if file then
      file:close()
      it("is as right with the instructions of " .. isa, function() check(plain .. "." .. isa) end)
    end
  end
end)
