"""W16: Show, Attend and Tell with soft attention over given annotations, trained with Adam."""

from functools import partial
from typing import NamedTuple

import numpy as np

from benchmarks.inputs import BATCHES, Arrays, float32, matrix, normal
from benchmarks.workload import ENGINES, Limit, Workload, product

WORDS, EMBEDDING, STATE = 100, 64, 256
PLACES, ANNOTATION = 64, 128
LENGTH, IMAGES = 12, 32

LINEAR = {
    "keys": (ANNOTATION, ANNOTATION),
    "init_h": (ANNOTATION, STATE),
    "init_c": (ANNOTATION, STATE),
    "L_h": (STATE, EMBEDDING),
    "L_z": (ANNOTATION, EMBEDDING),
    "L_o": (EMBEDDING, WORDS),
    "beta": (STATE, 1),
}
"""The layers with biases, (inputs, outputs)."""


class Captioned(NamedTuple):
    """A batch of images, as annotations, and captions."""

    annotations: np.ndarray
    previous: np.ndarray
    target: np.ndarray


def data() -> tuple[Arrays, list[Captioned]]:
    """Parameters and batches; the products are x W.

    The LSTM's W (embedding + annotation, 4n) and U (n, 4n) have their blocks in the order input, forget, candidate,
    output.
    """
    rng = np.random.RandomState(16)
    p = {"embedding": normal(rng, WORDS, EMBEDDING)}
    p |= {f"{name}_W": matrix(rng, *sizes) for name, sizes in LINEAR.items()}
    p |= {f"{name}_b": np.zeros(sizes[1]) for name, sizes in LINEAR.items()}
    p |= {"W_d": matrix(rng, STATE, ANNOTATION), "U_att": matrix(rng, ANNOTATION, 1), "b": np.zeros(4 * STATE)}
    p |= {"W": matrix(rng, EMBEDDING + ANNOTATION, 4 * STATE), "U": matrix(rng, STATE, 4 * STATE)}
    batches = []
    for _ in range(BATCHES):
        annotations = np.maximum(normal(rng, IMAGES, PLACES, ANNOTATION), 0)
        target = rng.randint(1, WORDS, (IMAGES, LENGTH)).astype(np.int64)
        first = np.zeros((IMAGES, 1), np.int64)
        batches.append(Captioned(annotations, np.concatenate([first, target[:, :-1]], 1), target))
    return float32(p), batches


def work() -> float:
    """Three times the products forward, but that of the annotations, which need no gradient, twice; products with
    vectors, such as the contexts, do not count."""
    words = LENGTH * IMAGES
    cell = product(words, EMBEDDING + ANNOTATION + STATE, 4 * STATE)
    attention = product(words, STATE, ANNOTATION)
    readout = product(words, STATE + ANNOTATION, EMBEDDING) + product(words, EMBEDDING, WORDS)
    first = 2 * product(IMAGES, ANNOTATION, STATE)
    return 3 * (cell + attention + readout) + 2 * (product(IMAGES * PLACES, ANNOTATION, ANNOTATION) + first)


def in_minattn(e):
    import minattn as ma
    from minattn.models import ShowAttendTell, ShowAttendTellConfig

    sizes = {"vocab_size": WORDS, "annotation": ANNOTATION, "embedding": EMBEDDING, "hidden": STATE}
    config = ShowAttendTellConfig(**sizes, attention_layers=1, init_layers=1, dropout=0.0)
    model = ShowAttendTell(config, np.random.default_rng(0))
    parameters, batches = data()
    model.load_state_dict(state_dict(parameters))

    def loss_of(annotations, previous, target):
        return ma.cross_entropy(model(ma.tensor(annotations), previous), target)

    return e.trained(model, loss_of, batches)


def state_dict(p):
    """The parameters under minattn's names, the blocks of the LSTM in the order input, forget, output, candidate."""
    gates = {
        name: np.concatenate([np.split(p[name], 4, axis=-1)[block] for block in (0, 1, 3, 2)], axis=-1)
        for name in ("W", "U", "b")
    }
    state = {"W": gates["W"][:EMBEDDING], "W_z": gates["W"][EMBEDDING:], "U": gates["U"], "b": gates["b"]}
    state |= {"embedding.weight": p["embedding"], "attention.W_d": p["W_d"], "attention.U": p["U_att"][:, 0]}
    state |= {"attention.W_c.0": p["keys_W"], "attention.b.0": p["keys_b"], "attention.c": np.zeros(1)}
    state |= {"attention.W_beta": p["beta_W"], "attention.b_beta": p["beta_b"]}
    for name in ("init_h", "init_c", "L_h", "L_z", "L_o"):
        state |= {f"{name}.weight": p[f"{name}_W"], f"{name}.bias": p[f"{name}_b"]}
    return state


def in_torch(e, fused=False):
    import torch
    import torch.nn.functional as F
    from torch import nn

    class ShowAttendTell(nn.Module):
        def __init__(self, p) -> None:
            super().__init__()
            self.embedding = e.embedding(p["embedding"])
            self.cell = nn.LSTMCell(EMBEDDING + ANNOTATION, STATE)
            for own, given in ("weight_ih", "W"), ("weight_hh", "U"), ("bias_ih", "b"):
                e.copy(getattr(self.cell, own), p[given].T)
            e.copy(self.cell.bias_hh, np.zeros(4 * STATE, np.float32))
            self.cell.bias_hh.requires_grad_(False)  # one bias is enough
            for name in LINEAR:
                setattr(self, name, e.linear(p[f"{name}_W"], p[f"{name}_b"]))
            self.query, self.score = e.linear(p["W_d"]), e.linear(p["U_att"])

        def forward(self, annotations, previous):
            keys, mean = self.keys(annotations), annotations.mean(1)
            hidden, cell = torch.tanh(self.init_h(mean)), torch.tanh(self.init_c(mean))
            words, states, contexts = self.embedding(previous), [], []
            for word in words.unbind(1):
                scores = self.score(torch.tanh(keys + self.query(hidden)[:, None]))[:, :, 0]
                context = (F.softmax(scores, dim=1)[:, None] @ annotations)[:, 0]
                context = torch.sigmoid(self.beta(hidden)) * context
                hidden, cell = self.cell(torch.cat([word, context], 1), (hidden, cell))
                states.append(hidden)
                contexts.append(context)
            sums = words + self.L_h(torch.stack(states, 1)) + self.L_z(torch.stack(contexts, 1))
            return self.L_o(torch.tanh(sums))

    parameters, batches = data()
    return e.trained(ShowAttendTell(parameters), batches, fused)


WORKLOADS = [
    Workload(
        "W16",
        "Show, Attend and Tell",
        f"LSTM {STATE} with soft attention and its gate over {PLACES} annotations of {ANNOTATION}, embedding "
        f"{EMBEDDING}, {WORDS} words, captions of {LENGTH}, batch {IMAGES}, Adam",
        {"minattn": in_minattn, "torch": in_torch, "torch-fused": partial(in_torch, fused=True)},
        dict.fromkeys(("torch-channels-last", *ENGINES[2:]), "it could, but this is not written for it"),
        Limit.GEMM,
        work(),
    )
]
