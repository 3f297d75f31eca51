--- Datasets from Lua functions.
-- Here: the wrapping of a function that makes iterators. Invariant: the function is called once per epoch, so every epoch is
-- complete.
-- @module moonlet.data.generator

local core = require "moonlet.core"
local dataset = require "moonlet.data.dataset"
local util = require "moonlet.util"

local generator = {}

--- A dataset whose elements come from a function.
-- @usage local data = ml.data.generator(function(epoch)
--   local i = 0
--   return function()
--     i = i + 1
--     if i <= 1000 then return { math.sin(i) }, i % 2 end
--   end
-- end, { size = 1000 }):batch(50)
-- @tparam function f f(epoch) returns a function that returns the next `x, y` and nil at the end; numbers and tables of
--   numbers become Tensors when they are batched
-- @tparam[opt] table opts `size`: how many elements an epoch has, if that is known; `batch_size`: what it yields are batches
--   of so many already
-- @treturn Dataset
function generator.new(f, opts)
  util.check("generator", { "the argument", "function" }, f)
  opts = util.options("generator", { { "size", "natural" }, { "batch_size", "count" } }, opts)
  return dataset.new_stream(opts.size, function(epoch)
    local following = f(epoch)
    if type(following) ~= "function" then
      core.fail("generator: the function must return a function that gives the next element, got %s", type(following))
    end
    return following
  end, opts.batch_size)
end

return generator
