"""Luong's global and local attention against the paper's loops, and the identities that must hold."""

import contextlib
import inspect
import math
from typing import get_args

import fakecupy
import luong_by_hand
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.sequence import AdditiveAttention, GlobalAttention, LocalAttention
from minattn.attention.sequence.luong import Score, attentional_vector, start
from minattn.autograd import asnumpy
from minattn.errors import ConfigError, ShapeError
from minattn.nn import Parameter
from minattn.testing import check_gradients, strategies

SEEDS = st.integers(0, 2**32 - 1)
SCORES = get_args(Score)
KINDS = ("global", "local-m", "local-p")
EVERY = pytest.mark.parametrize(("kind", "score"), [(kind, score) for kind in KINDS for score in SCORES])


# ---------------------------------------------------------------------------------------------- what is drawn
def make(kind="global", score="general", n=3, size=3, seed=0, dtype=np.float64, window=2, **settings):
    """An attention all of whose parameters are random."""
    rng = np.random.default_rng(seed)
    if kind == "global":
        attention = GlobalAttention(n, size, rng, score, **settings)
    else:
        attention = LocalAttention(n, size, rng, score, kind == "local-p", window, **settings)
    for name, old in attention.named_parameters().items():
        setattr(attention, name, Parameter(rng.normal(size=old.shape).astype(dtype)))
    return attention


@st.composite
def attentions(draw, dtype, kinds=KINDS, scores=SCORES):
    kind, score = draw(st.sampled_from(kinds)), draw(st.sampled_from(scores))
    n = draw(st.integers(1, 3))
    size = n if score == "dot" else draw(st.integers(1, 3))
    window = draw(st.integers(1 if kind == "local-p" else 0, 3))
    settings = {"positions": draw(st.integers(1, 4)), "hidden": draw(st.none() | st.integers(1, 2))}
    return make(kind, score, n, size, draw(SEEDS), dtype, window, **settings)


@st.composite
def problems(draw, dtype=None, full_rows=True, **choices):
    """(attention, states of several steps, states of the source, mask or None)."""
    dtype = draw(st.sampled_from(strategies.DTYPES)) if dtype is None else dtype
    attention = draw(attentions(dtype, **choices))
    n, size = sizes(attention)
    batch, target, source = draw(st.integers(0, 3)), draw(st.integers(0, 4)), draw(st.integers(1, 5))
    states = draw(strategies.arrays((batch, target, n), dtype, plain=True))
    values = draw(strategies.arrays((batch, source, size), dtype, plain=True))
    return attention, states, values, draw(st.none() | strategies.masks((batch, source), full_rows=full_rows))


def sizes(attention):
    """(n, size of the source's states) that an attention from `make` was made for."""
    n = attention.state
    W_a, score = attention.W_a, attention.score
    return n, {"general": lambda: W_a.shape[1], "concat": lambda: len(W_a.data) - n}.get(
        score, lambda: n if score != "concat_coded" else W_a.shape[1]
    )()


def run(attention, states, values, mask=None):
    context, weights = attention(ma.tensor(states), ma.tensor(values), mask)
    return context.numpy(), weights.numpy()


def some(seed=0, batch=2, target=3, source=5, n=3, dtype=np.float64):
    """Random states of the decoder and of the source."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(batch, target, n)).astype(dtype), rng.normal(size=(batch, source, n)).astype(dtype)


def close(dtype):
    return {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-12}


# ---------------------------------------------------------------------------------------------- the paper's loops
@given(problem=problems())
def test_the_attention_is_the_papers_loops(problem):
    attention, states, values, mask = problem
    context, weights = attention(ma.tensor(states), ma.tensor(values), mask)
    assert context.dtype == weights.dtype == states.dtype
    assert context.shape == (*states.shape[:2], values.shape[2])
    assert weights.shape == (*states.shape[:2], values.shape[1])
    for b in range(len(states)):
        real = [True] * values.shape[1] if mask is None else mask[b].tolist()
        for t in range(states.shape[1]):
            expected = luong_by_hand.attend(attention, states[b, t].tolist(), values[b].tolist(), real, t)
            for result, value in zip((context, weights), expected, strict=True):
                np.testing.assert_allclose(result.data[b, t], value, **close(states.dtype))


@given(problems(dtype=np.float64), st.data())
def test_steps_may_come_one_by_one(problem, data):
    attention, states, values, mask = problem
    memory = attention.read(ma.tensor(values), mask)
    whole = attention.attend(ma.tensor(states), memory)
    cut = data.draw(st.integers(0, states.shape[1]))
    parts = [
        attention.attend(ma.tensor(states[:, i:j]), memory, first=i) for i, j in ((0, cut), (cut, states.shape[1]))
    ]
    for k, result in enumerate(whole):
        joined = np.concatenate([part[k].data for part in parts], 1)
        np.testing.assert_allclose(joined, result.data, rtol=1e-12, atol=1e-14)


@given(problems(dtype=np.float64), st.randoms(use_true_random=False))
def test_the_memory_of_sources_can_be_selected_by_rows(problem, random):
    attention, states, values, mask = problem
    rows = np.array([random.randrange(len(states)) for _ in range(4 if len(states) else 0)], int)
    memory = attention.read(ma.tensor(values), mask).select(rows)
    selected = attention.attend(ma.tensor(states[rows]), memory)
    for result, value in zip(selected, run(attention, states, values, mask), strict=True):
        np.testing.assert_allclose(result.data, value[rows], rtol=1e-12, atol=1e-14)


# ---------------------------------------------------------------------------------------------- gradients
@EVERY
@given(data=st.data(), seed=SEEDS)
def test_gradients_of_states_source_and_parameters(kind, score, data, seed):
    attention, states, values, mask = data.draw(problems(kinds=(kind,), scores=(score,)))
    parameters = attention.named_parameters()
    check_gradients(
        lambda h, s: attention(h, s, mask), states, values, parameters=parameters, seed=seed, method="complex"
    )


@EVERY
def test_every_parameter_gets_a_gradient(kind, score):
    attention, (states, values) = make(kind, score), some()
    context, _ = attention(ma.tensor(states, requires_grad=True), ma.tensor(values))
    context.sum().backward()
    expected = {"dot": [], "general": ["W_a"], "location": ["W_a"]}.get(score, ["W_a", "v_a"])
    expected = [*expected, *(["W_p", "v_p"] if kind == "local-p" else [])]
    assert [name for name, p in attention.named_parameters().items() if np.any(p.grad)] == expected


@given(problems(dtype=np.float64, kinds=("local-p",)))
def test_the_gradient_of_a_weight_by_its_position(problem):
    """da(s)/dp = a(s) (s - p) / sigma^2; p = S sigmoid(z) is reached through v_p: dz/dv_p = tanh(W_p h)."""
    attention, states, values, mask = problem
    for b, t in np.ndindex(states.shape[:2]):
        real = np.ones(values.shape[1], bool) if mask is None else mask[b]
        if attention.score == "location":
            real = real & (np.arange(values.shape[1]) < attention.W_a.shape[1])
        length = int(np.flatnonzero(real).max(initial=-1)) + 1
        parameters = {name: p.data.tolist() for name, p in attention.named_parameters().items()}
        p = luong_by_hand.position(parameters, states[b, t].tolist(), length)
        hidden = np.tanh(states[b, t] @ attention.W_p.data)
        by_v = (p * (1 - p / length) if length else 0.0) * hidden
        for s in range(values.shape[1]):
            attention.zero_grad()
            one = (slice(b, b + 1), slice(t, t + 1))
            row = None if mask is None else mask[b : b + 1]
            _, weights = attention.attend(ma.tensor(states[one]), attention.read(ma.tensor(values[b : b + 1]), row))
            weights[0, 0, s].backward()
            expected = weights.data[0, 0, s] * (s - p) / attention.sigma**2 * by_v
            np.testing.assert_allclose(attention.v_p.grad, expected, rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------------------------------------- identities
@given(problems(dtype=np.float64, kinds=("global",)))
def test_global_weights_are_a_distribution_and_padding_gets_none(problem):
    attention, states, values, mask = problem
    _, weights = run(attention, states, values, mask)
    mask = np.ones(values.shape[:2], bool) if mask is None else mask.copy()
    if attention.score == "location":
        mask[:, attention.W_a.shape[1] :] = False
    assert (weights >= 0).all()
    assert (np.swapaxes(weights, 1, 2)[~mask] == 0).all()
    np.testing.assert_allclose(weights.sum(-1), np.repeat(mask.any(-1)[:, None], states.shape[1], 1), rtol=1e-12)


@given(st.sampled_from(KINDS), SEEDS)
def test_general_with_the_identity_is_dot(kind, seed):
    states, values = some(seed)
    general, dot = (make(kind, score, seed=seed) for score in ("general", "dot"))
    general.W_a.data = np.eye(3)
    if kind == "local-p":
        dot.W_p, dot.v_p = general.W_p, general.v_p
    for result, value in zip(run(general, states, values), run(dot, states, values), strict=True):
        np.testing.assert_allclose(result, value, rtol=1e-12)


@given(st.sampled_from(["local-m", "local-p"]), st.sampled_from(SCORES), SEEDS, st.booleans())
def test_a_window_over_the_whole_source_and_a_flat_gaussian_are_global_attention(kind, score, seed, padded):
    states, values = some(seed)
    mask = np.arange(5) < np.array([[5], [3]]) if padded else None
    local, whole = make(kind, score, seed=seed, window=5, sigma=1e8), make("global", score)
    whole.W_a, whole.v_a = local.W_a, local.v_a
    for result, value in zip(run(local, states, values, mask), run(whole, states, values, mask), strict=True):
        np.testing.assert_allclose(result, value, rtol=1e-10, atol=1e-12)


@given(problems(dtype=np.float64, kinds=("local-p",)))
def test_the_weights_of_local_p_sum_to_less_than_one(problem):
    attention, states, values, mask = problem
    _, weights = run(attention, states, values, mask)
    assert (weights >= 0).all()
    assert (weights.sum(-1) <= 1 + 1e-12).all()
    attention.sigma = 1e8
    flat = run(attention, states, values, mask)[1].sum(-1)
    assert (np.isclose(flat, 1) | (flat == 0)).all()  # 0: nothing in the window


@given(st.sampled_from(SCORES), SEEDS, st.integers(1, 3))
def test_at_its_position_local_p_weighs_as_local_m(score, seed, half):
    """With v_p = 0 the position is S / 2, an integer for even S; local-m has it at step S / 2."""
    states, values = some(seed, target=half + 1, source=2 * half)
    predictive, monotonic = (make(kind, score, seed=seed, window=2) for kind in ("local-p", "local-m"))
    predictive.v_p.data = np.zeros(3)
    monotonic.W_a, monotonic.v_a = predictive.W_a, predictive.v_a
    of_p, of_m = (run(attention, states, values)[1][:, half, half] for attention in (predictive, monotonic))
    np.testing.assert_allclose(of_p, of_m, rtol=1e-12)


@given(problems(dtype=np.float64, kinds=("local-p",), full_rows=False))
def test_without_v_p_the_position_is_the_middle_of_the_source(problem):
    attention, states, values, mask = problem
    attention.v_p.data = np.zeros_like(attention.v_p.data)
    _, weights = run(attention, states, values, mask)
    s = np.arange(values.shape[1])
    mask = np.ones(values.shape[:2], bool) if mask is None else mask
    if attention.score == "location":
        mask = mask & (s < attention.W_a.shape[1])
    middle = (mask * (s + 1)).max(1, initial=0)[:, None, None] / 2
    gaussian = np.exp(-((s - middle) ** 2) / (2 * attention.sigma**2))
    attention.sigma = 1e8  # align alone
    align = run(attention, states, values, mask)[1]
    np.testing.assert_allclose(weights, align * gaussian, rtol=1e-9, atol=1e-12)
    assert (align[np.broadcast_to(abs(s - middle) > attention.window, align.shape)] == 0).all()


@given(SEEDS, st.integers(1, 4))
def test_concat_is_additive_attention(seed, hidden):
    states, values = some(seed)
    concat, additive = (
        make(score="concat", seed=seed, hidden=hidden),
        AdditiveAttention(3, 3, hidden, np.random.default_rng(0)),
    )
    additive.W_a, additive.U_a = Parameter(concat.W_a.data[:3]), Parameter(concat.W_a.data[3:])
    additive.v_a = concat.v_a
    results = run(concat, states, values)
    for t in range(states.shape[1]):
        expected = additive(ma.tensor(states[:, t]), ma.tensor(values))
        for result, value in zip(results, expected, strict=True):
            np.testing.assert_allclose(result[:, t], value.data, rtol=1e-10, atol=1e-12)


@given(SEEDS, st.integers(1, 4))
def test_concat_as_coded_is_concat_with_the_identity_for_the_source(seed, n):
    states, values = some(seed, n=n)
    coded, printed = (make(score=score, n=n, size=n, seed=seed) for score in ("concat_coded", "concat"))
    printed.W_a.data, printed.v_a.data = np.concatenate([coded.W_a.data, np.eye(n)]), coded.v_a.data
    for result, value in zip(run(coded, states, values), run(printed, states, values), strict=True):
        np.testing.assert_allclose(result, value, rtol=1e-12)


@given(st.sampled_from(["dot", "general", "location"]), SEEDS, st.floats(0.1, 10))
def test_scaling_the_state_is_a_temperature(score, seed, k):
    attention, (states, values) = make(score=score, seed=seed), some(seed)
    logits = np.log(run(attention, states, values)[1])
    hotter = k * logits
    expected = np.exp(hotter - hotter.max(-1, keepdims=True))
    scaled = run(attention, k * states, values)[1]
    np.testing.assert_allclose(scaled, expected / expected.sum(-1, keepdims=True), rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(run(attention, 0 * states, values)[1], 1 / values.shape[1], rtol=1e-12)


@given(st.sampled_from(KINDS), SEEDS)
def test_location_does_not_look_at_the_source(kind, seed):
    attention, (states, values), (_, others) = make(kind, "location", seed=seed), some(seed), some(seed + 1)
    (context, weights), (other, same) = (run(attention, states, x) for x in (values, others))
    np.testing.assert_array_equal(weights, same)
    assert np.abs(context - other).max() > 0.01
    content = make(kind, "general", seed=seed)
    assert np.abs(run(content, states, values)[1] - run(content, states, others)[1]).max() > 1e-6


@given(st.sampled_from(SCORES), SEEDS, st.integers(1, 8))
def test_local_m_with_a_window_of_one_copies_the_source(score, seed, target):
    """c_t = hbar_t; past the end of the source the last state."""
    attention, (states, values) = make("local-m", score, seed=seed, window=0), some(seed, target=target)
    context, weights = run(attention, states, values)
    steps = np.minimum(np.arange(target), 4)
    np.testing.assert_allclose(context, values[:, steps], rtol=1e-12)
    np.testing.assert_allclose(weights, np.repeat(np.eye(5)[steps][None], 2, 0), rtol=1e-12)


def test_the_attentional_vector_is_the_sum_of_two_products():
    rng = np.random.default_rng(0)
    context, state, W_c = (rng.normal(size=shape) for shape in ((2, 3, 4), (2, 3, 5), (9, 5)))
    vector = attentional_vector(ma.tensor(context), ma.tensor(state), ma.tensor(W_c)).data
    np.testing.assert_allclose(vector, np.tanh(context @ W_c[:4] + state @ W_c[4:]), rtol=1e-12)


# ---------------------------------------------------------------------------------------------- windows and lengths
def test_a_window_holds_at_most_two_d_and_one_positions():
    for kind in ("local-m", "local-p"):
        attention, (states, values) = make(kind, window=2), some(target=9, source=12)
        weights = run(attention, states, values)[1]
        assert ((weights > 0).sum(-1) <= 5).all()
    attended = [np.flatnonzero(row).tolist() for row in run(make("local-m", window=2), states, values)[1][0]]
    assert attended[0] == [0, 1, 2]  # what would lie before the sentence is ignored
    assert attended[6] == [4, 5, 6, 7, 8]


def test_a_shorter_source_uses_the_first_of_the_locations_and_a_longer_one_ignores_its_end():
    attention, (states, values) = make(score="location", positions=3), some(source=5)
    logits = states @ attention.W_a.data
    for source in (1, 2, 3, 5):
        context, weights = run(attention, states, values[:, :source])
        scored = min(source, 3)
        expected = np.exp(logits[..., :scored])
        expected /= expected.sum(-1, keepdims=True)
        np.testing.assert_allclose(weights[..., :scored], expected, rtol=1e-12)
        assert (weights[..., scored:] == 0).all()
        np.testing.assert_allclose(context, expected @ values[:, :scored], rtol=1e-12)


def test_the_length_of_a_source_ends_with_its_last_real_position():
    attention, (states, values) = make("local-p", window=4, sigma=0.1), some(target=1, batch=1)
    attention.v_p.data = np.full(3, 1e3) * np.sign(np.tanh(states[0, 0] @ attention.W_p.data))  # sigmoid is 1: p = S
    for mask, last in (([True] * 5, 4), ([True, True, True, False, False], 2), ([False, True, False, True, False], 3)):
        weights = run(attention, states, values, np.array([mask]))[1][0, 0]
        assert weights.argmax() == last


# ---------------------------------------------------------------------------------------------- masks
@EVERY
@pytest.mark.parametrize("held", [np.nan, np.inf, 1e30])
def test_padding_may_hold_anything(kind, score, held):
    attention, (states, values) = make(kind, score), some()
    mask = np.arange(5) < np.array([[5], [2]])
    expected = run(attention, states, values, mask)
    garbage = ma.tensor(np.where(mask[:, :, None], values, held), requires_grad=True)
    h = ma.tensor(states, requires_grad=True)
    context, weights = attention(h, garbage, mask)
    for result, value in zip((context, weights), expected, strict=True):
        np.testing.assert_array_equal(result.data, value)
    (context.sum() + (weights * weights).sum()).backward()
    assert (garbage.grad[~mask] == 0).all()
    for gradient in (garbage.grad, h.grad, *(p.grad for p in attention.parameters())):
        assert np.isfinite(gradient).all()


@EVERY
@given(data=st.data(), extra=st.integers(1, 3))
def test_padding_changes_nothing(kind, score, data, extra):
    attention, states, values, mask = data.draw(problems(kinds=(kind,), scores=(score,)))
    mask = np.ones(values.shape[:2], bool) if mask is None else mask
    context, weights = run(attention, states, values, mask)
    longer = np.concatenate([values, np.full((len(values), extra, values.shape[2]), 7, values.dtype)], 1)
    again, padded = run(attention, states, longer, np.pad(mask, ((0, 0), (0, extra))))
    np.testing.assert_allclose(again, context, **close(states.dtype))
    np.testing.assert_allclose(padded[..., : values.shape[1]], weights, **close(states.dtype))
    assert (padded[..., values.shape[1] :] == 0).all()


@EVERY
def test_a_source_of_padding_only_has_a_context_of_zeros_and_no_gradient(kind, score):
    attention, (states, values) = make(kind, score), some()
    h, source = (ma.tensor(x, requires_grad=True) for x in (states, values))
    context, weights = attention(h, source, np.array([[False] * 5, [True] * 5]))
    assert not context.data[0].any()
    assert not weights.data[0].any()
    (context[0].sum() + (weights[0] ** 2).sum()).backward()
    for x in (h, source, *attention.parameters()):
        assert not x.grad.any()


@EVERY
def test_large_scores_in_float32_do_not_overflow(kind, score):
    attention, (states, values) = make(kind, score, dtype=np.float32), some(dtype=np.float32)
    if attention.v_a is not None:
        attention.v_a.data = attention.v_a.data * np.float32(1e6)
    h = ma.tensor(states * np.float32(1e6), requires_grad=True)
    context, weights = attention(h, ma.tensor(values))
    assert np.isfinite(context.data).all()
    assert (weights.data.sum(-1) <= 1 + 1e-6).all()
    context.sum().backward()
    for x in (h, *attention.parameters()):
        assert np.isfinite(x.grad).all()


# ---------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize("mask", [np.ones((2, 4), bool), np.ones((1, 5), bool), np.ones(5, bool)], ids=str)
def test_a_mask_of_another_shape_is_refused(mask):
    _, values = some()
    with pytest.raises(ValueError, match=r"\(2, 5\)"):
        inspect.unwrap(GlobalAttention.read)(make(), ma.tensor(values), mask)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"score": "cosine"}, r"there is no score 'cosine'; hint: dot, general, concat, concat_coded, location"),
        ({"score": "dot", "size": 4}, r'score "dot" needs states of one size, got 3 and 4; hint: "general"'),
        ({"size": 0}, r"source must be a whole number of at least 1, got 0; hint"),
        ({"size": "3"}, r"source must be a whole number of at least 1, got '3'; hint"),
        ({"score": "concat", "hidden": 0}, r"hidden must be a whole number of at least 1, got 0; hint"),
        ({"score": "location", "positions": 0}, r"positions must be a whole number of at least 1, got 0; hint"),
        ({"kind": "local-m", "window": -1}, r"a window reaches 0 or more whole positions to each side, got -1; hint"),
        ({"kind": "local-p", "window": 1.5}, r"a window reaches 0 or more whole positions to each side, got 1.5; hint"),
        ({"kind": "local-p", "window": "2"}, r"a window reaches 0 or more whole positions to each side, got '2'; hint"),
        ({"kind": "local-p", "window": 0}, r"sigma of the Gaussian must be above 0, got 0.0; hint"),
        ({"kind": "local-p", "sigma": 0.0}, r"sigma of the Gaussian must be above 0, got 0.0; hint"),
        ({"kind": "local-p", "sigma": math.nan}, r"sigma of the Gaussian must be above 0, got nan; hint"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    settings = {"kind": "global", "size": 3, **settings}
    kind, size = settings.pop("kind"), settings.pop("size")
    of_kind = GlobalAttention if kind == "global" else LocalAttention
    if kind == "local-m":
        settings["predictive"] = False
    with pytest.raises(ConfigError, match=message):
        inspect.unwrap(of_kind.__init__)(object.__new__(of_kind), 3, size, np.random.default_rng(0), **settings)


@pytest.mark.parametrize("kind", ["global", "local-m", "local-p"])
@pytest.mark.parametrize("mask", [None, np.array([[True] * 5, [True] * 3 + [False] * 2])], ids=["all real", "padding"])
def test_whole_numbers_as_a_source_are_taken_as_numbers_of_the_states_dtype(kind, mask):
    states, values = some(dtype=np.float32)
    values = np.round(4 * values)
    attention = make(kind, dtype=np.float32)
    expected = attention(ma.tensor(states), ma.tensor(values), mask)
    memory = inspect.unwrap(GlobalAttention.read)(attention, ma.tensor(values.astype(int)), mask)
    results = attention.attend(ma.tensor(states), memory)
    for result, same in zip(results, expected, strict=True):
        assert result.dtype == np.float32
        np.testing.assert_allclose(result.data, same.data, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3), (1, 4, 3), (3, 4, 3), (2, 1, 4, 3)], ids=str)
@pytest.mark.parametrize("kind", ["global", "local-p"])
def test_states_of_another_batch_are_refused_and_not_broadcast(kind, shape):
    _, values = some()
    with pytest.raises(ShapeError, match=r"expected states \(batch, target, n\) and a source .*; hint"):
        inspect.unwrap(GlobalAttention.forward)(make(kind), ma.tensor(np.ones(shape)), ma.tensor(values))


def test_a_source_of_no_positions_is_refused():
    with pytest.raises(ShapeError, match="a source of no positions cannot be attended; hint"):
        make().read(ma.tensor(np.zeros((2, 0, 3))))


def test_initial_values_that_do_not_exist_are_refused():
    with pytest.raises(ConfigError, match='init must be "paper" or "glorot", got \'zeros\'; hint'):
        inspect.unwrap(start)(np.random.default_rng(0), "zeros", 2)


@pytest.mark.parametrize("init", ["paper", "glorot"])
def test_parameters_start_uniform_within_their_bounds(init):
    attention = LocalAttention(40, 50, np.random.default_rng(0), "concat", hidden=60, init=init)
    fans = {"W_a": 90 + 60, "v_a": 60 + 1, "W_p": 40 + 40, "v_p": 40 + 1}
    for name, parameter in attention.named_parameters().items():
        bound = 0.1 if init == "paper" else math.sqrt(6 / fans[name])
        assert parameter.dtype == np.float32
        assert 0.8 * bound < np.abs(parameter.data).max() <= bound


# ---------------------------------------------------------------------------------------------- devices
@EVERY
@pytest.mark.parametrize("mask_there", [True, False], ids=["mask there", "mask on the host"])
@pytest.mark.parametrize("scrambled", [False, True], ids=["rows", "scrambled memory"])
def test_the_same_numbers_everywhere_and_no_waiting(backend, kind, score, mask_there, scrambled):
    host, mask = some(dtype=np.float32), np.array([[True, False, True, True, False], [False] * 5])
    here = make(kind, score, dtype=np.float32, positions=4)
    expected, leaves = gradients_of(here, [ma.tensor(x, requires_grad=True) for x in host], mask)

    there = make(kind, score, dtype=np.float32, positions=4).to(backend.device)
    tensors = [backend.tensor(x, requires_grad=True) for x in host]
    memory = fakecupy.scrambled_layouts() if scrambled else contextlib.nullcontext()
    with memory, fakecupy.no_sync():  # both concern the fake alone
        found, gradients = gradients_of(there, tensors, backend.array(mask) if mask_there else mask)
    for result, value in zip((*found, *gradients), (*expected, *leaves), strict=True):
        assert result.dtype == np.float32
        np.testing.assert_allclose(asnumpy(result), value, rtol=1e-4, atol=1e-6)


def gradients_of(attention, inputs, mask):
    """([context, weights], gradients of inputs and parameters)."""
    context, weights = attention(*inputs, mask)
    (context.sum() + (weights * weights).sum()).backward()
    return [context.data, weights.data], [x.grad for x in (*inputs, *attention.parameters())]
