"""PyTorch: `torch_peer.py eager | channels_last | compile`. Convolutions as [n, c, h, w], in either memory format; fused optimizers."""
import sys

from serve import Weights, serve

import numpy as np
import torch
import torch.nn.functional as F

from models import ROWS

MODE = sys.argv[1]
torch.set_num_threads(2)
LAST = torch.channels_last if MODE != "eager" else torch.contiguous_format
ACTIVATIONS = {None: lambda x: x, "relu": F.relu, "tanh": torch.tanh, "relu6": F.relu6,
               "gelu": lambda x: F.gelu(x, approximate="tanh")}


def tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array))


def image(array):
    return tensor(array).permute(0, 3, 1, 2).contiguous(memory_format=LAST)


class Ops(Weights):
    def convert(self, kind, *arrays):
        a = arrays[0]
        if kind == "dense":
            a = a.T
        elif kind in ("conv", "conv_transpose"):
            a = a.transpose(3, 2, 0, 1)
        elif kind == "depthwise":
            a = a.transpose(2, 3, 0, 1)
        elif kind == "qkv":  # query, key and value kernels [d, heads, size], each with its bias
            d = a.shape[0]
            a = np.concatenate([arrays[i].reshape(d, d) for i in (0, 2, 4)], 1).T
            b = np.concatenate([arrays[i].reshape(d) for i in (1, 3, 5)])
            return torch.nn.Parameter(tensor(a)), torch.nn.Parameter(tensor(b))
        elif kind == "joined":
            a = a.reshape(-1, a.shape[-1]).T
        elif kind == "lstm":  # kernel [d, 4 u], recurrent kernel [u, 4 u], bias [4 u]
            w = [torch.nn.Parameter(tensor(x.T)) for x in arrays[:2]] + [torch.nn.Parameter(tensor(arrays[2]))]
            return tuple(w) + (torch.zeros_like(w[2]),)
        t = tensor(a)
        if kind in ("conv", "depthwise"):
            t = t.contiguous(memory_format=LAST)
        return t if kind == "moving" else torch.nn.Parameter(t)

    def dense(self, x, act=None, bias=True):
        return ACTIVATIONS[act](F.linear(x, self.weight("dense"), self.weight("bias") if bias else None))

    def conv(self, x, stride=1, pad=0, bias=False, act=None):
        return ACTIVATIONS[act](F.conv2d(x, self.weight("conv"), self.weight("bias") if bias else None, stride, pad))

    def depthwise(self, x, stride):
        return F.conv2d(x, self.weight("depthwise"), None, stride, 1, 1, x.shape[1])

    def conv_transpose(self, x):
        return F.conv_transpose2d(x, self.weight("conv_transpose"), self.weight("bias"), 2)

    def batch_norm(self, x, act=None):
        gamma, beta, mean, variance = self.weight("gamma"), self.weight("beta"), self.weight("moving"), self.weight("moving")
        return ACTIVATIONS[act](F.batch_norm(x, mean, variance, gamma, beta, self.training, 0.1, 1e-5))

    def max_pool(self, x, size, stride, pad=0):
        return F.max_pool2d(x, size, stride, pad)

    def mean_pixels(self, x):
        return F.adaptive_avg_pool2d(x, 1).flatten(1)

    def flatten(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)

    def concat(self, a, b):
        return torch.cat([a, b], 1)

    def relu(self, x):
        return F.relu(x)

    def embed(self, table, ids):
        return F.embedding(ids, table)

    def first_rows(self, table, n):
        return table[:n]

    def layer_norm(self, x):
        gamma, beta = self.weight("gamma"), self.weight("beta")
        return F.layer_norm(x, x.shape[-1:], gamma, beta, 1e-5)

    def times_transposed(self, x, table):
        return F.linear(x, table)

    def heads_of(self, x, heads):
        w, b = self.weight("qkv", 6)
        n, t, d = x.shape
        return F.linear(x, w, b).view(n, t, 3, heads, d // heads).permute(2, 0, 3, 1, 4)

    def attention(self, x, heads):
        q, k, v = self.heads_of(x, heads)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return F.linear(y.transpose(1, 2).reshape(x.shape), self.weight("joined"), self.weight("bias"))

    def attention_step(self, x, heads, keys, values):
        """Decoding has its projections as dense layers: six weights, then the output's two."""
        q, k, v = self.heads_of(x, heads)
        y = F.scaled_dot_product_attention(q, torch.cat([keys, k], 2), torch.cat([values, v], 2))
        return F.linear(y.transpose(1, 2).reshape(x.shape), self.weight("joined"), self.weight("bias")), k, v

    def lstm(self, x):
        w = self.weight("lstm", 3)
        zeros = x.new_zeros(1, x.shape[0], w[1].shape[1])
        return torch._VF.lstm(x, (zeros, zeros), w, True, 1, 0.0, self.training, False, True)[0]

    def lstm_step(self, x, h, c):
        w = self.weight("lstm", 3)
        h, c = torch._VF.lstm_cell(x[:, 0], (h, c), *w)
        return h, c

    def chosen(self, q, action):
        return q.gather(1, action[:, None])[:, 0]

    def largest(self, q):
        return q.max(1).values

    def stop(self, x):
        return x.detach()

    def mean(self, x):
        return x.mean()


LOSSES = {
    "classes": lambda y, t: F.cross_entropy(y.reshape(-1, y.shape[-1]), t.reshape(-1)),
    "mask": F.binary_cross_entropy_with_logits,
}


def leaves(p):
    return [x for x in (p if isinstance(p, tuple) else (p,)) if isinstance(x, torch.nn.Parameter)]


def optimizer(spec, params):
    if spec[0] == "sgd":
        return torch.optim.SGD(params, lr=spec[1], momentum=spec[2], fused=True)
    if spec[2]:
        return torch.optim.AdamW(params, lr=spec[1], eps=1e-7, weight_decay=spec[2], fused=True)
    return torch.optim.Adam(params, lr=spec[1], eps=1e-7, fused=True)


def make(name, arrays, data):
    row = ROWS[name]
    data = [image(a) if a.ndim == 4 and row.images else tensor(a) for a in data]
    first = Ops(arrays)
    with torch.no_grad():
        row.forward(first, *(data if row.loss is None else data[:-1]))
    first.finish()
    params = first.params
    last = {}

    def run(*inputs):
        o = Ops(params=params)
        o.training = row.kind == "train"
        y = row.forward(o, *(inputs if row.loss is None else inputs[:-1]))
        return LOSSES[row.loss](y, inputs[-1]) if row.loss else y

    if MODE == "compile":
        run = torch.compile(run)
    if row.kind == "infer":
        def step():
            with torch.inference_mode():
                last["y"] = run(*data)

        return step, lambda: (last["y"][0] if isinstance(last["y"], tuple) else last["y"]).numpy()
    trained = [x for p, trains in zip(params, first.trains) if trains for x in leaves(p)]
    for p, trains in zip(params, first.trains):
        for x in leaves(p):
            x.requires_grad_(trains)
    opt = optimizer(row.optimizer, trained)

    def step():
        opt.zero_grad(set_to_none=True)
        loss = run(*data)
        loss.backward()
        opt.step()
        last["loss"] = loss

    return step, lambda: last["loss"].detach().numpy()


serve(make)
