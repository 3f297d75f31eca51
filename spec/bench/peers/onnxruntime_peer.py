"""ONNX Runtime, for inference: graphs of opset 20 written by the operations below, all optimisations, inputs and outputs bound."""
import tempfile

from serve import Weights, serve

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from models import ROWS


class Value:
    """The name of a tensor and its shape, with + for models.py."""

    def __init__(self, ops, name, shape):
        self.ops, self.name, self.shape = ops, name, tuple(shape)

    def __add__(self, other):
        return self.ops.node("Add", [self, other], np.broadcast_shapes(self.shape, other.shape))


class Ops(Weights):
    def __init__(self, arrays):
        super().__init__(arrays)
        self.nodes, self.constants, self.count = [], [], 0

    def name(self):
        self.count += 1
        return "v%d" % self.count

    def constant(self, array):
        name = self.name()
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return Value(self, name, array.shape)

    def convert(self, kind, *arrays):
        a = arrays[0]
        if kind in ("conv", "conv_transpose"):
            a = a.transpose(3, 2, 0, 1)
        elif kind == "depthwise":
            a = a.transpose(2, 3, 0, 1)
        elif kind == "qkv":
            d = a.shape[0]
            kernel = np.concatenate([arrays[i].reshape(d, d) for i in (0, 2, 4)], 1)
            return self.constant(kernel), self.constant(np.concatenate([arrays[i].reshape(d) for i in (1, 3, 5)]))
        elif kind == "joined":
            a = a.reshape(-1, a.shape[-1])
        elif kind == "lstm":
            return arrays
        return self.constant(a)

    def node(self, op, inputs, shape, **attrs):
        out = self.name()
        self.nodes.append(helper.make_node(op, [v.name for v in inputs], [out], **attrs))
        return Value(self, out, shape)

    def reshape(self, x, shape):
        return self.node("Reshape", [x, self.constant(np.array(shape, np.int64))], shape)

    def act(self, x, act):
        if act == "relu6":
            return self.node("Clip", [x, self.constant(np.float32(0)), self.constant(np.float32(6))], x.shape)
        if act == "gelu":
            return self.node("Gelu", [x], x.shape, approximate="tanh")
        return self.node({"relu": "Relu", "tanh": "Tanh"}[act], [x], x.shape) if act else x

    def linear(self, x, w, b):
        y = self.node("Gemm" if len(x.shape) == 2 else "MatMul", [x, w] + ([b] if b and len(x.shape) == 2 else []),
                      x.shape[:-1] + (w.shape[-1],))
        return y + b if b and len(x.shape) > 2 else y

    def dense(self, x, act=None, bias=True):
        return self.act(self.linear(x, self.weight("dense"), self.weight("bias") if bias else None), act)

    def conv(self, x, stride=1, pad=0, bias=False, act=None, groups=1, kind="conv"):
        w = self.weight(kind)
        inputs = [x, w] + ([self.weight("bias")] if bias else [])
        size = [(n + 2 * pad - w.shape[2]) // stride + 1 for n in x.shape[2:]]
        return self.act(self.node("Conv", inputs, (x.shape[0], w.shape[0], *size), strides=[stride, stride], pads=[pad] * 4,
                                  kernel_shape=list(w.shape[2:]), group=groups), act)

    def depthwise(self, x, stride):
        return self.conv(x, stride, 1, groups=x.shape[1], kind="depthwise")

    def batch_norm(self, x, act=None):
        rest = [self.weight("gamma"), self.weight("beta"), self.weight("moving"), self.weight("moving")]
        return self.act(self.node("BatchNormalization", [x] + rest, x.shape, epsilon=1e-5), act)

    def max_pool(self, x, size, stride, pad=0):
        shape = x.shape[:2] + tuple((n + 2 * pad - size) // stride + 1 for n in x.shape[2:])
        return self.node("MaxPool", [x], shape, kernel_shape=[size, size], strides=[stride, stride], pads=[pad] * 4)

    def mean_pixels(self, x):
        return self.reshape(self.node("GlobalAveragePool", [x], x.shape[:2] + (1, 1)), x.shape[:2])

    def relu(self, x):
        return self.act(x, "relu")

    def embed(self, table, ids):
        return self.node("Gather", [table, ids], ids.shape + table.shape[1:])

    def first_rows(self, table, n):
        at = [self.constant(np.array([i], np.int64)) for i in (0, n, 0)]
        return self.node("Slice", [table] + at, (n, table.shape[1]))

    def layer_norm(self, x):
        return self.node("LayerNormalization", [x, self.weight("gamma"), self.weight("beta")], x.shape, axis=-1, epsilon=1e-5)

    def transpose(self, x, perm):
        return self.node("Transpose", [x], [x.shape[i] for i in perm], perm=perm)

    def times_transposed(self, x, table):
        return self.node("MatMul", [x, self.transpose(table, [1, 0])], x.shape[:-1] + (table.shape[0],))

    def heads_of(self, x, heads):
        w, b = self.weight("qkv", 6)
        n, t, d = x.shape
        y, out = self.linear(x, w, b), [self.name() for _ in range(3)]
        self.nodes.append(helper.make_node("Split", [y.name], out, axis=-1, num_outputs=3))
        return [self.transpose(self.reshape(Value(self, v, x.shape), (n, t, heads, d // heads)), [0, 2, 1, 3]) for v in out]

    def attend(self, x, q, k, v, causal):
        n, h, t, d = q.shape
        s = k.shape[2]
        scores = self.node("MatMul", [q, self.transpose(k, [0, 1, 3, 2])], (n, h, t, s))
        scores = self.node("Mul", [scores, self.constant(np.float32(d**-0.5))], scores.shape)
        if causal:
            scores = scores + self.constant(np.triu(np.full((t, s), -1e9, np.float32), 1))
        y = self.node("MatMul", [self.node("Softmax", [scores], scores.shape, axis=-1), v], q.shape)
        y = self.reshape(self.transpose(y, [0, 2, 1, 3]), x.shape)
        return self.linear(y, self.weight("joined"), self.weight("bias"))

    def attention(self, x, heads):
        q, k, v = self.heads_of(x, heads)
        return self.attend(x, q, k, v, True)

    def attention_step(self, x, heads, keys, values):
        q, k, v = self.heads_of(x, heads)
        longer = keys.shape[:2] + (keys.shape[2] + 1, keys.shape[3])
        k2, v2 = (self.node("Concat", [a, b], longer, axis=2) for a, b in ((keys, k), (values, v)))
        return self.attend(x, q, k2, v2, False), k, v

    def lstm_step(self, x, h, c):
        kernel, recurrent, bias = self.weight("lstm", 3)
        u = recurrent.shape[0]
        order = np.concatenate([np.arange(g * u, g * u + u) for g in (0, 3, 1, 2)])  # i, f, g, o -> i, o, f, g
        w, r = self.constant(kernel.T[order][None]), self.constant(recurrent.T[order][None])
        b = self.constant(np.concatenate([bias[order], np.zeros(4 * u, np.float32)])[None])
        out = [self.name() for _ in range(3)]
        state = [self.reshape(v, (1,) + v.shape) for v in (h, c)]
        inputs = [x.name, w.name, r.name, b.name, "", state[0].name, state[1].name]
        self.nodes.append(helper.make_node("LSTM", inputs, out, hidden_size=u))
        return tuple(self.reshape(Value(self, v, (1, 1, u)), h.shape) for v in out[1:])


def make(name, arrays, data):
    row, last = ROWS[name], {}
    if row.kind == "train":
        raise ValueError("inference only")
    ops = Ops(arrays)
    data = [np.ascontiguousarray(a.transpose(0, 3, 1, 2)) if row.images else a for a in data]
    inputs = [Value(ops, "x%d" % i, a.shape) for i, a in enumerate(data)]
    outputs = row.forward(ops, *inputs)
    ops.finish()
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    kinds = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int32): TensorProto.INT32}
    graph = helper.make_graph(
        ops.nodes, name, [helper.make_tensor_value_info(v.name, kinds[a.dtype], a.shape) for v, a in zip(inputs, data)],
        [helper.make_tensor_value_info(v.name, TensorProto.FLOAT, v.shape) for v in outputs], ops.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = 2, 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    with tempfile.NamedTemporaryFile(suffix=".onnx") as f:
        onnx.save(model, f.name)
        session = ort.InferenceSession(f.name, options, providers=["CPUExecutionProvider"])
    binding, out = session.io_binding(), [np.zeros(v.shape, np.float32) for v in outputs]
    values = [ort.OrtValue.ortvalue_from_numpy(a) for a in data + out]
    for v, value in zip(inputs, values):
        binding.bind_ortvalue_input(v.name, value)
    for v, value in zip(outputs, values[len(data) :]):
        binding.bind_ortvalue_output(v.name, value)

    def step():
        session.run_with_iobinding(binding)

    return step, lambda: values[len(data)].numpy()


serve(make)
