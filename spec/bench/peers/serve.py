"""What the peers' files share: weights from a file, and the conversation with the bench that started them.

Each line read is a command, each line written its answer: "ok NUMBERS.." or "error TEXT".
  make NAME PATH STEPS   builds the workload, trains so many steps (their losses) or infers once (a sample of the first output)
  round MICROSECONDS     calls it again and again for about that long; the median time of a call, in us
  peak                   the largest resident set so far, in bytes
  cpu                    processor time of all threads so far, in seconds
Nothing but this is done between commands, so that a peer sleeps while another is measured.
"""
import json
import os
import sys
import time

import numpy as np

os.environ.setdefault("OMP_NUM_THREADS", os.environ.get("MOONLET_THREADS", "2"))

DTYPES = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "I64": np.int64}


def load(path):
    """Weights (a list) and data (a list) of a file that the bench wrote."""
    with open(path, "rb") as f:
        size = int.from_bytes(f.read(8), "little")
        head, start = json.loads(f.read(size)), 8 + size
        tensors = {}
        for name, entry in head.items():
            if name == "__metadata__":
                continue
            first, last = entry["data_offsets"]
            f.seek(start + first)
            tensors[name] = np.frombuffer(f.read(last - first), DTYPES[entry["dtype"]]).reshape(entry["shape"]).copy()
    names = sorted(tensors)
    data = sorted((n for n in names if n[0] == "x"), key=lambda n: int(n[1:]))
    return [tensors[n] for n in names if n[0] == "w"], [tensors[n] for n in data]


class Weights:
    """Hands out weights in the order of models.py. A peer's operations derive from this and define convert(kind, *arrays), which
    lays an array out as the peer likes it. The first run makes the list; later ones may be given another of the same form, as
    traced functions are."""

    def __init__(self, arrays=None, params=None):
        self.arrays, self.params, self.trains = arrays, [] if params is None else params, []
        self.building, self.taken, self.at, self.frozen, self.training = params is None, 0, 0, False, False

    def weight(self, kind, count=1):
        if self.building:
            arrays = self.arrays[self.taken : self.taken + count]
            self.taken += count
            self.params.append(self.convert(kind, *arrays))
            self.trains.append(kind != "moving" and not self.frozen)
        self.at += 1
        return self.params[self.at - 1]

    def finish(self):
        assert self.taken == len(self.arrays), "%d of %d weights were used" % (self.taken, len(self.arrays))
        self.building, self.arrays = False, None


def sample(array):
    flat = np.asarray(array, np.float32).reshape(-1)
    return flat[:: max(1, flat.size // 64)][:64]


def median_time(step, round_us):
    start = time.perf_counter()
    step()
    guess = (time.perf_counter() - start) * 1e6
    batch = int(np.ceil(20 / max(guess, 0.2))) if guess < 20 else 1
    count = int(max(3, min(20000, round_us / (guess * batch + 0.1))))
    times = []
    for _ in range(count):
        start = time.perf_counter()
        for _ in range(batch):
            step()
        times.append((time.perf_counter() - start) * 1e6 / batch)
    return float(np.median(times))


def peak_bytes():
    with open("/proc/self/status") as f:
        for line in f:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return 0


def serve(make):
    """make(name, weights, data) -> (step, result): step() runs once; result() gives the loss, or the first output as an array."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    state = {}

    def answer(words):
        if words[0] == "make":
            weights, data = load(words[2])
            state["step"], result = make(words[1], weights, data)
            numbers = []
            for _ in range(int(words[3])):
                state["step"]()
                value = np.asarray(result())
                numbers += [float(value)] if value.ndim == 0 else sample(value).tolist()
            return numbers
        if words[0] == "round":
            return [median_time(state["step"], float(words[1]))]
        if words[0] == "peak":
            return [peak_bytes()]
        if words[0] == "cpu":
            return [time.process_time()]
        raise ValueError("unknown command " + words[0])

    out.write("ok\n")
    out.flush()
    for line in sys.stdin:
        try:
            text = "ok " + " ".join("%.9g" % x for x in answer(line.split()))
        except Exception as e:  # whatever a peer cannot do is its answer, not the end of the bench
            text = "error " + (type(e).__name__ + ": " + str(e)).replace("\n", " ")[:300]
        out.write(text + "\n")
        out.flush()
