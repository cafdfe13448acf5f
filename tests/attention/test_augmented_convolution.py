"""Attention-augmented convolution against the paper's loops, the complex step and the identities it must have."""

import contextlib
import inspect
import math

import fakecupy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.self_attention import (
    AugmentedConvolution,
    MultiHeadAttention,
    relative_logits,
    relative_to_absolute,
    sinusoidal_positions,
)
from minattn.attention.self_attention.augmented_convolution import ImageAttention
from minattn.autograd import asnumpy
from minattn.errors import ConfigError, ShapeError
from minattn.testing import check_gradients

SEEDS = st.integers(0, 2**32 - 1)
KINDS = ["none", "sinusoidal", "coordinates", "relative"]
ANY_KIND, WITHOUT_X, RELATIVE = st.sampled_from(KINDS), st.sampled_from(["none", "relative"]), st.just("relative")
CLOSE = {"rtol": 1e-10, "atol": 1e-12}


# ---------------------------------------------------------------------------------------------- what is drawn
def randomized(module, seed, dtype=np.float64):
    rng = np.random.default_rng(seed)
    for parameter in module.parameters():
        parameter.replace_data(rng.normal(size=parameter.shape).astype(dtype))
    return module


@st.composite
def attentions(draw, positions=ANY_KIND):
    """(attention with every weight random, maps for it)."""
    positions = draw(positions)
    heads, size_k, size_v, height, width, batch = (draw(st.integers(1, n)) for n in (3, 3, 3, 4, 4, 2))
    inputs = 4 if positions == "sinusoidal" else draw(st.integers(1, 4))
    seed = draw(SEEDS)
    attention = ImageAttention(
        inputs,
        np.random.default_rng(0),
        d_k=heads * size_k,
        d_v=heads * size_v,
        heads=heads,
        sides=(height, width),
        positions=positions,
    )
    return randomized(attention, seed), np.random.default_rng(seed).normal(size=(batch, inputs, height, width))


def run(module, maps):
    out, weights = module(ma.tensor(maps))
    return out.numpy(), weights.numpy()


# ---------------------------------------------------------------------------------------------- the paper's loops
def by_hand(attention, maps):
    """(c), (a) and (b), one pair of positions at a time."""
    batch, _, height, width = maps.shape
    heads, W_O = attention.heads, attention.W_O.numpy()
    W_q, W_k, W_v = (W.numpy() for W in (attention.W_q, attention.W_k, attention.W_v))
    size_k, size_v = W_q.shape[1] // heads, W_v.shape[1] // heads
    out = np.zeros((batch, W_O.shape[1], height, width))
    weights = np.zeros((batch, heads, height, width, height, width))
    positions = list(np.ndindex(height, width))
    for n in range(batch):
        x = {position: vector_of(attention.positions, maps[n], *position) for position in positions}
        concat = {position: [] for position in positions}
        for h in range(heads):
            of_k, of_v = slice(h * size_k, (h + 1) * size_k), slice(h * size_v, (h + 1) * size_v)
            for iy, ix in positions:
                q = x[iy, ix] @ W_q[:, of_k]
                logits = {}
                for jy, jx in positions:
                    k = x[jy, jx] @ W_k[:, of_k]
                    if attention.positions == "relative":
                        k = k + attention.r_W.numpy()[jx - ix + width - 1] + attention.r_H.numpy()[jy - iy + height - 1]
                    logits[jy, jx] = q @ k / math.sqrt(size_k)  # (c)
                top = max(logits.values())
                total = sum(math.exp(logit - top) for logit in logits.values())
                for (jy, jx), logit in logits.items():
                    weights[n, h, iy, ix, jy, jx] = math.exp(logit - top) / total
                concat[iy, ix].extend(
                    sum(weights[n, h, iy, ix, jy, jx] * (x[jy, jx] @ W_v[:, of_v]) for jy, jx in positions)
                )
        for iy, ix in positions:
            out[n, :, iy, ix] = np.array(concat[iy, ix]) @ W_O  # (b)
    return out, weights


def vector_of(positions, maps, y, x):
    """The vector at a position, with its encoding."""
    channels, height, width = maps.shape
    vector = maps[:, y, x]
    if positions == "sinusoidal":
        half = channels // 2
        return vector + np.concatenate([sinusoidal_positions(y + 1, half)[y], sinusoidal_positions(x + 1, half)[x]])
    if positions == "coordinates":
        at = [-1 + 2 * i / (n - 1) if n > 1 else -1 for i, n in ((y, height), (x, width))]
        return np.concatenate([vector, at])
    return vector


@given(attentions())
def test_the_paper_by_hand(problem):
    attention, maps = problem
    for found, expected in zip(run(attention, maps), by_hand(attention, maps), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


@given(attentions(), SEEDS)
def test_gradients_through_the_maps_and_the_weights(problem, seed):
    attention, maps = problem
    check_gradients(attention, maps, seed=seed)


@given(st.integers(1, 4), st.integers(0, 3), st.integers(1, 3), st.integers(1, 2), SEEDS)
def test_gradients_of_the_augmented_convolution(inputs, d_v, stride, kernel, seed):
    layer = AugmentedConvolution(
        inputs, 3, 2 * kernel - 1, np.random.default_rng(0), d_k=2, d_v=d_v, heads=1, sides=(1, 2), stride=stride
    )
    side = (stride, 2 * stride)
    maps = np.random.default_rng(seed).normal(size=(2, inputs, *side))
    check_gradients(lambda x: layer(x)[0], maps, seed=seed)


# ---------------------------------------------------------------------------------------------- relative logits
@given(st.integers(1, 6), SEEDS)
def test_by_distance_becomes_by_position(length, seed):
    """y[i, j] = x[i, j - i + L - 1], whatever axes come first."""
    by_distance = np.random.default_rng(seed).normal(size=(2, 3, length, 2 * length - 1))
    by_position = relative_to_absolute(ma.tensor(by_distance)).numpy()
    for i, j in np.ndindex(length, length):
        np.testing.assert_array_equal(by_position[..., i, j], by_distance[..., i, j - i + length - 1])


@pytest.mark.parametrize("shape", [(3, 4), (3, 6), (0, 1), (2, 0)])
def test_distances_that_do_not_fit_are_refused(shape):
    with pytest.raises(ShapeError, match="hint: embeddings of"):
        relative_to_absolute(ma.tensor(np.zeros(shape)))


@given(st.integers(1, 4), st.integers(1, 4), SEEDS)
def test_relative_logits_are_those_of_the_table_of_all_pairs(height, width, seed):
    """S[i, j] = q_i (r^H_{jy - iy} + r^W_{jx - ix}) with one embedding for every pair of positions."""
    rng = np.random.default_rng(seed)
    q = rng.normal(size=(2, 2, height, width, 3))
    r_H, r_W = (rng.normal(size=(2 * n - 1, 3)) for n in (height, width))
    found = relative_logits(*map(ma.tensor, (q, r_H, r_W))).numpy()
    y, x = (grid.ravel() for grid in np.indices((height, width)))
    pairs = r_H[y - y[:, None] + height - 1] + r_W[x - x[:, None] + width - 1]  # (positions, positions, d)
    expected = np.einsum("nhid,ijd->nhij", q.reshape(2, 2, -1, 3), pairs)
    np.testing.assert_allclose(found, expected, **CLOSE)


@given(st.integers(2, 4), st.integers(2, 4), SEEDS)
def test_equal_queries_see_distances_alone(height, width, seed):
    """The logits of two pairs of positions are equal where the pairs are as far apart, in the same direction."""
    rng = np.random.default_rng(seed)
    q = np.broadcast_to(rng.normal(size=3), (1, 1, height, width, 3))
    tables = (ma.tensor(rng.normal(size=(2 * n - 1, 3))) for n in (height, width))
    logits = relative_logits(ma.tensor(q), *tables).numpy().reshape(height, width, height, width)
    np.testing.assert_allclose(logits[1:, 1:, 1:, 1:], logits[:-1, :-1, :-1, :-1], **CLOSE)


@given(attentions(RELATIVE))
def test_rows_and_columns_change_places_with_their_tables(problem):
    attention, maps = problem
    out, weights = run(attention, maps)
    attention.sides = attention.sides[::-1]
    attention.r_H, attention.r_W = attention.r_W, attention.r_H
    turned, of_turned = run(attention, maps.swapaxes(2, 3))
    np.testing.assert_allclose(turned, out.swapaxes(2, 3), **CLOSE)
    np.testing.assert_allclose(of_turned, weights.transpose(0, 1, 3, 2, 5, 4), **CLOSE)


# ---------------------------------------------------------------------------------------------- identities
@given(attentions())
def test_without_keys_and_embeddings_every_position_gets_the_mean(problem):
    attention, maps = problem
    for parameter in (attention.W_k, attention.r_H, attention.r_W):
        if parameter is not None:
            parameter.replace_data(np.zeros_like(parameter.numpy()))
    out, weights = run(attention, maps)
    np.testing.assert_allclose(weights, 1 / (maps.shape[2] * maps.shape[3]), **CLOSE)
    np.testing.assert_allclose(out, np.broadcast_to(out[:, :, :1, :1], out.shape), **CLOSE)


@given(attentions(RELATIVE), SEEDS)
def test_with_zero_embeddings_the_positions_may_change_their_order(problem, seed):
    attention, maps = problem
    for table in (attention.r_H, attention.r_W):
        table.replace_data(np.zeros_like(table.numpy()))
    batch, channels, height, width = maps.shape
    order = np.random.default_rng(seed).permutation(height * width)
    shuffled = maps.reshape(batch, channels, -1)[..., order].reshape(maps.shape)
    out, _ = run(attention, maps)
    expected = out.reshape(batch, -1, height * width)[..., order].reshape(out.shape)
    np.testing.assert_allclose(run(attention, shuffled)[0], expected, **CLOSE)


@given(attentions(WITHOUT_X), st.floats(0.25, 4))
def test_a_factor_may_move_from_keys_to_queries_but_for_the_embeddings(problem, c):
    """(c q) (k / c) = q k; the relative term, which has no k, grows with c."""
    attention, maps = problem
    out, _ = run(attention, maps)
    attention.W_q.replace_data(attention.W_q.numpy() * c)
    attention.W_k.replace_data(attention.W_k.numpy() / c)
    for table in (attention.r_H, attention.r_W):
        if table is not None:
            table.replace_data(table.numpy() / c)
    np.testing.assert_allclose(run(attention, maps)[0], out, rtol=1e-8, atol=1e-10)


@given(attentions())
def test_weights_are_shares(problem):
    attention, maps = problem
    _, weights = run(attention, maps)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=(-1, -2)), 1, **CLOSE)
    out, nothing = attention(ma.tensor(maps), need_weights=False)
    assert nothing is None
    np.testing.assert_allclose(out.numpy(), run(attention, maps)[0], **CLOSE)


# ---------------------------------------------------------------------------------------------- with a convolution
def layer(d_v, stride=1, sides=(3, 4), kernel=3, seed=0):
    made = AugmentedConvolution(
        3, 6, kernel, np.random.default_rng(0), d_k=4, d_v=d_v, heads=2, sides=sides, stride=stride
    )
    return randomized(made, seed)


@given(st.integers(0, 3), st.integers(1, 3), st.integers(0, 2), *[st.integers(1, 5)] * 2, SEEDS)
def test_maps_of_the_convolution_come_first_and_then_those_of_attention(values, stride, half, height, width, seed):
    """Of 6; with d_v = 0 there is the convolution alone, with d_v = 6 attention alone."""
    d_v, sides = 2 * values, (-(-height // stride), -(-width // stride))
    augmented = layer(d_v, stride=stride, sides=sides, kernel=2 * half + 1, seed=seed)
    maps = np.random.default_rng(seed).normal(size=(2, 3, height, width))
    out, weights = augmented(ma.tensor(maps))
    assert out.shape == (2, 6, *sides)
    assert (augmented.conv is None, augmented.attention is None) == (d_v == 6, d_v == 0)
    if d_v < 6:
        np.testing.assert_array_equal(out.numpy()[:, : 6 - d_v], augmented.conv(ma.tensor(maps)).numpy())
    if d_v == 0:
        assert weights is None
    else:
        attended, of_attention = run(augmented.attention, maps if stride == 1 else average_pooled(maps, stride))
        np.testing.assert_allclose(out.numpy()[:, 6 - d_v :], attended, **CLOSE)
        np.testing.assert_allclose(weights.numpy(), of_attention, **CLOSE)


def average_pooled(maps, stride):
    """The mean of 3x3 pixels around every stride-th one, of those that there are."""
    height, width = maps.shape[2:]
    rows = [slice(max(0, y - 1), y + 2) for y in range(0, height, stride)]
    columns = [slice(max(0, x - 1), x + 2) for x in range(0, width, stride)]
    return np.stack([np.stack([maps[:, :, y, x].mean(axis=(2, 3)) for x in columns], axis=2) for y in rows], axis=2)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 5), st.integers(1, 4), st.integers(0, 2))
def test_the_change_of_the_number_of_parameters(inputs, outputs, d_v, d_k, half):
    """F_in (2 d_k + d_v) + d_v^2 - k^2 F_in d_v, and the embeddings."""
    d_v, kernel = min(d_v, outputs), 2 * half + 1
    made = AugmentedConvolution(
        inputs, outputs, kernel, np.random.default_rng(0), d_k=d_k, d_v=d_v, heads=1, sides=(3, 4)
    )
    change = inputs * (2 * d_k + d_v) + d_v**2 - kernel**2 * inputs * d_v + (5 + 7) * d_k if d_v else 0
    assert made.count_parameters() == kernel**2 * inputs * outputs + change


def test_the_published_change_of_the_number_of_parameters():
    """F_in F_out (2 kappa + (1 - k^2) upsilon + upsilon^2 F_out / F_in): with kappa = 2 upsilon = 0.2, -0.39 F^2."""
    for f_in, f_out, kappa, upsilon, expected in ((100, 100, 0.2, 0.1, -0.39), (100, 200, 0.5, 0.5, -2.5)):
        d_k, d_v = round(kappa * f_out), round(upsilon * f_out)
        made = AugmentedConvolution(
            f_in, f_out, 3, np.random.default_rng(0), d_k=d_k, d_v=d_v, heads=1, positions="none"
        )
        delta = 2 * kappa + (1 - 9) * upsilon + f_out / f_in * upsilon**2
        assert delta == pytest.approx(expected)
        assert made.count_parameters() - 9 * f_in * f_out == pytest.approx(delta * f_in * f_out)


@given(attentions(st.just("none")))
def test_without_positions_it_is_multi_head_attention_over_the_positions(problem):
    attention, maps = problem
    inputs, heads = maps.shape[1], attention.heads
    d_k, d_v = (W.shape[1] // heads for W in (attention.W_k, attention.W_v))
    same = MultiHeadAttention(inputs, heads, np.random.default_rng(0), d_k, d_v)
    for name, W in (("Q", attention.W_q), ("K", attention.W_k), ("V", attention.W_v)):
        getattr(same, f"W_{name}").replace_data(W.numpy())
    same.W_O = attention.W_O
    sequence = maps.reshape(*maps.shape[:2], -1).swapaxes(1, 2)
    queries = same.queries(ma.tensor(sequence))
    context, weights = same.attend(queries, same.keys_values(ma.tensor(sequence)))
    out, found = run(attention, maps)
    np.testing.assert_allclose(found.reshape(weights.shape), weights.numpy(), **CLOSE)
    np.testing.assert_allclose(out.reshape(len(out), out.shape[1], -1), context.numpy().swapaxes(1, 2), **CLOSE)


@pytest.mark.parametrize("positions", KINDS)
def test_whole_numbers_are_as_their_floats(positions):
    attention = ImageAttention(4, np.random.default_rng(0), d_k=2, d_v=2, heads=1, sides=(2, 3), positions=positions)
    maps = np.random.default_rng(1).integers(0, 9, (1, 4, 2, 3))
    expected = attention(ma.tensor(maps.astype(np.float32)))[0].numpy()
    found = inspect.unwrap(ImageAttention.forward)(attention, ma.tensor(maps))[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_embeddings_start_with_the_size_of_a_heads_key():
    attention = ImageAttention(4, np.random.default_rng(0), d_k=128, d_v=4, heads=2, sides=(40, 50))
    for table, length in ((attention.r_H, 79), (attention.r_W, 99)):
        assert table.shape == (length, 64)
        assert table.numpy().std() == pytest.approx(1 / 8, rel=0.05)


# ---------------------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"d_k": 3}, "got 2 heads for d_k = 3 and d_v = 4.*hint: multiples of 2"),
        ({"d_v": 5}, "got 2 heads for d_k = 4 and d_v = 5.*hint: multiples of 2"),
        ({"kernel": 2}, "keeps the size of its input, got a kernel of 2; hint: 3"),
        ({"outputs": 0, "d_v": 0}, "0 to 0 of 0 feature maps"),
        ({"d_v": 8}, "0 to 6 of 6 feature maps, got d_v = 8"),
        ({"heads": 0}, "got 0 heads.*hint: multiples of 1"),
        ({"positions": "sinusoidal"}, "got 3 channels; hint: a multiple of 4"),
        ({"sides": None}, "need the height and width of the feature maps, got None"),
        ({"sides": (0, 3)}, r"need the height and width of the feature maps, got \(0, 3\)"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    settings = {"outputs": 6, "kernel": 3, "d_k": 4, "d_v": 4, "heads": 2, "sides": (3, 4), **settings}
    with pytest.raises(ConfigError, match=message):
        AugmentedConvolution(3, rng=np.random.default_rng(0), **settings)


@pytest.mark.parametrize("sides", [5, (5,), (3, 4, 5)])
def test_sides_are_a_height_and_a_width(sides):
    initialize = inspect.unwrap(ImageAttention.__init__)
    with pytest.raises(ConfigError, match="need the height and width of the feature maps, got"):
        initialize(object.__new__(ImageAttention), 3, np.random.default_rng(0), d_k=2, d_v=2, heads=1, sides=sides)


@pytest.mark.parametrize("d_v", [0, 4])
def test_positions_that_do_not_exist_are_refused(d_v):
    initialize = inspect.unwrap(AugmentedConvolution.__init__)
    with pytest.raises(ConfigError, match="'absolute' do not exist; hint: one of none, sinusoidal"):
        initialize(object.__new__(AugmentedConvolution), 3, 6, 3, None, d_k=4, d_v=d_v, heads=2, positions="absolute")


def test_maps_of_another_size_are_refused_where_positions_are_relative():
    with pytest.raises(ShapeError, match=r"got feature maps of 4 x 3, expected 3 x 4.*hint: images of that size"):
        layer(4)(ma.tensor(np.zeros((1, 3, 4, 3))))


@pytest.mark.parametrize("positions", KINDS[:3])
def test_other_positions_take_maps_of_any_size_but_none(positions):
    attention = ImageAttention(4, np.random.default_rng(0), d_k=2, d_v=2, heads=1, positions=positions)
    for shape in ((2, 4, 1, 1), (1, 4, 5, 2), (0, 4, 3, 3)):
        assert attention(ma.tensor(np.zeros(shape, np.float32)))[0].shape == (shape[0], 2, *shape[2:])
    with pytest.raises(ShapeError, match="feature maps without a position"):
        attention(ma.tensor(np.zeros((1, 4, 0, 3), np.float32)))


# ---------------------------------------------------------------------------------------------- devices
@pytest.mark.parametrize("positions", KINDS)
@pytest.mark.parametrize("scrambled", [False, True], ids=["rows", "scrambled memory"])
def test_the_same_numbers_everywhere_and_no_waiting(backend, positions, scrambled):
    maps = np.random.default_rng(0).normal(size=(2, 4, 6, 8)).astype(np.float32)

    def results(make, device):
        made = AugmentedConvolution(
            4, 6, 3, np.random.default_rng(0), d_k=4, d_v=4, heads=2, sides=(3, 4), positions=positions, stride=2
        )
        made = randomized(made, 0, np.float32).to(device)
        x = make(maps, requires_grad=True)
        out, weights = made(x)
        ((out * out).sum() + (weights * weights).sum()).backward()
        return [out.data, weights.data, x.grad, *(p.grad for p in made.parameters())]

    expected = results(ma.tensor, "cpu")
    with fakecupy.scrambled_layouts() if scrambled else contextlib.nullcontext(), fakecupy.no_sync():
        there = results(backend.tensor, backend.device)
    for result, value in zip(there, expected, strict=True):
        assert result.dtype == np.float32
        np.testing.assert_allclose(asnumpy(result), value, rtol=1e-3, atol=1e-4)
