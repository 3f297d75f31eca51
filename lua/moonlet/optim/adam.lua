--- Adam.
-- Here: `ml.optim.Adam`.
-- @classmod moonlet.optim.adam

local Optimizer = require "moonlet.optim.optimizer"
local core = require "moonlet.core"

--- Adapts the step of each weight to the mean and size of its gradients (Kingma and Ba, 2014).
-- @function optim.Adam
-- @tparam[opt=0.001] number|function lr or a function of the step, which is counted from 0
-- @tparam[opt=0.9] number beta_1
-- @tparam[opt=0.999] number beta_2
-- @tparam[opt=1e-7] number epsilon
-- @tparam[opt] number clipnorm each gradient is scaled down to this norm
-- @tparam[opt] number clipvalue gradients are cut to [-clipvalue, clipvalue]
-- @tparam[opt] number global_clipnorm all gradients together are scaled down to this norm
-- @usage model:compile { optimizer = ml.optim.Adam { lr = 3e-4 }, loss = "mse" }
local Adam = Optimizer:extend("Adam", 0.001, {
  { "beta_1", "fraction", default = 0.9 },
  { "beta_2", "fraction", default = 0.999 },
  { "epsilon", "nonnegative", default = 1e-7 },
})

--- How much of a weight is taken off in each step, per unit of the learning rate.
function Adam:decay_of()
  return 0
end

function Adam:update(variable, grad, rate, t)
  local s = self.settings
  local m, v = self:slot(variable, "m"), self:slot(variable, "v")
  local w, m_next, v_next = core.adam_update(variable, grad, m, v, rate, t, {
    beta_1 = s.beta_1, beta_2 = s.beta_2, epsilon = s.epsilon, weight_decay = self:decay_of(variable),
  })
  variable:assign(w)
  m:assign(m_next)
  v:assign(v_next)
end

return Adam
