"""float32 stays float32, whatever Python and NumPy numbers stand beside it; other dtypes meet as in NumPy."""

import operator

import numpy as np
import pytest

import minattn as ma

F32, F64 = np.float32, np.float64
BINARY = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, ma.maximum, ma.minimum]
SCALARS = [2, 2.0, True, np.float64(2), np.float32(2), np.int64(2), np.int8(2), np.bool_(True)]


def leaf(dtype, shape=(3,)):
    return ma.tensor(np.linspace(0.5, 1.5, int(np.prod(shape)), dtype=dtype).reshape(shape), requires_grad=True)


@pytest.mark.parametrize("shape", [(3,), ()])
@pytest.mark.parametrize("scalar", SCALARS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("fn", BINARY)
def test_float32_stays_float32_beside_scalars(fn, scalar, shape):
    for swap in (False, True):
        x = leaf(F32, shape)
        y = fn(scalar, x) if swap else fn(x, scalar)
        assert isinstance(y, ma.Tensor)
        assert y.dtype == F32
        y.sum().backward()
        assert x.grad.dtype == F32
        assert x.grad.shape == shape


@pytest.mark.parametrize("scalar", SCALARS[:6], ids=lambda s: type(s).__name__)
def test_scalars_in_where_and_matmul_and_clip(scalar):
    x = leaf(F32)
    assert ma.where([True, False, True], x, scalar).dtype == F32
    assert ma.where([True, False, True], scalar, x).dtype == F32
    assert ma.clip(x, 0, scalar).dtype == F32
    assert ma.put(x, scalar, 0).dtype == F32
    assert ma.scatter_add(x, scalar, 0).dtype == F32


def test_a_float32_network_stays_float32():
    rng = np.random.default_rng(0)
    weights = [ma.tensor(rng.standard_normal(s).astype(F32), requires_grad=True) for s in ((4, 8), (8,), (8, 3), (8,))]
    w, b, v, scale = weights
    h = ma.layer_norm(ma.gelu(ma.linear(ma.tensor(rng.standard_normal((5, 4)).astype(F32)), w, b)), scale, b * 0.1)
    h = ma.dropout((h - h.mean()) / (h.var() + 1e-5).sqrt(), 0.1, rng)
    loss = ma.cross_entropy(ma.softmax(h @ v, mask=np.ones((5, 3), bool)), rng.integers(0, 3, 5), label_smoothing=0.1)
    assert loss.dtype == F32
    loss.backward()
    assert {t.grad.dtype for t in weights} == {np.dtype(F32)}


@pytest.mark.parametrize(
    "fn", [*BINARY, operator.matmul, lambda a, b: ma.concat([a, b]), lambda a, b: ma.stack([a, b])]
)
def test_mixed_dtypes_meet_in_the_wider_and_gradients_return_in_their_own(fn):
    for first, second in ((F32, F64), (F64, F32)):
        a, b = leaf(first), leaf(second)
        y = fn(a, b)
        assert y.dtype == F64
        y.sum().backward()
        assert a.grad.dtype == first
        assert b.grad.dtype == second


@pytest.mark.parametrize(
    "fn",
    [
        lambda x, v: ma.put(x, v, slice(1, 3)),
        lambda x, v: ma.scatter_add(x, v, [0, 0]),
        lambda x, v: ma.linear(x, ma.tensor(np.ones((3, 2), F32)), v),
    ],
    ids=["put", "scatter_add", "linear"],
)
@pytest.mark.parametrize("wide", [F64, np.complex128])
def test_a_wider_second_argument_is_not_squeezed_into_the_first(fn, wide):
    """A complex one must get through: it is how a Hessian-vector product by this argument is taken."""
    v = ma.tensor(np.array([1.5, 2.5]).astype(wide), requires_grad=True)
    y = fn(leaf(F32), v)
    assert y.dtype == wide
    y.sum().backward()
    assert v.grad.dtype == wide


def test_integers_and_booleans_take_part_without_a_gradient():
    x = leaf(F32)
    ids = ma.tensor([1, 2, 3])
    mask = ma.tensor([True, False, True])
    assert (x * mask).dtype == F32
    assert (x * ids).dtype == F32
    (x * mask).sum().backward()
    assert x.grad.tolist() == [1, 0, 1]
    assert not (ids * 2).requires_grad
    assert (ids * 2).dtype == np.int64


@pytest.mark.parametrize(("source", "target"), [(F32, F64), (F64, F32), (F32, np.float16)])
def test_a_gradient_comes_back_through_a_conversion_in_its_own_dtype(source, target):
    x = leaf(source)
    y = ma.astype(x, target)
    assert y.dtype == target
    y.backward(np.array([1, 2, 3], target))
    assert x.grad.dtype == source
    assert x.grad.tolist() == [1, 2, 3]


def test_a_conversion_to_integers_has_no_gradient():
    assert not leaf(F32).astype(np.int64).requires_grad
    assert leaf(F32).astype(np.int64).dtype == np.int64


def test_a_real_tensor_beside_complex_ones_gets_the_real_part():
    x = leaf(F64, (1,))
    (x * np.array([2.0 + 3.0j])).backward(np.array([5.0 + 7.0j]))
    assert x.grad.dtype == F64
    assert x.grad.tolist() == [2 * 5 - 3 * 7]


def test_the_upstream_gradient_takes_the_dtype_of_its_tensor():
    x = leaf(F32)
    (x * 2).backward(np.ones(3))
    assert x.grad.dtype == F32


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, F32),
        ([1.5, 2], F32),
        (3, np.int64),
        ([[True], [False]], np.bool_),
        (np.float64(1.5), F64),
        (np.ones(2), F64),
        (np.ones(2, F32), F32),
        (np.ones(2, np.int8), np.int8),
        (1j, np.complex128),
    ],
)
def test_what_tensor_makes_of_data(data, dtype):
    assert ma.tensor(data).dtype == dtype
    assert ma.tensor(ma.tensor(data)).dtype == dtype
    assert ma.tensor(data, dtype=np.complex64).dtype == np.complex64


def test_tensor_copies_arrays():
    array = np.ones(2)
    x = ma.tensor(array)
    array[0] = 5
    assert x.tolist() == [1, 1]
