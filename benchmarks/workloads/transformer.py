"""W4: the Transformer, encoder and decoder, trained with Adam."""

from functools import partial

import numpy as np

from benchmarks.inputs import EPSILON, Arrays, Sentences, float32, normal, sentences
from benchmarks.workload import NEEDS_IMAGES, Limit, Workload, product
from benchmarks.workloads.transformer_layers import (
    SHARING,
    Layers,
    Stack,
    layer_parameters,
    layer_work,
    minattn_names,
)

SIZE = Stack(layers=2, d_model=128, d_ff=512, heads=4)
WORDS, LENGTH, PAIRS = 100, 20, 64
SIDES = ("source", "target")


def names(side: str) -> list[str]:
    return [f"{side}{i}" for i in range(1, SIZE.layers + 1)]


def data() -> tuple[Arrays, list[Sentences]]:
    """Parameters of two embeddings and the layers encoder1, .., decoder1, ..; the target embedding gives the logits."""
    rng = np.random.RandomState(4)
    std = SIZE.d_model**-0.5
    p = {f"{side}_embedding": std * normal(rng, WORDS, SIZE.d_model) for side in SIDES}
    for side, attentions in ("encoder", ["self"]), ("decoder", ["self", "across"]):
        for name in names(side):
            p |= layer_parameters(rng, name, attentions, SIZE)
    return float32(p), sentences(rng, WORDS, PAIRS, LENGTH)


def positions() -> np.ndarray:
    """PE(pos, 2i) = sin(pos / 10000^(2i/d)) and PE(pos, 2i+1), its cosine, (length, d)."""
    pos, i = np.arange(LENGTH)[:, None], np.arange(SIZE.d_model // 2)
    angles = pos / 10000 ** (2 * i / SIZE.d_model)
    return np.stack([np.sin(angles), np.cos(angles)], axis=2).reshape(LENGTH, -1).astype(np.float32)


def work() -> float:
    """Three times the products forward: the layers of the encoder and of the decoder, and the logits.

    Both sides have as many words, so attention over the encoder is as much work as self-attention, and that of the
    decoder counts in full, causal or not.
    """
    attention, feed_forward = layer_work(SIZE, PAIRS, LENGTH)
    encoder, decoder = attention + feed_forward, 2 * attention + feed_forward
    return 3 * (SIZE.layers * (encoder + decoder) + product(PAIRS * LENGTH, SIZE.d_model, WORDS))


def in_minattn(e):
    from minattn.models.sequence.transformer import Transformer, TransformerConfig

    p, batches = data()
    layers, d_model, d_ff, heads = SIZE
    words = {"source_vocab_size": WORDS, "target_vocab_size": WORDS}
    sizes = {"layers": layers, "d_model": d_model, "d_ff": d_ff, "heads": heads, "dropout": 0.0}
    config = TransformerConfig(**words, **sizes, tied="target", layer_norm_eps=EPSILON)
    state = {f"{side}_embedding.weight": p[f"{side}_embedding"] for side in SIDES}
    for i in range(layers):
        state |= minattn_names(p, f"encoder{i + 1}", f"encoder.{i}", {"self": "self_attention"})
        across = {"self": "self_attention", "across": "cross_attention"}
        state |= minattn_names(p, f"decoder{i + 1}", f"decoder.{i}", across)
    model = Transformer(config, np.random.default_rng(0))
    model.load_state_dict(state)
    return e.trained_in_parallel(model, batches)


def in_torch(e, fused=False):
    """The layers post-norm."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class EncoderLayer(nn.Module):
        def __init__(self, p, name) -> None:
            super().__init__()
            self.attention = e.SelfAttention(p, f"{name}_self", SIZE.heads, causal=False)
            self.feed_forward = e.feed_forward(p, f"{name}_forward", nn.ReLU())
            self.norm_1, self.norm_2 = (e.norm(p, f"{name}_norm{i}") for i in (1, 2))

        def forward(self, x):
            x = self.norm_1(x + self.attention(x))
            return self.norm_2(x + self.feed_forward(x))

    class DecoderLayer(nn.Module):
        def __init__(self, p, name) -> None:
            super().__init__()
            self.self_attention = e.SelfAttention(p, f"{name}_self", SIZE.heads, causal=True)
            self.attention = e.CrossAttention(p, f"{name}_across", SIZE.heads)
            self.feed_forward = e.feed_forward(p, f"{name}_forward", nn.ReLU())
            self.norm_1, self.norm_2, self.norm_3 = (e.norm(p, f"{name}_norm{i}") for i in (1, 2, 3))

        def forward(self, x, memory):
            x = self.norm_1(x + self.self_attention(x))
            x = self.norm_2(x + self.attention(x, memory))
            return self.norm_3(x + self.feed_forward(x))

    class Transformer(nn.Module):
        def __init__(self, p) -> None:
            super().__init__()
            self.source_embedding, self.target_embedding = (e.embedding(p[f"{s}_embedding"]) for s in SIDES)
            self.register_buffer("positions", torch.from_numpy(positions()))
            self.encoder = nn.Sequential(*(EncoderLayer(p, name) for name in names("encoder")))
            self.decoder = nn.ModuleList(DecoderLayer(p, name) for name in names("decoder"))

        def forward(self, source, previous):
            scale = SIZE.d_model**0.5
            memory = self.encoder(self.source_embedding(source) * scale + self.positions)
            x = self.target_embedding(previous) * scale + self.positions
            for layer in self.decoder:
                x = layer(x, memory)
            return F.linear(x, self.target_embedding.weight)

    parameters, batches = data()
    return e.trained(Transformer(parameters), batches, fused)


def in_others(e):
    """Post-norm."""
    layers, scale = Layers(e, LENGTH, SIZE.heads), np.float32(SIZE.d_model**0.5)
    position = e.constant(np.tile(positions(), (PAIRS, 1)))

    def loss_of(p, source, previous, target):
        x = e.embed(p["source_embedding"], source.ravel()) * scale + position
        for name in names("encoder"):
            x = layers.norm(p, f"{name}_norm1", x + layers.attention(p, f"{name}_self", x, x))
            x = layers.norm(p, f"{name}_norm2", x + layers.feed_forward(p, f"{name}_forward", x, e.relu))
        y = e.embed(p["target_embedding"], previous.ravel()) * scale + position
        for name in names("decoder"):
            y = layers.norm(p, f"{name}_norm1", y + layers.attention(p, f"{name}_self", y, y, causal=True))
            y = layers.norm(p, f"{name}_norm2", y + layers.attention(p, f"{name}_across", y, x))
            y = layers.norm(p, f"{name}_norm3", y + layers.feed_forward(p, f"{name}_forward", y, e.relu))
        return e.cross_entropy(e.tied(y, p["target_embedding"]), target.ravel())

    return e.trained(loss_of, *data())


CANNOT = {
    "torch-channels-last": NEEDS_IMAGES,
    "dezero": "its product is of two matrices, so that attention would be a loop over sentences and heads",
    "smallpebble": "its backward pass takes every path through the graph by itself, and the paths multiply at every "
    "residual connection",
}
WORKLOADS = [
    Workload(
        "W4",
        "Transformer",
        f"encoder and decoder of {SIZE} each, post-norm, ReLU, sinusoidal positions, "
        f"{WORDS} words, lengths {LENGTH} and {LENGTH}, batch {PAIRS}, no dropout, Adam; {SHARING}",
        {"minattn": in_minattn, "torch": in_torch, "torch-fused": partial(in_torch, fused=True)}
        | dict.fromkeys(("jax", "autograd", "mygrad", "chainer", "pydynet"), in_others),
        CANNOT,
        Limit.GEMM,
        work(),
    )
]
