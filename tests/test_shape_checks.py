"""The shapes in the signatures of layers, mechanisms and models are checked while the tests run."""

import jaxtyping
import numpy as np
import pytest

import minattn as ma
from minattn.attention.sequence import AdditiveAttention
from minattn.models import RNNsearch, RNNsearchConfig
from minattn.nn import GRU

RNG = np.random.default_rng(0)


def zeros(*shape):
    return ma.tensor(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "call",
    [
        lambda: GRU(2, 3, RNG)(zeros(4, 5, 2), np.ones((4, 6), bool)),
        lambda: AdditiveAttention(2, 3, 4, RNG)(zeros(1, 2), zeros(5, 6, 3)),
        lambda: RNNsearch(RNNsearchConfig(5, 5, 2, 2, 2, 2), RNG)(np.zeros((2, 3), int), np.zeros((3, 3), int)),
    ],
    ids=["nn", "attention", "models"],
)
def test_shapes_that_do_not_fit_are_noticed(call):
    with pytest.raises(jaxtyping.TypeCheckError):
        call()
