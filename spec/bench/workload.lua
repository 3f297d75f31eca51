--- A workload as something that runs: `workload.make "gpt_train"`. Each file of workloads/ builds what a user would: a model with
-- data for it, or a traced step. Here it becomes a compiled program whose buffers are used again, as Program:run is documented.
local ml = require "moonlet"
local core = require "moonlet.core"
local util = require "moonlet.util"

local workload = {}

-- name, kind, argument of the file's function, its file if that is not the name, dtype policy (such rows have no peers: theirs are
-- measured in f32)
workload.ROWS = {
  { "mlp_train", "train" }, { "cnn_train", "train" }, { "resnet18_train", "train" }, { "gpt_train", "train" },
  { "lstm_train", "train" }, { "unet_train", "train" }, { "mobilenetv2_train", "train" }, { "dqn_train", "train" },
  { "tiny_infer", "infer" }, { "lstm_infer", "infer" },
  { "mobilenetv2_infer_b1", "infer", 1, "mobilenetv2_infer" }, { "mobilenetv2_infer_b8", "infer", 8, "mobilenetv2_infer" },
  { "resnet50_infer_b1", "infer", 1, "resnet50_infer" }, { "resnet50_infer_b8", "infer", 8, "resnet50_infer" },
  { "gpt2_prefill", "infer" }, { "gpt2_decode", "infer" },
  { "mlp_train_bf16", "train", nil, "mlp_train", "mixed_bf16" }, { "gpt_train_bf16", "train", nil, "gpt_train", "mixed_bf16" },
  { "gpt2_decode_bf16", "infer", nil, "gpt2_decode", "mixed_bf16" },
}

local function row_of(name)
  for _, row in ipairs(workload.ROWS) do
    if row[1] == name then return row end
  end
  error("no workload is named " .. name)
end

local function list_of(x) return core.kind(x) and { x } or x end

-- The graph of one step, and what it is given.
local function graph_of(made, kind)
  local inputs = list_of(made.x)
  if made.step then return made.step:graph(util.unpack(inputs)), inputs end
  if kind == "infer" then return made.model:step_graph("predict", made.x), inputs end
  local all = {}
  for i, t in ipairs(inputs) do all[i] = t end
  all[#all + 1] = made.y
  return made.model:step_graph("train", made.x, made.y), all
end

local function weights_of(made)
  local list = {}
  for _, model in ipairs(made.models or { made.model }) do
    for _, variable in ipairs(model.variables) do list[#list + 1] = variable end
  end
  return list
end

-- Multiplications and additions of products and convolutions, as the graph says before any pass made it better.
local function flops_of(graph, mode, inputs)
  local by_op = graph:program({ mode = mode, inputs = inputs, passes_off = "all" }):flops()
  local sum = 0
  for op, flops in pairs(by_op) do
    if op == "matmul" or op:find "^conv" then sum = sum + flops end
  end
  return sum
end

local Workload = {}
Workload.__index = Workload

--- What runs `made`: { model, x, y } or { models, step, x }, with flops and bytes where the graph does not tell; see workloads/.
function workload.of(made, kind)
  kind = kind or "train"
  local mode = kind == "train" and "train" or "infer"
  local graph, inputs = graph_of(made, kind)
  local self = setmetatable({ kind = kind, inputs = inputs, graph = graph, mode = mode }, Workload)
  self.weights, self.bytes, self.arithmetic = weights_of(made), made.bytes, made.flops
  self.program = graph:program { mode = mode, inputs = inputs }
  self.args = { step = 0, out = {} }
  for i, t in ipairs(inputs) do self.args[i] = t end
  for i, output in ipairs(self.program:outputs()) do self.args.out[i] = ml.zeros(output.shape, output.dtype) end
  -- Other devices compute later what a run asks for: a step has ended when a number of its result can be read.
  if core.device() ~= "cpu" then self.awaited = self.args.out[1]:reshape { -1 }[1] end
  return self
end

--- Builds a workload from its seed. Training steps go on from step to step; `make` again to begin anew.
function workload.make(name)
  local row = row_of(name)
  ml.seed(1)
  local before = ml.dtype_policy()
  ml.dtype_policy(row[5] or before)
  local self = workload.of(require("spec.bench.workloads." .. (row[4] or name))(row[3]), row[2])
  ml.dtype_policy(before)
  self.name = name
  return self
end

--- One step.
function Workload:step()
  self.args.step = self.args.step + 1
  self.program:run(self.args)
  if self.awaited then self.awaited:item() end
end

--- The loss of the last step.
function Workload:loss()
  return self.args.out[1]:item()
end

--- The arithmetic of a step.
function Workload:flops()
  if not self.arithmetic then self.arithmetic = flops_of(self.graph, self.mode, self.inputs) end
  return self.arithmetic
end

--- Writes weights and data for peers: w0000, w0001, .. in the order in which layers were made, x0, x1, ..
function Workload:save(path)
  local tensors = {}
  for i, variable in ipairs(self.weights) do tensors[#tensors + 1] = { ("w%04d"):format(i - 1), variable } end
  for i, t in ipairs(self.inputs) do tensors[#tensors + 1] = { "x" .. i - 1, t } end
  core.file_save(path, tensors)
end

return workload
