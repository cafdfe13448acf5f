"""Multi-head attention against loops over heads, the complex step, and the identities it must have."""

import contextlib
import inspect
import itertools
import math

import fakecupy
import numpy as np
import pytest
from attention_loops import by_loops
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.self_attention import (
    KeyValues,
    MultiHeadAttention,
    SinusoidalPositions,
    multi_head,
    scaled_dot_product_attention,
)
from minattn.autograd import asnumpy, device_of
from minattn.errors import ConfigError, ShapeError
from minattn.nn import Parameter
from minattn.testing import check_gradients, strategies

SEEDS = st.integers(0, 2**32 - 1)
MATRICES = ["W_Q", "W_K", "W_V", "W_O"]
BIASES = ["b_Q", "b_K", "b_V", "b_O"]


# ---------------------------------------------------------------------------------------------- what is drawn
def random_heads(d_model, heads, d_k=None, d_v=None, biases=False, seed=0, dtype=np.float64):
    """The layer with every weight random, its biases too: nothing is zero, small or symmetric."""
    attention = MultiHeadAttention(d_model, heads, np.random.default_rng(seed), d_k, d_v, biases)
    rng = np.random.default_rng(seed)
    for name, old in attention.named_parameters().items():
        setattr(attention, name, Parameter(rng.normal(size=old.shape).astype(dtype)))
    return attention


@st.composite
def layers(draw, dtype, largest):
    heads, d_k, d_v, d_model = (draw(st.integers(1, largest)) for _ in range(4))
    return random_heads(d_model, heads, d_k, d_v, draw(st.booleans()), draw(SEEDS), dtype)


@st.composite
def problems(draw, dtype=None, self_attention=False, largest=3):
    """(layer, queries, keys, values, mask, causal); the mask of any shape that broadcasts to (batch, n_q, n_k)."""
    dtype = draw(st.sampled_from(strategies.DTYPES)) if dtype is None else dtype
    layer = draw(layers(dtype, largest))
    d_model = layer.W_Q.shape[0]
    batch, n_q, n_k = draw(st.integers(0, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    n_k = n_q if self_attention else n_k
    arrays = [draw(strategies.arrays((batch, n, d_model), dtype)) for n in (n_q, n_k, n_k)]
    shape = tuple(n if draw(st.booleans()) else 1 for n in (batch, n_q, n_k))
    return layer, *arrays, draw(st.none() | strategies.masks(shape)), n_q <= n_k and draw(st.booleans())


def close(dtype):
    return {"rtol": 1e-3, "atol": 1e-4} if dtype == np.float32 else {"rtol": 1e-9, "atol": 1e-11}


def by_hand(layer, queries, keys, values, mask, causal):
    """MultiHead(Q, K, V) and the weights, head by head, number by number."""

    def project(x, weight, bias, head, d):
        out = np.zeros((len(x), d))
        for t in range(len(x)):
            for c in range(d):
                column = head * d + c
                out[t, c] = 0.0 if bias is None else float(bias.data[column])
                for m in range(x.shape[1]):
                    out[t, c] += float(x[t, m]) * float(weight.data[m, column])
        return out

    batch, n_q, d_model = queries.shape
    n_k = keys.shape[1]
    out, alignments = np.zeros((batch, n_q, d_model)), np.zeros((batch, layer.heads, n_q, n_k))
    mask = np.broadcast_to(True if mask is None else mask, (batch, n_q, n_k))
    for b in range(batch):
        concat = np.zeros((n_q, layer.heads * layer.d_v))
        for i in range(layer.heads):
            head, alignments[b, i] = by_loops(
                project(queries[b], layer.W_Q, layer.b_Q, i, layer.d_k),
                project(keys[b], layer.W_K, layer.b_K, i, layer.d_k),
                project(values[b], layer.W_V, layer.b_V, i, layer.d_v),
                mask[b],
                causal,
            )
            concat[:, i * layer.d_v : (i + 1) * layer.d_v] = head
        out[b] = project(concat, layer.W_O, layer.b_O, 0, d_model)
    return out, alignments


# ---------------------------------------------------------------------------------------------- the paper's loops
@given(problems())
def test_the_layer_is_the_papers_loops(problem):
    layer, queries, keys, values, mask, causal = problem
    tensors = [ma.tensor(x) for x in (queries, keys, values)]
    context, weights = layer(*tensors, mask, causal)
    alone, none = layer(*tensors, mask, causal, need_weights=False)
    expected = by_hand(*problem)
    assert none is None
    for result, value in zip((context, weights, alone), (*expected, expected[0]), strict=True):
        assert result.dtype == queries.dtype
        assert result.shape == value.shape
        np.testing.assert_allclose(result.data, value, **close(queries.dtype))


@given(problems(self_attention=True))
def test_keys_are_the_queries_and_values_the_keys_unless_given(problem):
    layer, x, other, _, mask, causal = problem
    for given_, meant in (((x,), (x, x, x)), ((x, other), (x, other, other)), ((x, None, other), (x, x, other))):
        arguments = [None if y is None else ma.tensor(y) for y in given_]
        context, weights = layer(*arguments, mask=mask, causal=causal)
        expected = by_hand(layer, *meant, mask, causal)
        np.testing.assert_allclose(context.data, expected[0], **close(x.dtype))
        np.testing.assert_allclose(weights.data, expected[1], **close(x.dtype))


@given(problems(self_attention=True, largest=2), st.booleans(), st.booleans(), SEEDS)
def test_gradients_of_arguments_and_weights(problem, one_array, weights, seed):
    layer, *arrays, mask, causal = problem

    def run(*tensors):
        return tuple(y for y in layer(*tensors, mask=mask, causal=causal, need_weights=weights) if y is not None)

    check_gradients(run, *(arrays[:1] if one_array else arrays), seed=seed, method="complex")


@given(problems())
def test_its_parts_are_the_whole(problem):
    layer, queries, keys, values, mask, causal = problem
    q, k, v = map(ma.tensor, (queries, keys, values))
    memory = layer.keys_values(k, v)
    assert isinstance(memory, KeyValues)
    assert memory.keys.shape == (len(keys), layer.heads, keys.shape[1], layer.d_k)
    assert memory.values.shape == (len(keys), layer.heads, keys.shape[1], layer.d_v)
    parts = layer.attend(layer.queries(q), memory, mask, causal)
    for part, whole in zip(parts, layer(q, k, v, mask, causal), strict=True):
        np.testing.assert_array_equal(part.data, whole.data)


# ---------------------------------------------------------------------------------------------- parameters
@given(st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_names_shapes_and_sizes_of_heads(heads, d, biases):
    layer = MultiHeadAttention(heads * d, heads, np.random.default_rng(0), biases=biases)
    assert (layer.d_k, layer.d_v) == (d, d)
    shapes = {name: p.shape for name, p in layer.named_parameters().items()}
    expected = dict.fromkeys(MATRICES, (heads * d, heads * d)) | (dict.fromkeys(BIASES, (heads * d,)) if biases else {})
    assert shapes == expected
    for name in BIASES if biases else ():
        assert (getattr(layer, name).data == 0).all()
    for name in MATRICES:
        assert getattr(layer, name).dtype == np.float32


def test_sizes_of_keys_and_values_that_are_given():
    layer = MultiHeadAttention(5, 2, np.random.default_rng(0), d_k=3, d_v=4, biases=True)
    shapes = {name: p.shape for name, p in layer.named_parameters().items()}
    matrices = {"W_Q": (5, 6), "W_K": (5, 6), "W_V": (5, 8), "W_O": (8, 5)}
    assert shapes == matrices | {"b_Q": (6,), "b_K": (6,), "b_V": (8,), "b_O": (5,)}


def test_the_same_seed_draws_the_same_weights_and_no_two_matrices_are_one():
    one, two = (MultiHeadAttention(6, 2, np.random.default_rng(3)) for _ in range(2))
    for name in MATRICES:
        np.testing.assert_array_equal(getattr(one, name).data, getattr(two, name).data)
    for first, second in itertools.pairwise(MATRICES):
        assert (getattr(one, first).data != getattr(one, second).data).all()


# ---------------------------------------------------------------------------------------------- identities
@given(problems(dtype=np.float64, self_attention=True), st.randoms(use_true_random=False))
def test_without_positions_permuting_words_permutes_the_output(problem, random):
    layer, x, *_ = problem
    order = random.sample(range(x.shape[1]), x.shape[1])
    context, weights = layer(ma.tensor(x))
    again, moved = layer(ma.tensor(x[:, order]))
    np.testing.assert_allclose(again.data, context.data[:, order], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(moved.data, weights.data[:, :, order][..., order], rtol=1e-9, atol=1e-11)


def test_with_positions_it_does_not():
    layer, x = random_heads(4, 2), np.random.default_rng(0).normal(size=(1, 5, 4))
    order, positions = [4, 2, 0, 1, 3], SinusoidalPositions()
    context, again = (layer(positions(ma.tensor(y)))[0].data for y in (x, x[:, order]))
    assert np.abs(again - context[:, order]).max() > 0.01


@pytest.mark.parametrize("weights", [True, False])
def test_a_causal_output_is_deaf_to_the_future_and_sends_it_no_gradient(weights):
    layer = random_heads(6, 2, biases=True)
    x = np.random.default_rng(0).normal(size=(2, 7, 6))
    for t in range(6):
        changed = x.copy()
        changed[:, t + 1 :] += 5
        before, after = (layer(ma.tensor(y), causal=True, need_weights=weights)[0].data for y in (x, changed))
        np.testing.assert_allclose(after[:, : t + 1], before[:, : t + 1], rtol=1e-10, atol=1e-12)
        assert np.abs(after[:, t + 1 :] - before[:, t + 1 :]).max() > 0.1
        leaf = ma.tensor(x, requires_grad=True)
        (layer(leaf, causal=True, need_weights=weights)[0][:, t] ** 2).sum().backward()
        assert (leaf.grad[:, t + 1 :] == 0).all()
        assert (leaf.grad[:, : t + 1] != 0).all()


@pytest.mark.parametrize("zero", ["W_Q", "W_K"])
@given(problem=problems())
def test_with_W_Q_zero_every_head_gives_the_mean_value(zero, problem):
    layer, queries, keys, values, *_ = problem
    for name in (zero, "b" + zero[1:]):
        if getattr(layer, name) is not None:
            getattr(layer, name).data = np.zeros_like(getattr(layer, name).data)
    context, weights = layer(*map(ma.tensor, (queries, keys, values)))
    n_k = keys.shape[1]
    np.testing.assert_allclose(weights.data, np.full(weights.shape, 1 / n_k), rtol=1e-5)
    bias_V, bias_O = (0 if b is None else b.data for b in (layer.b_V, layer.b_O))
    mean = (values.mean(1, keepdims=True) @ layer.W_V.data + bias_V) @ layer.W_O.data + bias_O
    np.testing.assert_allclose(context.data, np.broadcast_to(mean, context.shape), **close(queries.dtype))


@given(problems(dtype=np.float64), SEEDS)
def test_one_vector_added_to_every_key_or_value(problem, seed):
    layer, queries, keys, values, *_ = problem
    c_k, c_v = np.random.default_rng(seed).normal(size=(2, queries.shape[-1]))
    context, weights = layer(*map(ma.tensor, (queries, keys, values)))
    again, same = layer(*map(ma.tensor, (queries, keys + c_k, values + c_v)))
    np.testing.assert_allclose(same.data, weights.data, rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(again.data, context.data + c_v @ layer.W_V.data @ layer.W_O.data, rtol=1e-8, atol=1e-9)


@given(problems(dtype=np.float64))
def test_a_bias_of_the_keys_changes_nothing(problem):
    """It adds the same to all scores of a query."""
    layer, queries, keys, values, mask, causal = problem
    if layer.b_K is None:
        return
    before = layer(*map(ma.tensor, (queries, keys, values)), mask, causal)
    layer.b_K.data = layer.b_K.data + 3.0
    for y, z in zip(layer(*map(ma.tensor, (queries, keys, values)), mask, causal), before, strict=True):
        np.testing.assert_allclose(y.data, z.data, rtol=1e-8, atol=1e-9)


@given(problems())
def test_one_head_and_unit_matrices_are_equation_1(problem):
    _, queries, keys, values, mask, causal = problem
    d, dtype = queries.shape[-1], queries.dtype
    plain = MultiHeadAttention(d, 1, np.random.default_rng(0))
    for name in MATRICES:
        setattr(plain, name, Parameter(np.eye(d, dtype=dtype)))
    context, weights = plain(*map(ma.tensor, (queries, keys, values)), mask, causal)
    whole = scaled_dot_product_attention(*map(ma.tensor, (queries, keys, values)), mask, causal)
    np.testing.assert_allclose(context.data, whole[0].data, **close(dtype))
    np.testing.assert_allclose(weights.data[:, 0], whole[1].data, **close(dtype))


@given(problems(), st.randoms(use_true_random=False))
def test_permuting_the_heads_with_their_blocks_changes_nothing(problem, random):
    layer, queries, keys, values, mask, causal = problem
    context, weights = layer(*map(ma.tensor, (queries, keys, values)), mask, causal)
    order = random.sample(range(layer.heads), layer.heads)
    for name, d in (("Q", layer.d_k), ("K", layer.d_k), ("V", layer.d_v)):
        columns = [i * d + c for i in order for c in range(d)]
        for parameter in (getattr(layer, f"W_{name}"), getattr(layer, f"b_{name}")):
            if parameter is not None:
                parameter.data = parameter.data[..., columns]
    layer.W_O.data = layer.W_O.data[[i * layer.d_v + c for i in order for c in range(layer.d_v)]]
    again, moved = layer(*map(ma.tensor, (queries, keys, values)), mask, causal)
    np.testing.assert_allclose(again.data, context.data, **close(queries.dtype))
    np.testing.assert_allclose(moved.data, weights.data[:, order], **close(queries.dtype))


@given(problems(self_attention=True), st.integers(1, 3), st.sampled_from([1.0, 1e4]), SEEDS)
def test_appended_padding_leaves_the_other_outputs(problem, extra, scale, seed):
    layer, x, *_ = problem
    batch, n, d = x.shape
    garbage = (scale * np.random.default_rng(seed).normal(size=(batch, extra, d))).astype(x.dtype)
    padding = np.arange(n + extra) < np.full(batch, n)[:, None]
    longer = ma.tensor(np.concatenate([x, garbage], 1), requires_grad=True)
    context, weights = layer(ma.tensor(x))
    again, padded = layer(longer, mask=padding[:, None, :])
    np.testing.assert_allclose(again.data[:, :n], context.data, **close(x.dtype))
    np.testing.assert_allclose(padded.data[:, :, :n, :n], weights.data, **close(x.dtype))
    assert (padded.data[..., n:] == 0).all()
    (again[:, :n] ** 2).sum().backward()
    assert (longer.grad[:, n:] == 0).all()


# ---------------------------------------------------------------------------------------------- decoding
@pytest.mark.parametrize("pieces", [[1] * 6, [3, 1, 2], [6], [2, 4]], ids=str)
@pytest.mark.parametrize("weights", [True, False])
def test_decoding_with_kept_keys_and_values_is_the_whole_pass(pieces, weights):
    layer, x = random_heads(6, 2, 4, 3, biases=True), np.random.default_rng(0).normal(size=(3, 6, 6))
    whole, alignment = layer(ma.tensor(x), causal=True)
    memory, start = None, 0
    for n in pieces:
        new = ma.tensor(x[:, start : start + n])
        memory = layer.keys_values(new) if memory is None else memory.append(layer.keys_values(new))
        assert memory.keys.shape == (3, 2, start + n, 4)
        assert memory.values.shape == (3, 2, start + n, 3)
        context, found = layer.attend(layer.queries(new), memory, causal=True, need_weights=weights)
        np.testing.assert_allclose(context.data, whole.data[:, start : start + n], rtol=1e-10, atol=1e-12)
        if weights:
            expected = alignment.data[:, :, start : start + n, : start + n]
            np.testing.assert_allclose(found.data, expected, rtol=1e-10, atol=1e-12)
        start += n


def test_rows_of_what_is_kept_may_be_chosen_several_times():
    layer, rng = random_heads(4, 2), np.random.default_rng(0)
    x, rows = rng.normal(size=(3, 5, 4)), np.array([2, 0, 2, 2])
    chosen, direct = layer.keys_values(ma.tensor(x)).select(rows), layer.keys_values(ma.tensor(x[rows]))
    for kept, expected in zip(chosen, direct, strict=True):
        np.testing.assert_allclose(kept.data, expected.data, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("weights", [True, False])
def test_gradients_through_what_is_kept(weights):
    layer = random_heads(4, 2, 3, 1)

    def stepwise(x):
        memory, contexts = layer.keys_values(x[:, :1]), []
        for t in range(3):
            if t:
                memory = memory.append(layer.keys_values(x[:, t : t + 1]))
            contexts.append(layer.attend(layer.queries(x[:, t : t + 1]), memory, causal=True, need_weights=weights)[0])
        return ma.concat(contexts, axis=1)

    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    check_gradients(stepwise, x, method="complex")
    np.testing.assert_allclose(stepwise(ma.tensor(x)).data, layer(ma.tensor(x), causal=True)[0].data, rtol=1e-10)


# ---------------------------------------------------------------------------------------------- wrong arguments
@pytest.mark.parametrize(
    ("d_model", "heads", "d_k", "d_v"),
    [(5, 2, None, None), (4, 8, None, None), (5, 2, 3, None), (5, 2, None, 3)],
)
def test_heads_that_do_not_divide_the_model_are_refused(d_model, heads, d_k, d_v):
    with pytest.raises(ConfigError, match=f"d_model = {d_model} does not divide into {heads} heads; hint"):
        MultiHeadAttention(d_model, heads, np.random.default_rng(0), d_k, d_v)
    MultiHeadAttention(5, 2, np.random.default_rng(0), 3, 4)


@pytest.mark.parametrize("name", ["d_model", "heads", "d_k", "d_v"])
@pytest.mark.parametrize("size", [0, -1])
def test_sizes_below_one_are_refused(name, size):
    sizes = {"d_model": 4, "heads": 2, "d_k": 2, "d_v": 2, name: size}
    with pytest.raises(ConfigError, match=f"{name} must be a whole number of at least 1, got {size}; hint"):
        MultiHeadAttention(rng=np.random.default_rng(0), **sizes)


@pytest.fixture
def unchecked(monkeypatch):
    """The layer as users have it: the tests' own check of shapes in signatures would come first."""
    monkeypatch.setattr(multi_head, "scaled_dot_product_attention", inspect.unwrap(scaled_dot_product_attention))
    for name in ("queries", "keys_values", "attend", "forward", "_split"):
        monkeypatch.setattr(MultiHeadAttention, name, inspect.unwrap(getattr(MultiHeadAttention, name)))
    return random_heads(4, 2)


@pytest.mark.parametrize(
    "shape",
    [
        (2, 4),  # (batch, n_k): as many sequences as heads, so that it could be taken for (heads, n_q, n_k)
        (3, 4),
        (4,),
        (3,),  # as many as queries
        (3, 3, 4),
        (2, 3, 3),
        (2, 2, 3, 4),
        (2, 4, 3),
    ],
    ids=str,
)
@pytest.mark.parametrize("weights", [True, False])
def test_a_mask_is_broadcastable_to_batch_queries_keys_or_refused(unchecked, shape, weights):
    rng = np.random.default_rng(0)
    queries, keys = ma.tensor(rng.normal(size=(2, 3, 4))), ma.tensor(rng.normal(size=(2, 4, 4)))
    with pytest.raises(ShapeError, match="mask"):
        unchecked(queries, keys, mask=np.ones(shape, bool), need_weights=weights)


def test_other_shapes_that_do_not_fit_are_refused(unchecked):
    x = ma.tensor(np.zeros((2, 3, 4)))
    for keys, values in [((1, 3, 4), None), ((2, 3, 4), (2, 5, 4)), ((2, 3, 4), (1, 3, 4))]:
        with pytest.raises(ShapeError, match=r"attention.*got q \(2, 2, 3, 2\)"):
            unchecked(x, *[shape and ma.tensor(np.zeros(shape)) for shape in (keys, values)])
    with pytest.raises(ShapeError, match="queries"):
        unchecked(x, ma.tensor(np.zeros((2, 2, 4))), causal=True)
    with pytest.raises(ValueError, match=r"linear: x \(2, 3, 5\) does not fit the weight \(4, 4\)"):
        unchecked(ma.tensor(np.zeros((2, 3, 5))))


# ---------------------------------------------------------------------------------------------- devices
@pytest.mark.parametrize("scrambled", [False, True], ids=["rows", "scrambled memory"])
@pytest.mark.parametrize("weights", [True, False])
def test_the_same_numbers_everywhere_and_no_waiting(backend, scrambled, weights):
    layer = random_heads(6, 3, 2, 4, biases=True, dtype=np.float32)
    rng = np.random.default_rng(0)
    x, mask = rng.normal(size=(2, 5, 6)).astype(np.float32), rng.random((2, 1, 5)) < 0.6
    expected = by_hand(layer, x, x, x, mask, True)
    leaf = ma.tensor(x, requires_grad=True)
    (layer(leaf, mask=mask, causal=True, need_weights=weights)[0] ** 2).sum().backward()
    gradients = {name: p.grad for name, p in layer.named_parameters().items()}
    for parameter in layer.parameters():
        parameter.replace_data(backend.array(parameter.data))
    tensor = backend.tensor(x, requires_grad=True)
    memory = fakecupy.scrambled_layouts() if scrambled else contextlib.nullcontext()
    with memory, fakecupy.no_sync():  # both concern the fake alone
        context, alignment = layer(tensor, mask=mask, causal=True, need_weights=weights)
        (context**2).sum().backward()
    assert device_of(context.data) == device_of(tensor.data)
    np.testing.assert_allclose(asnumpy(context.data), expected[0], rtol=1e-4, atol=1e-4)
    if weights:
        np.testing.assert_allclose(asnumpy(alignment.data), expected[1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(asnumpy(tensor.grad), leaf.grad, rtol=1e-3, atol=1e-3)
    for name, parameter in layer.named_parameters().items():
        assert parameter.grad.dtype == np.float32
        np.testing.assert_allclose(asnumpy(parameter.grad), gradients[name], rtol=1e-3, atol=1e-3)


def test_the_scale_is_that_of_a_head():
    """1 / sqrt(d_k), with d_k the size of a head's keys and not of the model."""
    layer, x = random_heads(8, 4), np.random.default_rng(0).normal(size=(1, 2, 8))
    weights = layer(ma.tensor(x))[1].data
    q, k = ((x[0] @ w.data)[:, 2:4] for w in (layer.W_Q, layer.W_K))
    score = (q @ k.T)[0] / math.sqrt(2)
    assert math.log(weights[0, 1, 0, 0] / weights[0, 1, 0, 1]) == pytest.approx(score[0] - score[1])
