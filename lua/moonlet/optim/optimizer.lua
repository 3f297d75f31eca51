--- The base of all optimizers: learning rate, clipping, slots, the step counter.
-- Here: what they share; each file beside holds one. The arithmetic of updates is the core's. Invariant: everything a step changes
-- is a variable, so that a compiled step and a saved model need no Lua.
-- @classmod moonlet.optim.optimizer

local core = require "moonlet.core"
local trace = require "moonlet.trace"
local util = require "moonlet.util"

local Optimizer = util.class("Optimizer")

local COMMON = {
  { "name", "name" },
  { "clipnorm", "positive" },
  { "clipvalue", "positive" },
  { "global_clipnorm", "positive" },
}

local function is_rate(value)
  if type(value) == "function" then return true end
  if type(value) == "number" then return value >= 0 and value < math.huge end
  local mt = getmetatable(value)
  return type(value) == "table" and type(mt) == "table" and mt.__call ~= nil
end

local RATE = { "lr", "any", text = "a number that is not negative, or a function of the step", test = is_rate }

--- Derives a class. rate is its default learning rate; rows are its other arguments. `learning_rate` and `lr` are one argument.
function Optimizer:extend(name, rate, rows)
  local class = util.class(name, self)
  local all = {
    { "lr", "any", default = rate, text = RATE.text, test = is_rate },
    { "learning_rate", "any", text = RATE.text, test = is_rate },
  }
  for _, row in ipairs(rows) do all[#all + 1] = row end
  for _, row in ipairs(COMMON) do all[#all + 1] = row end
  class.rows = all
  return class
end

function Optimizer:init(given)
  local class = getmetatable(self)
  local settings = util.options(class.class_name, class.rows, given)
  if given and given.lr ~= nil and given.learning_rate ~= nil then
    core.fail("%s: lr and learning_rate are one argument, got both", class.class_name)
  end
  local clips = (settings.clipnorm and 1 or 0) + (settings.clipvalue and 1 or 0) + (settings.global_clipnorm and 1 or 0)
  if clips > 1 then
    core.fail("%s: only one of clipnorm, clipvalue and global_clipnorm can be given, got %d of them", class.class_name, clips)
  end
  self.settings = settings
  self.name = settings.name or class.class_name:lower()
  self.iterations = core.variable(core.zeros({}, "i64"), "optimizer/iterations", false)
  local rate = settings.learning_rate or settings.lr
  local fixed = type(rate) == "number"
  self.rate = core.variable(core.tensor(fixed and rate or 0, "f32"), "optimizer/learning_rate", false)
  self.rate_now = core.zeros({}, "f32") -- on the way to the variable
  self.steps = 0      -- what iterations holds, for schedules; known without reading the variable
  self.slots = {}     -- variable -> { name -> variable }
  self.slot_order = {} -- list of { variable =, name =, slot = }
  self:setup()
  if not fixed then self:set_lr(rate) end
end

--- Further checks of a class's settings; nothing to do here.
function Optimizer:setup() end

function Optimizer:fail(format, ...)
  return core.fail("%s: " .. format, getmetatable(self).class_name, ...)
end

--- Sets the learning rate: a number, or a function of the step, which is counted from 0.
function Optimizer:set_lr(value)
  util.check(getmetatable(self).class_name, RATE, value)
  self.schedule = type(value) ~= "number" and value or nil
  if self.schedule then
    self:follow_schedule()
  else
    self.rate:write(core.tensor(value, "f32"))
  end
end

--- The learning rate now, as a number.
function Optimizer:get_lr()
  return self.rate:read():item()
end

--- Writes what a schedule gives for the coming step. A step that is compiled calls this before it runs.
function Optimizer:follow_schedule()
  if not self.schedule then return end
  local value = self.schedule(self.steps)
  if type(value) ~= "number" or value ~= value then
    self:fail("the learning rate of step %d must be a number, got %s", self.steps, util.describe(value))
  end
  self.rate:write(self.rate_now:fill(value))
end

local function read_lr(self) return self:get_lr() end
Optimizer.getters.lr, Optimizer.getters.learning_rate = read_lr, read_lr

--- `optimizer.lr = 0.1` and `optimizer.learning_rate = 0.1` set it.
function Optimizer:__newindex(key, value)
  if key == "lr" or key == "learning_rate" then return self:set_lr(value) end
  return rawset(self, key, value)
end

-- Runs before each step, compiled or not.
local function before_step(self)
  self:follow_schedule()
  self.steps = self.steps + 1
end

--- The slot of a variable, made of zeros when it is first asked for.
function Optimizer:slot(variable, name)
  local own = self.slots[variable]
  if not own then
    own = {}
    self.slots[variable] = own
  end
  if not own[name] then
    own[name] = core.variable(core.zeros(variable.shape, variable.dtype), self:slot_name(variable, name), false)
    self.slot_order[#self.slot_order + 1] = { variable = variable, name = name, slot = own[name] }
  end
  return own[name]
end

--- `optimizer/dense_1/kernel/m`
function Optimizer:slot_name(variable, name)
  return "optimizer/" .. variable.name .. "/" .. name
end

--- All state: the counter, the learning rate, and the slots, renamed after their variables.
-- @treturn {Variable,...}
function Optimizer:variables()
  local list = { self.iterations, self.rate }
  for _, entry in ipairs(self.slot_order) do
    local name = self:slot_name(entry.variable, entry.name)
    if entry.slot.name ~= name then entry.slot:rename(name) end
    list[#list + 1] = entry.slot
  end
  return list
end

--- Takes over the counter, the learning rate and the schedule of a saved model; each may be nil.
function Optimizer:restore(iterations, rate, schedule)
  if iterations then
    self.iterations:write(iterations)
    self.steps = iterations:item()
  end
  if rate then self.rate:write(rate) end
  self.schedule = schedule
end

local MOST = 100 -- inputs of one node

local function norm_squared(grads)
  local sum
  for first = 1, #grads, MOST do
    local list = {}
    for i = first, math.min(#grads, first + MOST - 1) do list[#list + 1] = grads[i] end
    local part = core.sum_squares(list)
    sum = sum and sum + part or part
  end
  return sum
end

-- The factor that brings a norm down to limit, at most 1.
local function shrink(squared, limit)
  return limit / core.maximum(core.sqrt(squared), limit)
end

local function clip(self, grads)
  local s, clipped = self.settings, {}
  if s.global_clipnorm then
    local factor = shrink(norm_squared(grads), s.global_clipnorm)
    for i, g in ipairs(grads) do clipped[i] = g * factor end
  elseif s.clipnorm then
    for i, g in ipairs(grads) do clipped[i] = g * shrink(core.sum_squares({ g }), s.clipnorm) end
  elseif s.clipvalue then
    for i, g in ipairs(grads) do clipped[i] = core.maximum(core.minimum(g, s.clipvalue), -s.clipvalue) end
  else
    return grads
  end
  return clipped
end

local function check_lists(self, grads, variables)
  if core.kind(variables) == "variable" then variables = { variables } end
  if util.is_array(grads) then grads = { grads } end
  if type(grads) ~= "table" or type(variables) ~= "table" then
    self:fail("apply takes a table of gradients and a table of variables, got %s and %s", util.describe(grads),
      util.describe(variables))
  end
  if #grads ~= #variables then
    self:fail("apply takes as many gradients as variables, got %d and %d", #grads, #variables)
  end
  for i, v in ipairs(variables) do
    if core.kind(v) ~= "variable" then self:fail("apply: entry %d must be a variable, got %s", i, util.describe(v)) end
    if not util.is_array(grads[i]) then
      self:fail("apply: the gradient of '%s' must be a tensor, got %s", v.name, util.describe(grads[i]))
    end
  end
  return grads, variables
end

--- Changes variables by one step against their gradients. Inside `ml.fn` it adds the updates to the graph.
-- @usage optimizer:apply(ml.grad(loss, variables), variables)
-- @tparam {Tensor,...} grads
-- @tparam {Variable,...} variables
function Optimizer:apply(grads, variables)
  grads, variables = check_lists(self, grads, variables)
  if #grads == 0 then return end
  if not trace.before_run(function() before_step(self) end) then before_step(self) end
  grads = clip(self, grads)
  local following = self.iterations + 1
  self.iterations:assign(following)
  local t, rate = core.cast(following, "f32"), self.rate
  for i, v in ipairs(variables) do self:update(v, grads[i], rate, t) end
end

--- One variable's update; a class defines it. rate and t (the step, from 1) have rank 0.
function Optimizer:update(variable, grad, rate, t)
  return self:fail("the class has no method 'update'")
end

function Optimizer:__tostring()
  return string.format("%s (lr %.4g)", getmetatable(self).class_name, self:get_lr())
end

return Optimizer
