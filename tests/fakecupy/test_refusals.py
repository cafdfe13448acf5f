"""What the fake refuses: all that CuPy refuses, and what CuPy would do differently without a word."""

import math
import operator

import numpy as np
import pytest

from fakecupy.samples import FIVE, HOST, MASK, X, Y, cp, indices, special

windows = cp.lib.stride_tricks.sliding_window_view

REFUSED = {
    # no implicit way to NumPy
    "np.asarray": (lambda: np.asarray(X), TypeError, "Implicit conversion"),
    "np.array of a list of them": (lambda: np.array([X, X]), TypeError, "Implicit conversion"),
    "list of arrays and numbers": (lambda: cp.array([X[0, 0], 1.0]), TypeError, "Implicit conversion"),
    "a NumPy function CuPy lacks": (lambda: np.insert(X, 0, 0), TypeError, "no implementation"),
    "a NumPy ufunc CuPy lacks": (lambda: np.spacing(X), TypeError, "returned NotImplemented"),
    "np.add.reduce": (lambda: np.add.reduce(X), TypeError, "returned NotImplemented"),
    # no mixing with NumPy arrays
    "x + numpy": (lambda: X + HOST, TypeError, "Unsupported type"),
    "numpy + x": (lambda: HOST + X, TypeError, "Unsupported type"),
    "x @ numpy": (lambda: X @ HOST.T, TypeError, "numpy.ndarray"),
    "numpy @ x": (lambda: HOST.T @ X, TypeError, "numpy.ndarray"),
    "x += numpy": (lambda: operator.iadd(X.copy(), HOST), TypeError, "Unsupported type"),
    "numpy += x": (lambda: operator.iadd(HOST.copy(), X), TypeError, "Unsupported type"),
    "x + 0-d numpy": (lambda: X + np.array(1.0), TypeError, "Unsupported type"),
    "x == 0-d numpy": (lambda: operator.eq(X, np.array(1.0)), TypeError, "Unsupported type"),
    "x + list": (lambda: X + [1.0] * 5, TypeError, "Unsupported type"),
    "x == None": (lambda: X == None, TypeError, "NoneType"),  # noqa: E711
    "maximum(x, numpy)": (lambda: cp.maximum(X, HOST), TypeError, "Unsupported type"),
    "where(mask, x, numpy)": (lambda: cp.where(MASK, X, HOST), TypeError, "numpy.ndarray"),
    "where(True, x, y)": (lambda: cp.where(True, X, Y), TypeError, "condition"),
    "concatenate with numpy": (lambda: cp.concatenate([X, HOST]), TypeError, "numpy.ndarray"),
    "sum of numpy": (lambda: cp.sum(HOST), TypeError, "numpy.ndarray"),
    "clip by numpy": (lambda: cp.clip(X, HOST, None), TypeError, "numpy.ndarray"),
    "out=numpy in a ufunc": (lambda: cp.add(X, Y, out=HOST), TypeError, "out="),
    "out=numpy in a reduction": (lambda: cp.sum(X, 0, out=HOST[0]), TypeError, "numpy.ndarray"),
    "einsum with numpy": (lambda: cp.einsum("ij,ij", X, HOST), TypeError, "numpy.ndarray"),
    "x[0] = numpy row": (lambda: X.__setitem__(0, HOST[0]), TypeError, "ndarray"),
    "x[0] = list": (lambda: X.__setitem__(0, [1.0] * 5), TypeError, "list"),
    "add.at with numpy values": (lambda: cp.add.at(X, indices(0), HOST[0]), TypeError, "ndarray"),
    "fill(device array)": (lambda: X.fill(FIVE), TypeError, "fill"),
    # no where=, no initial=, no unknown keywords
    "ufunc where=": (lambda: cp.add(X, Y, where=MASK), TypeError, "where"),
    "NumPy's ufunc where=": (lambda: np.add(X, Y, where=MASK), TypeError, "where"),
    "sum(where=)": (lambda: cp.sum(X, where=MASK), TypeError, "where"),
    ".sum(where=)": (lambda: X.sum(where=MASK), TypeError, "where"),
    "max(initial=)": (lambda: cp.max(X, initial=0), TypeError, "initial"),
    ".max(initial=)": (lambda: X.max(initial=0), TypeError, "initial"),
    "mean(where=)": (lambda: cp.mean(X, where=MASK), TypeError, "where"),
    "std(correction=)": (lambda: cp.std(X, correction=1), TypeError, "correction"),
    "take(mode=)": (lambda: cp.take(X, indices(0), mode="clip"), TypeError, "mode"),
    "arange(device=)": (lambda: cp.arange(3, device="cpu"), TypeError, "device"),
    "asarray(like=)": (lambda: cp.asarray([1.0], like=X), TypeError, "like"),
    "concatenate(arrays=)": (lambda: cp.concatenate(arrays=[X, X]), TypeError, "arrays"),
    "reshape(shape=)": (lambda: cp.reshape(X, shape=(5, 4)), TypeError, "shape"),
    "sort(stable=)": (lambda: cp.sort(X, stable=True), TypeError, "stable"),
    "einsum(out=)": (lambda: cp.einsum("ij->j", X, out=X[0]), TypeError, "out"),
    "too many arguments": (lambda: cp.sum(X, 0, None, None, True, 1), TypeError, "positional"),
    "argmax by position": (lambda: cp.argmax(X, 1, None, None), TypeError, "order of parameters"),
    "astype(casting=)": (lambda: X.astype("f8", casting="safe"), TypeError, "casting"),
    "array(subok=True)": (lambda: cp.array(X, subok=True), NotImplementedError, "subok"),
    "asarray(numpy, copy=False)": (lambda: cp.asarray(HOST, copy=False), ValueError, "copied"),
    "writeable windows": (lambda: windows(X, 2, 1, writeable=True), NotImplementedError, "writeable"),
    # names
    "block": (lambda: cp.block, AttributeError, "cupy 14.* has no attribute"),
    "insert": (lambda: cp.insert, AttributeError, "no attribute"),
    "frompyfunc": (lambda: cp.frompyfunc, AttributeError, "no attribute"),
    "vecdot": (lambda: cp.vecdot, AttributeError, "no attribute"),
    "linalg.vector_norm": (lambda: cp.linalg.vector_norm, AttributeError, "no attribute"),
    "x.setflags": (lambda: X.setflags(write=False), AttributeError, "no attribute"),
    "x.to_device": (lambda: X.to_device, AttributeError, "no attribute"),
    "x.__array_namespace__": (lambda: X.__array_namespace__(), AttributeError, "no attribute"),
    "no stand-in": (lambda: cp.fuse, AttributeError, "no stand-in"),
    "no stand-in of a method": (lambda: X.toDlpack, AttributeError, "no stand-in"),
    "flags.writeable": (lambda: X.flags.writeable, AttributeError, "writeable"),
    "flags.writeable = False": (lambda: setattr(X.flags, "writeable", False), AttributeError, "writeable"),
    "x.name = ...": (lambda: setattr(X, "name", "x"), AttributeError, "name"),
    "x.shape = ...": (lambda: setattr(X, "shape", (20,)), AttributeError, "shape"),
    # ufunc methods
    "maximum.reduce": (lambda: cp.maximum.reduce(X), NotImplementedError, "maximum.reduce"),
    "maximum.accumulate": (lambda: cp.maximum.accumulate(X), NotImplementedError, "maximum.accumulate"),
    "multiply.at": (lambda: cp.multiply.at(X, indices(0), 2.0), NotImplementedError, "multiply.at"),
    "subtract.at of float": (lambda: cp.subtract.at(X, indices(0), 1.0), TypeError, "int32, uint32"),
    "add.at of int8": (lambda: cp.add.at(cp.zeros(3, "i1"), indices(0), 1), TypeError, "int8"),
    "add.at of complex": (lambda: cp.add.at(cp.zeros(3, "c8"), indices(0), 1), TypeError, "complex64"),
    "add.at of float into int": (lambda: cp.add.at(cp.zeros(3, "i4"), indices(0), 1.5), TypeError, "cast"),
    # dtypes
    "objects": (lambda: cp.asarray(np.array([None, 1])), ValueError, "Unsupported dtype"),
    "strings": (lambda: cp.asarray(["a"]), ValueError, "Unsupported dtype"),
    "long double": (lambda: cp.zeros(3, np.longdouble), ValueError, "Unsupported dtype"),
    "erf of complex": (lambda: special.erf(cp.ones(3, "c16")), TypeError, "Wrong type .complex128"),
    "logical_and of complex": (lambda: cp.logical_and(cp.ones(3, "c8"), True), TypeError, "Wrong type"),
    "float + into int": (lambda: operator.iadd(cp.ones(3, "i4"), cp.ones(3)), TypeError, "cast"),
    # no Python protocols that would need the value
    "range(x)": (lambda: range(FIVE), TypeError, "integer"),
    "list index": (lambda: [1, 2][FIVE], TypeError, "indices"),
    "slice by x": (lambda: X[: X[0, 0]], TypeError, "indices"),
    "reshape by x": (lambda: X.reshape(FIVE, 4), TypeError, "__index__"),
    "zeros(x)": (lambda: cp.zeros(FIVE), TypeError, "__index__"),
    "zeros((x, 2))": (lambda: cp.zeros((FIVE, 2)), TypeError, "__index__"),
    "in": (lambda: 1.0 in X, TypeError, "container"),
    "hash": (lambda: hash(X), TypeError, "hash"),
    "@=": (lambda: operator.imatmul(X.copy(), X.T), TypeError, "@="),
    "prod of a shape": (lambda: cp.prod((3, 4)), TypeError, "tuple"),
    "sum of a number": (lambda: cp.sum(3.0), TypeError, "float"),
    "iteration over 0-d": (lambda: iter(FIVE), TypeError, "0-d"),
    "x[True]": (lambda: X[True], IndexError, "bool"),
    "x[1.0]": (lambda: X[1.0], IndexError, "float"),
    "device pointers": (lambda: cp.ndarray((3,), memptr=0), TypeError, "pointer"),
    "another device": (lambda: cp.cuda.Device(1).use(), cp.cuda.runtime.CUDARuntimeError, "ordinal"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_what_cupy_refuses(case):
    call, error, message = REFUSED[case]
    before = X.get()
    with pytest.raises(error, match=message):
        call()
    np.testing.assert_array_equal(X.get(), before)


def overlapping():
    x = cp.arange(6)
    x[1:] = x[:-1]


DIFFERENT = {
    "gather out of range": (lambda: X[indices(0, 4)], IndexError, "out of bounds"),
    "gather below range": (lambda: X[indices(-5)], IndexError, "out of bounds"),
    "take out of range": (lambda: cp.take(X, indices(5), 1), IndexError, "out of bounds"),
    "take_along_axis out of range": (
        lambda: cp.take_along_axis(X, indices([9]), 1),
        IndexError,
        "out of bounds",
    ),
    "assignment out of range": (lambda: X.__setitem__(indices(4), 0.0), IndexError, "out of bounds"),
    "add.at out of range": (lambda: cp.add.at(X, indices(4), 0.0), IndexError, "out of bounds"),
    "repeated indices": (lambda: X.__setitem__(indices(1, 1), Y[:2]), ValueError, "repeated"),
    "repeated pairs": (
        lambda: X.__setitem__((indices(1, -3), indices(2, 2)), Y[0, :2]),
        ValueError,
        "repeated",
    ),
    "repeated, negative": (lambda: X.__setitem__(indices(-1, 3), Y[:2]), ValueError, "repeated"),
    "put_along_axis repeated": (
        lambda: cp.put_along_axis(X, indices([1, 1]), Y[:1, :2], 1),
        ValueError,
        "repeated",
    ),
    "overlapping copy": (overlapping, ValueError, "overlaps"),
    "NaN to int": (lambda: cp.full(3, math.nan).astype(int), ValueError, "NaN"),
    "negative to unsigned": (lambda: cp.full(3, -1.0).astype("u1"), ValueError, "negative"),
    "writing to a broadcast view": (lambda: cp.broadcast_to(X, (2, 4, 5)).fill(0), ValueError, "read-only"),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_refuses_what_cupy_would_do_differently_without_a_word(case):
    call, error, message = DIFFERENT[case]
    with pytest.raises(error, match=message):
        call()
