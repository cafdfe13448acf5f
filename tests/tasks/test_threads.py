"""BLAS uses one thread while a recipe runs, and what it used before afterwards."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from minattn.errors import ConfigError
from minattn.tasks.threads import VARIABLE, blas_threads

np.ones((2, 2)) @ np.ones((2, 2))  # makes sure that a BLAS is loaded


def threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with threadpool_limits(limits=2, user_api="blas"):
        yield


def test_one_thread_within_and_the_old_number_after():
    before = threads()
    with blas_threads():
        assert threads() == {1}
    assert threads() == before


@pytest.mark.parametrize("wanted", ["2", "0"])
def test_the_environment_has_the_last_word(monkeypatch, wanted):
    before = threads()
    monkeypatch.setenv(VARIABLE, wanted)
    with blas_threads():
        assert threads() == before


def test_a_function_can_be_decorated():
    assert blas_threads()(threads)() == {1}


def test_nonsense_is_refused(monkeypatch):
    monkeypatch.setenv(VARIABLE, "many")
    with pytest.raises(ConfigError, match=r"MINATTN_BLAS_THREADS must be a number of threads.*'many'"), blas_threads():
        pass
