"""Residual attention against the paper's loops, the complex step, and what the two ways of learning must have."""

import contextlib
import inspect
import math

import fakecupy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.spatial import ResidualAttention, SoftMask, masked
from minattn.attention.spatial.residual_attention import ACTIVATIONS, channel, mixed, spatial, upsampled
from minattn.autograd import asnumpy, ops
from minattn.errors import ConfigError, ShapeError
from minattn.nn import Conv2d, Module, Parameter
from minattn.testing import check_gradients, strategies

SEEDS = st.integers(0, 2**32 - 1)
NAMES = st.sampled_from(list(ACTIVATIONS))


# ---------------------------------------------------------------------------------------------- what is drawn
class Same(Module):
    """A unit that changes nothing."""

    def forward(self, x):
        return x


def randomized(module, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    for inner in module.named_modules().values():
        for name, old in vars(inner).items():
            if isinstance(old, Parameter):
                setattr(inner, name, Parameter(rng.normal(size=old.shape).astype(dtype)))
    return module


def random_mask(channels, depth, seed=0, activation="mixed", norm=True, dtype=np.float64):
    """A mask whose units are 1x1 convolutions, in training."""
    rng = np.random.default_rng(seed)
    mask = SoftMask(channels, depth, lambda: Conv2d(channels, channels, 1, rng), rng, activation, norm)
    return randomized(mask, seed, dtype)


def maps(seed=0, shape=(2, 2, 6, 7), dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


# ---------------------------------------------------------------------------------------------- the paper's loops
def pooled(x):
    """The largest of each 3x3 window with stride 2, of what there is of it at the border."""
    batch, channels, height, width = x.shape
    rows, columns = (-(-(n - 3) // 2) + 1 for n in (height, width))
    y = np.empty((batch, channels, rows, columns))
    for n, c, i, j in np.ndindex(y.shape):
        y[n, c, i, j] = max(
            x[n, c, k, m] for k in range(2 * i, min(2 * i + 3, height)) for m in range(2 * j, min(2 * j + 3, width))
        )
    return y


def enlarged(x, size):
    """Bilinear: the first place shows the first one, the last the last, and those between lie at equal steps."""
    y = np.empty((*x.shape[:2], *size))
    for i in range(size[0]):
        for j in range(size[1]):
            u, v = (
                place * (n - 1) / (m - 1) if m > 1 else 0.0
                for place, n, m in zip((i, j), x.shape[2:], size, strict=True)
            )
            a, b = math.floor(u + 1e-12), math.floor(v + 1e-12)
            p, q = max(u - a, 0.0), max(v - b, 0.0)
            c, d = min(a + 1, x.shape[2] - 1), min(b + 1, x.shape[3] - 1)
            above = (1 - q) * x[:, :, a, b] + q * x[:, :, a, d]
            below = (1 - q) * x[:, :, c, b] + q * x[:, :, c, d]
            y[:, :, i, j] = (1 - p) * above + p * below
    return y


def convolved(layer, x):
    """A 1x1 convolution, place by place."""
    y = np.zeros(x.shape)
    for n, o, i, j in np.ndindex(y.shape):
        y[n, o, i, j] = sum(layer.weight.data[o, c, 0, 0] * x[n, c, i, j] for c in range(x.shape[1]))
        y[n, o, i, j] += 0.0 if layer.bias is None else layer.bias.data[o]
    return y


def activated(norm, x):
    """ReLU of the batch's normalization, channel by channel."""
    y = np.empty(x.shape)
    for c in range(x.shape[1]):
        numbers = x[:, c]
        scale = norm.weight.data[c] / math.sqrt(numbers.var() + 1e-5)
        y[:, c] = np.maximum((numbers - numbers.mean()) * scale + norm.bias.data[c], 0)
    return y


def level_by_hand(level, x):
    z = convolved(level.down, pooled(x))
    if level.inner is None:
        return convolved(level.up, z)
    return convolved(level.up, enlarged(level_by_hand(level.inner, z), z.shape[2:]) + convolved(level.skip, z))


def activation_by_hand(name, x):
    y = np.empty(x.shape)
    for n, c, i, j in np.ndindex(x.shape):
        if name == "channel":
            y[n, c, i, j] = x[n, c, i, j] / max(math.sqrt(sum(float(v) ** 2 for v in x[n, :, i, j])), 1e-6)
            continue
        score = x[n, c, i, j]
        if name == "spatial":
            places = [float(v) for v in x[n, c].ravel()]
            mean = sum(places) / len(places)
            score = (score - mean) / math.sqrt(sum((v - mean) ** 2 for v in places) / len(places) + 1e-5)
        y[n, c, i, j] = 1 / (1 + math.exp(-score))
    return y


def mask_by_hand(mask, x):
    y = enlarged(level_by_hand(mask.level, x), x.shape[2:])
    y = y if mask.norm is None else activated(mask.norm, y)
    y = convolved(mask.conv2, activated(mask.conv1.norm, convolved(mask.conv1.conv, y)))
    return activation_by_hand(mask.activation, y)


@pytest.mark.parametrize(("depth", "shape"), [(1, (2, 2, 3, 5)), (2, (2, 2, 6, 7)), (3, (1, 2, 12, 13))])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_a_mask_is_the_papers_loops(depth, shape, norm, activation):
    mask = random_mask(2, depth, depth, activation, norm)
    x = maps(depth, shape)
    np.testing.assert_allclose(mask(ma.tensor(x)).data, mask_by_hand(mask, x), rtol=1e-7, atol=1e-9)


@given(strategies.arrays((2, 3, 2, 3)), NAMES)
def test_activations_are_the_papers_loops(x, name):
    found = ACTIVATIONS[name](ma.tensor(x))
    assert found.dtype == x.dtype
    np.testing.assert_allclose(found.data, activation_by_hand(name, x), rtol=2e-4, atol=1e-5)


@given(strategies.arrays((2, 3, 2, 3), np.float64), strategies.arrays((2, 3, 2, 3), np.float64))
def test_learning_is_the_papers_loops(t, m):
    for residual in (True, False):
        h, weights = masked(ma.tensor(t), ma.tensor(m), residual)
        expected = np.empty(t.shape)
        for place in np.ndindex(t.shape):
            expected[place] = ((1 + m[place]) if residual else m[place]) * t[place]
        np.testing.assert_allclose(h.data, expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(weights.data, m)


def test_both_branches_see_the_same_maps():
    trunk, mask, x = randomized(Conv2d(2, 2, 1, np.random.default_rng(0)), 8), random_mask(2, 2, 3), maps(3)
    for residual in (True, False):
        h, m = ResidualAttention(trunk, mask, residual)(ma.tensor(x))
        expected = mask_by_hand(mask, x)
        np.testing.assert_allclose(m.data, expected, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(h.data, (expected + residual) * convolved(trunk, x), rtol=1e-7, atol=1e-9)


# ---------------------------------------------------------------------------------------------- gradients
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("residual", [True, False])
def test_gradients_of_the_maps_and_of_every_parameter(activation, residual):
    """In evaluation: what the normalization of a batch does to gradients is tested where it is."""
    trunk = randomized(Conv2d(2, 2, 1, np.random.default_rng(0)), 8)
    module = ResidualAttention(trunk, random_mask(2, 2, 5, activation), residual).eval()
    for norm in (module.mask.norm, module.mask.conv1.norm):
        norm.running_mean.replace_data(np.zeros(2))
        norm.running_variance.replace_data(np.ones(2))
    check_gradients(lambda x: module(x), maps(5, (1, 2, 6, 6)), parameters=module.named_parameters(), method="complex")


@given(NAMES, SEEDS, st.booleans())
def test_the_mask_filters_the_update_of_the_trunk(name, seed, residual):
    """dH / dT is M, or 1 + M; and dH / dM is T, so that a negative number of the trunk pushes M down."""
    t = maps(seed, (2, 3, 2, 2))
    m = ACTIVATIONS[name](ma.tensor(maps(seed + 1, t.shape))).data
    trunk, mask = (ma.tensor(x, requires_grad=True) for x in (t, m))
    ops.sum(masked(trunk, mask, residual)[0]).backward()
    np.testing.assert_allclose(trunk.grad, m + residual, rtol=1e-12)
    np.testing.assert_allclose(mask.grad, t, rtol=1e-12)


# ---------------------------------------------------------------------------------------------- identities
@given(strategies.arrays((2, 3, 2, 3)))
def test_masks_of_zeros_and_ones(t):
    zeros, ones = np.zeros_like(t), np.ones_like(t)
    np.testing.assert_array_equal(masked(ma.tensor(t), ma.tensor(zeros))[0].data, t)
    np.testing.assert_array_equal(masked(ma.tensor(t), ma.tensor(ones))[0].data, 2 * t)
    np.testing.assert_array_equal(masked(ma.tensor(t), ma.tensor(ones), residual=False)[0].data, t)
    np.testing.assert_array_equal(masked(ma.tensor(t), ma.tensor(zeros), residual=False)[0].data, zeros)


@given(st.integers(1, 2), SEEDS, st.integers(6, 9), st.integers(6, 9))
def test_a_mask_whose_last_convolution_is_zero_makes_one_and_a_half_of_the_trunk(depth, seed, height, width):
    mask = random_mask(2, depth, seed)
    mask.conv2.weight.replace_data(np.zeros((2, 2, 1, 1)))
    x = maps(seed, (2, 2, height, width))
    h, m = ResidualAttention(Same(), mask)(ma.tensor(x))
    assert (m.data == 0.5).all()
    np.testing.assert_allclose(h.data, 1.5 * x, rtol=1e-15)


@given(strategies.arrays((2, 4, 2, 3), np.float64, away_from=[0.0]))
def test_the_channel_mask_has_length_one_at_every_place(x):
    m = channel(ma.tensor(x)).data
    np.testing.assert_allclose((m**2).sum(1), 1, rtol=1e-12)
    equal = channel(ma.tensor(np.full((1, 16, 1, 1), 3.0))).data
    np.testing.assert_allclose(equal, 0.25, rtol=1e-12)  # 1 / sqrt(channels)


@given(strategies.arrays((2, 2, 3, 3), np.float64), st.floats(0.5, 100), st.floats(-5, 5))
def test_the_spatial_mask_knows_no_scale_and_no_shift_of_a_channel(x, scale, shift):
    one, other = (spatial(ma.tensor(10 * y)).data for y in (x, scale * x + shift))
    np.testing.assert_allclose(other, one, atol=1e-4)


def test_a_channel_that_is_the_same_everywhere_and_a_place_of_zeros_have_masks():
    zeros = np.zeros((1, 2, 3, 3))
    assert (spatial(ma.tensor(zeros + 7)).data == 0.5).all()
    assert (channel(ma.tensor(zeros)).data == 0).all()
    assert (mixed(ma.tensor(zeros)).data == 0.5).all()


@given(SEEDS)
def test_naive_attention_in_a_row_leaves_nothing_and_residual_attention_all(seed):
    x = maps(seed, (1, 3, 2, 2))
    naive = residual = ma.tensor(x)
    for i in range(30):
        m = mixed(ma.tensor(maps(seed + i, x.shape)))
        naive, _ = masked(naive, m, residual=False)
        residual, _ = masked(residual, m)
    assert np.abs(naive.data).max() < 1e-3 * np.abs(x).max()
    assert (np.abs(residual.data) >= np.abs(x)).all()


@given(st.integers(1, 3), st.floats(-3, 3))
def test_with_units_that_change_nothing_a_level_of_constant_maps_adds_up_its_skips(depth, value):
    mask = SoftMask(1, depth, Same, np.random.default_rng(0))
    level = mask.level(ma.tensor(np.full((1, 1, 12, 15), value)))
    np.testing.assert_allclose(level.data, depth * value, rtol=1e-12, atol=1e-12)


@given(st.integers(2, 3), SEEDS, st.integers(12, 15), st.integers(12, 15))
def test_where_nothing_comes_up_again_a_mask_is_that_of_the_skip_connection(depth, seed, height, width):
    """And so it knows no more of the image than the first pool does."""
    mask = random_mask(2, depth, seed)
    mask.level.inner.up.weight.replace_data(np.zeros((2, 2, 1, 1)))
    mask.level.inner.up.bias.replace_data(np.zeros(2))
    x = maps(seed, (1, 2, height, width))
    z = convolved(mask.level.down, pooled(x))
    skipped = convolved(mask.level.up, convolved(mask.level.skip, z))
    np.testing.assert_allclose(mask.level(ma.tensor(x)).data, skipped, rtol=1e-9, atol=1e-9)


@given(SEEDS, st.integers(1, 4), st.integers(1, 4), st.integers(1, 9), st.integers(2, 9))
def test_upsampling_copies_the_corners_and_keeps_what_is_constant(seed, height, width, rows, columns):
    low, like = maps(seed, (1, 2, height, width)), np.zeros((1, 2, rows, columns))
    up = upsampled(ma.tensor(low), ma.tensor(like)).data
    np.testing.assert_allclose(up, enlarged(low, (rows, columns)), rtol=1e-9, atol=1e-12)
    if min(rows, columns) > 1:
        for i, j in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
            np.testing.assert_allclose(up[..., i, j], low[..., i, j], rtol=1e-12)
    np.testing.assert_allclose(upsampled(ma.tensor(0 * low + 3), ma.tensor(like)).data, 3, rtol=1e-12)


@pytest.mark.parametrize(("depth", "units"), [(1, 2), (2, 5), (3, 8)])
def test_a_mask_has_the_papers_number_of_units(depth, units):
    made = []
    SoftMask(1, depth, lambda: made.append(Same()) or made[-1], np.random.default_rng(0))
    assert len(made) == units


# ---------------------------------------------------------------------------------------------- refused
def test_impossible_masks_are_refused():
    rng = np.random.default_rng(0)
    make = inspect.unwrap(SoftMask.__init__)
    with pytest.raises(ConfigError, match="activation 'softmax' does not exist; hint: one of mixed, channel, spatial"):
        make(object.__new__(SoftMask), 2, 1, Same, rng, "softmax")
    with pytest.raises(ConfigError, match="got the depth 0; hint: 1 or more"):
        SoftMask(2, 0, Same, rng)


@pytest.mark.parametrize(("depth", "side"), [(1, 2), (2, 5), (3, 11)])
def test_maps_that_are_too_small_for_the_depth_are_refused(depth, side):
    mask = random_mask(2, depth)
    with pytest.raises(ShapeError, match=rf"of at least {side + 1}x{side + 1}; hint: larger images, or a mask of less"):
        mask(ma.tensor(np.zeros((1, 2, side, 20))))
    mask(ma.tensor(maps(0, (1, 2, side + 1, side + 1))))


def test_a_mask_of_another_shape_than_the_trunks_maps_is_refused():
    with pytest.raises(ShapeError, match=r"\(2, 1, 3, 3\) does not fit .* \(2, 4, 3, 3\); hint: a trunk that keeps"):
        inspect.unwrap(masked)(ma.tensor(np.zeros((2, 4, 3, 3))), ma.tensor(np.zeros((2, 1, 3, 3))))


# ---------------------------------------------------------------------------------------------- devices
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("scrambled", [False, True], ids=["rows", "scrambled memory"])
def test_the_same_numbers_everywhere_and_no_waiting(backend, activation, scrambled):
    x = maps(2, (2, 3, 6, 7), np.float32)

    def module():
        trunk = randomized(Conv2d(3, 3, 1, np.random.default_rng(0)), 8, np.float32)
        return ResidualAttention(trunk, random_mask(3, 2, 2, activation, dtype=np.float32))

    def results(make, module):
        inputs = make(x, requires_grad=True)
        h, m = module(inputs)
        ((h * h).sum() + (m * m).sum()).backward()
        return [h.data, m.data, inputs.grad, *(p.grad for p in module.parameters())]

    expected = results(ma.tensor, module())
    there = module().to(backend.device)
    with fakecupy.scrambled_layouts() if scrambled else contextlib.nullcontext(), fakecupy.no_sync():
        found = results(backend.tensor, there)
    for result, value in zip(found, expected, strict=True):
        assert result.dtype == np.float32
        np.testing.assert_allclose(asnumpy(result), value, rtol=5e-3, atol=5e-4 * max(1, np.abs(value).max()))
