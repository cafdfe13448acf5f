"""NumPy's functions on tensors: they run the op or say what to use, and lose no gradient without a word."""

import re

import numpy as np
import pytest
from scipy import special

import minattn as ma
from minattn.autograd.numpy_functions import USE, WRITES, functions, ufuncs
from minattn.errors import AxisError, DeviceError
from minattn.testing import check_gradients

Y = np.linspace(0.3, 2, 12).reshape(3, 4)
IDS = np.array([[2, 0, 1], [1, 1, 0]])

# A keyword of NumPy's own from 2.1 on.
CLIP_BY_MIN = [lambda x: np.clip(x, min=0)] if np.lib.NumpyVersion(np.__version__) >= "2.1.0" else []

CALLS = {
    np.sum: [lambda x: np.sum(x), lambda x: np.sum(x, 0), lambda x: np.sum(x, axis=(0, 1), keepdims=True)],
    np.prod: [lambda x: np.prod(x, axis=1)],
    np.mean: [lambda x: np.mean(x), lambda x: np.mean(x, axis=-1, keepdims=True)],
    np.var: [lambda x: np.var(x, axis=1, ddof=1)],
    np.std: [lambda x: np.std(x, 1)],
    np.max: [lambda x: np.max(x, axis=1)],
    np.amax: [lambda x: np.amax(x)],
    np.min: [lambda x: np.min(x, 0, keepdims=True)],
    np.amin: [lambda x: np.amin(x)],
    np.argmax: [lambda x: np.argmax(x), lambda x: np.argmax(x, axis=1, keepdims=True)],
    np.argmin: [lambda x: np.argmin(x, 0)],
    np.cumsum: [lambda x: np.cumsum(x), lambda x: np.cumsum(x, axis=1)],
    np.sort: [lambda x: np.sort(x), lambda x: np.sort(x, axis=0), lambda x: np.sort(x, None)],
    np.flip: [lambda x: np.flip(x), lambda x: np.flip(x, axis=1)],
    np.roll: [lambda x: np.roll(x, 2), lambda x: np.roll(x, 1, axis=1)],
    np.repeat: [lambda x: np.repeat(x, 2), lambda x: np.repeat(x, 2, axis=1)],
    np.tile: [lambda x: np.tile(x, 2), lambda x: np.tile(x, (2, 1))],
    np.split: [lambda x: np.split(x, 2, axis=1), lambda x: np.split(x, [1, 1, -1, 9])],
    np.concatenate: [lambda x: np.concatenate([x, Y]), lambda x: np.concatenate((Y, x, x), axis=1)],
    np.stack: [lambda x: np.stack([x, x, Y], axis=1)],
    np.take: [lambda x: np.take(x, IDS), lambda x: np.take(x, IDS, axis=1)],
    np.take_along_axis: [lambda x: np.take_along_axis(x, IDS.T, axis=1)],
    np.where: [lambda x: np.where(Y > 1, x, Y), lambda x: np.where(Y > 1, 0.0, x)],
    np.clip: [lambda x: np.clip(x, -0.5, 0.5), lambda x: np.clip(x, a_min=None, a_max=Y), *CLIP_BY_MIN],
    np.pad: [lambda x: np.pad(x, 1), lambda x: np.pad(x, [(0, 1), (2, 0)], constant_values=3.0)],
    np.shape: [lambda x: np.shape(x)],
    np.ndim: [lambda x: np.ndim(x)],
    np.size: [lambda x: np.size(x)],
    np.reshape: [lambda x: np.reshape(x, (2, -1)), lambda x: np.reshape(x, -1)],
    np.ravel: [lambda x: np.ravel(x)],
    np.transpose: [lambda x: np.transpose(x), lambda x: np.transpose(x, (1, 0))],
    np.swapaxes: [lambda x: np.swapaxes(x, 0, 1)],
    np.moveaxis: [lambda x: np.moveaxis(x, 0, -1)],
    np.squeeze: [lambda x: np.squeeze(x[:, :1]), lambda x: np.squeeze(x[:, :1], axis=1)],
    np.expand_dims: [lambda x: np.expand_dims(x, 1)],
    np.broadcast_to: [lambda x: np.broadcast_to(x, (2, 3, 4))],
    np.dot: [
        lambda x: np.dot(x, Y.T),
        lambda x: np.dot(Y[0], x[1]),
        lambda x: np.dot(x, 3.0),
        lambda x: np.dot(2.0, x),
    ],
    np.einsum: [lambda x: np.einsum("ij,kj->ik", x, Y), lambda x: np.einsum("ij->i", x, optimize=True)],
}


def drawn():
    return np.random.default_rng(0).normal(size=(3, 4))


def all_of(result):
    return [part for each in result for part in all_of(each)] if isinstance(result, (list, tuple)) else [result]


# ---------------------------------------------------------------------------------------------- what has an op
def test_every_function_of_the_table_has_its_calls():
    assert CALLS.keys() == functions().keys()


@pytest.mark.parametrize("function", CALLS, ids=lambda function: function.__name__)
def test_numpys_functions_run_the_op(function):
    for call in CALLS[function]:
        x = ma.tensor(drawn(), requires_grad=True)
        pairs = list(zip(all_of(call(x)), all_of(call(drawn())), strict=True))
        for ours, theirs in pairs:
            np.testing.assert_array_equal(np.shape(ours), np.shape(theirs))
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)
            assert np.asarray(ours).dtype.kind != "f" or ours.requires_grad
        if any(isinstance(ours, ma.Tensor) and ours.requires_grad for ours, _ in pairs):
            check_gradients(lambda x: tuple(all_of(call(x))), drawn(), method="complex")  # noqa: B023


def test_numpys_ufuncs_run_the_op():
    a, b = drawn(), np.abs(drawn()) + 0.1
    known = [f for f in vars(np).values() if isinstance(f, np.ufunc) and f.__name__ in ufuncs()]
    assert {f.__name__ for f in known} | {"erf", "expit", "true_divide", "absolute"} == ufuncs().keys() | {
        "true_divide"
    }
    for ufunc in [*known, special.erf, special.expit]:
        arrays = {
            "matmul": (a, b.T),
            "logical_not": (a > 0,),
            "logical_and": (a > 0, b > 1),
            "logical_or": (a > 0, b > 1),
        }
        xs = arrays.get(ufunc.__name__, (b, b) if ufunc is np.power else (b, b)[: ufunc.nin])
        tensors = [ma.tensor(x, requires_grad=x.dtype != bool) for x in xs]
        y = ufunc(*tensors)
        assert isinstance(y, ma.Tensor)
        assert y.requires_grad == (y.dtype.kind == "f")
        np.testing.assert_allclose(y, ufunc(*xs), rtol=1e-12)


def test_an_array_beside_a_tensor():
    x = ma.tensor(drawn(), requires_grad=True)
    for y in (Y + x, Y * x, np.float64(2) / x, Y @ x.T, np.maximum(Y, x), Y[0] - x):
        assert isinstance(y, ma.Tensor)
        assert y.requires_grad


def test_errors_are_the_ops():
    with pytest.raises(AxisError, match="sum: axis 2 does not exist"):
        np.sum(ma.tensor(drawn()), axis=2)
    with pytest.raises(TypeError, match=r"np.dot of stacks of matrices has no op; hint: minattn.matmul, or einsum"):
        np.dot(ma.tensor(drawn()), np.ones((2, 4, 3)))


# ---------------------------------------------------------------------------------------------- what has none
@pytest.mark.parametrize(
    ("call", "use"),
    [
        (lambda x: np.vstack([x, x]), "minattn.concat or stack"),
        (lambda x: np.column_stack([Y, x]), "minattn.concat or stack"),
        (lambda x: np.block([[x, Y]]), "minattn.concat or stack"),
        (lambda x: np.outer(x, x), "minattn.einsum"),
        (lambda x: np.linalg.norm(x), "minattn.norm"),
        (lambda x: np.percentile(x, 50), "minattn.sort or topk"),
        (lambda x: np.add.reduce(x), "minattn.sum"),
        (lambda x: np.log2(x), "minattn.log(x) / math.log(2)"),
        (lambda x: np.arctan(x), "x.detach() for its values alone"),
        (lambda x: np.linalg.inv(x[:, :3]), "x.detach() for its values alone"),
        (lambda x: np.sum(x, dtype=np.float32), "minattn.sum(x, axis, keepdims)"),
        (lambda x: np.mean(x, where=Y > 1), "minattn.mean(x, axis, keepdims)"),
        (lambda x: np.reshape(x, (4, 3), order="F"), "minattn.reshape(x, shape)"),
        (lambda x: np.add(x, 1, out=np.zeros((3, 4))), "minattn.add(a, b)"),
    ],
)
def test_a_function_without_an_op_is_refused_where_a_gradient_would_be_lost(call, use):
    x = ma.tensor(np.abs(drawn()), requires_grad=True)
    with pytest.raises(TypeError, match=r"np\..*: there is no op for it.*, and NumPy's result would lose") as error:
        call(x)
    assert str(error.value).endswith(f"hint: {use}")
    np.testing.assert_array_equal(call(x.detach()), call(x.data))  # where no gradient is needed
    with ma.no_grad():
        np.testing.assert_array_equal(call(x), call(x.data))


def test_an_array_takes_no_tensor_in_place_that_needs_a_gradient():
    total, x = np.zeros(3), ma.tensor(np.ones(3), requires_grad=True)
    with pytest.raises(TypeError, match=r"np.add: .*would lose the gradient"):
        total += x
    np.testing.assert_array_equal(total, 0)
    total += x.detach()
    np.testing.assert_array_equal(total, 1)
    with pytest.raises(TypeError, match=r"np.add: tensors are not written to in place \(out=..\); hint: y = np.add"):
        np.add(total, 1, out=x)


@pytest.mark.parametrize(
    "write",
    [
        lambda y, x: np.copyto(y, x),
        lambda y, x: np.copyto(dst=y, src=x),
        lambda y, x: np.put(y, [0, 1, 2], x),
        lambda y, x: np.place(y, [True, False, True], x),
        lambda y, x: np.putmask(y, [True, False, True], x),
        lambda y, x: np.put_along_axis(y, np.array([2, 1, 0]), x, 0),
        lambda y, x: np.add.at(y, [0, 0, 1], x),
    ],
)
def test_what_writes_in_place_neither_writes_into_a_tensor_nor_takes_one_that_needs_a_gradient(write):
    ones = np.ones(3)
    for tensor in (ma.tensor(np.zeros(3)), ma.tensor(np.zeros(3), requires_grad=True), ma.tensor(np.zeros(3)) + 0.0):
        with pytest.raises(TypeError, match=r"^np\..*: tensors are not written to in place; hint: minattn.where"):
            write(tensor, ones)
        np.testing.assert_array_equal(tensor.data, 0)
    array = np.zeros(3)
    with pytest.raises(TypeError, match=r"^np\..*: what an array holds has no gradient; hint: x.detach()"):
        write(array, ma.tensor(ones, requires_grad=True))
    np.testing.assert_array_equal(array, 0)
    write(array, ma.tensor(ones))
    assert array.any()


def test_no_other_function_writes_into_a_tensor():
    x = ma.tensor(np.array([np.nan, 1.0]))
    with pytest.raises(TypeError, match=r"np.nan_to_num: tensors are not written to in place; hint"):
        np.nan_to_num(x, copy=False)
    with pytest.raises(TypeError, match=r"np.fill_diagonal: tensors are not written to in place; hint"):
        np.fill_diagonal(ma.tensor(np.zeros((2, 2))), 1)
    np.testing.assert_array_equal(np.nan_to_num(x), [0, 1])
    assert not np.rot90(ma.tensor(np.zeros((2, 2)))).flags.writeable  # a view of the tensor's own numbers


def test_what_sees_values_and_has_no_gradient_to_lose():
    data = drawn()
    x = ma.tensor(data, requires_grad=True)
    assert np.allclose(x, data)
    assert np.array_equal(x, data)
    np.testing.assert_allclose(x, data)
    np.testing.assert_array_equal(x, data)
    np.testing.assert_equal(x, data)
    assert np.isfinite(x).all()
    assert not np.isnan(x).any()
    assert np.any(x)
    assert np.count_nonzero(x) == 12
    assert np.iscomplexobj(x) is False
    np.testing.assert_array_equal(np.argsort(x), np.argsort(data))
    np.testing.assert_array_equal(np.where(x), np.where(data))
    np.testing.assert_array_equal(np.zeros_like(x), np.zeros_like(data))
    assert np.array2string(x) == np.array2string(data)
    assert type(np.asarray(x)) is np.ndarray


def results(function, x):
    """What comes of calls with a tensor here or there among the arguments: results, and TypeErrors."""
    for args in ((x,), (x, x), (x, 1), (x, 0, 1), (x, x, x), ("ij,ij->i", x, x)):
        try:
            yield function(*args)
        except TypeError as error:
            yield error
        except Exception:  # other arguments that do not fit
            yield None


SAVES = (np.save, np.savez, np.savez_compressed, np.savetxt)
"""They give nothing back."""


@pytest.mark.filterwarnings("ignore")
def test_no_function_of_numpy_gives_a_plain_array_where_a_gradient_is_needed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where one that writes files may do so
    dispatched = [f for f in vars(np).values() if hasattr(f, "_implementation")]
    dispatched += [f for f in vars(np.linalg).values() if hasattr(f, "_implementation")]
    of_numpy = [f for f in vars(np).values() if isinstance(f, np.ufunc)]
    methods = [getattr(f, m) for f in of_numpy if f.nin == 2 for m in ("reduce", "accumulate", "outer")]
    assert len(dispatched) > 200
    assert len(of_numpy) > 90
    refused = set()
    for function in {*dispatched, *of_numpy, *methods} - {*WRITES, *SAVES, np.zeros_like, np.ones_like, np.empty_like}:
        for result in results(function, ma.tensor(np.abs(drawn()), requires_grad=True)):
            if isinstance(result, TypeError) and "would lose the gradient" in str(result):
                assert re.search(r"^np\.[\w.]+: .*; hint: .", str(result))
                refused.add(str(result).split(":")[0].removeprefix("np."))
            elif not isinstance(result, TypeError):
                plain = [part for part in all_of(result) if not isinstance(part, ma.Tensor)]
                assert not [part for part in plain if np.asarray(part).dtype.kind in "fc"], function
    assert USE.keys() - refused <= {
        "choose",
        "select",
        "piecewise",
        "vstack",
        "hstack",
        "dstack",
        "column_stack",
        "block",
    }


# ---------------------------------------------------------------------------------------------- devices
def test_on_a_gpu(gpu):
    x = ma.tensor(drawn(), requires_grad=True, device=gpu.device)
    y = np.sum(np.concatenate([np.exp(x), x]), axis=0)
    assert y.device.startswith("cuda")
    np.testing.assert_allclose(y.numpy(), np.exp(drawn()).sum(0) + drawn().sum(0))
    assert np.shape(x) == (3, 4)
    with pytest.raises(DeviceError, match="not converted silently; hint"):
        np.percentile(x, 3)
