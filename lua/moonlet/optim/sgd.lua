--- Gradient descent, with momentum.
-- Here: `ml.optim.SGD`.
-- @classmod moonlet.optim.sgd

local Optimizer = require "moonlet.optim.optimizer"
local core = require "moonlet.core"

--- `w <- w - lr g`; with momentum `m <- momentum m - lr g`, `w <- w + m`; with Nesterov `w <- w + momentum m - lr g`.
-- @function optim.SGD
-- @tparam[opt=0.01] number|function lr or a function of the step, which is counted from 0
-- @tparam[opt=0] number momentum
-- @tparam[opt=false] boolean nesterov
-- @tparam[opt] number clipnorm each gradient is scaled down to this norm
-- @tparam[opt] number clipvalue gradients are cut to [-clipvalue, clipvalue]
-- @tparam[opt] number global_clipnorm all gradients together are scaled down to this norm
-- @usage model:compile { optimizer = ml.optim.SGD { lr = 0.1, momentum = 0.9 }, loss = "mse" }
local SGD = Optimizer:extend("SGD", 0.01, {
  { "momentum", "fraction", default = 0 },
  { "nesterov", "boolean", default = false },
})

function SGD:update(variable, grad, rate)
  local s = self.settings
  if s.momentum == 0 then
    variable:assign(variable - grad * core.cast(rate, variable.dtype))
    return
  end
  local m = self:slot(variable, "m")
  local w, following = core.sgd_update(variable, grad, m, rate, { momentum = s.momentum, nesterov = s.nesterov })
  variable:assign(w)
  m:assign(following)
end

return SGD
