"""JAX: `jax_peer.py WORKLOAD`. The whole step in one jit, its state donated. Convolutions by XLA's own code, pooling by reshape and maximum, depthwise
convolutions as nine shifted products, products of rank 2, the LSTM's weight gradient as one product after its loop."""
import os
import sys

from models import ROWS

FLAGS = ["--xla_cpu_prefer_vector_width=512"]
if ROWS[sys.argv[1]].images:  # YNNPACK's convolutions are slower than XLA's
    FLAGS.append("--xla_cpu_experimental_ynn_fusion_type=")
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", "")] + FLAGS)
from serve import Weights, serve

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

ACTIVATIONS = {None: lambda x: x, "relu": lambda x: jnp.maximum(x, 0), "tanh": jnp.tanh, "relu6": lambda x: jnp.clip(x, 0, 6),
               "gelu": lambda x: jax.nn.gelu(x, approximate=True)}


def cell(z, c):
    i, f, g, o = jnp.split(z, 4, -1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


@jax.custom_vjp
def lstm_loop(z, recurrent):
    """z [t, b, 4 u], recurrent [u, 4 u] -> h [t, b, u]"""
    return lstm_forward(z, recurrent)[0]


def lstm_forward(z, recurrent):
    zero = jnp.zeros((z.shape[1], recurrent.shape[0]))

    def step(s, z_t):
        h, c = s
        a = z_t + h @ recurrent
        following = cell(a, c)
        return following, (following[0], a, c, h)

    _, (y, a, c, h) = lax.scan(step, (zero, zero), z)
    return y, (a, c, h, recurrent)


def lstm_backward(kept, dy):
    a, c, h, recurrent = kept

    def step(s, x):
        dh, dc = s
        dy_t, a_t, c_t = x
        _, pull = jax.vjp(cell, a_t, c_t)
        da, dc = pull((dy_t + dh, dc))
        return (da @ recurrent.T, dc), da

    zero = jnp.zeros_like(c[0])
    _, da = lax.scan(step, (zero, zero), (dy, a, c), reverse=True)
    u = recurrent.shape[0]
    return da, h.reshape(-1, u).T @ da.reshape(-1, 4 * u)


lstm_loop.defvjp(lstm_forward, lstm_backward)


class Ops(Weights):
    def convert(self, kind, *arrays):
        a = arrays[0]
        if kind == "qkv":
            d = a.shape[0]
            kernel = np.concatenate([arrays[i].reshape(d, d) for i in (0, 2, 4)], 1)
            return kernel, np.concatenate([arrays[i].reshape(d) for i in (1, 3, 5)])
        if kind == "joined":
            return a.reshape(-1, a.shape[-1])
        return arrays if kind == "lstm" else a

    def linear(self, x, w, b=None):
        y = x.reshape(-1, x.shape[-1]) @ w
        if b is not None:
            y = y + b
        return y.reshape(x.shape[:-1] + (w.shape[-1],))

    def dense(self, x, act=None, bias=True):
        return ACTIVATIONS[act](self.linear(x, self.weight("dense"), self.weight("bias") if bias else None))

    def conv(self, x, stride=1, pad=0, bias=False, act=None):
        w = self.weight("conv")
        if w.shape[:2] == (1, 1) and stride == 1:
            y = self.linear(x, w.reshape(w.shape[2:]))
        else:
            y = lax.conv_general_dilated(x, w, (stride, stride), [(pad, pad), (pad, pad)], dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return ACTIVATIONS[act](y + self.weight("bias") if bias else y)

    def depthwise(self, x, stride):
        w, y = self.weight("depthwise"), 0
        h, width = x.shape[1], x.shape[2]
        out = [(h - 1) // stride + 1, (width - 1) // stride + 1]
        padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        for i in range(3):
            for j in range(3):
                piece = padded[:, i : i + stride * (out[0] - 1) + 1 : stride, j : j + stride * (out[1] - 1) + 1 : stride]
                y = y + piece * w[i, j, :, 0]
        return y

    def conv_transpose(self, x):
        w = self.weight("conv_transpose")  # [2, 2, f, c]; the windows do not meet
        n, h, width, c = x.shape
        y = (x.reshape(-1, c) @ w.reshape(-1, c).T).reshape(n, h, width, 2, 2, w.shape[2])
        return y.transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * width, w.shape[2]) + self.weight("bias")

    def batch_norm(self, x, act=None):
        gamma, beta, mean, variance = self.weight("gamma"), self.weight("beta"), self.weight("moving"), self.weight("moving")
        if self.training:
            m = x.mean((0, 1, 2))
            v = (x * x).mean((0, 1, 2)) - m * m
            self.moved = getattr(self, "moved", {})
            self.moved[self.at - 2], self.moved[self.at - 1] = 0.9 * mean + 0.1 * m, 0.9 * variance + 0.1 * v
            mean, variance = m, v
        scale = gamma * lax.rsqrt(variance + 1e-5)
        return ACTIVATIONS[act](x * scale + (beta - mean * scale))

    def max_pool(self, x, size, stride, pad=0):
        if size == stride and pad == 0:
            n, h, w, c = x.shape
            h, w = h // size, w // size
            return x[:, : h * size, : w * size].reshape(n, h, size, w, size, c).max((2, 4))
        p = (0, 0), (pad, pad), (pad, pad), (0, 0)
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, size, size, 1), (1, stride, stride, 1), p)

    def mean_pixels(self, x):
        return x.mean((1, 2))

    def flatten(self, x):
        return x.reshape(x.shape[0], -1)

    def concat(self, a, b):
        return jnp.concatenate([a, b], -1)

    def relu(self, x):
        return jnp.maximum(x, 0)

    def embed(self, table, ids):
        return jnp.take(table, ids, axis=0)

    def first_rows(self, table, n):
        return table[:n]

    def layer_norm(self, x):
        gamma, beta = self.weight("gamma"), self.weight("beta")
        mean = x.mean(-1, keepdims=True)
        d = x - mean
        return d * lax.rsqrt((d * d).mean(-1, keepdims=True) + 1e-5) * gamma + beta

    def times_transposed(self, x, table):
        return (x.reshape(-1, x.shape[-1]) @ table.T).reshape(x.shape[:-1] + (table.shape[0],))

    def heads_of(self, x, heads):
        w, b = self.weight("qkv", 6)
        n, t, d = x.shape
        return self.linear(x, w, b).reshape(n, t, 3, heads, d // heads).transpose(2, 0, 3, 1, 4)

    def attend(self, x, q, k, v, causal):
        scores = jnp.einsum("nhtd,nhsd->nhts", q, k) * (q.shape[-1] ** -0.5)
        if causal:
            scores = scores + np.triu(np.full((q.shape[2], q.shape[2]), -1e9, np.float32), 1)
        y = jnp.einsum("nhts,nhsd->nthd", jax.nn.softmax(scores), v)
        return self.linear(y.reshape(x.shape), self.weight("joined"), self.weight("bias"))

    def attention(self, x, heads):
        q, k, v = self.heads_of(x, heads)
        return self.attend(x, q, k, v, True)

    def attention_step(self, x, heads, keys, values):
        q, k, v = self.heads_of(x, heads)
        return self.attend(x, q, jnp.concatenate([keys, k], 2), jnp.concatenate([values, v], 2), False), k, v

    def lstm(self, x):
        kernel, recurrent, bias = self.weight("lstm", 3)
        z = self.linear(x.transpose(1, 0, 2), kernel, bias)
        return lstm_loop(z, recurrent).transpose(1, 0, 2)

    def lstm_step(self, x, h, c):
        kernel, recurrent, bias = self.weight("lstm", 3)
        return cell(x[:, 0] @ kernel + h @ recurrent + bias, c)

    def chosen(self, q, action):
        return jnp.take_along_axis(q, action[:, None], 1)[:, 0]

    def largest(self, q):
        return q.max(1)

    def stop(self, x):
        return lax.stop_gradient(x)

    def mean(self, x):
        return x.mean()


def classes(y, t):
    picked = jnp.take_along_axis(y, t[..., None].astype(jnp.int32), -1)[..., 0]
    return (jax.nn.logsumexp(y, -1) - picked).mean()


LOSSES = {"classes": classes, "mask": lambda y, t: (jax.nn.softplus(y) - y * t).mean()}


def optimizer(spec):
    tree, rate = jax.tree_util.tree_map, spec[1]
    if spec[0] == "sgd":
        def sgd(params, grads, state):
            state = tree(lambda a, g: spec[2] * a + g, state, grads)
            return tree(lambda p, a: p - rate * a, params, state), state

        return lambda params: tree(jnp.zeros_like, params), sgd

    def adam(params, grads, state):
        m, v, t = state
        t = t + 1
        m, v = tree(lambda a, g: 0.9 * a + 0.1 * g, m, grads), tree(lambda a, g: 0.999 * a + 0.001 * g * g, v, grads)
        step = rate * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        keep = 1 - rate * spec[2]
        return tree(lambda p, a, b: keep * p - step * a / (jnp.sqrt(b) + 1e-7), params, m, v), (m, v, t)

    return lambda params: (tree(jnp.zeros_like, params), tree(jnp.zeros_like, params), jnp.zeros(())), adam


def make(name, arrays, data):
    row, last = ROWS[name], {}
    data = [jnp.array(a) for a in data]
    first = Ops(arrays)
    forward_data = data if row.loss is None else data[:-1]
    jax.eval_shape(lambda *x: row.forward(first, *x), *forward_data)
    first.finish()
    params, trains = jax.tree_util.tree_map(jnp.array, first.params), first.trains

    def run(trained, kept, *inputs):
        a, b = iter(trained), iter(kept)
        o = Ops(params=[next(a) if t else next(b) for t in trains])
        o.training = row.kind == "train"
        y = row.forward(o, *(inputs if row.loss is None else inputs[:-1]))
        if row.kind == "infer":
            return y
        moved = getattr(o, "moved", {})
        kept = [moved.get(i, p) for i, p in enumerate(o.params) if not trains[i]]
        return (LOSSES[row.loss](y, inputs[-1]) if row.loss else y), kept

    trained = [p for p, t in zip(params, trains) if t]
    kept = [p for p, t in zip(params, trains) if not t]
    if row.kind == "infer":
        small = sum(a.nbytes for a in jax.tree_util.tree_leaves(params)) < 1 << 20  # then they are constants of the code
        compiled = jax.jit((lambda *x: run(trained, kept, *x)) if small else run)
        inputs = data if small else [trained, kept] + data

        def step():
            last["y"] = jax.block_until_ready(compiled(*inputs))

        return step, lambda: np.asarray(last["y"][0] if isinstance(last["y"], tuple) else last["y"])
    begin, update = optimizer(row.optimizer)

    def train(trained, kept, state, *inputs):
        (loss, kept), grads = jax.value_and_grad(run, has_aux=True)(trained, kept, *inputs)
        trained, state = update(trained, grads, state)
        return trained, kept, state, loss

    state = [trained, kept, begin(trained)]
    call = jax.jit(train, donate_argnums=(0, 1, 2))

    def step():
        *state[:], last["loss"] = call(*state, *data)
        last["loss"].block_until_ready()

    return step, lambda: np.asarray(last["loss"])


serve(make)
