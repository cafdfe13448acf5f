"""Rotary positions against loops, and the identities of Su et al. 2021."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.self_attention import MultiHeadAttention, RotaryPositions, rotary_angles, rotate
from minattn.errors import ConfigError, ShapeError
from minattn.testing import check_gradients, strategies


def by_loops(x, positions, base, size, interleaved):
    """Every pair of features turned on its own, by the angle of its position."""
    y, half = x.astype(np.float64), size // 2
    for place in np.ndindex(x.shape[:-1]):
        m = np.broadcast_to(positions, x.shape[:-1])[place]
        for i in range(half):
            first, second = (2 * i, 2 * i + 1) if interleaved else (i, i + half)
            angle = m * base ** (-2 * i / size)
            a, b = float(x[place][first]), float(x[place][second])
            y[(*place, first)] = a * math.cos(angle) - b * math.sin(angle)
            y[(*place, second)] = a * math.sin(angle) + b * math.cos(angle)
    return y


@given(st.data(), st.booleans(), st.sampled_from([10000.0, 50.0]), st.integers(0, 3), st.integers(0, 5))
def test_values_and_gradients_are_those_of_the_loops(data, interleaved, base, half, start):
    lead = data.draw(strategies.shapes(min_dims=1, max_dims=3, max_side=3))
    x = data.draw(strategies.arrays((*lead, 2 * half + data.draw(st.integers(0, 2)))))
    layer = RotaryPositions(base, interleaved, 2 * half)
    y = layer(ma.tensor(x), start)
    assert y.dtype == x.dtype
    expected = by_loops(x, start + np.arange(lead[-1]), base, 2 * half, interleaved)
    np.testing.assert_allclose(y.data, expected, rtol=1e-5, atol=1e-5 if x.dtype == np.float32 else 1e-12)
    check_gradients(lambda x: layer(x, start), x, method="complex")


def test_positions_of_their_own_for_each_sequence():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 6))  # (batch, heads, n, d)
    positions = np.array([[0, 1, 2, 3], [5, 5, 0, 9]])
    y = RotaryPositions()(ma.tensor(x), positions=positions[:, None])
    np.testing.assert_allclose(y.data, by_loops(x, positions[:, None], 10000.0, 6, True), rtol=1e-12)
    same = RotaryPositions()(ma.tensor(x), positions=ma.tensor(np.arange(3, 7)))
    np.testing.assert_array_equal(same.data, RotaryPositions()(ma.tensor(x), start=3).data)


# ---------------------------------------------------------------------------------------------- identities
@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 1000), st.booleans())
def test_products_depend_on_the_distance_alone(m, n, shift, interleaved):
    q, k = (ma.tensor(x) for x in np.random.default_rng(m + 51 * n).normal(size=(2, 1, 8)))
    layer = RotaryPositions(interleaved=interleaved)

    def product(m, n):
        return (layer(q, m) * layer(k, n)).sum().item()

    assert product(m, n) == pytest.approx(product(m + shift, n + shift), rel=1e-9, abs=1e-9)


def test_lengths_do_not_change_and_position_0_changes_nothing():
    x = np.random.default_rng(0).normal(size=(2, 7, 6))
    y = RotaryPositions()(ma.tensor(x)).data
    np.testing.assert_allclose(np.linalg.norm(y, axis=-1), np.linalg.norm(x, axis=-1), rtol=1e-12)
    np.testing.assert_array_equal(y[:, 0], x[:, 0])


def test_halves_are_the_neighbors_in_another_order():
    x = np.random.default_rng(0).normal(size=(3, 8))
    order = np.array([0, 2, 4, 6, 1, 3, 5, 7])
    neighbors, halves = RotaryPositions(), RotaryPositions(interleaved=False)
    np.testing.assert_allclose(halves(ma.tensor(x[:, order])).data, neighbors(ma.tensor(x)).data[:, order], rtol=1e-12)


def test_angles_of_far_positions_are_exact():
    """In float32, m theta_i has lost its digits where m is large."""
    angles = rotary_angles([1_000_003], 4)
    np.testing.assert_array_equal(angles, [[1_000_003, 1_000_003 / 100]])
    y = RotaryPositions()(ma.tensor(np.array([[1.0, 0.0]], np.float32)), start=1_000_003)
    np.testing.assert_allclose(y.data, [[math.cos(1_000_003), math.sin(1_000_003)]], rtol=1e-6)


# ---------------------------------------------------------------------------------------------- in multi-head attention
@pytest.mark.parametrize("kv_heads", [None, 2, 1])
def test_multi_head_attention_does_not_see_where_a_text_starts(kv_heads):
    """Nothing changes where all positions are shifted alike, and something where those of the queries alone are."""
    rng = np.random.default_rng(0)
    layer = MultiHeadAttention(8, 4, rng, kv_heads=kv_heads, rotary=RotaryPositions())
    x = ma.tensor(rng.normal(size=(2, 6, 8)))
    context, _ = layer(x, causal=True)
    shifted, _ = layer.attend(layer.queries(x, 100), layer.keys_values(x, start=100), causal=True)
    np.testing.assert_allclose(shifted.data, context.data, rtol=1e-5, atol=1e-6)
    moved, _ = layer.attend(layer.queries(x, 3), layer.keys_values(x), causal=True)
    assert np.abs(moved.data - context.data).max() > 1e-3


@pytest.mark.parametrize("kv_heads", [None, 2, 1])
def test_decoding_step_by_step_gives_the_whole(kv_heads):
    rng = np.random.default_rng(0)
    layer = MultiHeadAttention(8, 4, rng, kv_heads=kv_heads, rotary=RotaryPositions())
    x = ma.tensor(rng.normal(size=(2, 6, 8)))
    whole, _, _ = layer.self_attend(x, causal=True)
    past, steps = None, []
    for t in range(6):
        step, _, past = layer.self_attend(x[:, t : t + 1], past, causal=True)
        steps.append(step)
    assert past.keys.shape == (2, kv_heads or 4, 6, 2)
    np.testing.assert_allclose(ma.concat(steps, 1).data, whole.data, rtol=1e-6, atol=1e-9)
    last, _ = layer(x[:, 4:], x, causal=True)  # the queries are the last of the positions
    np.testing.assert_allclose(last.data, whole.data[:, 4:], rtol=1e-6, atol=1e-9)


# ---------------------------------------------------------------------------------------------- refusals
def test_what_is_refused():
    x = ma.tensor(np.ones((2, 3, 5)))
    with pytest.raises(ConfigError, match=r"features are turned in pairs, so their number must be even, got 5"):
        RotaryPositions()(x)
    with pytest.raises(ConfigError, match=r"the base of the angles must be positive, got 0.0; hint"):
        RotaryPositions(base=0.0)
    with pytest.raises(ShapeError, match=r"rotate: x of shape \(2, 3, 5\) cannot be turned by tables .* hint"):
        RotaryPositions(size=6)(x)
    with pytest.raises(ShapeError, match=r"cannot be turned by tables of shapes \(4, 2\) and \(4, 2\)"):
        RotaryPositions(size=4)(x, positions=np.arange(4))
    with pytest.raises(ShapeError, match=r"cannot be turned by tables of shapes \(3, 2\) and \(3, 1\)"):
        rotate(x, np.ones((3, 2)), np.ones((3, 1)))
