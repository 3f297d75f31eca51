--- What a model is compiled with, as plain data and back.
-- Here: names, settings and objects of our own classes, told by class and settings. Functions, and objects of a script's own
-- classes, are code, which files do not hold. Invariant: an object made of what a file says is one of ours, made by its
-- constructor.
-- @module moonlet.recipe

local Loss = require("moonlet.losses").Loss
local Metric = require "moonlet.metrics.metric"
local core = require "moonlet.core"
local losses = require "moonlet.losses"
local metrics = require "moonlet.metrics"
local optim = require "moonlet.optim"
local util = require "moonlet.util"

local recipe = {}

-- What a class of ours is found in, and its settings as they were given.
local SORTS = {
  loss = { classes = losses, is = function(value) return util.is_a(value, Loss) end, settings = function(value)
    local settings = {}
    for _, row in ipairs(getmetatable(value).rows) do settings[row[1]] = value[row[1]] end
    return settings
  end },
  metric = { classes = metrics, is = function(value) return util.is_a(value, Metric) end, settings = function(value)
    return value.given or {}
  end },
  schedule = { classes = optim.schedules, is = function(value) return util.is_a(value, optim.schedules.Schedule) end,
    settings = function(value) return value.settings end },
}

-- Is class one that a file may name: a part of ours with rows of settings?
local function is_ours(sort, name, class)
  return type(class) == "table" and rawget(sort.classes, name) == class and class.rows ~= nil
end

-- The plain form of a value; nil and what is in the way when it is code.
local function plain_of(value)
  if type(value) == "function" then return nil, "a function of the script" end
  if type(value) ~= "table" then return value end
  local class = getmetatable(value)
  if class == nil then
    local copy = {}
    for key, entry in pairs(value) do
      local odd
      copy[key], odd = plain_of(entry)
      if odd then return nil, odd end
    end
    return copy
  end
  for name, sort in pairs(SORTS) do
    if sort.is(value) and is_ours(sort, class.class_name, class) then
      local settings, odd = plain_of(sort.settings(value))
      if odd then return nil, odd end
      return { sort = name, class = class.class_name, settings = settings }
    end
  end
  return nil, "an object of the script's own class " .. tostring(class.class_name or "")
end

-- The value that a plain form stands for.
local function value_of(form)
  if type(form) ~= "table" then return form end
  local sort = SORTS[form.sort]
  if sort then
    local class = type(form.class) == "string" and rawget(sort.classes, form.class)
    if not is_ours(sort, form.class, class) then core.fail("ml.load: there is no %s %s", form.sort, util.describe(form.class)) end
    return class(value_of(form.settings))
  end
  local copy = {}
  for key, entry in pairs(form) do copy[key] = value_of(entry) end
  return copy
end

local FIXED_RATE = { lr = true, learning_rate = true }

local function optimizer_form(optimizer)
  local name = getmetatable(optimizer).class_name
  local settings, odd = {}, nil
  if optim[name] ~= getmetatable(optimizer) then return nil, "an optimizer of the script's own class " .. name end
  for key, value in pairs(optimizer.settings) do
    if not FIXED_RATE[key] then settings[key], odd = plain_of(value) end
    if odd then return nil, odd end
  end
  local schedule = optimizer.schedule and plain_of(optimizer.schedule)
  return { class = name, settings = settings, schedule = schedule, unknown_schedule = optimizer.schedule and not schedule or nil }
end

local GIVEN = { "loss", "loss_weights", "metrics", "weighted_metrics" }

--- The plain form of what `compile` was given; nil and what is in the way.
function recipe.of(compiled)
  local optimizer, odd = optimizer_form(compiled.optimizer)
  local form = { optimizer = optimizer }
  for _, key in ipairs(GIVEN) do
    if not odd then form[key], odd = plain_of(compiled.given[key]) end
  end
  if odd then return nil, odd end
  return form
end

local function lost_schedule()
  return core.fail("the learning rate followed a function of the script, which files do not hold: set model.optimizer.lr again, " ..
    "to a number, a schedule of ml.optim.schedules or the function")
end

local function optimizer_of(form)
  local class = type(form) == "table" and type(form.class) == "string" and optim[form.class]
  if type(class) ~= "table" or not class.rows then core.fail("ml.load: the optimizer is not known: %s", util.describe(form)) end
  local optimizer = class(value_of(form.settings or {}))
  if form.unknown_schedule then return optimizer, lost_schedule end
  return optimizer, form.schedule and value_of(form.schedule)
end

--- What `compile` takes, of a plain form, and the schedule that the optimizer follows, if any.
function recipe.read(form)
  local given = {}
  for _, key in ipairs(GIVEN) do given[key] = value_of(form[key]) end
  local schedule
  given.optimizer, schedule = optimizer_of(form.optimizer)
  return given, schedule
end

return recipe
