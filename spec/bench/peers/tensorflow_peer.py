"""TensorFlow: `tensorflow_peer.py function | xla`. The whole step is one tf.function; optimizers are the fused resource operations.
Padding is SAME, or tf.pad and VALID: explicit padding has slow gradients."""
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
from serve import Weights, serve

import numpy as np
import tensorflow as tf

from models import ROWS

XLA = sys.argv[1] == "xla"
tf.config.threading.set_intra_op_parallelism_threads(2)
tf.config.threading.set_inter_op_parallelism_threads(1)
ACTIVATIONS = {None: lambda x: x, "relu": tf.nn.relu, "tanh": tf.tanh, "relu6": tf.nn.relu6,
               "gelu": lambda x: tf.nn.gelu(x, approximate=True)}


class Ops(Weights):
    fixed = False  # weights of inference are constants, so that graphs can be folded

    def convert(self, kind, *arrays):
        a = arrays[0]
        make = tf.constant if self.fixed else (lambda x: tf.Variable(x, trainable=kind != "moving"))
        if kind == "qkv":
            d = a.shape[0]
            kernel = np.concatenate([arrays[i].reshape(d, d) for i in (0, 2, 4)], 1)
            return make(kernel), make(np.concatenate([arrays[i].reshape(d) for i in (1, 3, 5)]))
        if kind == "joined":
            return make(a.reshape(-1, a.shape[-1]))
        if kind == "lstm":
            return tuple(make(x) for x in arrays)
        return make(a)

    def linear(self, x, w, b=None):
        y = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), w)
        if b is not None:
            y = tf.nn.bias_add(y, b)
        return tf.reshape(y, list(x.shape[:-1]) + [w.shape[-1]])

    def dense(self, x, act=None, bias=True):
        return ACTIVATIONS[act](self.linear(x, self.weight("dense"), self.weight("bias") if bias else None))

    def padded(self, x, stride, pad):
        if pad == 0 or stride == 1:
            return x, "VALID" if pad == 0 else "SAME"
        return tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]]), "VALID"

    def conv(self, x, stride=1, pad=0, bias=False, act=None):
        x, padding = self.padded(x, stride, pad)
        y = tf.nn.conv2d(x, self.weight("conv"), stride, padding)
        return ACTIVATIONS[act](tf.nn.bias_add(y, self.weight("bias")) if bias else y)

    def depthwise(self, x, stride):
        x, padding = self.padded(x, stride, 1)
        return tf.nn.depthwise_conv2d(x, self.weight("depthwise"), [1, stride, stride, 1], padding)

    def conv_transpose(self, x):
        w = self.weight("conv_transpose")
        shape = [x.shape[0], 2 * x.shape[1], 2 * x.shape[2], w.shape[2]]
        return tf.nn.bias_add(tf.nn.conv2d_transpose(x, w, shape, 2, "VALID"), self.weight("bias"))

    def batch_norm(self, x, act=None):
        gamma, beta, mean, variance = self.weight("gamma"), self.weight("beta"), self.weight("moving"), self.weight("moving")
        if not self.training:
            y = tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, mean, variance, epsilon=1e-5, is_training=False)[0]
            return ACTIVATIONS[act](y)
        y, m, v = tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=1e-5, is_training=True)
        mean.assign_sub((mean - m) * 0.1)
        variance.assign_sub((variance - v) * 0.1)
        return ACTIVATIONS[act](y)

    def max_pool(self, x, size, stride, pad=0):
        if pad:
            x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]], constant_values=-1e30)
        return tf.nn.max_pool2d(x, size, stride, "VALID")

    def mean_pixels(self, x):
        return tf.reduce_mean(x, [1, 2])

    def flatten(self, x):
        return tf.reshape(x, [x.shape[0], -1])

    def concat(self, a, b):
        return tf.concat([a, b], -1)

    def relu(self, x):
        return tf.nn.relu(x)

    def embed(self, table, ids):
        return tf.gather(table, ids)

    def first_rows(self, table, n):
        return table[:n]

    def layer_norm(self, x):
        gamma, beta = self.weight("gamma"), self.weight("beta")
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-5)

    def times_transposed(self, x, table):
        y = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), table, transpose_b=True)
        return tf.reshape(y, list(x.shape[:-1]) + [-1])

    def heads_of(self, x, heads):
        w, b = self.weight("qkv", 6)
        n, t, d = x.shape
        y = tf.reshape(self.linear(x, w, b), [n, t, 3, heads, d // heads])
        return tf.unstack(tf.transpose(y, [2, 0, 3, 1, 4]))

    def attend(self, x, q, k, v, causal):
        scores = tf.matmul(q, k, transpose_b=True) * (q.shape[-1] ** -0.5)
        if causal:
            t = q.shape[2]
            scores += np.triu(np.full([t, t], -1e9, np.float32), 1)
        y = tf.transpose(tf.matmul(tf.nn.softmax(scores), v), [0, 2, 1, 3])
        return self.linear(tf.reshape(y, x.shape), self.weight("joined"), self.weight("bias"))

    def attention(self, x, heads):
        q, k, v = self.heads_of(x, heads)
        return self.attend(x, q, k, v, True)

    def attention_step(self, x, heads, keys, values):
        q, k, v = self.heads_of(x, heads)
        return self.attend(x, q, tf.concat([keys, k], 2), tf.concat([values, v], 2), False), k, v

    def cell(self, z, c):
        i, f, g, o = tf.split(z, 4, -1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        return tf.sigmoid(o) * tf.tanh(c), c

    def lstm(self, x):
        kernel, recurrent, bias = self.weight("lstm", 3)
        z = tf.transpose(self.linear(x, kernel, bias), [1, 0, 2])
        h = c = tf.zeros([x.shape[0], recurrent.shape[0]])
        if not XLA:
            out = []
            for z_t in tf.unstack(z):
                h, c = self.cell(z_t + tf.matmul(h, recurrent), c)
                out.append(h)
            return tf.stack(out, 1)
        h, _ = tf.scan(lambda s, z_t: self.cell(z_t + tf.matmul(s[0], recurrent), s[1]), z, (h, c))
        return tf.transpose(h, [1, 0, 2])

    def lstm_step(self, x, h, c):
        kernel, recurrent, bias = self.weight("lstm", 3)
        return self.cell(tf.matmul(x[:, 0], kernel) + tf.matmul(h, recurrent) + bias, c)

    def chosen(self, q, action):
        return tf.gather(q, action, batch_dims=1)

    def largest(self, q):
        return tf.reduce_max(q, 1)

    def stop(self, x):
        return tf.stop_gradient(x)

    def mean(self, x):
        return tf.reduce_mean(x)


LOSSES = {
    "classes": lambda y, t: tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=t, logits=y)),
    "mask": lambda y, t: tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=t, logits=y)),
}


def leaves(p):
    return list(p) if isinstance(p, tuple) else [p]


def optimizer(spec, variables):
    zeros = lambda: [tf.Variable(tf.zeros_like(v)) for v in variables]  # noqa: E731
    raw, rate = tf.raw_ops, spec[1]
    if spec[0] == "sgd":
        moved = zeros()

        def apply(grads):
            for v, g, a in zip(variables, grads, moved):
                raw.ResourceApplyMomentum(var=v.handle, accum=a.handle, lr=rate, grad=g, momentum=spec[2])

        return apply
    m, v2, powers = zeros(), zeros(), [tf.Variable(1.0), tf.Variable(1.0)]

    def apply(grads):
        b1, b2 = powers[0].assign(powers[0] * 0.9), powers[1].assign(powers[1] * 0.999)
        for v, g, a, b in zip(variables, grads, m, v2):
            if spec[2]:
                v.assign_sub(v * (rate * spec[2]))
            raw.ResourceApplyAdam(var=v.handle, m=a.handle, v=b.handle, beta1_power=b1, beta2_power=b2, lr=rate, beta1=0.9,
                                  beta2=0.999, epsilon=1e-7, grad=g)

    return apply


def make(name, arrays, data):
    row, last = ROWS[name], {}
    data = [tf.constant(a) for a in data]
    first = Ops(arrays)
    first.fixed = row.kind == "infer"
    row.forward(first, *(data if row.loss is None else data[:-1]))
    first.finish()
    params = first.params

    def run(*inputs):
        o = Ops(params=params)
        o.training = row.kind == "train"
        y = row.forward(o, *(inputs if row.loss is None else inputs[:-1]))
        return LOSSES[row.loss](y, inputs[-1]) if row.loss else y

    if row.kind == "infer":
        call = tf.function(run, jit_compile=XLA).get_concrete_function(*data)

        def step():
            last["y"] = call(*data)

        return step, lambda: (last["y"][0] if isinstance(last["y"], (tuple, list)) else last["y"]).numpy()
    variables = [x for p, trains in zip(params, first.trains) if trains for x in leaves(p)]
    apply = optimizer(row.optimizer, variables)

    @tf.function(jit_compile=XLA)
    def train(*inputs):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            loss = run(*inputs)
        grads = [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]
        apply(grads)
        return loss

    call = train.get_concrete_function(*data)

    def step():
        last["loss"] = call(*data)

    return step, lambda: last["loss"].numpy()


serve(make)
