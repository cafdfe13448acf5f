"""What a piece of array code would cost on a GPU, counted, and contexts that forbid the costly part.

Launches are rough: one for every call that computes something, although a few (var) take CuPy several
kernels. Good for a budget ("a step launches at most 150 kernels and never waits"), not as a stopwatch.
"""

import collections
import contextlib


class Stats:
    """Counts since the last reset().

    launches: calls that run a kernel
    copies:   those of them that only move data (reshape of a transposed array)
    syncs:    waits for the device (reading a number, a boolean mask, nonzero)
    h2d:      copies from host to device
    by_name:  launches by function name
    """

    def __init__(self):
        self.reset()

    def reset(self):
        self.launches = self.copies = self.syncs = self.h2d = 0
        self.by_name = collections.Counter()

    def __repr__(self):
        return f"<{self.launches} launches ({self.copies} copies), {self.syncs} syncs, {self.h2d} h2d>"


stats = Stats()
_forbidden = {"sync": False, "capture": False}


@contextlib.contextmanager
def _forbid(what):
    before = _forbidden[what]
    _forbidden[what] = True
    try:
        yield
    finally:
        _forbidden[what] = before


def no_sync():
    """Inside, whatever would wait for the device raises RuntimeError."""
    return _forbid("sync")


def capturing():
    """Inside, what CuPy refuses while it captures a CUDA graph raises: waits, copies to it, cuBLAS."""
    return _forbid("capture")


def count_launch(name, copy=False):
    stats.launches += 1
    stats.copies += copy
    stats.by_name[name] += 1


def count_sync(what):
    if _forbidden["capture"]:
        raise RuntimeError(f"{what} waits for the device: refused while capturing a graph")
    if _forbidden["sync"]:
        raise RuntimeError(f"{what} waits for the device: refused inside no_sync()")
    stats.syncs += 1


def count_h2d(what):
    if _forbidden["capture"]:
        raise RuntimeError(f"{what} copies from host to device: refused while capturing a graph")
    stats.h2d += 1


def check_blas(name):
    if _forbidden["capture"]:
        raise NotImplementedError(f"{name} calls cuBLAS, which CuPy refuses while capturing a graph")
