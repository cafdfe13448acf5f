"""BLAS computes with one thread while threads of ours call products, and with as many as before afterwards."""

import ctypes
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from minattn.autograd import blas, blocks
from minattn.autograd.blas import one_blas_thread

np.ones((2, 2)) @ np.ones((2, 2))  # makes sure that a BLAS is loaded
WHAT = ("get_num_threads", "set_num_threads", "get_parallel")
HELD = any(pool["prefix"] == "libscipy_openblas" and "numpy.libs" in pool["filepath"] for pool in threadpool_info())


@pytest.fixture
def number():
    """The number of threads of a BLAS that has 4, by the two functions."""
    of_blas = SimpleNamespace(now=4)
    functions = (lambda: of_blas.now, lambda number: setattr(of_blas, "now", number))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blas, "_openblas", lambda: functions)
        yield lambda: of_blas.now


def test_one_thread_within_and_as_many_as_before_afterwards(number):
    with one_blas_thread() as held:
        assert held
        assert number() == 1
    assert number() == 4
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        raise ZeroDivisionError
    assert number() == 4


def test_blocks_of_several_threads_overlap(number):
    inside, leave = threading.Event(), threading.Event()

    def other():
        with one_blas_thread():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with one_blas_thread():
        thread.start()
        inside.wait()
    assert number() == 1
    leave.set()
    thread.join()
    assert number() == 4


@pytest.mark.skipif(not HELD, reason="not the NumPy of PyPI")
def test_the_openblas_of_numpy_is_held_by_any_thread():
    get_number, set_number = blas._openblas()
    before = get_number()
    set_number(2)
    seen = []

    def other():
        with one_blas_thread() as held:
            seen.extend([held, get_number()])

    try:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert [*seen, get_number()] == [True, 1, 2]
    finally:
        set_number(before)


@pytest.mark.parametrize(
    "library",
    [
        {},
        {"openblas_get_num_threads": lambda: 4, "openblas_set_num_threads": lambda n: None},
        {
            f"openblas_{name}64_": lambda *n: blas.OPENMP
            for name in ("get_num_threads", "set_num_threads", "get_parallel")
        },
    ],
    ids=["another BLAS", "no word of its threads", "OpenMP"],
)
def test_a_blas_that_cannot_be_told_is_not_held(monkeypatch, library):
    monkeypatch.setattr(ctypes, "CDLL", lambda path: SimpleNamespace(**library))
    blas._openblas.cache_clear()
    blas.has_small_products.cache_clear()
    with one_blas_thread() as held:
        assert not held
    assert not blas.has_small_products()
    blas._openblas.cache_clear()
    blas.has_small_products.cache_clear()


@pytest.mark.skipif(not HELD, reason="not the NumPy of PyPI")
def test_the_kernels_of_openblas_are_known():
    for pool in threadpool_info():
        if "numpy.libs" in pool["filepath"]:
            known = {"SkylakeX": True, "Cooperlake": True, "SapphireRapids": True}
            assert blas.has_small_products() == known.get(pool["architecture"], False)


def test_products_of_blocks_have_one_thread_and_are_shared_only_where_that_holds(monkeypatch, number):
    monkeypatch.setattr(blocks, "threads", lambda: 2)
    shared, seen = [], []
    monkeypatch.setattr(blocks, "_share", lambda work, count: (shared.append(count), work()))
    work = lambda item: seen.append((item, number()))  # noqa: E731
    blocks.for_each(work, range(3), share=True, products=True)
    blocks.for_each(work, range(3), share=True)
    blocks.for_each(work, range(3), share=False, products=True)
    with blocks.one_thread():
        blocks.for_each(work, range(3), share=True, products=True)
    monkeypatch.setattr(blas, "_openblas", lambda: None)
    blocks.for_each(work, range(3), share=True, products=True)
    assert shared == [2, 2, 1, 1, 1]
    assert seen == [(item, number) for number in (1, 4, 1, 1, 4) for item in range(3)]
