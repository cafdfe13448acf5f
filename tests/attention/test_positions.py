"""Positions against section 3.5 in loops, the identities of sines and cosines, and what is refused."""

import contextlib
import math

import fakecupy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.self_attention import LearnedPositions, SinusoidalPositions, sinusoidal_positions
from minattn.autograd import asnumpy, device_of
from minattn.errors import ConfigError, ShapeError
from minattn.testing import check_gradients, strategies

LENGTHS, HALVES = st.integers(0, 40), st.integers(1, 8)


def frequencies(d):
    return np.array([1 / 10000 ** (2 * i / d) for i in range(d // 2)])


# ---------------------------------------------------------------------------------------------- sines and cosines
@given(LENGTHS, HALVES)
def test_the_table_is_that_of_section_3_5(length, half):
    d = 2 * half
    table = sinusoidal_positions(length, d)
    assert table.shape == (length, d)
    assert table.dtype == np.float64
    for pos in range(length):
        for i in range(half):
            angle = pos / math.pow(10000, 2 * i / d)
            assert table[pos, 2 * i] == pytest.approx(math.sin(angle), rel=1e-12, abs=1e-12)
            assert table[pos, 2 * i + 1] == pytest.approx(math.cos(angle), rel=1e-12, abs=1e-12)


def test_the_table_has_these_numbers():
    """By hand for d = 4, whose frequencies are 1 and 1/100."""
    expected = [
        [0, 1, 0, 1],
        [0.8414709848078965, 0.5403023058681398, 0.009999833334166664, 0.9999500004166653],
        [0.9092974268256817, -0.4161468365471424, 0.01999866669333308, 0.9998000066665778],
    ]
    np.testing.assert_allclose(sinusoidal_positions(3, 4), expected, rtol=1e-14)


@given(st.integers(1, 60), HALVES)
def test_products_depend_on_the_offset_alone(length, half):
    d = 2 * half
    table, w = sinusoidal_positions(length, d), frequencies(2 * half)
    products, places = table @ table.T, np.arange(length)
    offsets = places[:, None] - places
    np.testing.assert_allclose(products, np.cos(offsets[..., None] * w).sum(-1), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(np.diag(products), d / 2, rtol=1e-12)


@given(st.integers(0, 30), st.integers(0, 30), HALVES)
def test_a_step_is_a_rotation_whatever_the_position(p, k, half):
    d = 2 * half
    table, rotation = sinusoidal_positions(p + k + 1, d), np.zeros((2 * half, 2 * half))
    for i, w in enumerate(frequencies(d)):
        s, c = math.sin(w * k), math.cos(w * k)
        rotation[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [[c, s], [-s, c]]
    np.testing.assert_allclose(rotation @ table[p], table[p + k], rtol=1e-9, atol=1e-9)


# ---------------------------------------------------------------------------------------------- the layers
@given(st.integers(0, 2), st.integers(0, 9), HALVES, st.integers(0, 70), st.sampled_from(strategies.DTYPES))
def test_sinusoids_are_added_from_the_start_that_is_given(batch, n, half, start, dtype):
    x = np.random.default_rng(n).normal(size=(batch, n, 2 * half)).astype(dtype)
    y = SinusoidalPositions()(ma.tensor(x), start=start)
    assert y.dtype == dtype
    assert y.shape == x.shape
    table = sinusoidal_positions(start + n, 2 * half)[start:]
    np.testing.assert_allclose(y.data, x + table, rtol=1e-6 if dtype == np.float32 else 1e-12, atol=1e-6)


@pytest.mark.parametrize("kind", ["sinusoidal", "learned"])
def test_parts_get_the_positions_of_the_whole(kind):
    """Decoding adds one position after the other."""
    positions = SinusoidalPositions() if kind == "sinusoidal" else LearnedPositions(9, 4, np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(2, 9, 4)).astype(np.float32)
    whole = positions(ma.tensor(x)).data
    one_by_one = [positions(ma.tensor(x[:, t : t + 1]), start=t).data for t in range(9)]
    np.testing.assert_array_equal(np.concatenate(one_by_one, 1), whole)
    np.testing.assert_array_equal(positions(ma.tensor(x[:, 3:8]), start=3).data, whole[:, 3:8])


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 3), st.sampled_from(strategies.DTYPES))
def test_learned_positions_are_rows_of_their_matrix(n, d, start, dtype):
    positions = LearnedPositions(8, d, np.random.default_rng(0))
    positions.weight.replace_data(np.random.default_rng(1).normal(size=(8, d)).astype(dtype))
    x = np.random.default_rng(2).normal(size=(2, n, d)).astype(dtype)
    y = positions(ma.tensor(x), start=start)
    assert y.dtype == dtype
    for t in range(n):
        np.testing.assert_array_equal(y.data[:, t], x[:, t] + positions.weight.data[start + t])
    check_gradients(lambda x: positions(x, start=start), x, method="complex")


def test_learned_positions_are_drawn_with_the_deviation_asked_for():
    for std in (0.02, 0.5):
        weight = LearnedPositions(300, 50, np.random.default_rng(0), std).weight.data
        assert weight.dtype == np.float32
        assert weight.std() == pytest.approx(std, rel=0.05)
        assert abs(weight.mean()) < 0.05 * std
    assert list(LearnedPositions(3, 2, np.random.default_rng(0)).named_parameters().keys()) == ["weight"]
    assert LearnedPositions(300, 50, np.random.default_rng(0)).weight.data.std() == pytest.approx(0.02, rel=0.05)


@given(strategies.arrays(st.tuples(st.integers(1, 2), st.integers(1, 3), st.sampled_from([2, 4]))))
def test_gradients_pass_through_the_sinusoids(x):
    check_gradients(SinusoidalPositions(), x, method="complex")


def test_sinusoids_have_no_parameters_and_one_call_does_not_touch_the_next():
    positions, x = SinusoidalPositions(), np.zeros((1, 5, 4), np.float32)
    assert positions.named_parameters() == {}
    first = positions(ma.tensor(x))
    kept = first.data.copy()
    first.data[...] = 7
    np.testing.assert_array_equal(positions(ma.tensor(x)).data, kept)
    np.testing.assert_array_equal(positions(ma.tensor(x.astype(np.float64))).data, [sinusoidal_positions(5, 4)])


# ---------------------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize("d", [1, 3, 511])
def test_an_odd_size_is_refused(d):
    with pytest.raises(ConfigError, match=f"d must be even, got {d}"):
        sinusoidal_positions(4, d)
    with pytest.raises(ConfigError, match=f"d must be even, got {d}"):
        SinusoidalPositions()(ma.tensor(np.zeros((1, 4, d), np.float32)))


@pytest.mark.parametrize(("n", "start"), [(6, 0), (1, 5), (3, 3), (100, 0)])
def test_more_positions_than_were_learned_are_refused_with_both_numbers(n, start):
    positions = LearnedPositions(5, 2, np.random.default_rng(0))
    with pytest.raises(ShapeError, match=f"{n + start} positions are needed, and 5 were learned; hint"):
        positions(ma.tensor(np.zeros((1, n, 2), np.float32)), start=start)
    assert positions(ma.tensor(np.zeros((1, 5, 2), np.float32))).shape == (1, 5, 2)


# ---------------------------------------------------------------------------------------------- devices
@pytest.mark.parametrize("kind", ["sinusoidal", "learned"])
def test_positions_are_where_the_numbers_are(backend, kind):
    rng = np.random.default_rng(0)
    positions = SinusoidalPositions() if kind == "sinusoidal" else LearnedPositions(9, 4, rng)
    x = rng.normal(size=(2, 5, 4)).astype(np.float32)
    expected = positions(ma.tensor(x), start=2).data
    if kind == "learned":
        positions.weight.replace_data(backend.array(positions.weight.data))
    tensor = backend.tensor(x, requires_grad=True)
    positions(tensor, start=2)  # the table is made and sent
    with fakecupy.no_sync() if backend.name == "fake" else contextlib.nullcontext():
        y = positions(tensor, start=2)
        y.sum().backward()
    assert device_of(y.data) == device_of(tensor.data)
    assert y.dtype == np.float32
    np.testing.assert_allclose(asnumpy(y.data), expected, rtol=1e-6)
    np.testing.assert_array_equal(asnumpy(tensor.grad), np.ones((2, 5, 4)))


@pytest.mark.parametrize("positions", [SinusoidalPositions(), LearnedPositions(5, 4, np.random.default_rng(0))])
def test_a_start_before_the_first_position_is_refused(positions):
    with pytest.raises(ConfigError, match="positions are counted from 0, and x starts at -1"):
        positions(ma.tensor(np.zeros((1, 1, 4), np.float32)), start=-1)
