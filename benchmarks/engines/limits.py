"""The limits of this machine: its matrix products and its copies.  No engine; NumPy alone."""

import numpy as np

from benchmarks.workload import COPY_BYTES, GEMM_SIZE


def gemm():
    """A product of two (1024, 1024) matrices in float32: 2 * 1024^3 floating-point operations."""
    rng = np.random.RandomState(0)
    a, b = (rng.standard_normal((GEMM_SIZE, GEMM_SIZE)).astype(np.float32) for _ in range(2))
    out = np.empty_like(a)

    def step():
        np.matmul(a, b, out)
        return float(out[0, 0])

    return step


def copy():
    """An array of 64 MiB copied to another: 128 MiB of memory read or written."""
    source = np.ones(COPY_BYTES // 4, np.float32)
    target = np.empty_like(source)

    def step():
        np.copyto(target, source)
        return float(target[-1])

    return step
