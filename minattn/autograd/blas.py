"""The number of threads that BLAS computes a matrix product with, while threads of ours call products.

The cores belong to one pool of threads at a time.  BLAS shares a product among threads of its own, which wait for one
another by spinning; threads of ours share what is made of many products, the blocks of a convolution and the parts of a
batch.  While they do, BLAS computes each product in the thread that calls it.

It is told so by OpenBLAS's own functions, those of the copy that NumPy is linked to.  (threadpoolctl would serve, but
lets one thread of the process alone set a number, and does nothing for others without a word.)
"""

import ctypes
import functools
import importlib
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

OPENMP = 2  # openblas_get_parallel()

_lock = threading.Lock()
_holders = 0
_before = 1


@contextmanager
def one_blas_thread() -> Iterator[bool]:
    """Within the block NumPy's BLAS uses one thread, whichever thread calls it; True if it does.

    False for any other BLAS than OpenBLAS, and for one with threads of OpenMP, whose number each caller sets for
    itself.  Blocks of several threads may overlap: BLAS has its threads again when the last ends.
    """
    global _holders, _before
    functions = _openblas()
    if functions is None:
        yield False
        return
    get_number, set_number = functions
    with _lock:
        if not _holders:
            _before = get_number()
            set_number(1)
        _holders += 1
    try:
        yield True
    finally:
        with _lock:
            _holders -= 1
            if not _holders:
                set_number(_before)


@functools.cache
def has_small_products() -> bool:
    """Whether this is an OpenBLAS with kernels that multiply small matrices where they lie, without rearranging them.

    It has them for AVX-512, whatever the processor's name; any other BLAS is taken to have none.
    """
    name = _function("get_corename")
    if name is None:
        return False
    name.restype = ctypes.c_char_p
    return name().lower() in (b"skylakex", b"cooperlake", b"sapphirerapids")


@functools.cache
def _openblas() -> tuple[Callable[[], int], Callable[[int], Any]] | None:
    """The functions that get and set the number of threads, or None where there are no such functions."""
    get_number, set_number, layer = map(_function, ("get_num_threads", "set_num_threads", "get_parallel"))
    return None if not (get_number and set_number and layer) or layer() == OPENMP else (get_number, set_number)


def _function(name: str) -> Any:
    """A function of NumPy's OpenBLAS, or None."""
    module = importlib.import_module("numpy._core._multiarray_umath")
    library = ctypes.CDLL(module.__file__)  # finds functions in what it is linked to as well
    names = itertools.product(("scipy_", ""), ("64_", "_64", ""))  # those of PyPI's copy, and of others
    found = (getattr(library, f"{prefix}openblas_{name}{suffix}", None) for prefix, suffix in names)
    return next(filter(None, found), None)
