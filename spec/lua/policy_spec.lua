-- Dtype policies: what layers compute in, what they keep, that training goes as it does in f32, and that files keep it.
local ml = require "moonlet"
local core = require "moonlet.core"

local nn = ml.nn

local function with_policy(name, f)
  local before = ml.dtype_policy()
  ml.dtype_policy(name)
  local ok, result = pcall(f)
  ml.dtype_policy(before)
  if not ok then error(result, 0) end
  return result
end

-- Two rings of points, which a line cannot part.
local function rings(n)
  local x, y = {}, {}
  for i = 1, n do
    local angle, ring = i * 2.399963, i % 2
    local r = 0.6 + 0.7 * ring + 0.05 * math.sin(i * 12.9898)
    x[i], y[i] = { r * math.cos(angle), r * math.sin(angle) }, ring
  end
  return ml.tensor(x), ml.tensor(y, "i32")
end

local function classifier()
  ml.seed(5)
  return ml.Sequential {
    nn.Dense { 32, activation = "relu" }, nn.LayerNormalization {}, nn.Dense { 32, activation = "tanh" },
    nn.BatchNormalization {}, nn.Dense { 2 },
  }
end

local function trained(policy)
  return with_policy(policy, function()
    local x, y = rings(256)
    local model = classifier()
    model:compile { optimizer = ml.optim.Adam { lr = 0.01 }, loss = "sparse_categorical_crossentropy", metrics = { "accuracy" } }
    local history = model:fit(x, y, { epochs = 25, batch_size = 32, verbose = 0, shuffle = false }).history
    return { model = model, loss = history.loss[25], accuracy = history.accuracy[25], first = history.loss[1], x = x, y = y }
  end)
end

describe("dtype_policy", function()
  it("is told, set by either name, and refused by a wrong one", function()
    assert.equal("f32", ml.dtype_policy())
    with_policy("mixed_bfloat16", function() assert.equal("mixed_bf16", ml.dtype_policy()) end)
    with_policy("float64", function() assert.equal("f64", nn.Dense { 2 }.dtype) end)
    assert.error_matches(function() ml.dtype_policy "bf15" end, "ml.dtype_policy: unknown dtype policy 'bf15'; known: f32, ")
    assert.error_matches(function() nn.Dense { 2, dtype_policy = "half" } end, "Dense: unknown dtype policy 'half'")
    assert.equal("f32", ml.dtype_policy())
  end)

  it("says what a layer computes in and keeps", function()
    local x = ml.ones { 4, 3 }
    for policy, compute in pairs { mixed_bf16 = "bf16", mixed_f16 = "f16", f32 = "f32" } do
      local layers = {
        nn.Dense { 5, dtype_policy = policy }, nn.LayerNormalization { dtype_policy = policy },
        nn.BatchNormalization { dtype_policy = policy }, nn.RMSNormalization { dtype_policy = policy },
        nn.Activation { "softmax", dtype_policy = policy }, nn.Dropout { 0.5, dtype_policy = policy },
      }
      for _, layer in ipairs(layers) do
        assert.equal(compute, layer(x).dtype, tostring(layer) .. " " .. policy)
        for _, v in ipairs(layer.variables) do assert.equal("f32", v.dtype) end
      end
      assert.equal("variable", core.kind(layers[1].kernel))
    end
    assert.equal("f32", nn.Dense { 2 } (x:cast "bf16").dtype)
    assert.equal("f64", nn.Dense { 2, dtype = "f64" } (x:cast "f64").dtype)
  end)

  it("looks indices up before it rounds", function()
    local layer = nn.Embedding { 1000, 2, dtype_policy = "mixed_bf16", embeddings_initializer = function(shape)
      return ml.arange(shape[1] * 2):reshape(shape)
    end }
    local y = layer(ml.tensor { 257, 999 })
    assert.same({ "bf16", { { 512, 516 }, { 2000, 2000 } } }, { y.dtype, y:totable() })
  end)

  it("restores weights when a call fails", function()
    local layer = nn.Dense { 2, dtype_policy = "mixed_bf16" }
    layer(ml.ones { 1, 3 })
    assert.has_error(function() layer(ml.ones { 1, 4 }) end)
    assert.equal("variable", core.kind(layer.kernel))
  end)

  it("trains in bf16 as well as in f32", function()
    local wide, half = trained "f32", trained "mixed_bf16"
    assert(wide.accuracy > 0.97, "f32 reached " .. wide.accuracy)
    assert(half.accuracy > wide.accuracy - 0.02, "bf16 reached " .. half.accuracy .. ", f32 " .. wide.accuracy)
    assert(math.abs(half.first - wide.first) < 0.02, "first epochs: " .. half.first .. " and " .. wide.first)
    assert.equal("bf16", half.model:predict(half.x).dtype)
    for _, v in ipairs(half.model.variables) do assert.equal("f32", v.dtype) end
  end)

  it("gives gradients in the weights' dtype", function()
    local layer = nn.Dense { 3, dtype_policy = "mixed_bf16", activation = "tanh" }
    local x = ml.randn { 4, 2 }
    layer(x)
    local f = ml.fn(function(v)
      local grads = ml.grad(ml.mean(ml.square(layer(v)):cast "f32"), layer.trainable_variables)
      return grads[1], grads[2]
    end)
    local dw, db = f(x)
    assert.same({ "f32", "f32" }, { dw.dtype, db.dtype })
    assert(ml.sum(ml.abs(dw)):item() > 0)
  end)

  it("stays with a model that is saved and loaded", function()
    local half = trained "mixed_bf16"
    local path = os.tmpname()
    half.model:save(path)
    local again = ml.load(path)
    os.remove(path)
    local a, b = half.model:predict(half.x), again:predict(half.x)
    assert.equal("bf16", b.dtype)
    assert.same(a:totable(), b:totable())
    for _, v in ipairs(again.variables) do assert.equal("f32", v.dtype) end
    again:compile { optimizer = "adam", loss = "sparse_categorical_crossentropy" }
    assert(again:train_on_batch(half.x, half.y).loss < half.loss + 0.1)
  end)

  it("mixed_f16 infers and refuses to train", function()
    local x, y = rings(8)
    local model = ml.Sequential { nn.Dense { 2, name = "head", dtype_policy = "mixed_f16" } }
    assert.equal("f16", model:predict(x).dtype)
    model:compile { optimizer = "sgd", loss = "sparse_categorical_crossentropy" }
    assert.error_matches(function() model:train_on_batch(x, y) end, "Dense 'head': dtype policy mixed_f16 is for inference")
  end)

  it("model:cast keeps the large weights in half the bytes", function()
    for _, policy in ipairs { "f32", "mixed_bf16" } do
      local found = trained(policy)
      local model, x = found.model, found.x
      local small = model:cast "bf16"
      for i, v in ipairs(small.variables) do
        assert.equal(model.variables[i].name, v.name)
        assert.equal(#v.shape > 1 and "bf16" or "f32", v.dtype)
      end
      local a, b = model:predict(x), small:predict(x)
      assert.equal(a.dtype, b.dtype)
      local apart = ml.max(ml.abs(a:cast "f32" - b:cast "f32")):item()
      assert(apart <= (policy == "f32" and 0.05 or 0), policy .. ": results are " .. apart .. " apart")
      assert(#small:serialize() < #model:cast("f32"):serialize())
      local again = ml.deserialize(small:serialize())
      assert.same(b:totable(), again:predict(x):totable())
      assert.same(b:totable(), small:cast("f32"):predict(x):totable())
      assert.same({ "bf16", "f16" }, { again.variables[1].dtype, small:cast("f16").variables[1].dtype })
      model:load_weights(small:serialize())
      assert.equal("f32", model.variables[1].dtype)
      assert.same(b:totable(), model:predict(x):totable())
    end
    assert.error_matches(function() classifier():cast "i32" end, "cast: dtype must be 'bf16', 'f16' or 'f32', got 'i32'")
  end)

  it("works in eager mode", function()
    ml.eager(true)
    local ok, message = pcall(function()
      local layer = nn.Dense { 3, dtype_policy = "mixed_bf16" }
      local x = ml.ones { 2, 2 }
      local f = ml.fn(function(v) return ml.grad(ml.sum(layer(v)):cast "f32", layer.trainable_variables[1] or layer.kernel) end)
      layer(x)
      assert.equal("f32", f(x).dtype)
    end)
    ml.eager(false)
    assert(ok, message)
  end)
end)
