--- Embedding: whole numbers to vectors.
-- Here: `nn.Embedding`.
-- @classmod moonlet.nn.embedding

local Layer = require "moonlet.nn.layer"
local core = require "moonlet.core"
local util = require "moonlet.util"

--- Looks rows of a table up.
--
-- Input shape: any, whole numbers from 0 to `input_dim` - 1 (floats are cast).
-- Output shape: `(..., output_dim)`.
-- Weights: `embeddings` (input_dim, output_dim).
-- @function nn.Embedding
-- @tparam integer input_dim number of rows; may be given without a name, first
-- @tparam integer output_dim size of a vector; may be given without a name, second
-- @tparam[opt="uniform"] string|function embeddings_initializer default: uniform in [-0.05, 0.05)
-- @tparam[opt=false] boolean mask_zero whether 0 marks a step that does not count, for the layers that follow
-- @usage local h = nn.Embedding { 1000, 64 } (tokens)
local Embedding = Layer:extend("Embedding", {
  { "input_dim", "count", at = 1, required = true },
  { "output_dim", "count", at = 2, required = true },
  { "embeddings_initializer", "initializer", default = "random_uniform" },
  { "mask_zero", "boolean", default = false },
})

Embedding.autocast = "results" -- rows are rounded once they are looked up; indices are no numbers to round

function Embedding:build()
  self.embeddings = self:add_weight("embeddings", { self.input_dim, self.output_dim },
    { initializer = self.embeddings_initializer })
end

function Embedding:compute_mask(x)
  return self.mask_zero and core.ne(x, 0) or nil
end

function Embedding:call(x)
  local dtype = x.dtype
  if dtype == "bool" or util.is_float(dtype) then x = core.cast(x, "i64") end
  return core.gather(self.embeddings, x, 1)
end

return Embedding
