"""tinygrad on its CPU device, or the OpenCL one (argument CL), each step one TinyJit."""
import os
import sys

os.environ[sys.argv[1]] = "1"
os.environ["DEV"] = sys.argv[1]
from serve import Weights, serve

import numpy as np
from tinygrad import Device, Tensor, TinyJit
from tinygrad.nn.optim import SGD, Adam, AdamW

from models import ROWS

ACTIVATIONS = {None: lambda x: x, "relu": Tensor.relu, "tanh": Tensor.tanh, "relu6": lambda x: x.relu().minimum(6),
               "gelu": lambda x: 0.5 * x * (1 + (0.7978845608 * (x + 0.044715 * x * x * x)).tanh())}


def tensor(a):
    return Tensor(np.ascontiguousarray(a)).realize()


class Ops(Weights):
    def convert(self, kind, *arrays):
        a = arrays[0]
        if kind in ("conv", "conv_transpose"):
            a = a.transpose(3, 2, 0, 1)
        elif kind == "depthwise":
            a = a.transpose(2, 3, 0, 1)
        elif kind == "qkv":
            d = a.shape[0]
            kernel = np.concatenate([arrays[i].reshape(d, d) for i in (0, 2, 4)], 1)
            return tensor(kernel), tensor(np.concatenate([arrays[i].reshape(d) for i in (1, 3, 5)]))
        elif kind == "joined":
            a = a.reshape(-1, a.shape[-1])
        elif kind == "lstm":
            return tuple(tensor(x) for x in arrays)
        return tensor(a)

    def dense(self, x, act=None, bias=True):
        return ACTIVATIONS[act](x.linear(self.weight("dense"), self.weight("bias") if bias else None))

    def conv(self, x, stride=1, pad=0, bias=False, act=None):
        return ACTIVATIONS[act](x.conv2d(self.weight("conv"), self.weight("bias") if bias else None, 1, stride, 1, pad))

    def depthwise(self, x, stride):
        return x.conv2d(self.weight("depthwise"), None, x.shape[1], stride, 1, 1)

    def conv_transpose(self, x):
        return x.conv_transpose2d(self.weight("conv_transpose"), self.weight("bias"), stride=2)

    def batch_norm(self, x, act=None):
        gamma, beta, mean, variance = self.weight("gamma"), self.weight("beta"), self.weight("moving"), self.weight("moving")
        if self.training:
            m, v = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            self.moved = getattr(self, "moved", [])
            self.moved += [(mean, 0.9 * mean + 0.1 * m.detach()), (variance, 0.9 * variance + 0.1 * v.detach())]
            mean, variance = m, v
        return ACTIVATIONS[act](x.batchnorm(gamma, beta, mean, (variance + 1e-5).rsqrt()))

    def max_pool(self, x, size, stride, pad=0):
        return x.max_pool2d((size, size), stride, padding=pad)

    def mean_pixels(self, x):
        return x.mean((2, 3))

    def flatten(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)

    def concat(self, a, b):
        return a.cat(b, dim=1)

    def relu(self, x):
        return x.relu()

    def embed(self, table, ids):
        return table[ids]

    def first_rows(self, table, n):
        return table[:n]

    def layer_norm(self, x):
        gamma, beta = self.weight("gamma"), self.weight("beta")
        return x.layernorm(eps=1e-5) * gamma + beta

    def times_transposed(self, x, table):
        return x @ table.T

    def heads_of(self, x, heads):
        w, b = self.weight("qkv", 6)
        n, t, d = x.shape
        y = x.linear(w, b).reshape(n, t, 3, heads, d // heads).permute(2, 0, 3, 1, 4)
        return y[0], y[1], y[2]

    def attention(self, x, heads):
        q, k, v = self.heads_of(x, heads)
        y = q.scaled_dot_product_attention(k, v, is_causal=True)
        return y.transpose(1, 2).reshape(x.shape).linear(self.weight("joined"), self.weight("bias"))

    def attention_step(self, x, heads, keys, values):
        q, k, v = self.heads_of(x, heads)
        y = q.scaled_dot_product_attention(keys.cat(k, dim=2), values.cat(v, dim=2))
        return y.transpose(1, 2).reshape(x.shape).linear(self.weight("joined"), self.weight("bias")), k, v

    def cell(self, z, c):
        i, f, g, o = z.chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    def lstm(self, x):
        kernel, recurrent, bias = self.weight("lstm", 3)
        z = x.linear(kernel, bias)
        h = c = Tensor.zeros(x.shape[0], recurrent.shape[0])
        out = []
        for t in range(x.shape[1]):
            h, c = self.cell(z[:, t] + h @ recurrent, c)
            out.append(h)
        return Tensor.stack(*out, dim=1)

    def lstm_step(self, x, h, c):
        kernel, recurrent, bias = self.weight("lstm", 3)
        return self.cell(x[:, 0] @ kernel + h @ recurrent + bias, c)

    def chosen(self, q, action):
        return (q * action.one_hot(q.shape[1])).sum(1)

    def largest(self, q):
        return q.max(1)

    def stop(self, x):
        return x.detach()

    def mean(self, x):
        return x.mean()


LOSSES = {
    "classes": lambda y, t: y.reshape(-1, y.shape[-1]).sparse_categorical_crossentropy(t.reshape(-1)),
    "mask": lambda y, t: y.binary_crossentropy_logits(t),
}


def optimizer(spec, params):
    if spec[0] == "sgd":
        return SGD(params, lr=spec[1], momentum=spec[2])
    if spec[2]:
        return AdamW(params, lr=spec[1], eps=1e-7, weight_decay=spec[2])
    return Adam(params, lr=spec[1], eps=1e-7)


def leaves(p):
    return list(p) if isinstance(p, tuple) else [p]


def make(name, arrays, data):
    row, last = ROWS[name], {}
    data = [tensor(a.transpose(0, 3, 1, 2) if a.ndim == 4 and row.images else a) for a in data]
    first = Ops(arrays)
    row.forward(first, *(data if row.loss is None else data[:-1]))
    first.finish()
    params = first.params

    def run(inputs):
        o = Ops(params=params)
        o.training = row.kind == "train"
        y = row.forward(o, *(inputs if row.loss is None else inputs[:-1]))
        return (LOSSES[row.loss](y, inputs[-1]) if row.loss else y), getattr(o, "moved", [])

    if row.kind == "infer":
        @TinyJit
        def infer(*inputs):
            y, _ = run(inputs)
            return tuple(t.realize() for t in y) if isinstance(y, tuple) else y.realize()

        def step():
            y = infer(*data)
            last["y"] = y[0] if isinstance(y, tuple) else y
            Device[Device.DEFAULT].synchronize()

        return step, lambda: last["y"].numpy()
    trained = [x for p, trains in zip(params, first.trains) if trains for x in leaves(p)]
    opt = optimizer(row.optimizer, trained)

    @TinyJit
    def train(*inputs):
        opt.zero_grad()
        loss, moved = run(inputs)
        loss.backward()
        for old, new in moved:
            old.assign(new)
        return loss.realize(*opt.schedule_step(), *[old for old, _ in moved])

    def step():
        with Tensor.train():
            last["loss"] = train(*data)
        Device[Device.DEFAULT].synchronize()

    return step, lambda: last["loss"].numpy()


serve(make)
