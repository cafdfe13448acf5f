"""W5: a causal language model of bytes, trained with Adam."""

from functools import partial
from typing import NamedTuple

import numpy as np

from benchmarks.inputs import BATCHES, EPSILON, Arrays, float32, norm, normal
from benchmarks.workload import Limit, Workload, product
from benchmarks.workloads.transformer import CANNOT
from benchmarks.workloads.transformer_layers import (
    SHARING,
    Layers,
    Stack,
    layer_parameters,
    layer_work,
    minattn_names,
)

SIZE = Stack(layers=4, d_model=256, d_ff=1024, heads=4)
WORDS, LENGTH, TEXTS = 256, 128, 16


class Text(NamedTuple):
    """A batch of texts, ids (texts, length)."""

    source: np.ndarray
    target: np.ndarray  # what comes next after each of the source


def names() -> list[str]:
    return [f"layer{i}" for i in range(1, SIZE.layers + 1)]


def data() -> tuple[Arrays, list[Text]]:
    """Parameters of embedding and positions, of layer1, .., and of the last norm; the embedding gives the logits."""
    rng = np.random.RandomState(5)
    d_model = SIZE.d_model
    p = {"embedding": d_model**-0.5 * normal(rng, WORDS, d_model), "positions": 0.5**0.5 * normal(rng, LENGTH, d_model)}
    for name in names():
        p |= layer_parameters(rng, name, ["self"], SIZE)
    ids = rng.randint(0, WORDS, (BATCHES, TEXTS, LENGTH + 1)).astype(np.int64)
    return float32(p | norm("norm", d_model)), [Text(each[:, :-1].copy(), each[:, 1:].copy()) for each in ids]


def work() -> float:
    """Three times the products forward; the attention counts in full, though half of its scores are masked."""
    layer = sum(layer_work(SIZE, TEXTS, LENGTH))
    return 3 * (SIZE.layers * layer + product(TEXTS * LENGTH, SIZE.d_model, WORDS))


def in_minattn(e):
    from minattn.models.sequence.language_model import LanguageModel, LanguageModelConfig

    p, batches = data()
    layers, d_model, d_ff, heads = SIZE
    sizes = {"layers": layers, "d_model": d_model, "d_ff": d_ff, "heads": heads, "max_length": LENGTH}
    config = LanguageModelConfig(vocab_size=WORDS, **sizes, biases=False, layer_norm_eps=EPSILON)
    state = {"embedding.weight": p["embedding"], "positions.weight": p["positions"]}
    state |= {"norm.weight": p["norm_weight"], "norm.bias": p["norm_bias"]}
    for i, name in enumerate(names()):
        state |= minattn_names(p, name, f"layers.{i}", {"self": "self_attention"})
    model = LanguageModel(config, np.random.default_rng(0))
    model.load_state_dict(state)
    return e.trained_in_parallel(model, batches)


def in_torch(e, fused=False):
    """The layers pre-norm."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Block(nn.Module):
        def __init__(self, p, name) -> None:
            super().__init__()
            self.attention = e.SelfAttention(p, f"{name}_self", SIZE.heads, causal=True)
            self.feed_forward = e.feed_forward(p, f"{name}_forward", nn.GELU("tanh"))
            self.norm_1, self.norm_2 = (e.norm(p, f"{name}_norm{i}") for i in (1, 2))

        def forward(self, x):
            x = x + self.attention(self.norm_1(x))
            return x + self.feed_forward(self.norm_2(x))

    class LanguageModel(nn.Module):
        def __init__(self, p) -> None:
            super().__init__()
            self.embedding = e.embedding(p["embedding"])
            self.positions = nn.Parameter(torch.from_numpy(p["positions"]))
            self.layers = nn.Sequential(*(Block(p, name) for name in names()), e.norm(p, "norm"))

        def forward(self, source):
            x = self.layers(self.embedding(source) * SIZE.d_model**0.5 + self.positions)
            return F.linear(x, self.embedding.weight)

    parameters, batches = data()
    return e.trained(LanguageModel(parameters), batches, fused)


def in_others(e):
    """Pre-norm."""
    layers, scale = Layers(e, LENGTH, SIZE.heads), np.float32(SIZE.d_model**0.5)

    def loss_of(p, source, target):
        x = e.embed(p["embedding"], source.ravel()) * scale
        x = e.reshape(e.reshape(x, (TEXTS, LENGTH, SIZE.d_model)) + p["positions"], x.shape)
        for name in names():
            y = layers.norm(p, f"{name}_norm1", x)
            x = x + layers.attention(p, f"{name}_self", y, y, causal=True)
            x = x + layers.feed_forward(p, f"{name}_forward", layers.norm(p, f"{name}_norm2", x), e.gelu)
        return e.cross_entropy(e.tied(layers.norm(p, "norm", x), p["embedding"]), target.ravel())

    return e.trained(loss_of, *data())


WORKLOADS = [
    Workload(
        "W5",
        "language model",
        f"causal Transformer of {SIZE}, pre-norm, GELU, learned positions, {WORDS} words, "
        f"length {LENGTH}, batch {TEXTS}, no dropout, Adam; {SHARING}",
        {"minattn": in_minattn, "torch": in_torch, "torch-fused": partial(in_torch, fused=True)}
        | dict.fromkeys(("jax", "autograd", "mygrad", "chainer", "pydynet"), in_others),
        CANNOT,
        Limit.GEMM,
        work(),
    )
]
