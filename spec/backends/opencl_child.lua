--- Compares some ops on the OpenCL device with the CPU in a process of its own, whose environment opencl_spec.lua chose, and prints
-- "0 wrong" or what differs: opencl_child.lua gpu|small. With "gpu" the kernels of some products follow.
package.cpath = os.getenv("MOONLET_BUILD") .. "/?.so;" .. package.cpath
package.path = "./?.lua;" .. package.path
local ml = require("moonlet")
local core = require("moonlet.core")
local compare = require("spec.backends.opencl_compare")

local wanted = {
  small = { tanh = 1 },
  gpu = { add = 1, where = 1, sum = 3, max = 2, matmul = 5, conv = 7, conv_input_grad = 7, conv_filter_grad = 7, max_pool = 1,
    softmax = 2, sort = 1, gather = 2, scatter_add = 1, normal = 1, cumsum = 1 },
}
local ok, message = pcall(compare.sweep, "f32", 4e-6, function(op, i) return i <= (wanted[arg[1]][op.name] or 0) end)
print(ok and "0 wrong" or message)
for _, device in ipairs(ml.devices()) do
  if device.backend == "opencl" then print(("built %d kept %d"):format(device.built, device.kept)) end
end
if arg[1] == "gpu" then
  compare.on("opencl", function()
    local a, b = ml.rand({ 130, 70 }), ml.rand({ 70, 90 })
    local f = ml.fn(function(x, y) return x:matmul(y) end)
    print(f:program(a, b):explain())
    local g = ml.fn(function(x, w)
      local y = core.conv(x, w, { padding = "same", strides = 2 })
      return y, ml.grad((y * y):sum(), { x, w })
    end)
    print(g:program(ml.rand({ 2, 9, 7, 4 }), ml.rand({ 3, 3, 4, 70 })):explain())
    local got = f(a, b)
    compare.on("cpu", function() print(compare.difference(got, a:matmul(b), 1e-5) or "alike") end)
  end)
end
