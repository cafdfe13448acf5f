"""What the fake counts, and what it refuses inside no_sync() and capturing()."""

import math
import operator
import pickle

import numpy as np
import pytest

import fakecupy
from fakecupy.samples import BATCH, FIVE, HOST, MASK, X, Y, cp, device, indices, special


def counted(call):
    """(launches, copies, syncs, h2d) of a call."""
    fakecupy.stats.reset()
    call()
    stats = fakecupy.stats
    return stats.launches, stats.copies, stats.syncs, stats.h2d


COUNTS = {
    "x + y": (lambda: X + Y, (1, 0, 0, 0)),
    "x += 1": (lambda: operator.iadd(X.copy(), 1), (2, 1, 0, 0)),
    "sum": (lambda: X.sum(0), (1, 0, 0, 0)),
    "x @ y": (lambda: X @ Y.T, (1, 0, 0, 0)),
    "batched product": (lambda: BATCH @ BATCH.swapaxes(1, 2), (2, 1, 0, 0)),
    "views": (lambda: (X.T, X[1], X.reshape(20), X[None], cp.broadcast_to(X, (2, 4, 5))), (0, 0, 0, 0)),
    "reshape that copies": (lambda: X.T.reshape(20), (1, 1, 0, 0)),
    "copy": (lambda: X.copy(), (1, 1, 0, 0)),
    "cast": (lambda: X.astype("f8"), (1, 0, 0, 0)),
    "no cast": (lambda: X.astype("f4", copy=False), (0, 0, 0, 0)),
    "zeros": (lambda: cp.zeros(3), (1, 0, 0, 0)),
    "empty": (lambda: cp.empty(3), (0, 0, 0, 0)),
    "gather": (lambda: X[indices(0, 1)], (1, 0, 0, 0)),
    "scatter": (lambda: cp.add.at(cp.zeros(3), indices(0, 1), 1.0), (1, 0, 0, 0)),
    "assignment": (lambda: X.copy().__setitem__(0, 1.0), (2, 1, 0, 0)),
    "nothing to compute": (lambda: X[:0] + 1.0, (0, 0, 0, 0)),
    "where": (lambda: cp.where(MASK, X, 0.0), (1, 0, 0, 0)),
    "get": (lambda: X.get(), (0, 0, 1, 0)),
    "item": (lambda: FIVE.item(), (0, 0, 1, 0)),
    "float, int, bool, complex": (lambda: (float(FIVE), int(FIVE), bool(FIVE), complex(FIVE)), (0, 0, 4, 0)),
    "math.sqrt": (lambda: math.sqrt(FIVE), (0, 0, 1, 0)),
    "if": (lambda: 1 if FIVE else 0, (0, 0, 1, 0)),
    "tolist, tobytes": (lambda: (X.tolist(), X.tobytes()), (0, 0, 2, 0)),
    "print": (lambda: (repr(X), str(X), f"{FIVE:3d}"), (0, 0, 3, 0)),
    "pickle": (lambda: pickle.dumps(X), (0, 0, 1, 0)),
    "max() of Python": (lambda: max(X[0, 0], X[0, 1]), (1, 0, 1, 0)),
    "asnumpy": (lambda: cp.asnumpy(X), (0, 0, 1, 0)),
    "mask": (lambda: X[MASK], (1, 0, 1, 0)),
    "mask assignment": (lambda: X.copy().__setitem__(MASK, 0.0), (2, 1, 1, 0)),
    "nonzero": (lambda: cp.nonzero(X), (2, 0, 1, 0)),
    "where(mask)": (lambda: cp.where(MASK), (2, 0, 1, 0)),
    "unique": (lambda: cp.unique(X), (1, 0, 1, 0)),
    "logsumexp": (lambda: special.logsumexp(X, 1), (1, 0, 1, 0)),
    "softmax": (lambda: special.softmax(X, 1), (1, 0, 0, 0)),
    "synchronize": (lambda: cp.cuda.Device().synchronize(), (0, 0, 1, 0)),
    "stream": (lambda: cp.cuda.get_current_stream().synchronize(), (0, 0, 1, 0)),
    "asarray of NumPy": (lambda: cp.asarray(HOST), (0, 0, 0, 1)),
    "asarray of a number": (lambda: cp.asarray(1.0), (0, 0, 0, 1)),
    "asarray of a device array": (lambda: cp.asarray(X), (0, 0, 0, 0)),
    "array of device arrays": (lambda: cp.array([X, Y]), (1, 0, 0, 0)),
    "index list": (lambda: X[[0, 1]], (1, 0, 0, 1)),
    "index of NumPy": (lambda: X[np.array([0, 1])], (1, 0, 0, 1)),
    "take by a list": (lambda: cp.take(X, [0, 1], 0), (1, 0, 0, 1)),
    "windows": (lambda: cp.lib.stride_tricks.sliding_window_view(X, 2, 1), (0, 0, 1, 1)),
    "strides": (lambda: cp.lib.stride_tricks.as_strided(X, (2, 2), (4, 4)), (0, 0, 0, 0)),
}


@pytest.mark.parametrize("case", COUNTS)
def test_counts(case):
    call, expected = COUNTS[case]
    assert counted(call) == expected


def test_launches_are_counted_by_name():
    _ = X + Y + Y
    assert fakecupy.stats.by_name == {"add": 2}
    assert "2 launches" in repr(fakecupy.stats)
    fakecupy.stats.reset()
    assert not fakecupy.stats.by_name


WAITING = [case for case, (_, expected) in COUNTS.items() if expected[2]]
COPYING = [case for case, (_, expected) in COUNTS.items() if expected[3]]


@pytest.mark.parametrize("case", WAITING)
def test_no_sync_refuses_what_waits(case):
    with fakecupy.no_sync(), pytest.raises(RuntimeError, match=r"refused inside no_sync\(\)"):
        COUNTS[case][0]()
    COUNTS[case][0]()


def test_no_sync_allows_the_rest():
    free = [call for call, expected in COUNTS.values() if not expected[2]]
    with fakecupy.no_sync():
        for call in free:
            call()
    assert fakecupy.stats.syncs == 0


def test_a_refused_mask_assignment_changes_nothing():
    x = device(4, 5)
    before = x.get()
    with fakecupy.no_sync(), pytest.raises(RuntimeError, match="mask"):
        x[x > 0] = 0.0
    np.testing.assert_array_equal(x.get(), before)


@pytest.mark.parametrize("case", sorted({*WAITING, *COPYING}))
def test_capturing_refuses_waiting_and_copying_from_the_host(case):
    with fakecupy.capturing(), pytest.raises(RuntimeError, match="refused while capturing"):
        COUNTS[case][0]()


@pytest.mark.parametrize(
    "product",
    [
        lambda: X @ Y.T,
        lambda: cp.matmul(X, Y.T),
        lambda: cp.dot(X, Y.T),
        lambda: X.dot(Y.T),
        lambda: cp.einsum("ij,kj", X, Y),
        lambda: cp.tensordot(X, Y, 2),
        lambda: cp.inner(X, Y),
        lambda: cp.outer(X, Y),
        lambda: cp.vdot(X, Y),
    ],
)
def test_capturing_refuses_cublas(product):
    product()
    with fakecupy.capturing(), pytest.raises(NotImplementedError, match="cuBLAS"):
        product()


def test_capturing_allows_kernels():
    with fakecupy.capturing():
        assert (X + Y).sum(0).shape == (5,)
        cp.add.at(cp.zeros(3), cp.zeros(2, int), 1.0)


def test_the_contexts_nest_and_end_with_an_error():
    with fakecupy.no_sync():
        with pytest.raises(KeyError), fakecupy.no_sync():
            raise KeyError
        with pytest.raises(RuntimeError, match="no_sync"):
            X.get()
    X.get()
