--- Layers: `ml.nn`.
-- Here: the list of layers; each file is loaded when its layer is first named. Invariant: requiring this does no work.
-- @module moonlet.nn

local util = require "moonlet.util"

local files = {}
for _, name in ipairs({
  "Activation", "Add", "Bidirectional", "Concatenate", "Conv1D", "Conv2D", "Conv2DTranspose", "Conv3D", "Dense",
  "DepthwiseConv2D", "Dropout", "Embedding", "Flatten", "GRU", "Lambda", "LSTM", "Layer", "Masking", "MultiHeadAttention",
  "Multiply", "Reshape", "Subtract", "Average", "Maximum", "Minimum",
}) do
  files[name] = "moonlet.nn." .. util.snake(name)
end
files.BatchNormalization = "moonlet.nn.batch_normalization"
files.LayerNormalization = "moonlet.nn.layer_normalization"
files.RMSNormalization = "moonlet.nn.rms_normalization"
files.BatchNorm, files.LayerNorm, files.RMSNorm = files.BatchNormalization, files.LayerNormalization, files.RMSNormalization
files.module = "moonlet.nn.module"
for rank = 1, 3 do
  for short, long in pairs({ MaxPool = "MaxPooling", AveragePool = "AveragePooling" }) do
    local file = "moonlet.nn." .. util.snake(short) .. rank .. "d"
    files[short .. rank .. "D"], files[long .. rank .. "D"] = file, file
    files["Global" .. short .. rank .. "D"], files["Global" .. long .. rank .. "D"] =
      "moonlet.nn.global_" .. util.snake(short) .. rank .. "d", "moonlet.nn.global_" .. util.snake(short) .. rank .. "d"
  end
end

return util.lazy({}, files)
