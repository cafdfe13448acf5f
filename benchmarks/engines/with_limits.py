"""What no library can beat on this machine: its matrix products and its copies.  No engine; NumPy alone."""

import numpy as np

SIZE = 1024
MEBIBYTES = 64


def version() -> str:
    return np.__version__


def gemm(threads):
    """A product of two (1024, 1024) matrices in float32: 2 * 1024^3 floating-point operations."""
    rng = np.random.RandomState(0)
    a, b = (rng.standard_normal((SIZE, SIZE)).astype(np.float32) for _ in range(2))
    out = np.empty_like(a)

    def step():
        np.matmul(a, b, out)
        return float(out[0, 0])

    return step


def copy(threads):
    """An array of 64 MiB copied to another: 128 MiB of memory read or written."""
    source = np.ones(MEBIBYTES * 2**20 // 4, np.float32)
    target = np.empty_like(source)

    def step():
        np.copyto(target, source)
        return float(target[-1])

    return step


WORKLOADS = {"gemm": gemm, "copy": copy}
CANNOT: dict[str, str] = {}
