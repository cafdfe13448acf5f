"""Means of images whose channels come last in memory, which are taken one axis after the other; standard deviations,
and einsum's axes."""

import numpy as np
import pytest

import minattn as ma
from minattn.autograd import ops
from minattn.errors import AxisError, ShapeError
from minattn.testing import check_gradients


def channels_last(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("axes", [(2, 3), (3, 2), (0, -1), (-2, -1), (1,), (), (0, 1, 2, 3)], ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_the_mean_does_not_depend_on_the_order_in_memory(axes, keepdims):
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    last = channels_last(x)
    assert not last.flags.c_contiguous
    np.testing.assert_allclose(ops.mean(last, axes, keepdims).data, x.mean(axes, keepdims=keepdims), rtol=1e-13)


def test_a_large_map_keeps_its_digits_where_channels_are_last():
    """One long sum of float32 would lose three."""
    x = 1000 + np.random.default_rng(0).normal(size=(1, 3, 512, 512))
    got = ops.mean(channels_last(x).astype(np.float32), (2, 3)).data
    np.testing.assert_allclose(got, x.astype(np.float32).astype(float).mean((2, 3)), rtol=1e-6)


def test_the_mean_of_few_digits_is_summed_in_more():
    assert (ops.mean(channels_last(np.full((1, 2, 128, 128), 5, np.float16)), (2, 3)).data == 5).all()


@pytest.mark.parametrize("axes", [(2, 2), (2, -2), (1, 7)])
def test_axes_that_cannot_be_are_refused_in_any_memory(axes):
    x = np.ones((2, 4, 5, 3))
    for each in (x, channels_last(x)):
        with pytest.raises(AxisError, match=r"twice|does not exist"):
            ops.mean(each, axes)


@pytest.mark.parametrize("axis", [None, 1, (0, 2), -1])
@pytest.mark.parametrize("ddof", [0, 1])
def test_the_standard_deviation(axis, ddof):
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    y = ma.std(ma.tensor(x), axis, keepdims=True, ddof=ddof)
    np.testing.assert_allclose(y.data, x.std(axis, ddof=ddof, keepdims=True), rtol=1e-13)
    np.testing.assert_array_equal(ma.tensor(x).std(axis, True, ddof).data, y.data)
    check_gradients(lambda t: ma.std(t, axis, ddof=ddof), x)


@pytest.mark.parametrize(
    ("subscripts", "message"),
    [
        ("...i,...i->...", r"einsum: the axes .* under '...' of '...i,...i->...' do not broadcast"),
        ("...i,ij->ij", "einsum: '...i,ij->ij' has no place for the axes under '...'; hint: '...' in the output"),
        ("......i,ij", "must name axes by letters, with one '...' an operand at most"),
        ("a.,ij", "must name axes by letters"),
        ("ij", "is for 1 operands, got 2"),
        ("iij,ij", r"'iij' takes a diagonal of axes of different lengths, \(2, 3, 4\)"),
    ],
)
def test_einsum_refuses(subscripts, message):
    a, b = ma.tensor(np.ones((2, 3, 4))), ma.tensor(np.ones((2, 4)))
    with pytest.raises(ValueError, match=message):
        ma.einsum(subscripts, a, b)


def test_einsum_of_a_trace_and_of_a_bilinear_form():
    x, y = ma.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True), ma.tensor([10.0, 20.0])
    assert ma.einsum("ii", x).item() == 5
    assert ma.einsum("ii->i", x).tolist() == [1, 4]
    ma.einsum("...i,...ij,...j->...", y, x[None], y).backward(np.ones(1))
    assert x.grad.tolist() == [[100, 200], [200, 400]]


def test_einsum_stretches_no_axis():
    a, b = ma.tensor(np.ones((3, 4))), ma.tensor(np.ones((4, 1)))
    with pytest.raises(ShapeError, match=r"einsum: the axis 'n' of 'nk,kn' has the length 3 .* and 1 in another; hint"):
        ops.einsum("nk,kn->n", a, b)
