--- Which side of `mode(train, infer)` the layers being called take.
-- Here: the one dynamic setting, changed for the length of a call; the binding holds it, since `assign` follows it too. Invariant:
-- it is back at its old value when the call ends, also by an error. nil means both sides: a `mode` node, chosen when the graph is
-- compiled.
-- @module moonlet.mode

local core = require "moonlet.core"

local mode = {}

--- The setting: true, false or nil.
mode.get = core.training

--- Sets it and returns what it was; who calls this puts the old value back.
function mode.set(training)
  local saved = core.training()
  core.training_set(training)
  return saved
end

local function restore(saved, ok, ...)
  core.training_set(saved)
  if not ok then error((...), 0) end
  return ...
end

--- Calls f(...) with the setting `training` (true, false, or nil for both).
function mode.with(training, f, ...)
  return restore(mode.set(training), pcall(f, ...))
end

--- The setting for a call on x: numbers (Tensors, or anything in eager mode) cannot wait for a compiler, so nil becomes false.
function mode.of(x)
  local training = core.training()
  if training ~= nil then return training end
  if core.kind(x) ~= "symbol" or core.is_eager() then return false end
  return nil
end

--- What `train()` or `infer()` gives for a call on x, or a node that holds both.
function mode.choose(x, train, infer)
  local training = mode.of(x)
  if training == true then return train() end
  if training == false then return infer() end
  return core.mode(train(), infer())
end

return mode
