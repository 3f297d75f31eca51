-- Wrong calls of every op, on numbers and on symbols: the message names the line of the script, the op, what came and what was
-- expected; and afterwards everything works as before. Elementwise ops share their table; every other public op has its own.
local core = require("moonlet.core")
local samples = require("spec.support.samples")
local util = require("moonlet.util")

-- Calls of f(t, core) where t(shape, dtype) is a Tensor or a Symbol; the message must match all patterns.
local bad = {}

local function axis_of(name)
  return { function(t) return core[name](t { 2, 3 },
    { axis = 3, unpack_me = nil }) end, "axis 3 is out of range", "%(2, 3%)" }
end
local function axes_of(name)
  return { function(t) return core[name](t { 2, 3 }, { axes = { 1, -3 } }) end, "axis %-3 is out of range", "%(2, 3%)" }
end
local function twice(name)
  return { function(t) return core[name](t { 2, 3 }, { axes = { 2, -1 } }) end, "axis 2 is given twice" }
end

for _, name in ipairs { "sum", "mean", "prod", "max", "min", "any", "all", "logsumexp", "var", "std", "flip" } do
  bad[name] = { axes_of(name), twice(name), { function(t) return core[name](t { 2 },
    { axes = 0 }) end, "axes must be an axis", "got 0" } }
end
for _, name in ipairs { "max", "min", "logsumexp" } do
  table.insert(bad[name], { function(t) return core[name](t { 2, 0 }, 2) end, "axis 2 of %(2, 0%) is empty" })
end
for _, name in ipairs { "softmax", "log_softmax", "cumsum", "sort", "argsort", "argmax", "argmin" } do
  bad[name] = { axis_of(name), { function(t) return core[name](t {}) end, "axis %-1 is out of range", "%(%)" } }
end
for _, name in ipairs { "argmax", "argmin" } do
  table.insert(bad[name], { function(t) return core[name](t { 0, 3 }, 1) end, "axis 1 of %(0, 3%) is empty" })
end
for _, name in ipairs { "gelu", "silu", "mish", "elu", "selu", "leaky_relu", "relu6", "hard_sigmoid", "softsign" } do
  bad[name] = { { function() return core[name]("a word") end, "x must be a tensor or a number, got 'a word'" } }
end
table.insert(bad.elu, { function(t) return core.elu(t { 2 }, { alpha = "much" }) end, "alpha must be a number, got 'much'" })
table.insert(bad.gelu, { function(t) return core.gelu(t { 2 }, 1) end, "approximate must be true or false, got 1" })
for _, name in ipairs { "mean_squared_error", "mean_absolute_error", "hinge", "huber", "binary_crossentropy",
      "categorical_crossentropy", "kl_divergence" } do
  bad[name] = {
    { function(t) return core[name](t { 2, 3 }, t { 2, 4 }) end, "shapes must be equal", "y %(2, 3%)", "t %(2, 4%)" },
    { function(t) return core[name](t {}, t {}) end, "y needs an axis", "%(%)" },
  }
end
table.insert(bad.huber, { function(t) return core.huber(t { 2 }, t { 2 }, { delta = 0 }) end, "delta must be above 0, got 0" })
bad.sparse_categorical_crossentropy = {
  { function(t) return core.sparse_categorical_crossentropy(t { 2, 3 }, t({ 3 }, "i64")) end,
    "shape of y without its last axis", "y %(2, 3%)", "t %(3%)" },
  { function(t) return core.sparse_categorical_crossentropy(t({ 2, 3 }, "i64"), t({ 2 }, "i64")) end,
    "y must be bf16, f16, f32 or f64, got i64" },
}
bad.softmax_cross_entropy = {
  { function(t) return core.softmax_cross_entropy(t { 2, 3 }, t { 2 }) end, "index must be u8, i32 or i64, got f32" },
  { function(t) return core.softmax_cross_entropy(t { 2, 3 }, t({ 3 }, "i64")) end, "shape of y without its last axis", "t %(3%)" },
}
bad.attention = {
  { function(t) return core.attention(t { 1, 2, 3, 4 }, t { 1, 2, 3, 5 }, t { 1, 2, 3, 4 }) end,
    "needs q %[b, h, t, d%]", "k %(1, 2, 3, 5%)" },
  { function(t) return core.attention(t { 1, 1, 2, 2 }, t { 1, 1, 2, 2 }, t { 1, 1, 2, 2 }, t { 2, 2 }) end,
    "mask must be bool", "got f32" },
  { function(t) return core.attention(t { 1, 1, 2, 2 }, t({ 1, 1, 2, 2 }, "f64"), t { 1, 1, 2, 2 }) end,
    "k must have the dtype of q, f32, got f64" },
  { function(t) return core.attention(t { 1, 1, 2, 2 }, t { 1, 1, 2, 2 }, t { 1, 1, 2, 2 }, t({ 3, 2 }, "bool")) end,
    "mask", "%(3, 2%)" },
}
bad.clip = { { function(t) return core.clip(t({ 2 }, "u8"),
  { lo = 0.5 }) end, "lo must be a whole number that u8 can hold, got 0.5" } }
bad.concat = {
  { function(t) return core.concat({ t { 2, 3 }, t { 2, 4 } }, 1) end,
    "sizes besides axis 1 must be equal", "input 1 is %(2, 3%)", "input 2 is %(2, 4%)" },
  { function(t) return core.concat({ t { 2 }, t { 2, 2 } }, 1) end, "must be equal", "%(2, 2%)" },
  { function(t) return core.concat({ t { 2 } }, 2) end, "axis 2 is out of range" },
  { function() return core.concat({}) end, "takes 1 to %d+ tensors, got 0" },
  { function(t) return core.concat(t { 2 }, t { 2 }) end, "a table of tensors is expected first, got %u%l+ f32 %(2%)" },
}
bad.sum_squares = {
  { function() return core.sum_squares({}) end, "sum_squares: " },
}
bad.stack = {
  { function(t) return core.stack({ t { 2, 3 }, t { 3, 2 } }) end, "shapes must be equal", "%(2, 3%)", "%(3, 2%)" },
  { function(t) return core.stack({ t { 2 } }, 4) end, "axis 4 is out of range for a result of 2 axes" },
}
bad.split = {
  { function(t) return core.split(t { 5 }, 2) end, "axis 1 has size 5, which 2 parts do not divide" },
  { function(t) return core.split(t { 5 }, { 2, 2 }) end, "sizes add up to 4, but axis 1 has size 5" },
  { function(t) return core.split(t { 5 }, { -1, 6 }) end, "size 1 must be 0 or more, got %-1" },
  { function(t) return core.split(t { 5 }, 0) end, "number of parts must be 1 to %d+, got 0" },
  { function(t) return core.split(t { 5 }, 5, 2) end, "axis 2 is out of range" },
}
bad.tile = { { function(t) return core.tile(t { 2 }, -1) end, "reps must be 0 or more, got %-1" },
  { function(t) return core.tile(t { 2 }, {}) end, "reps must have at least one number" } }
bad.conv = {
  { function(t) return core.conv(t { 1, 5, 5, 3 }, t { 3, 3, 2, 4 }) end,
    "x has 3 channels", "w with groups 1 is made for 2", "%(1, 5, 5, 3%)", "%(3, 3, 2, 4%)" },
  { function(t) return core.conv(t { 5, 3 }, t { 3, 3 }) end, "needs x %[n, s.., c%]", "x %(5, 3%)" },
  { function(t) return core.conv(t { 1, 5, 3 }, t { 3, 3, 3, 1 }) end, "w %(3, 3, 3, 1%)" },
  { function(t) return core.conv(t { 1, 2, 1 }, t { 3, 1, 1 }) end,
    "the window spans 3 along axis 2, more than the padded input", "%(1, 2, 1%)" },
  { function(t) return core.conv(t { 1, 5, 4 }, t { 3, 2, 3 }, { groups = 2 }) end, "groups 2 must divide the 3 filters" },
  { function(t) return core.conv(t { 1, 5, 4 }, t { 3, 4, 2 }, { groups = 0 }) end, "groups must be at least 1, got 0" },
  { function(t) return core.conv(t { 1, 5, 1 }, t { 3, 1, 1 }, { strides = 0 }) end, "strides must be at least 1, got 0" },
  { function(t) return core.conv(t { 1, 5, 1 }, t { 3, 1, 1 },
  { strides = { 1, 1 } }) end, "strides needs 1 or 1 entries.* got 2" },
  { function(t) return core.conv(t { 1, 5, 1 }, t { 3, 1, 1 },
  { padding = "causal" }) end, "padding must be one of explicit|valid|same, got 'causal'" },
  { function(t) return core.conv(t { 1, 5, 1 }, t { 3, 1, 1 }, { pad_lo = -1 }) end, "pad_lo must be at least 0, got %-1" },
  { function(t) return core.conv(t { 1, 5, 1 }, t { 3, 1, 1 },
  { padding = "same", pad_lo = 1 }) end, "pad_lo and pad_hi go with padding explicit" },
  { function(t) return core.conv(t { 1, 5, 1 }, t { 0, 1, 1 }) end, "kernel sizes must be known and at least 1" },
}
bad.conv_transpose = {
  { function(t) return core.conv_transpose(t { 1, 5, 3 }, t { 3, 2, 2 }) end, "x has 3 channels, w is made for 2" },
  { function(t) return core.conv_transpose(t { 5 }, t { 3 }) end, "needs x %[n, s.., c%]" },
  { function(t) return core.conv_transpose(t { 1, 5, 2 }, t { 3, 2, 2 },
  { output_padding = 5, padding = "same" }) end, "output_padding 5 does not go with" },
}
for _, name in ipairs { "max_pool", "avg_pool" } do
  bad[name] = {
    { function(t) return core[name](t { 1, 5, 1 }) end, "window is missing" }, { function(t) return core[name](t { 1, 5, 1 },
    { window = 0 }) end, "window must be at least 1, got 0" },
    { function(t) return core[name](t { 1, 5, 1 }, { window = 6 }) end, "the window spans 6 along axis 2" },
    { function(t) return core[name](t { 5, 1 }, { window = 2 }) end, "needs x %[n, s.., c%]", "%(5, 1%)" },
    { function(t) return core[name](t { 1, 5, 1 },
    { window = 2, pad_lo = 2 }) end, "pads must be smaller than the window 2 along axis 2, got 2 and 0" },
    { function(t) return core[name](t { 1, 0, 1 }, { window = 1, padding = "same" }) end, "spatial sizes must be at least 1" },
  }
end
bad.full = { { function() return core.full({ 2 }, 0.5, "i32") end, "value must be a whole number that i32 can hold, got 0.5" },
  { function() return core.full({ -2 }, 0) end, "shape%[1%] must be a size", "got %-2" } }
bad.zeros = { { function() return core.zeros({ 2, nil, 3 }) end, "shape" },
  { function() return core.zeros({ 2 }, "f31") end, "dtype must be one of bool, u8, i32, i64, bf16, f16, f32, f64, got 'f31'" },
  { function() return core.zeros({ 2 ^ 40, 2 ^ 40 }) end, "too many elements" } }
bad.ones = { { function() return core.ones("wide") end, "shape must be a table of sizes, got 'wide'" },
  { function() return core.ones() end, "shape is missing" },
  { function() return core.ones({ 1, 1, 1, 1, 1, 1, 1, 1, 1 }) end, "shape has 9 entries, at most 8" } }
bad.arange = { { function() return core.arange(0, 5, 0) end, "step must be finite and not 0, got 0" },
  { function() return core.arange(0, 1, 0.5, "i32") end, "every element must be a whole number" },
  { function() return core.arange(0, 1e18) end, "too many elements" },
  { function() return core.arange(0, 1 / 0) end, "must be finite" } }
bad.linspace = { { function() return core.linspace(0, 1, -1) end, "n must be 0 or more, got %-1" },
  { function() return core.linspace(0, 1, 3, "i32") end, "dtype must be bf16, f16, f32 or f64, got i32" } }
bad.eye = { { function() return core.eye(-1) end, "n and m must be 0 or more, got %-1" },
  { function() return core.eye(2.5) end, "n must be a whole number, got 2.5" } }
bad.uniform = { { function() return core.uniform({ 2 }, 3, 1) end, "lo and hi must be finite and lo <= hi, got 3 and 1" },
  { function() return core.uniform({ 2 }, { dtype = "i32" }) end, "dtype must be bf16, f16, f32 or f64, got i32" } }
bad.normal = { { function() return core.normal({ 2 }, 0, -1) end, "std 0 or more, got 0 and %-1" } }
bad.bernoulli = { { function() return core.bernoulli({ 2 }, 1.5) end, "p must be 0 to 1, got 1.5" } }
bad.integers = { { function() return core.integers({ 2 }, 5, 5) end, "whole numbers with lo < hi, got 5 and 5" },
  { function() return core.integers({ 2 }, 0, 300, "u8") end, "u8 can hold, got 299" },
  { function() return core.integers({ 2 }, 0) end, "hi is missing" } }
bad.permutation = { { function() return core.permutation(-1) end, "n must be a size", "got %-1" } }
bad.gather = {
  { function(t) return core.gather(t { 2, 3 }, t { 2 }) end, "index must be u8, i32 or i64, got f32" },
  { function(t) return core.gather(t { 2, 3 }, t({ 2 }, "i64"), 3) end, "axis 3 is out of range" },
  { function(t) return core.gather(t {}, t({ 2 }, "i64")) end, "axis 1 is out of range for shape %(%)" },
}
bad.scatter_add = {
  { function(t) return core.scatter_add(t { 2, 3 }, t({ 4 }, "i64"), t { 3, 3 }) end,
    "what index reads is %(4, 3%)", "updates are %(3, 3%)" }, { function(t) return core.scatter_add(t({ 2, 3 }, "f64"), t({ 4 },
      "i64"), t { 4, 3 }) end, "updates must have the dtype of x, f64, got f32" },
  { function(t) return core.scatter_add(t({ 2 }, "bool"), t({ 4 }, "i64"), t({ 4 }, "bool")) end, "x must be a number, got bool" },
}
bad.take_along_axis = {
  { function(t) return core.take_along_axis(t { 2, 3 }, t({ 3, 1 }, "i64")) end,
    "shapes must be equal but along axis 2", "x %(2, 3%)", "index %(3, 1%)" },
  { function(t) return core.take_along_axis(t { 2, 3 }, t { 2, 1 }) end, "index must be" },
}
bad.put_along_axis_add = {
  { function(t) return core.put_along_axis_add(t { 2, 3 }, t({ 2, 1 }, "i64"), t { 2, 2 }) end,
    "what index reads is %(2, 1%)", "updates are %(2, 2%)" },
}
bad.one_hot = { { function(t) return core.one_hot(t({ 2 }, "i64"), 0) end, "depth must be at least 1, got 0" },
  { function(t) return core.one_hot(t { 2 }, 3) end, "index must be u8, i32 or i64, got f32" },
  { function(t) return core.one_hot(t({ 2 }, "i64")) end, "depth is missing" } }
bad.embedding = { { function(t) return core.embedding(t({ 2 }, "i64"), t { 2 }) end, "weight must be %[n, d%], got %(2%)" } }
bad.stop_gradient = { { function() return core.stop_gradient() end, "x is missing" } }
bad.cast = { { function(t) return core.cast(t { 2 }) end, "dtype is missing" },
  { function(t) return core.cast(t { 2 }, "float") end, "one of bool, u8, i32, i64, bf16, f16, f32, f64, got 'float'" } }
bad.mode = { { function(t) return core.mode(t { 2 }, t { 3 }) end, "both sides must have one type", "%[?%(?2%)?%]?", "3" } }
bad.matmul = {
  { function(t) return core.matmul(t { 32, 10 }, t { 12, 5 }) end, "inner sizes differ: a %(32, 10%), b %(12, 5%)" },
  { function(t) return core.matmul(t {}, t { 2 }) end, "needs rank 1 or more: a %(%), b %(2%)" },
  { function(t) return core.matmul(t { 2, 3, 4 }, t { 3, 4, 5 }) end, "batch sizes differ: a %(2, 3, 4%), b %(3, 4, 5%)" },
}
bad.reshape = {
  { function(t) return core.reshape(t { 2, 3 }, { 4 }) end, "%(2, 3%) cannot become %(4%): numbers of elements differ" },
  { function(t) return core.reshape(t { 2, 3 }, { -1, -1 }) end, "must be a size|only one size may be %-1" },
  { function(t) return core.reshape(t { 2, 3 }, { 4, -1 }) end, "cannot become" }, { function(t) return core.reshape(t { 0, 3 },
  { 0, -1 }) end, "can be any size" },
}
bad.broadcast_to = { { function(t) return core.broadcast_to(t { 2, 3 },
  { 2, 4 }) end, "%(2, 3%) cannot be broadcast to %(2, 4%)" }, { function(t) return core.broadcast_to(t { 2, 3 },
  { 3 }) end, "cannot be broadcast" } }
bad.transpose = { { function(t) return core.transpose(t { 2, 3 },
  { 1 }) end, "perm must name every axis of %(2, 3%) once, got 1" }, { function(t) return core.transpose(t { 2, 3 },
  { 1, 1 }) end, "axis 1 is twice in perm" }, { function(t) return core.transpose(t { 2, 3 },
  { 1, 3 }) end, "axis 3 is out of range" } }
bad.swapaxes = { { function(t) return core.swapaxes(t { 2, 3 }, 1, 3) end, "axis 3 is out of range" },
  { function(t) return core.swapaxes(t { 2, 3 }, 1) end, "axis2 is missing" } }
bad.squeeze = { { function(t) return core.squeeze(t { 1, 3 }, 2) end, "axis 2 of %(1, 3%) has not size 1" } }
bad.expand_dims = { { function(t) return core.expand_dims(t { 2 }, 4) end, "axis 4 is out of range" },
  { function(t) return core.expand_dims(t { 1, 1, 1, 1, 1, 1, 1, 1 }, 1) end, "most axes already" } }
bad.layer_norm = { { function(t) return core.layer_norm(t { 2, 3 }, t { 2 }) end, "the axes of x are %(3%)", "gamma %(2%)" },
  { function(t) return core.layer_norm(t { 2, 3 }, { epsilon = -1 }) end, "epsilon must be 0 or more, got %-1" } }
bad.rms_norm = { { function(t) return core.rms_norm(t { 2, 3 }, t { 2 }) end, "gamma %(2%)" } }
bad.batch_norm_train = {
  { function(t) return core.batch_norm_train(t { 2, 3 }, t { 3 }, t { 2 }) end, "beta must have shape %(3%), got %(2%)" },
}
bad.batch_norm_infer = {
  { function(t) return core.batch_norm_infer(t { 2, 3 }, t { 3 }, t { 3 }, t { 3 }, t { 3, 1 }) end,
    "variance must have shape %(3%), got %(3, 1%)" },
}
bad.sgd_update = { { function(t) return core.sgd_update(t { 2 }, t { 3 }, t { 2 }, 0.1) end, "w %(2%)", "g %(3%)" },
  { function(t) return core.sgd_update(t { 2 }, t { 2 }, t { 2 }, 0.1,
  { momentum = 1 }) end, "momentum must be from 0 to below 1, got 1" } }
bad.adam_update = {
  { function(t) return core.adam_update(t { 2 }, t { 2 }, t { 2 }, t { 2 }, t { 2 }, 1) end,
    "lr must be one number %(rank 0%), got %(2%)" },
  { function(t) return core.adam_update(t { 2 }, t { 2 }, t { 2 }, t { 2 }, 0.1, 1, { beta_1 = 1 }) end,
    "beta_1 must be from 0 to below 1, got 1" },
}
bad.rmsprop_update = {
  { function(t) return core.rmsprop_update(t({ 2 }, "i32"), t { 2 }, t { 2 }, t { 2 }, 0.1) end,
    "w must be bf16, f16, f32 or f64, got i32" },
}
bad.pad = {
  { function(t) return core.pad(t { 2, 3 }, { 1, 1, 1 }) end, "one number for each axis of %(2, 3%), got 3" },
  { function(t) return core.pad(t { 2 }, -1) end, "must be 0 or more, got %-1" },
  { function(t) return core.pad(t { 2 }, 1, 1, "wrap") end, "mode must be one of constant|reflect|edge, got 'wrap'" },
  { function(t) return core.pad(t { 0 }, 1, 1, "edge") end, "axis 1 has size 0: mode edge has nothing to repeat" },
}
bad.lstm_cell = {
  { function(t) return core.lstm_cell(t { 2, 3 }, t { 2, 4 }, t { 2, 4 }, t { 3, 12 }, t { 4, 16 }) end,
    "kernel must have shape %(3, 16%), got %(3, 12%)" },
  { function(t) return core.lstm_cell(t { 3 }, t { 4 }, t { 4 }, t { 3, 16 }, t { 4, 16 }) end, "needs x %[b, d%]" },
}
bad.lstm = {
  { function(t) return core.lstm(t { 2, 3 }, t { 3, 16 }, t { 4, 16 }) end, "lstm: needs x %[b, t, d%] and recurrent %[u, 4u%]" },
  { function(t) return core.lstm(t { 2, 3, 5 }, t { 5, 12 }, t { 4, 16 }) end,
    "lstm: kernel must have shape %(5, 16%), got %(5, 12%)" },
  { function(t) return core.lstm(t { 2, 3, 5 }, t { 5, 16 }, t { 4, 16 }, t { 16 }, t { 2, 4 }) end,
    "lstm: all 2 states or none must be given" },
  { function(t) return core.lstm(t { 2, 3, 5 }, t { 5, 16 }, t { 4, 16 }, t { 16 }, t { 2, 4 }, t { 2, 4 }, t { 3, 2 }) end,
    "lstm: mask must have shape %(2, 3%), got %(3, 2%)" },
}
bad.gru = {
  { function(t) return core.gru(t { 2, 3, 5 }, t { 5, 12 }, t { 4, 12 }, t { 12 }) end,
    "gru: bias must have shape %(2, 12%), got %(12%)" },
  { function(t) return core.gru(t { 2, 3, 5 }, t { 5, 12 }, t { 4, 12 }, t { 2, 12 }, t { 3, 4 }) end,
    "gru: h must have shape %(2, 4%), got %(3, 4%)" },
}
bad.gru_cell = {
  { function(t) return core.gru_cell(t { 2, 3 }, t { 2, 4 }, t { 3, 12 }, t { 4, 12 }, t { 4 }) end,
    "bias must have shape %(12%), got %(4%)" },
}
bad.topk = { { function(t) return core.topk(t { 3 }, 4) end, "k must be from 1 to the size of the last axis, got 4 for %(3%)" },
  { function(t) return core.topk(t {}, 1) end, "needs an axis" } }

-- ---- How calls are made and looked at ----

local function tensor(shape, dtype)
  return core.zeros(shape, dtype or "f32")
end
local function symbol(shape, dtype) return core.placeholder("x", dtype or "f32", shape, #shape) end

-- Messages of values alternatives: "one|other" matches either; patterns without "|" as they are.
local function matches(message, pattern)
  if message:find(pattern) then return true end
  for part in pattern:gmatch "[^|]+" do
    if pattern:find "|" and message:find(part) then return true end
  end
  return false
end

local function failed(call, t)
  core.trace_begin()
  local ok, message = pcall(call, t)
  core.trace_end()
  assert(not ok, "no error")
  return tostring(message)
end

local function check(op, call, t, patterns)
  local message = failed(call, t)
  local info = debug.getinfo(call, "S")
  local line, who = message:match "^spec/ops/errors_spec%.lua:(%d+): ([%w_]+): "
  assert(line, "no line or name in: " .. message)
  line = tonumber(line)
  assert(line >= info.linedefined and line <= info.lastlinedefined, "another line in: " .. message)
  assert.are.equal(op.name, who, message)
  for _, pattern in ipairs(patterns) do assert(matches(message, pattern), message .. "\nexpected: " .. pattern) end
end

local function works()
  assert.are.equal(0, core.trace_depth())
  assert.are.same({ 4, 6 }, core.add(core.tensor { 1, 2 }, core.tensor { 3, 4 }):totable())
  local x = core.tensor({ 2, 3 }, "f64")
  local graph = samples.trace({ x }, function(xs) return core.gradients((xs[1] * xs[1]):sum(), { xs[1] }) end)
  assert.are.same({ 4, 6 }, samples.run(graph, { x })[1]:totable())
end

local function for_both(op, call, ...)
  check(op, call, tensor, { ... })
  if op.max_inputs ~= 0 then check(op, call, symbol, { ... }) end
end

-- Arguments of the first sample, made by t.
local function good(op, t)
  local case, list = samples.of(op)[1], {}
  for i, spec in ipairs(case) do
    local dtype = not samples.is_float(spec) and (spec.kind == "bool" and "bool" or spec.dtype or "i64") or "f32"
    list[i] = t(spec.shape, dtype)
  end
  if case.list then list = { list } end
  return list, case.attrs or {}
end

local function arguments(list, options)
  if next(options) then list[#list + 1] = options end
  return util.unpack(list)
end

-- Good arguments, but for the first input.
local function with_first(op, t, x)
  local list, attrs = good(op, t)
  if op.variadic then list[1][1] = x else list[1] = x end
  return arguments(list, attrs)
end

describe("errors", function()
  after_each(works)

  for _, op in ipairs(core.ops()) do
    if not op.internal then
      if op.kind ~= "elementwise" then
        it(op.name .. ": wrong shapes, dtypes and attributes", function()
          assert(bad[op.name], op.name .. " has no wrong calls in errors_spec")
          for _, entry in ipairs(bad[op.name]) do for_both(op, util.unpack(entry)) end
        end)
      end

      it(op.name .. ": unknown keys", function()
        for_both(op, function(t)
          local list, attrs = good(op, t)
          local options = { no_such_key = 1 }
          for k, v in pairs(attrs) do options[k] = v end
          return core[op.name](arguments(list, options))
        end, "unknown key 'no_such_key'; known: ")
      end)

      if op.max_inputs ~= 0 then
        it(op.name .. ": inputs that are no tensors", function()
          for_both(op, function() return core[op.name]() end, "is missing|a table of tensors is expected first, got nil")
          for_both(op, function(t)
            return core[op.name](with_first(op, t, "words"))
          end, "must be a tensor or a number, got 'words'")
          for_both(op, function(t)
            return core[op.name](with_first(op, t, print))
          end, "got a function")
        end)

        it(op.name .. ": too many arguments", function()
          for_both(op, function(t)
            local list = good(op, t)
            for _ = 1, 12 do list[#list + 1] = 0 end
            return core[op.name](util.unpack(list))
          end, "too many arguments|must be")
        end)
      end
    end
  end

  for _, op in ipairs(core.ops()) do
    if op.kind == "elementwise" and op.max_inputs > 1 then
      it(op.name .. ": shapes that do not broadcast", function()
        for_both(op, function(t)
          if op.max_inputs == 2 then return core[op.name](t { 2, 3 }, t { 2, 4 }) end
          return core[op.name](t({ 2, 3 }, "bool"), t { 2, 4 }, t { 2, 3 })
        end, "%(2, 3%)", "%(2, 4%)")
      end)
    end
  end

  it("fractions beside integers are refused, whole numbers are not", function()
    for_both({ name = "add" }, function(t) return core.add(t({ 2 }, "i32"), 0.5) end, "0.5 does not fit i32")
    for_both({ name = "mul" }, function(t) return core.mul(t({ 2 }, "u8"), 256) end, "256 does not fit u8")
    assert.are.same({ 2, 2 }, core.add(core.ones({ 2 }, "i32"), 1.0):totable())
  end)

  it("indices in tensors are checked where numbers are known", function()
    local x = core.zeros({ 4, 2 })
    for _, wrong in ipairs { 4, -1 } do
      local index = core.tensor({ 0, wrong }, "i64")
      for name, wrong_call in pairs({
        gather = function() return core.gather(x, index) end,
        embedding = function() return core.embedding(index, x) end,
        one_hot = function() return core.one_hot(index, 4) end,
        scatter_add = function() return core.scatter_add(x, index, core.ones { 2, 2 }) end,
        take_along_axis = function() return core.take_along_axis(x, index:reshape({ 2, 1 }):broadcast_to({ 2, 2 }), 1) end,
        put_along_axis_add = function()
          return core.put_along_axis_add(x, index:reshape({ 2, 1 }):broadcast_to({ 2, 2 }), core.ones { 2, 2 }, 1)
        end,
        softmax_cross_entropy = function() return core.softmax_cross_entropy(x:transpose(), index) end,
        sparse_categorical_crossentropy = function() return core.sparse_categorical_crossentropy(x:transpose(), index) end,
      }) do
        local ok, message = pcall(wrong_call)
        assert(not ok, name .. ": index " .. wrong .. " was taken")
        assert(message:find "errors_spec%.lua:%d+: ", message)
        assert(message:find(tostring(wrong), 1, true), message)
      end
    end
  end)

  it("indices in a compiled program are checked, and the program can be run again", function()
    local x, index = core.tensor({ 5, 6, 7 }), core.tensor({ 2, 3 }, "i64")
    local graph = samples.trace({ x, index }, function(xs) return { core.gather(xs[1], xs[2]) * 2 } end)
    for _, off in ipairs { "", "all" } do
      local program = graph:program({ passes_off = off })
      local ok, message = pcall(program.run, program, { x, index })
      assert(not ok)
      assert(message:find "gather" and message:find "errors_spec%.lua:%d+: ", message)
      assert.are.same({ 14, 10 }, program:run({ x, core.tensor({ 2, 0 }, "i64") }):totable())
    end
  end)

  it("< and <= say what to use", function()
    local t = core.tensor { 1, 2 }
    local ok, message = pcall(function() return t < t end)
    assert(not ok and message:find ":lt", message)
    ok, message = pcall(function() return t <= t end)
    assert(not ok and message:find ":le", message)
  end)
end)
