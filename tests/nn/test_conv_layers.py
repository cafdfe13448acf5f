"""The layers of convolutional networks against their ops: how they are laid, what they have, how they start."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.errors import ConfigError
from minattn.nn import Conv2d, ConvNorm
from minattn.testing import check_gradients

SIZES = st.integers(1, 3)


def rng(seed=0):
    return np.random.default_rng(seed)


def images(*shape):
    return rng(1).normal(size=shape).astype(np.float32)


# ---------------------------------------------------------------------------------------------- convolution
@given(SIZES, SIZES, SIZES, st.tuples(SIZES, SIZES), SIZES, st.integers(0, 2), SIZES, st.booleans())
def test_a_convolution_is_its_op(inputs, outputs, groups, kernel, stride, padding, dilation, bias):
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    layer = Conv2d(groups * inputs, groups * outputs, kernel, rng(), bias=bias, **how)
    assert layer.weight.shape == (groups * outputs, inputs, *kernel)
    assert list(layer.named_parameters().keys()) == ["weight", "bias"][: 1 + bias]
    if bias:
        assert (layer.bias.data == np.zeros(groups * outputs)).all()
        layer.bias.data = images(groups * outputs)
    x = ma.tensor(images(2, groups * inputs, 7, 9))
    y = layer(x)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y.data, ma.conv2d(x, layer.weight, layer.bias, **how).data)


def test_a_pair_is_for_height_and_width():
    layer = Conv2d(1, 1, (3, 1), rng(), stride=(2, 1), padding=(1, 0), dilation=(2, 1))
    assert layer(ma.tensor(images(1, 1, 9, 5))).shape == (1, 1, 4, 5)


def test_weights_are_drawn_he_normal_by_their_inputs():
    weight = Conv2d(64, 32, 3, rng(), groups=2).weight.data
    assert weight.std() == pytest.approx(np.sqrt(2 / (32 * 9)), rel=0.03)
    assert abs(weight.mean()) < 0.002


@pytest.mark.parametrize(("inputs", "outputs", "groups"), [(4, 6, 4), (4, 6, 3), (4, 6, 0), (4, 6, -2), (0, 4, 1)])
def test_groups_that_do_not_divide_the_channels_are_refused(inputs, outputs, groups):
    says = f"groups={groups} must divide the {inputs} channels that come in and the {outputs} that go out; hint"
    for layer in (Conv2d, ConvNorm):
        with pytest.raises(ConfigError, match=says):
            layer(inputs, outputs, 3, rng(), groups=groups)


@pytest.mark.parametrize("kernel", [0, -1, (3, 0), (3, 3, 3), 1.5, None])
def test_a_kernel_that_cannot_be_is_refused(kernel):
    with pytest.raises(ConfigError, match=r"kernel .*; hint"):
        inspect.unwrap(Conv2d.__init__)(object.__new__(Conv2d), 2, 2, kernel, rng())


# ---------------------------------------------------------------------------------------------- with normalization
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_a_unit_is_a_convolution_without_bias_then_batch_norm_then_relu(relu, training):
    unit = ConvNorm(4, 6, 3, rng(), stride=2, padding=1, groups=2, relu=relu)
    assert list(unit.named_parameters().keys()) == ["conv.weight", "norm.weight", "norm.bias"]
    for k, p in enumerate(unit.parameters()[1:]):
        p.data = 1 + 0.3 * images(6) + k
    x = ma.tensor(images(3, 4, 5, 6))
    unit(x)  # so that something is remembered
    assert np.abs(unit.norm.running_mean.data).max() > 0
    unit.train(training)
    expected = unit.norm(ma.conv2d(x, unit.conv.weight, stride=2, padding=1, groups=2)).data
    assert (expected < 0).any()
    np.testing.assert_allclose(unit(x).data, np.maximum(expected, 0) if relu else expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_a_unit(training):
    unit = ConvNorm(2, 3, 3, rng(), padding=1, stride=2).train(training)
    x = images(2, 2, 4, 5).astype(np.float64)
    check_gradients(unit, x, parameters=unit.named_parameters(), method="complex")
