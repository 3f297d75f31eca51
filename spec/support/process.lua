--- Scripts in processes of their own, for what only the environment can set (threads, instruction set).
local process = {}

local build = os.getenv "MOONLET_BUILD" or "build"

local function interpreter()
  if os.getenv "MOONLET_SANITIZER" then return build .. "/moonlet" end
  local i = -1
  while arg and arg[i - 1] do i = i - 1 end
  return arg and arg[i] or "lua"
end

--- What a script prints, errors included; environment: "MOONLET_THREADS=1".
function process.output_of(script, environment)
  local path = os.tmpname()
  local f = assert(io.open(path, "w"))
  f:write(string.format("package.cpath = %q .. package.cpath\n", build .. "/?.so;"))
  f:write("package.path = './?.lua;./lua/?.lua;./lua/?/init.lua;' .. package.path\n", script)
  f:close()
  local pipe = assert(io.popen(environment .. " " .. interpreter() .. " " .. path .. " 2>&1"))
  local said = pipe:read "*a"
  pipe:close()
  os.remove(path)
  return said
end

--- Runs a script that prints one number on every instruction set with 1 and 2 threads: each must print a number, and the number of
--- threads must not change it.
function process.on_all_machines(script, check)
  for _, isa in ipairs { "baseline", "avx2", "avx512", "amx" } do
    local one = process.output_of(script, "MOONLET_ISA=" .. isa .. " MOONLET_THREADS=1")
    check(isa, one:match "^%-?%d+\n$" ~= nil, one)
    local two = process.output_of(script, "MOONLET_ISA=" .. isa .. " MOONLET_THREADS=2")
    check(isa .. ", 2 threads", two == one, two)
  end
end

return process
