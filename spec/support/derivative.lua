--- Graphs of derivatives of a case of samples.lua, for the sweeps: its float results, weighted by fixed random numbers, are added
-- up, and that sum has gradients.
local core = require("moonlet.core")
local samples = require("spec.support.samples")

local derivative = {}

local function random_like(rng, shape)
  local list = {}
  for i = 1, samples.count(shape) do list[i] = rng.next() * 2 - 1 end
  if #list == 0 then return core.zeros(shape, "f64") end
  return core.tensor(list, "f64"):reshape(shape)
end

-- Sum of the float values by fixed random weights; nil when none is float.
local function weighted(rng, values)
  local total
  for _, y in ipairs(values) do
    if y.dtype == "f64" then
      local term = core.sum(y * core.constant(random_like(rng, y.shape)))
      total = total and total + term or term
    end
  end
  return total
end

--- Which inputs move: f64 ones, or those that the case names.
function derivative.moving(case, tensors)
  local list = {}
  if case.only then return case.only end
  for i, t in ipairs(tensors) do
    if t.dtype == "f64" and samples.is_float(case[i]) then list[#list + 1] = i end
  end
  return list
end

local function pick(list, which)
  local r = {}
  for i, k in ipairs(which) do r[i] = list[k] end
  return r
end

--- The loss of inputs xs and its gradients by the inputs `which`; of order 2, the loss is a weighted sum of the gradients of
-- order 1. nil: nothing that the case computes has a gradient.
function derivative.outputs(op, case, xs, which, order, label)
  local rng = samples.generator(label .. " cotangent")
  local wrt = pick(xs, which)
  local loss = weighted(rng, samples.call(op, case, xs))
  if loss and order == 2 then loss = weighted(rng, core.gradients(loss, wrt)) end
  if not loss then return nil end
  local outputs = { loss }
  for _, g in ipairs(core.gradients(loss, wrt)) do outputs[#outputs + 1] = g end
  return outputs
end

--- A graph of these; nil where there is none.
function derivative.graph(op, case, tensors, which, order, label)
  local outputs
  local graph = samples.trace(tensors, function(xs)
    outputs = derivative.outputs(op, case, xs, which, order, label)
    return outputs or { xs[1] }
  end)
  return outputs and graph or nil
end

return derivative
