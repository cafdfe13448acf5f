"""Small models with random weights, and sentences for them."""

from typing import get_args

import numpy as np
from hypothesis import strategies as st

from minattn.models import (
    LanguageModel,
    LanguageModelConfig,
    Luong,
    LuongConfig,
    RNNsearch,
    RNNsearchConfig,
    Transformer,
    TransformerConfig,
)
from minattn.models.sequence.luong import Kind, Score

SIZES = {"source_vocab_size": 6, "target_vocab_size": 5, "embedding": 2, "hidden": 3, "alignment": 2, "maxout": 2}
SMALL = {"layers": 2, "d_model": 4, "d_ff": 3, "heads": 2, "dropout": 0.0, "max_length": 7}
SEEDS = st.integers(0, 2**32 - 1)


def random_model(seed=0, dtype=np.float32, **settings):
    """A model all of whose weights, biases included, come from N(0, 0.7^2): nothing is zero, small or symmetric."""
    return randomised(RNNsearch(RNNsearchConfig(**{**SIZES, **settings}), np.random.default_rng(seed)), seed, dtype)


def random_luong(seed=0, dtype=np.float32, **settings):
    """The same of Luong's network, of two layers."""
    sizes = {name: SIZES[name] for name in ("source_vocab_size", "target_vocab_size", "embedding", "hidden")}
    config = LuongConfig(**{**sizes, "layers": 2, "window": 1, "positions": 3, "dropout": 0.0, **settings})
    return randomised(Luong(config, np.random.default_rng(seed)), seed, dtype)


def random_transformer(seed=0, dtype=np.float32, **settings):
    """The same of the Transformer, with two vocabularies unless tied="all" is asked for."""
    vocabularies = {name: SIZES[name] for name in ("source_vocab_size", "target_vocab_size")}
    if settings.get("tied") == "all":
        vocabularies = dict.fromkeys(vocabularies, max(vocabularies.values()))
    config = TransformerConfig(**{**SMALL, "tied": "target", **vocabularies, **settings})
    return randomised(Transformer(config, np.random.default_rng(seed)), seed, dtype)


def random_language_model(seed=0, dtype=np.float32, **settings):
    """The same of the language model."""
    config = LanguageModelConfig(**{**SMALL, "vocab_size": SIZES["target_vocab_size"], **settings})
    return randomised(LanguageModel(config, np.random.default_rng(seed)), seed, dtype)


def randomised(model, seed, dtype):
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.replace_data(rng.normal(scale=0.7, size=parameter.shape).astype(dtype))
    return model


@st.composite
def configurations(draw):
    """Both models, both readouts, with and without biases, and every size from 1 on."""
    sizes = {name: draw(st.integers(1, 3)) for name in ("embedding", "hidden", "alignment", "maxout")}
    flags = {name: draw(st.booleans()) for name in ("attention", "biases")}
    return {**sizes, **flags, "readout": draw(st.sampled_from(["previous", "current"]))}


@st.composite
def luong_configurations(draw):
    """Every attention and score, with and without input feeding, and every size from 1 on."""
    sizes = {name: draw(st.integers(1, 3)) for name in ("embedding", "hidden", "layers", "window", "positions")}
    flags = {name: draw(st.booleans()) for name in ("feeding", "reverse", "biases")}
    attention = draw(st.sampled_from(get_args(Kind)))
    score = draw(st.sampled_from(get_args(Score)))
    return {
        **sizes,
        **flags,
        "attention": attention,
        "score": score,
        "feeding": flags["feeding"] and attention != "none",
    }


@st.composite
def batches(draw, max_batch=3, max_time=4):
    """(source ids, previous target ids, mask): padding in any place, or no mask at all."""
    batch, source_time, target_time = (draw(st.integers(1, n)) for n in (max_batch, max_time, max_time))
    rng = np.random.default_rng(draw(SEEDS))
    source = rng.integers(0, SIZES["source_vocab_size"], (batch, source_time))
    previous = rng.integers(0, SIZES["target_vocab_size"], (batch, target_time))
    return source, previous, draw(st.none() | st.just(rng.random(source.shape) < 0.7))


@st.composite
def transformers(draw):
    """Every choice that a Transformer has, and small sizes."""
    heads = draw(st.integers(1, 3))
    free = st.none() | st.integers(1, 3)
    sizes = {"layers": draw(st.integers(1, 2)), "d_ff": draw(st.integers(1, 3)), "heads": heads}
    sizes |= {"d_model": 2 * heads * draw(st.integers(1, 2)), "d_k": draw(free), "d_v": draw(free)}
    choices = {"norm": ["post", "pre"], "positions": ["sinusoidal", "learned"], "tied": ["all", "target", "none"]}
    return sizes | {name: draw(st.sampled_from(of)) for name, of in choices.items()} | {"biases": draw(st.booleans())}
