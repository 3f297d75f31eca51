--- A character model that learns to write Lua: `build/moonlet examples/characters.lua`.
-- An LSTM reads Moonlet's own Lua files and guesses the next character, then writes some by itself. EPOCHS=1 in the
-- environment gives a quick look.
local ml = require "moonlet"
local nn = ml.nn

local here = arg[0]:match "^(.*)[/\\]" or "."
local epochs = tonumber(os.getenv "EPOCHS") or 12
local LENGTH = 64
ml.seed(1)
math.randomseed(1)

local text = {}
for _, name in ipairs { "util", "plot", "progress", "show", "data/dataset", "data/csv", "nn/layer", "testing/layer" } do
  local file = assert(io.open(here .. "/../lua/moonlet/" .. name .. ".lua"))
  text[#text + 1] = file:read "*a"
  file:close()
end
text = table.concat(text):gsub("[\128-\255]", "?")

-- Characters become numbers from 0: their place among those that occur.
local index_of, characters = {}, {}
for character in text:gmatch "." do
  if not index_of[character] then
    characters[#characters + 1] = character
    index_of[character] = #characters - 1
  end
end
local function encode(s)
  local indices = {}
  for i = 1, #s do indices[i] = index_of[s:sub(i, i)] end
  return indices
end

-- x [LENGTH] characters, y the same moved by one.
local data = ml.data.generator(function(epoch)
  local start = epoch % LENGTH
  return function()
    if start + LENGTH + 1 > #text then return nil end
    local first, last = start + 1, start + LENGTH
    start = last
    return encode(text:sub(first, last)), encode(text:sub(first + 1, last + 1))
  end
end):shuffle(1):batch(16)

local model = ml.Sequential {
  nn.Embedding { #characters, 32 },
  nn.LSTM { 96, return_sequences = true },
  nn.Dense { #characters },
}
model:compile { optimizer = ml.optim.Adam { lr = 5e-3 }, loss = "sparse_categorical_crossentropy", metrics = { "accuracy" } }
print(string.format("%d characters, %d different ones", #text, #characters))
model:fit(data, { epochs = epochs, verbose = 1 })

-- One character drawn by the model's probabilities; a low temperature makes it careful.
local function draw(logits, temperature)
  local p, place = (logits / temperature):softmax():totable(), math.random()
  for i = 1, #p do
    place = place - p[i]
    if place <= 0 then return characters[i] end
  end
  return characters[#p]
end

local written = string.rep("\n", LENGTH - 6) .. "local "
for _ = 1, 240 do
  local logits = model:predict(ml.tensor { encode(written:sub(-LENGTH)) })
  written = written .. draw(logits[1][-1], 0.5)
end
print("\n" .. written:sub(LENGTH - 5))
