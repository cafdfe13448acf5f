"""Small models with random weights, and sentences for them."""

import numpy as np
from hypothesis import strategies as st

from minattn.models import RNNsearch, RNNsearchConfig

SIZES = {"source_words": 6, "target_words": 5, "embedding": 2, "hidden": 3, "alignment": 2, "maxout": 2}
SEEDS = st.integers(0, 2**32 - 1)


def random_model(seed=0, dtype=np.float32, **settings):
    """A model all of whose weights, biases included, come from N(0, 0.7^2): nothing is zero, small or symmetric."""
    model = RNNsearch(RNNsearchConfig(**{**SIZES, **settings}), np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter._data = rng.normal(scale=0.7, size=parameter.shape).astype(dtype)
    return model


@st.composite
def configurations(draw):
    """Both models, both readouts, with and without biases, and every size from 1 on."""
    sizes = {name: draw(st.integers(1, 3)) for name in ("embedding", "hidden", "alignment", "maxout")}
    flags = {name: draw(st.booleans()) for name in ("attention", "biases")}
    return {**sizes, **flags, "readout": draw(st.sampled_from(["previous", "current"]))}


@st.composite
def batches(draw, max_batch=3, max_time=4):
    """(source ids, previous target ids, mask): padding in any place, or no mask at all."""
    batch, source_time, target_time = (draw(st.integers(1, n)) for n in (max_batch, max_time, max_time))
    rng = np.random.default_rng(draw(SEEDS))
    source = rng.integers(0, SIZES["source_words"], (batch, source_time))
    previous = rng.integers(0, SIZES["target_words"], (batch, target_time))
    return source, previous, draw(st.none() | st.just(rng.random(source.shape) < 0.7))
