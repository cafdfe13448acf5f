"""The decoder of captions in one op: the whole caption against one step at a time, and what is refused."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_visual_attention import random_attention

import minattn as ma
from minattn.attention.sequence import hard_weights, visual_lstm
from minattn.attention.sequence.visual import gated_context
from minattn.errors import ShapeError
from minattn.nn import lstm_cell
from minattn.testing import strategies


@given(data=st.data(), gate=st.booleans(), hard=st.booleans(), dtype=st.sampled_from(strategies.DTYPES))
def test_all_words_at_once_are_the_words_one_by_one(data, gate, hard, dtype):
    batch, time, locations, n, d = (data.draw(st.integers(1, 3)) for _ in range(5))
    attention = random_attention(n, d, 1, gate, data.draw(st.integers(0, 99)), dtype)
    shapes = (batch, time, 4 * n), (batch, n), (batch, n), (batch, locations, d), (d, 4 * n), (n, 4 * n)
    x, h, c, a, W_z, U = (ma.tensor(data.draw(strategies.arrays(shape, dtype, plain=True))) for shape in shapes)
    keys, of_gate = attention.keys(a), (attention.W_beta, attention.b_beta) if gate else ()
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    draws, sampled = rng.random((batch, time)), rng.random(batch) < 0.5
    chance = {"draws": draws, "sampled": sampled} if hard else {}
    whole = visual_lstm(x, h, c, keys, a, attention.W_d, attention.U, attention.c, W_z, U, *of_gate, **chance)
    for t in range(time):
        _, weights = attention(h, a)
        chosen = hard_weights(weights, draws[:, t], sampled) if hard else weights
        context = gated_context(chosen, a, attention.gate(h))
        h, c = lstm_cell(x[:, t] + context @ W_z, h, c, U)
        for all_words, step in zip(whole, (h, context, weights), strict=True):
            assert all_words.dtype == dtype
            tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-12}
            np.testing.assert_allclose(all_words.data[:, t], step.data, **tolerance)


SHAPES = [(2, 3, 8), (2, 2), (2, 2), (2, 5, 4), (2, 5, 3), (2, 4), (4,), (1,), (3, 8), (2, 8), (2, 1), (1,)]


@pytest.mark.parametrize("wrong", range(len(SHAPES)))
def test_sizes_that_do_not_fit_are_named(wrong):
    shapes = list(SHAPES)
    shapes[wrong] = (*shapes[wrong][:-1], shapes[wrong][-1] + 1)
    with pytest.raises(ShapeError, match=r"sizes that do not fit: .*expected"):
        visual_lstm(*(np.zeros(shape) for shape in shapes))


def test_an_image_without_locations_is_refused():
    shapes = [(2, 0, shape[2]) if i in (3, 4) else shape for i, shape in enumerate(SHAPES)]
    with pytest.raises(ShapeError, match=r"locations at least 1; got"):
        visual_lstm(*(np.zeros(shape) for shape in shapes))


def test_a_gate_needs_its_bias():
    with pytest.raises(ShapeError, match="W_beta and b_beta, one without the other"):
        visual_lstm(*(np.zeros(shape) for shape in SHAPES[:-1]))


def test_what_is_sampled_needs_a_number_for_every_word():
    inputs = [np.zeros(shape) for shape in SHAPES]
    batch, time = SHAPES[0][:2]
    with pytest.raises(ShapeError, match="draws and sampled, one without the other"):
        visual_lstm(*inputs, draws=np.zeros((batch, time)))
    with pytest.raises(ShapeError, match=rf"draws \({batch}, {time + 1}\), expected \({batch}, {time}\)"):
        visual_lstm(*inputs, draws=np.zeros((batch, time + 1)), sampled=np.ones(batch, bool))


def test_without_a_graph_one_step_is_kept_only():
    batch, time, locations, n, a = 4, 50, 20, 4, 64
    shapes = [
        (batch, time, 4 * n),
        (batch, n),
        (batch, n),
        (batch, locations, a),
        (batch, locations, n),
        (n, a),
        (a,),
        (1,),
    ]
    inputs = [np.ones(shape, np.float32) for shape in [*shapes, (n, 4 * n), (n, 4 * n)]]
    with ma.no_grad():
        tracemalloc.start()
        visual_lstm(*inputs)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 4 * batch * time * locations * a  # bytes of the hidden layers of all steps: 1 MiB
