--- Learns to read handwritten digits and shows what it reads: `build/moonlet examples/digits.lua [where to save the model]`.
-- A convolutional classifier on 8 x 8 images. It trains on four fifths of the data and is judged by the other fifth, which it
-- has never seen. EPOCHS=1 in the environment gives a quick look.
local ml = require "moonlet"
local nn = ml.nn

local here = arg[0]:match "^(.*)[/\\]" or "."
local path = arg[1] or "build/digits.moon"
local epochs = tonumber(os.getenv "EPOCHS") or 25
ml.seed(1)

-- Rows of 64 pixels from 0 to 16 and a label become batches of images from 0 to 1.
local function prepare(x, y)
  return x:reshape { -1, 8, 8, 1 } / 16, y
end
local rows, held_out = ml.data.csv(here .. "/data/digits.csv", { label = -1 }):split(0.8, 1)
local train = rows:shuffle(1):batch(32):map(prepare)
local test = held_out:batch(64):map(prepare)

local model = ml.Sequential {
  nn.Conv2D { 32, 3, padding = "same", activation = "relu" },
  nn.Conv2D { 32, 3, padding = "same", activation = "relu" },
  nn.MaxPool2D { 2 },
  nn.Dropout { 0.25 },
  nn.Conv2D { 64, 3, padding = "same", activation = "relu" },
  nn.Flatten {},
  nn.Dropout { 0.5 },
  nn.Dense { 10 },
}
model:compile { optimizer = ml.optim.Adam { lr = 1e-3 }, loss = "sparse_categorical_crossentropy", metrics = { "accuracy" } }

print("device: " .. ml.device())
model:fit(train, { epochs = epochs, validation = test, verbose = 1 })

-- What the model says about the first digits of the held-out fifth.
local images, labels = prepare(held_out:take(8):tensors())
local said, is = model:predict(images):argmax(2):totable(), labels:totable()
for first = 1, #said, 4 do
  local captions = {}
  for i = 1, 4 do
    local guess, truth = said[first + i - 1], is[first + i - 1]
    captions[i] = string.format(guess == truth and "reads %.0f" or "reads %.0f, is %.0f", guess, truth)
  end
  print()
  ml.show(images:slice(1, first, first + 3), { low = 0, high = 1, captions = captions })
end

model:save(path, { training = true })
print("\nmodel saved: " .. path)
print(string.format("test accuracy: %.1f %%", 100 * model:evaluate(test).accuracy))
