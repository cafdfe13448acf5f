"""Masks: brought to the data's device, and refused with one text each where they do not fit."""

import numpy as np
import pytest

import minattn as ma
from minattn.autograd import device_of
from minattn.errors import DeviceError, ShapeError
from minattn.nn.masks import causal_mask, check_mask, padding_mask

X = np.zeros((2, 3, 4), np.float32)
PADDED = np.array([[True, True, False], [True, False, False]])


def test_a_causal_mask_lets_a_query_see_no_later_key():
    np.testing.assert_array_equal(causal_mask(3), [[1, 0, 0], [1, 1, 0], [1, 1, 1]])


def test_the_queries_of_a_causal_mask_are_the_last_positions():
    np.testing.assert_array_equal(causal_mask(2, 4), [[1, 1, 1, 0], [1, 1, 1, 1]])


@pytest.mark.parametrize("x", [X, ma.tensor(X), X[..., 0]], ids=["array", "tensor", "two axes"])
@pytest.mark.parametrize("mask", [PADDED, PADDED.tolist(), ma.tensor(PADDED)], ids=["array", "lists", "tensor"])
def test_a_padding_mask_may_be_an_array_lists_or_a_tensor(mask, x):
    found = padding_mask(mask, x)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, PADDED)


def test_no_padding_is_no_mask():
    assert padding_mask(None, X) is None
    assert padding_mask(np.ones((2, 3), bool), X) is None


def test_a_padding_mask_travels_to_the_data(gpu):
    x = gpu.tensor(X)
    assert device_of(padding_mask(PADDED, x)) == "cuda:0"
    there = gpu.tensor(np.ones((2, 3), bool))
    assert padding_mask(there, x) is there.data  # not looked into: that would stall the GPU


@pytest.mark.parametrize("shape", [(2, 4), (3, 2), (1, 3), (3,), (2, 3, 1), ()], ids=str)
def test_a_padding_mask_of_another_shape_is_refused_with_both(shape):
    with pytest.raises(ShapeError) as error:
        padding_mask(np.ones(shape, bool), X)
    assert f"a padding mask of shape {shape} does not fit (batch, time) = (2, 3); hint: one " in str(error.value)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 1, 4), (3, 1), (4,), (1,), ()], ids=str)
def test_a_mask_may_broadcast(shape):
    assert check_mask(np.ones(shape, bool), X, X.shape).shape == shape


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 2), (1, 2, 3, 4)], ids=str)
def test_a_mask_that_does_not_broadcast_is_refused_with_both_shapes(shape):
    with pytest.raises(ShapeError) as error:
        check_mask(np.ones(shape, bool), X, X.shape)
    assert f"a mask of shape {shape} does not broadcast to (2, 3, 4); hint: axes of that length" in str(error.value)


@pytest.mark.parametrize("check", [padding_mask, lambda mask, x: check_mask(mask, x, (2, 3))], ids=["padding", "any"])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_a_mask_of_numbers_is_refused(check, dtype):
    with pytest.raises(
        TypeError, match=rf"mask \(True = .*\) must be boolean, got {np.dtype(dtype)}; hint: .astype\(bool\)"
    ):
        check(np.ones((2, 3), dtype), X)


def test_a_mask_on_a_gpu_does_not_come_to_the_host(gpu):
    mask = gpu.tensor(PADDED)
    with pytest.raises(DeviceError, match=r"a padding mask .* is on cuda:0, what it masks on cpu; hint: move them"):
        padding_mask(mask, X)
