--- The fastest way on this machine: `ml.tune(model)`.
-- Here: making the programs of a model that are worth measuring, and what came out as a table. Measuring is the core's (tuner.c).
-- Invariant: variables stay as they are, and nothing is measured or written by anything but `run`.
--
-- Choices that win by more than 5 % are tried in the whole step, which runs by turns with them and without; only if it is faster
-- with them beyond chance they are used by whatever is compiled from then on: the model itself, from its next step on, and other
-- models. A step that takes longer than a thirtieth of the time given cannot be judged. Programs that were compiled before stay as
-- they are, to the bit. Unless told otherwise it is also kept in the file `tuned` of the cache folder (`MOONLET_CACHE_DIR`), which
-- later processes read before they compile for the first time: a process that does not tune computes the same from its first step
-- to its last. Delete the file to go back to the rules of the kernels.
-- `program:explain()` says `tuned:` where a choice was measured, `table:` where it came with the library.
-- @module moonlet.tune
-- @usage local t = ml.tune(model, { seconds = 5 })
-- for _, row in ipairs(t) do print(row.node, row.before_us, row.after_us, row.row) end

local core = require "moonlet.core"
local host = require "moonlet.host"
local util = require "moonlet.util"

local tune = {}

local OPTIONS = {
  { "seconds", "positive", default = 2 }, { "batch_size", "count", default = 32 }, { "training", "boolean" },
  { "x", "any" }, { "y", "any" }, { "save", "boolean", default = true }, { "print", "boolean", default = false },
}

-- ---- Data of the right shapes ----

local function zeros_like(self, symbol, batch_size)
  local shape = symbol.shape
  shape[1] = batch_size
  for axis, size in ipairs(shape) do
    if type(size) ~= "number" then
      self:fail("ml.tune: size %d of '%s' is not known; give one batch: ml.tune(model, { x =, y = })", axis, symbol.name)
    end
  end
  return core.zeros(shape, symbol.dtype)
end

local function zero_inputs(model, batch_size)
  local entry, list = model:main_entry(), {}
  for i, formal in ipairs(entry.formals) do list[i] = zeros_like(model, formal, batch_size) end
  return util.unflatten(entry.like, list)
end

-- Targets that the losses take: labels, or numbers of the outputs' shapes.
local function zero_targets(model, x)
  local entry, compiled, list = model:main_entry(), model.net.compiled, {}
  local heads = compiled.heads_of(entry)
  for i, output in ipairs(model:program("predict", x):outputs()) do
    local shape = output.shape
    if heads[i].loss and heads[i].loss.labels then shape[#shape] = nil end
    list[i] = core.zeros(shape, heads[i].loss and heads[i].loss.labels and "i64" or output.dtype)
  end
  return util.unflatten(entry.outputs, list)
end

-- ---- Results ----

--- @type Tuning
local Tuning = util.class("Tuning")

local function us_text(us)
  return us >= 1e3 and string.format("%.2f ms", us / 1e3) or string.format("%.1f us", us)
end

function Tuning:init(text)
  self.better, self.left, self.kept, self.saved = 0, 0, false, false
  for line in text:gmatch "[^\n]+" do
    local parts = {}
    for part in line:gmatch "[^\t]+" do parts[#parts + 1] = part end
    if #parts == 6 then
      local row = parts[6] ~= "-" and parts[6] or nil
      self[#self + 1] = { node = parts[1], kernel = parts[2], before_us = tonumber(parts[3]), after_us = tonumber(parts[4]),
        candidates = tonumber(parts[5]), row = row }
      if row then self.better = self.better + 1 end
    elseif parts[1] == "left" then
      self.left = tonumber(parts[2])
    elseif parts[1] == "whole" then
      self.before_us, self.after_us = tonumber(parts[2]), tonumber(parts[3])
    elseif parts[1] == "kept" or parts[1] == "saved" then
      self[parts[1]] = parts[2] == "1"
    end
  end
end

local function kept_note(self, save)
  if self.saved then return "kept for later processes" end
  return save and "for this process only: there is no cache folder that can be written" or "for this process only"
end

local function note_of(self, save)
  if self.better == 0 then return "nothing was faster than what was used" end
  local whole = string.format("the whole %s -> %s, ", us_text(self.before_us), us_text(self.after_us))
  return whole .. (self.kept and kept_note(self, save) or "not beyond chance: nothing changes")
end

--- A line for each node that was measured.
-- @treturn string
function Tuning:text()
  local lines = {}
  for i, row in ipairs(self) do
    lines[i] = string.format("%10s -> %10s  %2d tried  %s: %s", us_text(row.before_us), us_text(row.after_us), row.candidates,
      row.node, row.row and row.row:match "[^ ]+ [^ ]+ (.*)" or row.kernel)
  end
  lines[#lines + 1] = string.format("%d of %d nodes faster, no time left for %d; %s", self.better, #self, self.left, self.note)
  return table.concat(lines, "\n")
end

Tuning.__tostring = Tuning.text

-- ---- Tuning ----

local function program_of_model(model, opts)
  local training = opts.training
  if training == nil then training = model.net.compiled ~= nil end
  if training and not model.net.compiled then
    model:fail("ml.tune: the model is not compiled: call compile first, or ml.tune(model, { training = false })")
  end
  local x = opts.x == nil and zero_inputs(model, opts.batch_size) or opts.x
  if not training then return model:program("predict", x) end
  local y = opts.y
  if y == nil then y = zero_targets(model, x) end
  return model:program("train", x, y)
end

--- Tunes a model for one kind of step and one batch size, or a program.
-- @param what a model, or a program
-- @tparam[opt] table opts `seconds` to spend (2), of which the heaviest nodes get most; for a model `batch_size` (32), `training`
-- (true when it is compiled), and `x`, `y`: a batch, where sizes are not known without data; `save` (true): also for later
-- processes; `print` (false)
-- @treturn Tuning a list, heaviest first: `node`, `kernel`, `before_us`, `after_us`, `candidates` tried, `row` of the table or nil
-- when nothing was faster; `better` (how many), `left` (nodes for which there was no time), `before_us`, `after_us` of the whole,
-- `kept`, `saved`, and `note`, the same in words
function tune.run(what, opts)
  local Network = require "moonlet.network"
  opts = util.options("ml.tune", OPTIONS, opts)
  local program = core.kind(what) == "program" and what
  if not program then
    if not util.is_a(what, Network) then core.fail("ml.tune: expected a model or a program, got %s", util.describe(what)) end
    program = program_of_model(what, opts)
  end
  local made = Tuning(program:tune(opts.seconds, not opts.save))
  made.note = note_of(made, opts.save)
  if program ~= what and what.net.compiled then require("moonlet.step").recompile(what.net.compiled) end
  if opts.print then host.write(made:text() .. "\n") end
  return made
end

return tune
