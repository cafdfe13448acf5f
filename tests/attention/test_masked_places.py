"""What a mask hides may hold anything: NaN or inf there changes no output and no gradient, fused and as equations."""

import numpy as np
import pytest

import minattn as ma
from minattn.attention.memory.end_to_end import memory_hops
from minattn.attention.self_attention import attention, attention_context
from minattn.attention.sequence.additive import additive_attention
from minattn.attention.sequence.attentional_lstm import attentional_lstm
from minattn.attention.sequence.attentive_gru import attentive_gru
from minattn.autograd import OPS
from minattn.nn.recurrent.gru import gru
from minattn.nn.recurrent.lstm import lstm
from minattn.nn.recurrent.rnn import rnn

REAL = np.array([[True, True, True, False], [True, False, False, False]])
ANYTHING = pytest.mark.parametrize("anything", [np.nan, np.inf, -np.inf])


def _drawn(*shapes):
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in shapes]


def _run(function, arrays, **parameters):
    leaves = [ma.tensor(x, requires_grad=True) for x in arrays]
    found = function(*leaves, **parameters)
    outputs = found if isinstance(found, tuple) else (found,)
    total = sum((y * np.cos(np.arange(y.size)).reshape(y.shape)).sum() for y in outputs)
    total.backward()
    return [y.data for y in outputs] + [leaf.grad for leaf in leaves]


def _assert_unseen(name, arrays, hidden, anything, **parameters):
    """The op and its equation give the same for `anything` at the places hidden[i] of array i as for what is there."""
    changed = [x.copy() for x in arrays]
    for i, places in hidden.items():
        changed[i][places] = anything
    for function in (OPS[name].apply, OPS[name].equation):
        expected, found = (_run(function, xs, **parameters) for xs in (arrays, changed))
        for a, b in zip(expected, found, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12)


@ANYTHING
@pytest.mark.parametrize("op", [attention, attention_context])
def test_keys_and_values_hidden_from_every_query(op, anything):
    arrays = _drawn((2, 3, 5), (2, 4, 5), (2, 4, 6))
    _assert_unseen(op.__name__, arrays, {1: ~REAL, 2: ~REAL}, anything, mask=REAL[:, None, :])
    _assert_unseen(op.__name__, arrays, {1: (..., 2, slice(None))}, anything, mask=np.array([True, True, False, True]))


@ANYTHING
@pytest.mark.parametrize("op", [attention, attention_context])
def test_a_key_hidden_from_some_queries_does_not_reach_them(op, anything):
    q, k, v = _drawn((1, 4, 5), (1, 4, 5), (1, 4, 6))
    expected = op(q, k, v, causal=True)
    k[:, 3] = anything
    with np.errstate(invalid="ignore"):  # the last query does see it
        found = op(q, k, v, causal=True)
    pairs = zip(expected, found, strict=True) if isinstance(expected, tuple) else [(expected, found)]
    for a, b in pairs:
        np.testing.assert_allclose(b.data[:, :3], a.data[:, :3])


@ANYTHING
def test_padding_in_additive_attention(anything):
    arrays = _drawn((2, 3), (2, 4, 3), (3,), (2, 4, 5))
    _assert_unseen(additive_attention.__name__, arrays, {1: ~REAL, 3: ~REAL}, anything, mask=REAL)


@ANYTHING
def test_padding_in_the_attentive_gru(anything):
    n, a, d = 3, 4, 5
    arrays = _drawn((2, 2, 3 * n), (2, n), (2, 4, a), (2, 4, d), (n, a), (a,), (d, 3 * n), (n, 3 * n))
    _assert_unseen(attentive_gru.__name__, arrays, {2: ~REAL, 3: ~REAL}, anything, mask=REAL)


@ANYTHING
def test_padding_in_the_attentional_lstm(anything):
    n, d = 3, 5
    states = _drawn((2, 2, 4 * n), (1, 2, n), (1, 2, n), (1, 2 * n, 4 * n))
    arrays = [*states, *_drawn((2, 4, n), (2, 4, d), (d + n, n))]
    for parameters in ({}, {"window": 1, "sigma": 0.5}):
        _assert_unseen(attentional_lstm.__name__, arrays, {4: ~REAL, 5: ~REAL}, anything, mask=REAL, **parameters)


@ANYTHING
def test_padding_in_recurrent_units(anything):
    _assert_unseen(rnn.__name__, _drawn((2, 4, 3), (2, 3), (3, 3)), {0: ~REAL}, anything, mask=REAL)
    _assert_unseen(gru.__name__, _drawn((2, 4, 9), (2, 3), (3, 9)), {0: ~REAL}, anything, mask=REAL)
    _assert_unseen(lstm.__name__, _drawn((2, 4, 12), (2, 3), (2, 3), (3, 12)), {0: ~REAL}, anything, mask=REAL)


@ANYTHING
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_hidden_logits(name, anything):
    for axis in (-1, 0):
        _assert_unseen(name, _drawn((2, 4)), {0: ~REAL}, anything, axis=axis, mask=REAL)


@ANYTHING
@pytest.mark.parametrize("layer_wise", [False, True])
@pytest.mark.parametrize("linear", [False, True])
def test_padding_in_memories(linear, layer_wise, anything):
    arrays = _drawn((2, 5), (2, 4, 3, 5), (5, 5))[: 2 + layer_wise]
    _assert_unseen(memory_hops.__name__, arrays, {1: ~REAL}, anything, hops=2, mask=REAL, linear=linear)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_an_upstream_gradient_at_a_hidden_place(name):
    for function in (OPS[name].apply, OPS[name].equation):
        grads = []
        for upstream in (0.0, np.nan):
            x = ma.tensor(_drawn((2, 4))[0], requires_grad=True)
            function(x, mask=REAL).backward(np.where(REAL, 2.0 + np.arange(4), upstream))
            grads.append(x.grad)
        np.testing.assert_allclose(grads[1], grads[0], rtol=1e-9)
