"""The workloads of ../workloads once more, over the operations that each peer's file offers.

Weights are taken in the order in which Moonlet's layers made them; every operation asks for its own, so the order of calls below is
that of the Lua files. Tensors are (batch, height, width, channels) in words; how a peer lays them out is its own business.
"""


def mlp(o, x):
    return o.dense(o.dense(o.dense(x, "relu"), "relu"))


def cnn(o, x):
    h = o.max_pool(o.conv(x, bias=True, act="relu"), 2, 2)
    h = o.max_pool(o.conv(h, bias=True, act="relu"), 2, 2)
    return o.dense(o.dense(o.flatten(h), "relu"))


def resnet18(o, x):
    def block(x, stride):
        h = o.batch_norm(o.conv(x, stride, 1), "relu")
        h = o.batch_norm(o.conv(h, 1, 1))
        short = o.batch_norm(o.conv(x, stride)) if stride > 1 else x
        return o.relu(h + short)

    h = o.batch_norm(o.conv(x, 1, 1), "relu")
    for stage in range(4):
        h = block(block(h, 1 if stage == 0 else 2), 1)
    return o.dense(o.mean_pixels(h))


def gpt(o, x, layers, heads, tied=False):
    tokens = o.weight("table")
    h = o.embed(tokens, x) + o.first_rows(o.weight("table"), x.shape[1])
    for _ in range(layers):
        h = h + o.attention(o.layer_norm(h), heads)
        h = h + o.dense(o.dense(o.layer_norm(h), "gelu"))
    h = o.layer_norm(h)
    return o.times_transposed(h, tokens) if tied else o.dense(h, bias=False)


def lstm(o, x):
    return o.dense(o.lstm(o.embed(o.weight("table"), x)))


def unet(o, x):
    def twice(x):
        return o.conv(o.conv(x, 1, 1, bias=True, act="relu"), 1, 1, bias=True, act="relu")

    kept, h = [], x
    for _ in range(3):
        kept.append(twice(h))
        h = o.max_pool(kept[-1], 2, 2)
    h = twice(h)
    for skip in reversed(kept):
        h = twice(o.concat(skip, o.conv_transpose(h)))
    return o.conv(h, bias=True)


MOBILENET = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


def mobilenetv2(o, x):
    h, c = o.batch_norm(o.conv(x, 2, 1), "relu6"), 32
    for widen, filters, blocks, first in MOBILENET:
        for i in range(blocks):
            stride, before = (first if i == 0 else 1), h
            if widen > 1:
                h = o.batch_norm(o.conv(h), "relu6")
            h = o.batch_norm(o.depthwise(h, stride), "relu6")
            h = o.batch_norm(o.conv(h))
            if stride == 1 and c == filters:
                h = before + h
            c = filters
    return o.dense(o.mean_pixels(o.batch_norm(o.conv(h), "relu6")))


def resnet50(o, x):
    def block(x, stride, project):
        h = o.batch_norm(o.conv(x), "relu")
        h = o.batch_norm(o.conv(h, stride, 1), "relu")
        h = o.batch_norm(o.conv(h))
        return o.relu(h + (o.batch_norm(o.conv(x, stride)) if project else x))

    h = o.max_pool(o.batch_norm(o.conv(x, 2, 3), "relu"), 3, 2, 1)
    for stage, blocks in enumerate([3, 4, 6, 3]):
        for i in range(blocks):
            h = block(h, 2 if i == 0 and stage > 0 else 1, i == 0)
    return o.dense(o.mean_pixels(h))


def tiny(o, x):
    return o.dense(o.dense(o.dense(x, "tanh"), "tanh"), "tanh")


def lstm_step(o, x, h, c):
    return o.lstm_step(x, h, c)


def gpt2_decode(o, token, place, *kept):
    tokens = o.weight("table")
    h = o.embed(tokens, token) + o.embed(o.weight("table"), place)
    out = []
    for i in range(0, len(kept), 2):
        y, k, v = o.attention_step(o.layer_norm(h), 12, kept[i], kept[i + 1])
        h = h + y
        h = h + o.dense(o.dense(o.layer_norm(h), "gelu"))
        out += [k, v]
    return tuple([o.times_transposed(o.layer_norm(h), tokens)] + out)


def dqn_loss(o, state, action, reward, following, over):
    """Mean squared distance of Q(state, action) from what the target network promises."""
    q = o.chosen(mlp(o, state), action)
    o.frozen = True
    wanted = reward + 0.99 * (1 - over) * o.stop(o.largest(mlp(o, following)))
    o.frozen = False
    return o.mean((q - wanted) * (q - wanted))


class Row:
    def __init__(self, kind, forward, loss=None, optimizer=None, images=False):
        self.kind, self.forward, self.loss, self.optimizer, self.images = kind, forward, loss, optimizer, images


ADAM = ("adam", 1e-3, 0.0)
SGD = ("sgd", 0.01, 0.9)
ROWS = {
    "mlp_train": Row("train", mlp, "classes", ADAM),
    "cnn_train": Row("train", cnn, "classes", ADAM, True),
    "resnet18_train": Row("train", resnet18, "classes", SGD, True),
    "gpt_train": Row("train", lambda o, x: gpt(o, x, 4, 4), "classes", ("adam", 1e-3, 0.01)),
    "lstm_train": Row("train", lstm, "classes", ADAM),
    "unet_train": Row("train", unet, "mask", ADAM, True),
    "mobilenetv2_train": Row("train", mobilenetv2, "classes", ("sgd", 0.001, 0.9), True),
    "dqn_train": Row("train", dqn_loss, None, ADAM),
    "tiny_infer": Row("infer", tiny),
    "lstm_infer": Row("infer", lstm_step),
    "mobilenetv2_infer_b1": Row("infer", mobilenetv2, images=True),
    "mobilenetv2_infer_b8": Row("infer", mobilenetv2, images=True),
    "resnet50_infer_b1": Row("infer", resnet50, images=True),
    "resnet50_infer_b8": Row("infer", resnet50, images=True),
    "gpt2_prefill": Row("infer", lambda o, x: gpt(o, x, 12, 12, True)),
    "gpt2_decode": Row("infer", gpt2_decode),
}
