--- Data for training: `ml.data`.
-- Here: the list of what the folder offers. Invariant: requiring it does no work.
-- @module moonlet.data
-- @usage local train, test = ml.data.csv("digits.csv", { label = -1 }):split(0.8, 1)
-- model:fit(train:shuffle(1):batch(32), { epochs = 10, validation = test })

local dataset = require "moonlet.data.dataset"
local generator = require "moonlet.data.generator"
local csv = require "moonlet.data.csv"
local npy = require "moonlet.data.npy"
local safetensors = require "moonlet.data.safetensors"

return {
  Dataset = dataset.Dataset,
  dataset = dataset.new,
  is_dataset = dataset.is_dataset,
  generator = generator.new,
  csv = csv.load,
  npy = npy.load,
  npy_save = npy.save,
  safetensors = safetensors.load,
  safetensors_save = safetensors.save,
}
