--- A variational autoencoder that learns to write digits: `build/moonlet examples/vae.lua`.
-- Shows a model as a Lua class, random numbers inside a compiled step, and a loss that no list of losses has.
-- EPOCHS=1 in the environment gives a quick look.
local ml = require "moonlet"
local nn = ml.nn

local here = arg[0]:match "^(.*)[/\\]" or "."
local epochs = tonumber(os.getenv "EPOCHS") or 40
local LATENT = 8
ml.seed(1)

local data = ml.data.csv(here .. "/data/digits.csv", { label = -1 })
local batches = data:shuffle(1):batch(64, { drop_remainder = true }):map(function(x) return x / 16 end)

local Encoder = nn.module("Encoder", function(self)
  self.hidden = nn.Dense { 128, activation = "relu" }
  self.mean = nn.Dense { LATENT }
  self.log_variance = nn.Dense { LATENT }
end)
function Encoder:call(x)
  local h = self.hidden(x)
  return self.mean(h), self.log_variance(h)
end

local encoder = Encoder()
local decoder = ml.Sequential { nn.Dense { 128, activation = "relu" }, nn.Dense { 64 } }

-- Batches x [n, 64] of numbers from 0 to 1. Loss: cross-entropy of the pixels and the distance of the code from a normal one.
local function loss_of(x)
  local mean, log_variance = encoder(x)
  local z = mean + ml.exp(log_variance * 0.5) * ml.randn(mean.shape)
  local logits = decoder(z)
  local pixels = (ml.softplus(logits) - logits * x):sum { 2 }
  local distance = 0.5 * (mean ^ 2 + ml.exp(log_variance) - 1 - log_variance):sum { 2 }
  return (pixels + distance):mean()
end

local optimizer = ml.optim.Adam { lr = 2e-3 }
local step = ml.fn(function(x)
  local loss = loss_of(x)
  local variables = {}
  for _, part in ipairs { encoder, decoder } do
    for _, variable in ipairs(part.trainable_variables) do variables[#variables + 1] = variable end
  end
  optimizer:apply(ml.grad(loss, variables), variables)
  return loss
end)

for epoch = 1, epochs do
  local total, n = 0, 0
  for x in batches:batches() do
    total, n = total + step(x):item(), n + 1
  end
  if epoch == 1 or epoch % 10 == 0 or epoch == epochs then print(string.format("epoch %2d  loss %.2f", epoch, total / n)) end
end

-- Digits that nobody wrote.
local written = ml.sigmoid(decoder(ml.randn { 8, LATENT })):reshape { 8, 8, 8, 1 }
for first = 1, 8, 4 do
  print()
  ml.show(written:slice(1, first, first + 3), { low = 0, high = 1 })
end
