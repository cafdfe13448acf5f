"""W11: the end-to-end memory network, three hops with position and temporal encoding, trained with SGD."""

from functools import partial
from itertools import pairwise

import numpy as np

from benchmarks.inputs import BATCHES, Arrays, normal
from benchmarks.workload import ENGINES, NEEDS_IMAGES, Limit, Workload, product

WORDS, SIZE, HOPS = 177, 20, 3
MEMORY, LENGTH, ASKED, QUESTIONS = 50, 7, 4, 32
RATE = 0.01
NEEDS_SGD = "the step that is written for it here is Adam's"


def data() -> tuple[Arrays, list[tuple[np.ndarray, np.ndarray, np.ndarray]]]:
    """Parameters A^1, C^1, .., and batches of stories, questions and answers; word 0 is none."""
    rng = np.random.RandomState(11)
    p = {}
    for i in range(HOPS + 1):
        p |= {f"words_{i}": 0.1 * normal(rng, WORDS, SIZE), f"times_{i}": 0.1 * normal(rng, MEMORY, SIZE)}
    shapes = (QUESTIONS, MEMORY, LENGTH), (QUESTIONS, ASKED), (QUESTIONS,)
    batches = [tuple(rng.randint(1, WORDS, shape).astype(np.int64) for shape in shapes) for _ in range(BATCHES)]
    return {name: array.astype(np.float32) for name, array in p.items()}, batches


def weights() -> np.ndarray:
    """The weights of positions (LENGTH, SIZE), as in the authors' code."""
    j, k = np.arange(1, LENGTH + 1)[:, None], np.arange(1, SIZE + 1)
    weights = 1 + 4 * (k - (SIZE + 1) / 2) * (j - (LENGTH + 1) / 2) / (SIZE * LENGTH)
    return weights.astype(np.float32)


def work() -> float:
    """Three times the scores and the answers forward; sums of words do not count."""
    return 3 * (HOPS * 2 * QUESTIONS * product(1, SIZE, MEMORY) + product(QUESTIONS, SIZE, WORDS))


def in_minattn(e):
    from minattn.models import MemN2N, MemN2NConfig
    from minattn.training import SGD

    config = MemN2NConfig(vocab_size=WORDS, longest=LENGTH, size=SIZE, hops=HOPS, memory=MEMORY)
    model = MemN2N(config, np.random.default_rng(0))
    parameters, batches = data()
    names = {"words_": "memory.embedding.words.", "times_": "memory.embedding.times."}
    model.load_state_dict({names[name[:-1]] + name[-1]: array for name, array in parameters.items()})
    optimizer = SGD(model.named_parameters(), RATE)
    return e.trained_in_parallel(model, [e.Batch(batch) for batch in batches], e.cross_entropy, optimizer)


def in_torch(e, fused=False):
    import torch
    import torch.nn.functional as F
    from torch import nn

    class MemN2N(nn.Module):
        def __init__(self, p) -> None:
            super().__init__()
            self.words = nn.ModuleList(e.embedding(p[f"words_{i}"]) for i in range(HOPS + 1))
            self.times = nn.ModuleList(e.embedding(p[f"times_{i}"]) for i in range(HOPS + 1))
            self.register_buffer("weights", torch.from_numpy(weights()))

        def forward(self, story, question):
            u = (self.words[0](question) * self.weights[:ASKED]).sum(1)
            pairs = zip(self.words, self.times, strict=True)
            memories = [(words(story) * self.weights).sum(2) + times.weight for words, times in pairs]
            for m, c in pairwise(memories):
                p = F.softmax((m @ u[:, :, None])[:, :, 0], dim=1)
                u = u + (p[:, None] @ c)[:, 0]
            return u @ self.words[-1].weight.T

    parameters, batches = data()
    model = MemN2N(parameters)
    return e.trained(model, batches, optimizer=torch.optim.SGD(model.parameters(), RATE, fused=fused))


WORKLOADS = [
    Workload(
        "W11",
        "MemN2N",
        f"{HOPS} hops, d = {SIZE}, {MEMORY} sentences of {LENGTH} words of {WORDS}, adjacent tying, batch {QUESTIONS}, "
        "cross-entropy, SGD",
        {"minattn": in_minattn, "torch": in_torch, "torch-fused": partial(in_torch, fused=True)},
        {"torch-channels-last": NEEDS_IMAGES} | dict.fromkeys(ENGINES[2:], NEEDS_SGD),
        Limit.GEMM,
        work(),
    )
]
