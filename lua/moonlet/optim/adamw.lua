--- Adam with decoupled weight decay.
-- Here: `ml.optim.AdamW`.
-- @classmod moonlet.optim.adamw

local Adam = require "moonlet.optim.adam"

local rows = {
  { "weight_decay", "nonnegative", default = 0.004 },
  { "exclude_from_weight_decay", "table", default = {}, text = "a table of strings", test = function(v)
    if type(v) ~= "table" then return false end
    for _, word in ipairs(v) do
      if type(word) ~= "string" then return false end
    end
    return true
  end },
  { "beta_1", "fraction", default = 0.9 },
  { "beta_2", "fraction", default = 0.999 },
  { "epsilon", "nonnegative", default = 1e-7 },
}

--- Adam that takes `lr weight_decay w` off each weight in each step (Loshchilov and Hutter, 2017).
-- @function optim.AdamW
-- @tparam[opt=0.001] number|function lr or a function of the step, which is counted from 0
-- @tparam[opt=0.004] number weight_decay
-- @tparam[opt] table exclude_from_weight_decay weights whose names contain one of these words do not decay
-- @tparam[opt=0.9] number beta_1
-- @tparam[opt=0.999] number beta_2
-- @tparam[opt=1e-7] number epsilon
-- @tparam[opt] number clipnorm each gradient is scaled down to this norm
-- @tparam[opt] number clipvalue gradients are cut to [-clipvalue, clipvalue]
-- @tparam[opt] number global_clipnorm all gradients together are scaled down to this norm
-- @usage local optimizer = ml.optim.AdamW { weight_decay = 0.01, exclude_from_weight_decay = { "bias", "gamma", "beta" } }
local AdamW = Adam:extend("AdamW", 0.001, rows)

function AdamW:decay_of(variable)
  for _, word in ipairs(self.settings.exclude_from_weight_decay) do
    if variable.name:find(word, 1, true) then return 0 end
  end
  return self.settings.weight_decay
end

return AdamW
