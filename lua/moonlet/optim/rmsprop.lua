--- RMSprop.
-- Here: `ml.optim.RMSprop`.
-- @classmod moonlet.optim.rmsprop

local Optimizer = require "moonlet.optim.optimizer"
local core = require "moonlet.core"

--- Divides each gradient by a moving root of its mean square (Hinton, 2012).
-- @function optim.RMSprop
-- @tparam[opt=0.001] number|function lr or a function of the step, which is counted from 0
-- @tparam[opt=0.9] number rho
-- @tparam[opt=0] number momentum
-- @tparam[opt=1e-7] number epsilon
-- @tparam[opt] number clipnorm each gradient is scaled down to this norm
-- @tparam[opt] number clipvalue gradients are cut to [-clipvalue, clipvalue]
-- @tparam[opt] number global_clipnorm all gradients together are scaled down to this norm
-- @usage model:compile { optimizer = "rmsprop", loss = "mse" }
local RMSprop = Optimizer:extend("RMSprop", 0.001, {
  { "rho", "fraction", default = 0.9 },
  { "momentum", "fraction", default = 0 },
  { "epsilon", "nonnegative", default = 1e-7 },
})

function RMSprop:update(variable, grad, rate)
  local s = self.settings
  local v = self:slot(variable, "v")
  local m = s.momentum > 0 and self:slot(variable, "m") or nil
  local w, v_next, m_next = core.rmsprop_update(variable, grad, v, m or v, rate,
    { rho = s.rho, momentum = s.momentum, epsilon = s.epsilon })
  variable:assign(w)
  v:assign(v_next)
  if m then m:assign(m_next) end
end

return RMSprop
