"""The gated recurrent unit that attends at every step: the whole sequence in one op against one step at a time."""

import tracemalloc
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.sequence import AdditiveAttention, attentive_gru
from minattn.errors import ShapeError
from minattn.nn import GRUCell, Parameter, gru_cell
from minattn.testing import strategies


class Decoder(NamedTuple):
    """What the op takes its parameters from."""

    attention: AdditiveAttention
    unit: GRUCell
    C: Parameter

    def __call__(self, x, annotations, state, mask=None):
        keys, W_a, v_a = self.attention.keys(annotations), self.attention.W_a, self.attention.v_a
        return attentive_gru(self.unit.project(x), state, keys, annotations, W_a, v_a, self.C, self.unit.U, mask)


def decoder(inputs, n, d, a, bias, dtype, seed=0):
    """A decoder with random parameters."""
    rng = np.random.default_rng(seed)
    modules = AdditiveAttention(n, d, a, rng), GRUCell(inputs, n, rng, bias)
    for module in modules:
        for name, old in module.named_parameters().items():
            setattr(module, name, Parameter(rng.normal(size=old.shape).astype(dtype)))
    return Decoder(*modules, Parameter(rng.normal(size=(d, 3 * n)).astype(dtype)))


@given(data=st.data(), bias=st.booleans(), dtype=st.sampled_from(strategies.DTYPES))
def test_all_steps_at_once_are_the_steps_one_by_one(data, bias, dtype):
    batch, time, source, inputs, n, d, a = (data.draw(st.integers(1, 3)) for _ in range(7))
    decode = decoder(inputs, n, d, a, bias, dtype)
    shapes = (batch, time, inputs), (batch, source, d), (batch, n)
    x, annotations, state = (ma.tensor(data.draw(strategies.arrays(s, dtype, plain=True))) for s in shapes)
    mask = data.draw(st.none() | strategies.masks((batch, source)))
    states, contexts, alignment = decode(x, annotations, state, mask)
    for i in range(time):
        context, weights = decode.attention(state, annotations, mask)
        state = gru_cell(decode.unit.project(x[:, i]) + context @ decode.C, state, decode.unit.U)
        for whole, step in (states, state), (contexts, context), (alignment, weights):
            assert whole.dtype == dtype
            tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-12}
            np.testing.assert_allclose(whole.data[:, i], step.data, **tolerance)


def test_a_source_of_padding_only_gives_no_context():
    decode = decoder(2, 3, 4, 2, True, np.float64)
    rng = np.random.default_rng(1)
    x, h, s = (ma.tensor(rng.normal(size=shape)) for shape in ((2, 3, 2), (2, 5, 4), (2, 3)))
    _, contexts, alignment = decode(x, h, s, np.array([[True] * 5, [False] * 5]))
    assert not contexts.data[1].any()
    assert not alignment.data[1].any()
    np.testing.assert_allclose(alignment.data[0].sum(-1), 1)


def test_a_mask_that_hides_nothing_changes_nothing():
    decode = decoder(2, 3, 4, 2, True, np.float64)
    rng = np.random.default_rng(2)
    x, h, s = (ma.tensor(rng.normal(size=shape)) for shape in ((2, 3, 2), (2, 5, 4), (2, 3)))
    for masked, whole in zip(decode(x, h, s, np.ones((2, 5), bool)), decode(x, h, s), strict=True):
        np.testing.assert_array_equal(masked.data, whole.data)


@pytest.mark.parametrize("wrong", range(8))
def test_sizes_that_do_not_fit_are_named(wrong):
    shapes = [(2, 3, 6), (2, 2), (2, 4, 5), (2, 4, 7), (2, 5), (5,), (7, 6), (2, 6)]
    shapes[wrong] = (*shapes[wrong][:-1], shapes[wrong][-1] + 1)
    with pytest.raises(ShapeError, match=r"expected projected \(batch, time, 3n\).*U \(n, 3n\); got"):
        attentive_gru(*(np.zeros(shape) for shape in shapes))


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (np.ones((2, 4)), TypeError, "must be boolean, got float64"),
        (np.ones((2, 3), bool), ShapeError, r"mask of shape \(2, 3\) does not fit \(batch, time\) = \(2, 4\)"),
    ],
    ids=["numbers", "another length"],
)
def test_a_mask_that_does_not_fit_is_refused(mask, error, message):
    shapes = [(2, 3, 6), (2, 2), (2, 4, 5), (2, 4, 7), (2, 5), (5,), (7, 6), (2, 6)]
    with pytest.raises(error, match=message):
        attentive_gru(*(np.zeros(shape) for shape in shapes), mask=mask)


def test_without_a_graph_one_step_is_kept_only():
    batch, time, source, n, a = 4, 50, 20, 4, 64
    shapes = [(batch, time, 3 * n), (batch, n), (batch, source, a), (batch, source, n)]
    shapes += [(n, a), (a,), (n, 3 * n), (n, 3 * n)]
    inputs = [np.ones(shape, np.float32) for shape in shapes]
    with ma.no_grad():
        tracemalloc.start()
        attentive_gru(*inputs)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 4 * batch * time * source * a  # bytes of the hidden layers of all steps: 1 MiB
