"""Batch and group normalization as layers: what is remembered, when it is used, on every backend."""

import contextlib
import inspect

import fakecupy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minattn as ma
from minattn.autograd import asnumpy
from minattn.errors import ConfigError, ShapeError
from minattn.nn import BatchNorm2d, GroupNorm
from minattn.testing import check_gradients

SEEDS = st.integers(0, 2**32 - 1)


def images(seed, *shape):
    return (3 * np.random.default_rng(seed).standard_normal(shape) + 1).astype(np.float32)


# ---------------------------------------------------------------------------------------------- what is remembered
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(2, 4)), max_size=3), st.sampled_from([0.0, 0.1, 1.0]), SEEDS)
def test_running_statistics_move_towards_each_batch(batches, momentum, seed):
    layer, mean, variance = BatchNorm2d(2, momentum=momentum), np.zeros(2), np.ones(2)
    for n, side in batches:
        x = images(seed, n, 2, side, 3)
        layer(ma.tensor(x))
        mean = (1 - momentum) * mean + momentum * x.mean((0, 2, 3), dtype=np.float64)
        variance = (1 - momentum) * variance + momentum * x.var((0, 2, 3), ddof=1, dtype=np.float64)
    np.testing.assert_allclose(layer.running_mean.data, mean, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(layer.running_variance.data, variance, rtol=1e-5)
    assert layer.running_mean.dtype == layer.running_variance.dtype == np.float32


def test_evaluation_uses_what_was_remembered_and_remembers_nothing():
    layer, x = BatchNorm2d(2, eps=1e-3), images(0, 3, 2, 4, 4)
    layer.weight.data, layer.bias.data = np.float32([2, 3]), np.float32([-1, 1])
    layer(ma.tensor(images(1, 3, 2, 4, 4)))
    layer.eval()
    before = layer.state_dict()
    y = layer(ma.tensor(x)).data
    for n, c, i, j in np.ndindex(x.shape):
        deviation = x[n, c, i, j] - before["running_mean"][c]
        expected = deviation / np.sqrt(before["running_variance"][c] + 1e-3) * [2, 3][c] + [-1, 1][c]
        np.testing.assert_allclose(y[n, c, i, j], expected, rtol=1e-4, atol=1e-4)
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_layer_that_remembers_its_last_batch_alone_evaluates_that_batch_as_it_trained():
    """But for the variance, which is remembered unbiased."""
    layer, x = BatchNorm2d(3, eps=0.0, momentum=1.0), ma.tensor(images(2, 4, 3, 2, 2))
    trained = layer(x).data
    np.testing.assert_allclose(layer.eval()(x).data, trained * np.sqrt(15 / 16), rtol=1e-4, atol=1e-5)


def test_the_statistics_are_buffers_and_travel_with_the_state():
    layer, other = BatchNorm2d(2), BatchNorm2d(2)
    layer(ma.tensor(images(3, 3, 2, 4, 4)))
    assert list(layer.named_parameters().keys()) == ["weight", "bias"]
    assert list(layer.named_buffers().keys()) == ["running_mean", "running_variance"]
    other.load_state_dict(layer.state_dict())
    x = ma.tensor(images(4, 1, 2, 1, 1))
    np.testing.assert_array_equal(other.eval()(x).data, layer.eval()(x).data)
    assert not np.array_equal(x.data, other(x).data)


def test_batches_are_remembered_without_a_graph_too():
    layer = BatchNorm2d(2)
    with ma.no_grad():
        layer(ma.tensor(images(5, 3, 2, 4, 4)))
    assert (layer.running_mean.data != 0).all()


def test_two_batches_before_one_backward():
    """Remembering writes to the buffers between the passes, and no gradient depends on them."""
    layer = BatchNorm2d(2)
    x, y = (ma.tensor(images(seed, 3, 2, 2, 2), requires_grad=True) for seed in (6, 7))
    upstream = ma.tensor(images(8, 3, 2, 2, 2))
    (layer(x) * upstream + layer(y) * upstream).sum().backward()
    assert np.abs(x.grad).max() > 0.01
    assert np.abs(y.grad).max() > 0.01


# ---------------------------------------------------------------------------------------------- gradients
@pytest.mark.parametrize("training", [True, False])
@given(seed=SEEDS)
def test_gradients_of_the_layers(training, seed):
    x = images(seed, 2, 4, 2, 3).astype(np.float64)
    for layer in (BatchNorm2d(4), GroupNorm(2, 4)):
        for k, parameter in enumerate(layer.parameters()):
            parameter.data = images(seed + k + 1, 4)
        layer.train(training)
        check_gradients(layer, x, parameters=layer.named_parameters(), seed=seed, method="complex")


# ---------------------------------------------------------------------------------------------- group norm
@given(st.sampled_from([(1, 1), (1, 4), (2, 4), (4, 4), (3, 6)]), SEEDS)
def test_group_norm_standardises_every_group(sizes, seed):
    groups, channels = sizes
    layer, x = GroupNorm(groups, channels, eps=1e-3), images(seed, 2, channels, 3, 2)
    y = layer(ma.tensor(x))
    assert y.dtype == np.float32
    sets = x.astype(np.float64).reshape(2, groups, -1)
    expected = (sets - sets.mean(-1, keepdims=True)) / np.sqrt(sets.var(-1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(y.data, expected.reshape(x.shape), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(layer.eval()(ma.tensor(x)).data, y.data)


# ---------------------------------------------------------------------------------------------- backends
def step(device, waiting):
    """Both layers one after the other, in training and then in evaluation; and all that comes of it."""
    batch, group = BatchNorm2d(4).to(device), GroupNorm(2, 4).to(device)
    x = ma.tensor(images(9, 3, 4, 2, 5)).to(device)
    upstream = ma.tensor(images(10, 3, 4, 2, 5)).to(device)
    with waiting:
        trained = group(batch(x))
        (trained * upstream).sum().backward()
        evaluated = batch.eval()(x)
    gradients = [parameter.grad for layer in (batch, group) for parameter in layer.parameters()]
    return [trained.data, evaluated.data, *gradients, batch.running_mean.data, batch.running_variance.data]


@pytest.mark.parametrize("scrambled", [False, True], ids=["rows", "scrambled memory"])
def test_the_same_numbers_everywhere_and_nobody_waits(backend, scrambled):
    expected = step("cpu", contextlib.nullcontext())
    with contextlib.ExitStack() as stack:
        if backend.name == "fake" and scrambled:
            stack.enter_context(fakecupy.scrambled_layouts())
        found = step(backend.device, fakecupy.no_sync() if backend.name == "fake" else contextlib.nullcontext())
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(asnumpy(a), b, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------- errors
@given(hnp.array_shapes(min_dims=1, max_dims=1, max_side=4))
def test_a_single_number_has_no_variance(shape):
    (channels,) = shape
    layer, x = BatchNorm2d(channels), ma.tensor(np.ones((1, channels, 1, 1), np.float32))
    with pytest.raises(ShapeError, match=r"one number for each channel.*hint: a larger batch, or eval\(\)"):
        layer(x)
    assert layer.eval()(x).shape == x.shape


@pytest.mark.parametrize("shape", [(), (4,), (2,)])
def test_what_has_no_channels_is_refused_in_both_modes(shape):
    layer = BatchNorm2d(2)
    for training in (True, False):
        with pytest.raises(ShapeError, match=r"has no channels|one number for each channel"):
            inspect.unwrap(BatchNorm2d.forward)(layer.train(training), ma.tensor(np.ones(shape, np.float32)))


def test_an_empty_batch_is_refused_in_training_alone():
    layer, x = BatchNorm2d(2), ma.tensor(np.ones((0, 2, 3, 3), np.float32))
    with pytest.raises(ShapeError, match="no mean"):
        layer(x)
    assert layer.running_mean.tolist() == [0, 0]
    assert layer.eval()(x).shape == x.shape


@pytest.mark.parametrize("momentum", [-0.1, 1.5])
def test_a_momentum_that_is_no_share_is_refused(momentum):
    with pytest.raises(ConfigError, match=f"share of the newest batch, got {momentum}; hint: between 0 and 1"):
        BatchNorm2d(2, momentum=momentum)


@pytest.mark.parametrize("groups", [0, 4])
def test_groups_that_do_not_divide_the_channels_are_refused(groups):
    with pytest.raises(ConfigError, match=f"6 channels do not make {groups} groups of one size; hint: .*divides 6"):
        GroupNorm(groups, 6)
