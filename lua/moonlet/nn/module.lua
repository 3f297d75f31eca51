--- Models as Lua classes: `nn.module`.
-- Here: classes whose instances note the layers and variables that a script assigns to them. Invariant: they are noted in the order
-- of assignment; plain tables of them count, array part first, then keys in alphabetical order.
-- @module moonlet.nn.module

local Layer = require "moonlet.nn.layer"
local Network = require "moonlet.network"
local core = require "moonlet.core"
local util = require "moonlet.util"

local Module = util.class("Module", Network)

function Module:__newindex(key, value)
  if type(value) == "table" or core.kind(value) == "variable" then
    local order = rawget(self, "order")
    order[#order + 1] = key
  end
  rawset(self, key, value)
end

function Module:init(opts)
  rawset(self, "order", {})
  local name = type(opts) == "table" and opts.name
  self:begin({ name = type(name) == "string" and name or nil })
  local class = getmetatable(self)
  if class.constructor then class.constructor(self, opts or {}) end
end

-- Calls visit(value, path) for each layer and variable that was assigned.
local function each_member(self, visit)
  local seen = {}
  local function walk(value, path)
    if util.is_a(value, Layer) or core.kind(value) == "variable" then
      visit(value, path)
    elseif type(value) == "table" and not getmetatable(value) and not seen[value] then
      seen[value] = true
      for i = 1, util.max_index(value) do walk(value[i], path .. "/" .. i) end
      for _, key in ipairs(util.sorted_keys(value)) do walk(value[key], path .. "/" .. key) end
    end
  end
  for _, key in ipairs(rawget(self, "order")) do walk(rawget(self, key), tostring(key)) end
end

function Module:children()
  local list, seen = {}, {}
  each_member(self, function(value)
    if core.kind(value) == "variable" or seen[value] then return end
    seen[value] = true
    list[#list + 1] = { name = value.name, layer = value, shape = value.output_shape }
  end)
  return list
end

--- Weights made by `add_weight`, then variables that were assigned, named after their fields.
function Module:own_weights()
  local list, seen = {}, {}
  for _, weight in ipairs(self.weights) do
    seen[weight.variable] = true
    list[#list + 1] = weight
  end
  each_member(self, function(value, path)
    if core.kind(value) ~= "variable" or seen[value] then return end
    seen[value] = true
    list[#list + 1] = { name = path, variable = value }
  end)
  return list
end

function Module:call(x, opts)
  return self:fail("define its method: function %s:call(x) return ... end", getmetatable(self).class_name)
end

--- Makes a class of models. Instances are layers, and compile, fit, save as models do.
-- @usage
-- local Net = nn.module("Net", function(self, opts)
--   self.a = nn.Dense { opts.units or 32, activation = "relu" }
--   self.b = nn.Dense { 10 }
-- end)
-- function Net:call(x) return self.b(self.a(x)) end
-- local net = Net { units = 64 }
-- @tparam string name
-- @tparam[opt] function constructor gets the instance, and the table that the class was called with
-- @treturn table the class; define its `call(x, opts)`, and if it makes weights itself `build(shape)`
return function(name, constructor)
  util.check("nn.module", { "the first argument", "name" }, name)
  if constructor ~= nil then util.check("nn.module '" .. name .. "'", { "the second argument", "function" }, constructor) end
  local class = util.class(name, Module)
  class.constructor = constructor
  return class
end
