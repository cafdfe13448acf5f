"""Clipping against the norm of all gradients written out as one vector."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minattn.errors import ConfigError
from minattn.nn import Parameter
from minattn.training import clip_grad_norm, clip_grad_norms, clip_grad_value, grad_norm

component = st.floats(-1e3, 1e3, width=32).map(lambda value: 0.0 if abs(value) < 1e-3 else value)
shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)


@st.composite
def parameters(draw):
    """Parameters of either precision, some without a gradient."""
    found = []
    for _ in range(draw(st.integers(0, 4))):
        dtype = draw(st.sampled_from([np.float32, np.float64]))
        gradient = draw(hnp.arrays(dtype, shapes, elements=component))
        found.append(Parameter(np.zeros(gradient.shape, dtype)))
        found[-1].grad = gradient if draw(st.integers(0, 4)) else None
    return found


@given(parameters(), st.floats(0.01, 100))
def test_each_gradient_may_be_clipped_by_itself(parameters, max_norm):
    before = gradients_of(parameters)
    assert float(clip_grad_norms(parameters, max_norm)) == pytest.approx(norm_of(before), rel=1e-5)
    for parameter, gradient in zip(parameters, before, strict=True):
        if gradient is not None:
            factor = max_norm / max(norm_of([gradient]), max_norm)
            np.testing.assert_allclose(parameter.grad, gradient * factor, rtol=1e-5)


def gradients_of(parameters):
    return [None if p.grad is None else p.grad.copy() for p in parameters]


def norm_of(gradients):
    return math.sqrt(math.fsum(float(g) ** 2 for array in gradients if array is not None for g in array.flat))


@given(parameters(), st.floats(0.01, 100))
def test_the_norm_is_clipped_and_the_direction_kept(parameters, max_norm):
    before = gradients_of(parameters)
    norm = norm_of(before)
    assert float(clip_grad_norm(parameters, max_norm)) == pytest.approx(norm, rel=1e-5)
    scale = min(1.0, max_norm / norm) if norm else 1.0
    for parameter, gradient in zip(parameters, before, strict=True):
        if gradient is None:
            assert parameter.grad is None
        else:
            assert parameter.grad.dtype == gradient.dtype
            np.testing.assert_allclose(parameter.grad, scale * gradient, rtol=1e-5)
    assert norm_of(gradients_of(parameters)) <= max_norm * (1 + 1e-5)


@given(parameters())
def test_gradients_within_the_limit_stay_bit_for_bit(parameters):
    before = gradients_of(parameters)
    clip_grad_norm(parameters, norm_of(before) * 1.001 + 1)
    for parameter, gradient in zip(parameters, before, strict=True):
        assert gradient is None or parameter.grad.tobytes() == gradient.tobytes()


def test_a_generator_of_parameters_will_do():
    parameter = Parameter(np.zeros(2))
    parameter.grad = np.array([3.0, 4.0])
    assert clip_grad_norm((p for p in [parameter]), 1.0) == 5
    np.testing.assert_allclose(parameter.grad, [0.6, 0.8])


def test_no_gradient_at_all_has_norm_zero():
    assert grad_norm([Parameter(np.zeros(2))]) == 0
    assert clip_grad_norm([], 1.0) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_is_returned_as_it_is(bad):
    parameter = Parameter(np.zeros(2))
    parameter.grad = np.array([1.0, bad])
    with np.errstate(invalid="ignore"):
        norm = clip_grad_norm([parameter], 1.0)
    assert not math.isfinite(norm)
    assert np.isnan(parameter.grad).any()


@given(parameters(), st.floats(0.01, 100))
def test_components_are_cut_to_the_limit(parameters, limit):
    before = gradients_of(parameters)
    clip_grad_value(parameters, limit)
    for parameter, gradient in zip(parameters, before, strict=True):
        if gradient is None:
            assert parameter.grad is None
            continue
        assert parameter.grad.dtype == gradient.dtype
        for after, value in zip(parameter.grad.flat, gradient.flat, strict=True):
            assert after == pytest.approx(max(-limit, min(limit, float(value))), rel=1e-6)


@pytest.mark.parametrize("limit", [0, -1, math.nan, math.inf])
def test_impossible_limits_are_refused(limit):
    with pytest.raises(ConfigError, match="max_norm must be"):
        clip_grad_norm([], limit)
    with pytest.raises(ConfigError, match="limit must be"):
        clip_grad_value([], limit)


def test_the_norm_of_a_long_gradient_is_exact_to_rounding():
    gradient = np.random.default_rng(0).random(3_000_000, dtype=np.float32)
    parameter = Parameter(np.zeros(gradient.shape, np.float32))
    parameter.grad = gradient
    assert grad_norm([parameter]) == pytest.approx(np.linalg.norm(gradient.astype(np.float64)), rel=2e-7)
