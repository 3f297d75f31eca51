--- What the GPT workloads share: a decoder-only transformer, normalised before each part.
local ml = require "moonlet"
local nn = ml.nn

local M = {}

local normal = ml.initializers.random_normal { stddev = 0.02 }
local function gelu(x) return ml.gelu(x, { approximate = true }) end

--- opts: vocabulary, context, width, heads, layers.
function M.gpt(opts)
  local GPT = nn.module("GPT", function(self)
    self.tokens = nn.Embedding { opts.vocabulary, opts.width, embeddings_initializer = normal }
    self.places = nn.Embedding { opts.context, opts.width, embeddings_initializer = normal }
    self.blocks = {}
    for i = 1, opts.layers do
      self.blocks[i] = {
        nn.LayerNormalization { epsilon = 1e-5 },
        nn.MultiHeadAttention { opts.heads, opts.width / opts.heads },
        nn.LayerNormalization { epsilon = 1e-5 },
        nn.Dense { 4 * opts.width, activation = gelu },
        nn.Dense { opts.width },
      }
    end
    self.last = nn.LayerNormalization { epsilon = 1e-5 }
    if not opts.tied then self.head = nn.Dense { opts.vocabulary, use_bias = false } end
  end)
  function GPT:call(x)
    local h = self.tokens(x) + self.places(ml.arange(x.shape[2], "i32"))
    for _, block in ipairs(self.blocks) do
      h = h + block[2](block[1](h), { use_causal_mask = true })
      h = h + block[5](block[4](block[3](h)))
    end
    h = self.last(h)
    if self.head then return self.head(h) end
    return h:matmul(self.tokens.embeddings:transpose())
  end
  return GPT {}
end

return M
