--- A step of training that takes its time: in slices of so many microseconds, or in the background.
-- Here: the one step of a model that has begun and is not over. Invariant: until it is over the model's weights are those of the
-- last whole step; whatever else trains the model, or replaces its weights, gives it up first.
-- @module moonlet.partial

local core = require "moonlet.core"
local util = require "moonlet.util"

local partial = {}

local LEAST_US = 0.001 -- one job: a program takes 0 as to the end

--- A step in the background, from `train_on_batch`.
-- @type StepTicket
local StepTicket = util.class("StepTicket")

local function finish(self, pending)
  self.net.pending = nil
  self.net.step = pending.number
  return pending.made:read({})
end

-- A step that came to nothing does not count, also not for a schedule of the learning rate.
local function forget(self, pending)
  self.net.pending = nil
  pending.optimizer.steps = pending.steps
end

local function pending_step(self, made)
  local optimizer = self.net.compiled.optimizer
  return { made = made, number = self.net.step + 1, optimizer = optimizer, steps = optimizer.steps }
end

--- Gives up the step that has begun, if there is one.
-- @tparam Network self
-- @tparam[opt] string reason what `result` of its ticket says
function partial.cancel(self, reason)
  local pending = self.net.pending
  if not pending then return end
  forget(self, pending)
  if pending.ticket then
    pending.ticket.failure = "the step was given up: " .. (reason or "it was cancelled")
    pending.running:cancel()
  else
    pending.program:cancel()
  end
end

-- ---- Slices ----

local function slice(self, pending, budget_us)
  pending.arguments.budget_us = budget_us
  local ok, done = pcall(pending.program.run, pending.program, pending.arguments)
  if not ok then
    forget(self, pending)
    error(done, 0)
  end
  if not done then return false end
  return true, finish(self, pending)
end

--- Goes on with the slices of a step that has begun; nil when there is none.
function partial.go_on(self, budget_us)
  local pending = self.net.pending
  if not pending or pending.ticket then return nil end
  return slice(self, pending, budget_us)
end

--- Begins a step and does its first slice, in the time that is left.
-- @tparam Network self
-- @tparam Step made
-- @tparam table batch
-- @tparam number deadline by `core.clock_us`
-- @treturn boolean is it done?
-- @treturn table loss and metrics, when it is
function partial.begin(self, made, batch, deadline)
  local pending = pending_step(self, made)
  pending.program, pending.arguments = made:bind(batch, pending.number)
  self.net.pending = pending
  return slice(self, pending, math.max(LEAST_US, deadline - core.clock_us()))
end

-- ---- In the background ----

function StepTicket:init(model, pending)
  self.model, self.pending = model, pending
end

-- Takes over what the run gave, when it is over.
local function settle(self)
  if self.logs or self.failure then return end
  local ok, message = pcall(self.pending.running.result, self.pending.running)
  if ok then
    self.logs = finish(self.model, self.pending)
  else
    forget(self.model, self.pending)
    self.failure = message
  end
end

--- Is it over? Never waits. Where no thread may run it, does a slice of it.
-- @tparam[opt=500] number budget_us of that slice
-- @treturn boolean
function StepTicket:done(budget_us)
  if self.logs or self.failure then return true end
  if not self.pending.running:done(budget_us) then return false end
  settle(self)
  return true
end

--- Waits until it is over; raises its error.
-- @treturn table numbers by name: `loss`, and the metrics
function StepTicket:result()
  settle(self)
  if self.failure then core.fail("%s", self.failure) end
  return self.logs
end

--- Gives it up, if it is not over: weights stay as they were.
function StepTicket:cancel()
  if self.model.net.pending == self.pending then partial.cancel(self.model) end
end

--- Begins a step in the background.
-- @treturn StepTicket
function partial.start(self, made, batch)
  local pending = pending_step(self, made)
  local program, arguments = made:bind(batch, pending.number)
  arguments.budget_us = nil
  pending.running = program:start(arguments)
  pending.ticket = StepTicket(self, pending)
  self.net.pending = pending
  return pending.ticket
end

return partial
