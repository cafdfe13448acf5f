"""W15: the Image Transformer with local attention of one dimension, trained with Adam."""

from functools import partial

import numpy as np

from benchmarks.inputs import BATCHES, Arrays, float32, normal
from benchmarks.workload import ENGINES, NEEDS_IMAGES, Limit, Workload, product
from benchmarks.workloads.transformer_layers import SHARING, Stack, layer_parameters, layer_work, minattn_names

SIZE = Stack(layers=4, d_model=64, d_ff=256, heads=4)
SIDE, LEVELS, QUERY, IMAGES = 28, 256, 64, 16
EPSILON = 1e-6  # of layer norm


def names() -> list[str]:
    return [f"layer{i}" for i in range(1, SIZE.layers + 1)]


def data() -> tuple[Arrays, list[tuple[np.ndarray, np.ndarray]]]:
    """The embedding (256, 64), layer1, .., W (64, 256) and b of the logits; batches of gray images, twice each."""
    rng = np.random.RandomState(15)
    d_model = SIZE.d_model
    p = {"embedding": d_model**-0.5 * normal(rng, LEVELS, d_model)}
    for name in names():
        p |= layer_parameters(rng, name, ["self"], SIZE)
    p |= {"W": d_model**-0.5 * normal(rng, d_model, LEVELS), "b": np.zeros(LEVELS)}
    images = rng.randint(0, LEVELS, (BATCHES, IMAGES, 1, SIDE, SIDE)).astype(np.int64)
    return float32(p), [(each, each) for each in images]


def positions() -> np.ndarray:
    """Sines, then cosines, of the row and of the column of each pixel, (784, 64)."""
    quarter = SIZE.d_model // 4
    rates = 10000.0 ** -(np.arange(quarter) / (quarter - 1))
    places = np.divmod(np.arange(SIDE * SIDE), SIDE)
    angles = [place[:, None] * rates for place in places]
    return np.concatenate([f(angle) for angle in angles for f in (np.sin, np.cos)], axis=1).astype(np.float32)


def work() -> float:
    """Three times the products forward; blocks of queries count in full, each with the one before."""
    pixels = SIDE * SIDE
    attention, feed_forward = layer_work(SIZE, IMAGES, pixels)
    all_pairs = 2 * IMAGES * SIZE.heads * product(pixels, SIZE.d_model // SIZE.heads, pixels)
    local_pairs = all_pairs * 2 * QUERY / pixels
    layer = attention - all_pairs + local_pairs + feed_forward
    return 3 * (SIZE.layers * layer + product(IMAGES * pixels, SIZE.d_model, LEVELS))


def in_minattn(e):
    from minattn.models.pixels.image_transformer import ImageTransformer, ImageTransformerConfig

    p, batches = data()
    layers, d_model, d_ff, heads = SIZE
    sizes = {"layers": layers, "d_model": d_model, "d_ff": d_ff, "heads": heads, "query": QUERY}
    shape = {"height": SIDE, "width": SIDE, "channels": 1, "levels": LEVELS}
    model = ImageTransformer(ImageTransformerConfig(**shape, **sizes, dropout=0.0), np.random.default_rng(0))
    state = {"embedding": p["embedding"], "output.weight": p["W"], "output.bias": p["b"]}
    for i, name in enumerate(names()):
        state |= minattn_names(p, name, f"layers.{i}", {"self": "self_attention"})
    model.load_state_dict(state)

    def mean_loss(model, batch):
        return -model.log_likelihood(batch[0]).mean()

    return e.trained_in_parallel(model, [e.Batch(batch) for batch in batches], mean_loss)


def in_torch(e, fused=False):
    """Blocks as a user would write them: padded to whole ones, each beside the one before it, under a mask."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    pixels = SIDE * SIDE
    padding = -pixels % QUERY
    causal = torch.ones(QUERY, QUERY, dtype=torch.bool).tril()
    mask = torch.cat([torch.ones_like(causal), causal], dim=1).repeat((pixels + padding) // QUERY, 1, 1)
    mask[0, :, :QUERY] = False  # before the first block is nothing

    class LocalAttention(nn.Module):
        def __init__(self, p, name) -> None:
            super().__init__()
            self.queries_keys_values = e.linear(np.concatenate([p[f"{name}_W_{part}"] for part in "QKV"], axis=1))
            self.output = e.linear(p[f"{name}_W_O"])

        def forward(self, x):
            parts = F.pad(self.queries_keys_values(x), (0, 0, 0, padding)).chunk(3, dim=-1)
            q, k, v = (part.unflatten(-1, (SIZE.heads, -1)).transpose(1, 2).unflatten(2, (-1, QUERY)) for part in parts)
            k, v = (torch.cat([F.pad(each, (0, 0, 0, 0, 1, 0))[:, :, :-1], each], dim=3) for each in (k, v))
            context = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            return self.output(context.flatten(2, 3)[:, :, :pixels].transpose(1, 2).flatten(2))

    class Layer(nn.Module):
        def __init__(self, p, name) -> None:
            super().__init__()
            self.attention = LocalAttention(p, f"{name}_self")
            self.feed_forward = e.feed_forward(p, f"{name}_forward", nn.ReLU())
            self.norm_1, self.norm_2 = (e.norm(p, f"{name}_norm{i}") for i in (1, 2))
            self.norm_1.eps = self.norm_2.eps = EPSILON

        def forward(self, x):
            x = self.norm_1(x + self.attention(x))
            return self.norm_2(x + self.feed_forward(x))

    class Network(nn.Module):
        def __init__(self, p) -> None:
            super().__init__()
            self.embedding = e.embedding(p["embedding"])
            self.layers = nn.Sequential(*(Layer(p, name) for name in names()), e.linear(p["W"], p["b"]))
            self.positions = torch.from_numpy(positions())

        def forward(self, images):
            x = self.embedding(images.flatten(1)) * SIZE.d_model**0.5
            return self.layers(F.pad(x, (0, 0, 1, 0))[:, :-1] + self.positions)

    p, batches = data()
    return e.trained(Network(p), batches, fused)


WORKLOADS = [
    Workload(
        "W15",
        "local attention",
        f"Image Transformer of {SIZE}, post-norm, {SIDE}x{SIDE} pixels of {LEVELS} levels, blocks of {QUERY} with the "
        f"one before, batch {IMAGES}, no dropout, Adam; {SHARING}",
        {"minattn": in_minattn, "torch": in_torch, "torch-fused": partial(in_torch, fused=True)},
        {"torch-channels-last": NEEDS_IMAGES} | dict.fromkeys(ENGINES[2:], "it could, but this is not written for it"),
        Limit.GEMM,
        work(),
    )
]
