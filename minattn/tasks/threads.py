"""The number of BLAS threads while a task runs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from minattn.errors import ConfigError, MissingDependencyError

VARIABLE = "MINATTN_BLAS_THREADS"


@contextmanager
def blas_threads() -> Iterator[None]:
    """Within the block, or the function it decorates, BLAS uses one thread; afterwards as many as before.

    The products of a small model gain little from a second thread, and where any other program wants the second core
    they lose nearly everything: BLAS threads wait for each other by spinning (measured: 9,800 tokens a second with
    one thread, 370 with two beside a test run).  The environment variable MINATTN_BLAS_THREADS sets another number;
    0 leaves BLAS as it is.  The threads of `autograd/blocks.py` (MINATTN_THREADS) are others: they come with arrays of
    a million numbers, which the tasks do not have, and sleep instead of spinning.

    Raises ConfigError where the variable is no such number, MissingDependencyError without threadpoolctl.
    """
    wanted = os.environ.get(VARIABLE, "1")
    if not (wanted.isdecimal() and len(wanted) < 5):
        raise ConfigError(
            f"{VARIABLE} must be a number of threads up to 9999, or 0 to leave BLAS as it is; got {wanted[:40]!r}; "
            "hint: 1 or 2"
        )
    try:
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise MissingDependencyError(
            "setting the number of threads needs threadpoolctl, which is not installed: pip install 'minattn[train]'"
        ) from error
    with threadpool_limits(limits=int(wanted) or None, user_api="blas"):
        yield
