"""Additive attention against the paper's loops, its equation, the complex step and the identities it must have.

D. Bahdanau et al. 2015: e_ij of appendix A.1.2 (a), alpha_ij (6), c_i (5).
"""

import contextlib
import inspect
import math

import fakecupy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.sequence import AdditiveAttention, additive_attention
from minattn.attention.sequence.additive import additive_attention_equation
from minattn.autograd import asnumpy
from minattn.errors import ConfigError, ShapeError
from minattn.nn import BidirectionalGRU, Parameter
from minattn.testing import assert_equation, check_gradients, strategies

SEEDS = st.integers(0, 2**32 - 1)


# ---------------------------------------------------------------------------------------------- what is drawn
@st.composite
def calls(draw):
    """(query, keys, v, values) of the op in any memory layout, and a mask, or None."""
    batch, time, a, d = (draw(st.integers(1, 3)) for _ in range(4))
    dtype = draw(st.sampled_from(strategies.DTYPES))
    shapes = (batch, a), (batch, time, a), (a,), (batch, time, d)
    inputs = [draw(strategies.arrays(shape, dtype)) for shape in shapes]
    return inputs, draw(st.none() | strategies.masks((batch, time)))


@st.composite
def problems(draw, dtype=None, full_rows=True):
    """(attention, state, annotations, mask): the layer with every weight random, and what it is given."""
    batch, time, n, d, a = (draw(st.integers(1, 3)) for _ in range(5))
    dtype = draw(st.sampled_from(strategies.DTYPES)) if dtype is None else dtype
    attention = random_attention(n, d, a, draw(SEEDS), dtype)
    state = draw(strategies.arrays((batch, n), dtype, plain=True))
    annotations = draw(strategies.arrays((batch, time, d), dtype, plain=True))
    return attention, state, annotations, draw(st.none() | strategies.masks((batch, time), full_rows=full_rows))


def random_attention(n, d, a, seed=0, dtype=np.float64):
    attention, rng = AdditiveAttention(n, d, a, np.random.default_rng(seed)), np.random.default_rng(seed)
    for name, old in attention.named_parameters().items():
        setattr(attention, name, Parameter(rng.normal(size=old.shape).astype(dtype)))
    return attention


def run(attention, state, annotations, mask=None):
    context, weights = attention(ma.tensor(state), ma.tensor(annotations), mask)
    return context.numpy(), weights.numpy()


def everywhere(annotations):
    return np.ones(annotations.shape[:2], bool)


def close(dtype):
    return {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-12}


# ---------------------------------------------------------------------------------------------- the paper's loops
def by_hand(attention, state, annotations, mask):
    """(a), (6) and (5), one number at a time; sums run over the positions that the mask lets through."""
    W_a, U_a, v_a = (p.data.tolist() for p in (attention.W_a, attention.U_a, attention.v_a))
    s, h = state.tolist(), annotations.tolist()
    batch, time, d = annotations.shape
    contexts, alphas = np.zeros((batch, d)), np.zeros((batch, time))
    for b in range(batch):
        e = {}
        for j in range(time):
            if not mask[b, j]:
                continue
            e[j] = 0.0
            for k in range(len(v_a)):
                inner = 0.0
                for p in range(len(s[b])):
                    inner += W_a[p][k] * s[b][p]
                for q in range(d):
                    inner += U_a[q][k] * h[b][j][q]
                e[j] += v_a[k] * math.tanh(inner)  # (a)
        for j in e:
            alphas[b, j] = math.exp(e[j]) / sum(math.exp(e[k]) for k in e)  # (6)
            for q in range(d):
                contexts[b, q] += alphas[b, j] * h[b][j][q]  # (5)
    return contexts, alphas


@given(problem=problems(), keys_at_hand=st.booleans())
def test_the_layer_is_the_papers_loops(problem, keys_at_hand):
    attention, state, annotations, mask = problem
    h = ma.tensor(annotations)
    context, weights = attention(ma.tensor(state), h, mask, attention.keys(h) if keys_at_hand else None)
    expected = by_hand(attention, state, annotations, everywhere(annotations) if mask is None else mask)
    for result, value in zip((context, weights), expected, strict=True):
        assert result.dtype == state.dtype
        np.testing.assert_allclose(result.data, value, **close(state.dtype))


# ---------------------------------------------------------------------------------------------- equation, gradients
@given(calls(), SEEDS)
def test_the_op_is_its_equation(call, seed):
    inputs, mask = call
    assert_equation(
        lambda *tensors: additive_attention(*tensors, mask=mask),
        lambda *tensors: additive_attention_equation(*tensors, mask=mask),
        *inputs,
        seed=seed,
    )


@given(calls(), st.sampled_from([(0, 1), (0,), (1,)]), SEEDS)
def test_gradients_of_the_op_through_context_and_weights(call, judged, seed):
    inputs, mask = call
    check_gradients(
        lambda *tensors: tuple(additive_attention(*tensors, mask=mask)[i] for i in judged),
        *inputs,
        seed=seed,
        method="complex",
    )


@given(problems(), SEEDS)
def test_gradients_of_the_layer(problem, seed):
    attention, state, annotations, mask = problem
    check_gradients(lambda s, h: attention(s, h, mask), state, annotations, seed=seed, method="complex")


@pytest.mark.parametrize("which", range(4), ids=["query", "keys", "v", "values"])
def test_second_derivatives_by_one_argument_alone(which):
    """A complex step through the backward pass in which only one argument is complex."""
    rng = np.random.default_rng(which)
    inputs = [rng.normal(size=shape) for shape in ((2, 3), (2, 4, 3), (3,), (2, 4, 2))]
    mask = np.array([[True, True, False, True], [True, True, True, True]])

    def gradient(x):
        def loss(x):
            context, weights = additive_attention(*inputs[:which], x, *inputs[which + 1 :], mask=mask)
            return (context**3).sum() + (weights**2).sum()

        return loss, ma.grad(loss)(x)

    x, v, h = inputs[which], rng.normal(size=inputs[which].shape), 1e-5
    difference = (gradient(x + h * v)[1] - gradient(x - h * v)[1]) / (2 * h)
    np.testing.assert_allclose(ma.hvp(gradient(x)[0], x, v), difference, rtol=1e-6, atol=1e-8)


# ---------------------------------------------------------------------------------------------- identities
@given(problems())
def test_weights_are_a_distribution_and_padding_gets_none(problem):
    attention, state, annotations, mask = problem
    _, weights = run(attention, state, annotations, mask)
    mask = everywhere(annotations) if mask is None else mask
    assert (weights >= 0).all()
    assert (weights[~mask] == 0).all()
    np.testing.assert_allclose(weights.sum(-1), mask.any(-1), rtol=1e-6)


@given(problems(full_rows=False))
def test_with_v_zero_the_context_is_the_mean_annotation(problem):
    attention, state, annotations, mask = problem
    attention.v_a.data = np.zeros_like(attention.v_a.data)
    context, weights = run(attention, state, annotations, mask)
    mask = everywhere(annotations) if mask is None else mask
    for b in range(len(mask)):
        np.testing.assert_allclose(weights[b], mask[b] / mask[b].sum(), **close(state.dtype))
        np.testing.assert_allclose(context[b], annotations[b][mask[b]].mean(0), **close(state.dtype))


@given(problems(dtype=np.float64), st.randoms(use_true_random=False))
def test_the_order_of_the_annotations_does_not_matter(problem, random):
    attention, state, annotations, mask = problem
    order = random.sample(range(annotations.shape[1]), annotations.shape[1])
    context, weights = run(attention, state, annotations, mask)
    shuffled = None if mask is None else mask[:, order]
    again, moved = run(attention, state, annotations[:, order], shuffled)
    np.testing.assert_allclose(again, context, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(moved, weights[:, order], rtol=1e-10, atol=1e-12)


def test_the_order_of_the_words_before_the_encoder_does_matter():
    rng = np.random.default_rng(0)
    encoder, attention = BidirectionalGRU(3, 2, rng), random_attention(2, 4, 3, dtype=np.float32)
    words, state = rng.normal(size=(1, 5, 3)).astype(np.float32), rng.normal(size=(1, 2)).astype(np.float32)
    contexts = [run(attention, state, encoder(ma.tensor(x)).numpy())[0] for x in (words, words[:, ::-1])]
    assert np.abs(contexts[0] - contexts[1]).max() > 0.01


@given(problems(), SEEDS)
def test_with_W_zero_the_state_does_not_matter(problem, seed):
    attention, state, annotations, mask = problem
    attention.W_a.data = np.zeros_like(attention.W_a.data)
    other = np.random.default_rng(seed).normal(size=state.shape).astype(state.dtype)
    first, second = (run(attention, s, annotations, mask) for s in (state, other))
    np.testing.assert_array_equal(first[1], second[1])
    np.testing.assert_array_equal(first[0], second[0])


def test_with_W_not_zero_the_state_does_matter():
    rng, attention = np.random.default_rng(0), random_attention(2, 3, 4)
    annotations = rng.normal(size=(1, 5, 3))
    alignments = [run(attention, rng.normal(size=(1, 2)), annotations)[1] for _ in range(2)]
    assert np.abs(alignments[0] - alignments[1]).max() > 0.01


@given(problems())
def test_a_source_of_one_word_is_its_own_context(problem):
    attention, state, annotations, _ = problem
    context, weights = run(attention, state, annotations[:, :1])
    np.testing.assert_array_equal(context, annotations[:, 0])
    np.testing.assert_array_equal(weights, np.ones((len(state), 1)))


@given(calls())
def test_the_gradient_of_the_context_by_the_energies(call):
    """dc/de_j = alpha_j (h_j - c); e_j reaches the op as v tanh(q + k_j), so that dk_j = de_j v (1 - tanh^2)."""
    inputs, mask = call
    query, keys, v, values = (x.astype(np.float64) for x in inputs)
    batch, time, d = values.shape
    hidden = np.tanh(query[:, None] + keys)
    for component in range(d):
        leaf = ma.tensor(keys, requires_grad=True)
        context, weights = additive_attention(query, leaf, v, values, mask)
        context[:, component].sum().backward()
        for b in range(batch):
            for j in range(time):
                by_energy = weights.data[b, j] * (values[b, j, component] - context.data[b, component])
                by_key = by_energy * v * (1 - hidden[b, j] ** 2)
                np.testing.assert_allclose(leaf.grad[b, j], by_key, rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------------------------------------- masks
@given(problems(), st.integers(1, 3), SEEDS)
def test_padding_changes_nothing(problem, extra, seed):
    attention, state, annotations, mask = problem
    mask = everywhere(annotations) if mask is None else mask
    batch, time, d = annotations.shape
    garbage = np.random.default_rng(seed).normal(scale=100, size=(batch, extra, d)).astype(state.dtype)
    longer = ma.tensor(np.concatenate([annotations, garbage], 1), requires_grad=True)
    padded_mask = np.concatenate([mask, np.zeros((batch, extra), bool)], 1)
    context, weights = run(attention, state, annotations, mask)
    again, padded = attention(ma.tensor(state), longer, padded_mask)
    np.testing.assert_allclose(again.data, context, **close(state.dtype))
    np.testing.assert_allclose(padded.data[:, :time], weights, **close(state.dtype))
    (again.sum() + padded[:, 0].sum()).backward()
    assert (padded.data[:, time:] == 0).all()
    assert (longer.grad[:, time:] == 0).all()


def test_a_row_with_nothing_to_attend_gives_zeros_and_no_gradient():
    inputs = [ma.tensor(np.full(s, 3.0), requires_grad=True) for s in ((2, 3), (2, 4, 3), (3,), (2, 4, 2))]
    mask = np.array([[False] * 4, [True] * 4])
    context, weights = additive_attention(*inputs, mask)
    assert (context.data[0] == 0).all()
    assert (weights.data[0] == 0).all()
    np.testing.assert_allclose(context.data[1], 3)
    (context[0].sum() + (weights[0] ** 2).sum()).backward()
    for x in inputs:
        assert (x.grad == 0).all()


def test_only_the_attended_energies_set_the_scale():
    """exp(-20000) is 0 in float32, and exp(20000) infinite: the largest energy must be that of a real position."""
    query, v = np.zeros((1, 1), np.float32), np.full(1, 20000, np.float32)
    keys = np.array([[[30.0], [-30.0], [-30.0]]], np.float32)
    values = np.array([[[5.0], [1.0], [3.0]]], np.float32)
    for mask, alpha in (([False, True, True], [0, 0.5, 0.5]), ([True, True, True], [1, 0, 0])):
        context, weights = additive_attention(query, keys, v, values, np.array([mask]))
        np.testing.assert_array_equal(weights.data, [alpha])
        np.testing.assert_array_equal(context.data[0], np.dot(alpha, values[0]))


SIZES = np.zeros((2, 3)), np.zeros((2, 4, 3)), np.zeros(3), np.zeros((2, 4, 5))


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (np.ones((2, 5), bool), ShapeError, r"shape \(2, 5\) does not fit \(batch, time\) = \(2, 4\)"),
        (np.ones((4, 2), bool), ShapeError, r"shape \(4, 2\) does not fit \(batch, time\) = \(2, 4\)"),
        (np.ones((1, 4), bool), ShapeError, r"shape \(1, 4\) does not fit \(batch, time\) = \(2, 4\)"),  # would stretch
        (np.ones(4, bool), ShapeError, r"shape \(4,\) does not fit \(batch, time\) = \(2, 4\)"),
        (np.ones((2, 4)), TypeError, "must be boolean, got float64"),
        (np.ones((2, 4), int), TypeError, "must be boolean, got int64"),
        ([[1, 1, 1, 0], [1, 0, 0, 0]], TypeError, "must be boolean, got int64"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(mask, error, message):
    with pytest.raises(error, match=f"additive_attention: a .*mask .*{message}"):
        additive_attention(*SIZES, mask=mask)


def test_a_mask_may_be_an_array_a_tensor_or_a_list():
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=x.shape) for x in SIZES]
    mask = np.array([[True, False, True, True], [True, False, False, False]])
    expected = additive_attention(*inputs, mask)[0].data
    for same in (ma.tensor(mask), mask.tolist()):
        np.testing.assert_array_equal(additive_attention(*inputs, same)[0].data, expected)


@pytest.mark.parametrize(
    ("which", "shape"),
    [
        (0, (2, 4)),
        (0, (3,)),
        (0, (1, 3)),
        (1, (2, 4)),
        (2, (1,)),
        (2, (3, 1)),
        (3, (2, 5, 5)),
        (3, (2, 4)),
        (3, (3, 4, 5)),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_their_shapes(which, shape):
    inputs = [*SIZES]
    inputs[which] = np.zeros(shape)
    with pytest.raises(ShapeError, match=r"additive_attention: expected query \(batch, a\).*got") as error:
        additive_attention(*inputs)
    assert str(shape) in str(error.value)


# ---------------------------------------------------------------------------------------------- devices
@pytest.mark.parametrize("mask_there", [True, False], ids=["mask there", "mask on the host"])
@pytest.mark.parametrize("scrambled", [False, True], ids=["rows", "scrambled memory"])
def test_the_same_numbers_everywhere_and_no_waiting(backend, mask_there, scrambled):
    rng = np.random.default_rng(0)
    host = [rng.normal(size=x.shape).astype(np.float32) for x in SIZES]
    mask = np.array([[True, False, True, True], [False] * 4])
    expected = [x.data for x in additive_attention(*host, mask)]
    leaves = [ma.tensor(x, requires_grad=True) for x in host]
    context, weights = additive_attention(*leaves, mask)
    (context.sum() + (weights * weights).sum()).backward()

    tensors = [backend.tensor(x, requires_grad=True) for x in host]
    memory = fakecupy.scrambled_layouts() if scrambled else contextlib.nullcontext()
    with memory, fakecupy.no_sync():  # both concern the fake alone
        context, weights = additive_attention(*tensors, backend.array(mask) if mask_there else mask)
        (context.sum() + (weights * weights).sum()).backward()
    for result, value in zip((context, weights), expected, strict=True):
        np.testing.assert_allclose(asnumpy(result.data), value, rtol=1e-5, atol=1e-6)
    for there, here in zip(tensors, leaves, strict=True):
        assert there.grad.dtype == np.float32
        np.testing.assert_allclose(asnumpy(there.grad), here.grad, rtol=1e-5, atol=1e-6)


def test_initial_values_that_do_not_exist_are_refused():
    attention = object.__new__(AdditiveAttention)
    with pytest.raises(ConfigError, match='init must be "paper" or "glorot", got \'zeros\''):
        inspect.unwrap(AdditiveAttention.__init__)(attention, 1, 1, 1, np.random.default_rng(0), "zeros")


@pytest.mark.parametrize("init", ["paper", "glorot"])
@pytest.mark.parametrize("name", ["state", "annotation", "hidden"])
@pytest.mark.parametrize("size", [0, -1, 2.5, "3", True], ids=str)
def test_sizes_that_are_no_whole_numbers_from_1_on_are_refused(init, name, size):
    sizes = {"state": 1, "annotation": 1, "hidden": 1, name: size}
    attention = object.__new__(AdditiveAttention)
    with pytest.raises(ConfigError, match=f"{name} must be a whole number of at least 1, got {size!r}; hint"):
        inspect.unwrap(AdditiveAttention.__init__)(attention, **sizes, rng=np.random.default_rng(0), init=init)
