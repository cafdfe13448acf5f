"""What an op costs besides its arithmetic: a chain of 999 ops on 8 numbers, forward and backward, in nanoseconds an op.

    python benchmarks/op_overhead.py

Compared in the same run, round by round, with the same arithmetic in bare NumPy (no graph, gradient written out) and,
where it is installed, with PyTorch on one thread.  Processor time is taken, not wall time, so that other programs on
the machine disturb less; the ratios are what counts.
"""

import statistics
from collections.abc import Callable
from time import process_time

import numpy as np

import minattn as ma

LINKS, ROUNDS = 333, 60
rng = np.random.default_rng(0)
X, W, B = (rng.standard_normal(8).astype(np.float32) for _ in range(3))
ONES = np.ones(8, np.float32)


def numpy_chain() -> None:
    """x <- tanh(x w + b), and its gradient by w and b, without any machinery."""
    x, saved = X, []
    for _ in range(LINKS):
        y = np.tanh(x * W + B)
        saved.append((x, y))
        x = y
    g, g_w, g_b = ONES, np.zeros_like(W), np.zeros_like(B)
    for x, y in reversed(saved):
        d = g * (1 - y * y)
        g_b += d
        g_w += d * x
        g = d * W


def minattn_chain() -> None:
    """The same through minattn's engine."""
    x, w, b = ma.tensor(X), ma.tensor(W, requires_grad=True), ma.tensor(B, requires_grad=True)
    for _ in range(LINKS):
        x = ma.tanh(x * w + b)
    x.backward(ONES)


def torch_chain() -> Callable[[], None] | None:
    """The same through PyTorch, or None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)

    def chain() -> None:
        x = torch.from_numpy(X)
        w, b = (torch.tensor(a, requires_grad=True) for a in (W, B))
        for _ in range(LINKS):
            x = torch.tanh(x * w + b)
        x.backward(torch.from_numpy(ONES))

    return chain


def main() -> None:
    """Time the chains in turn and print the medians and the ratios."""
    chains = {"NumPy, no graph": numpy_chain, "minattn": minattn_chain}
    by_torch = torch_chain()
    if by_torch is not None:
        chains["PyTorch"] = by_torch
    times: dict[str, list[float]] = {name: [] for name in chains}
    for _ in range(ROUNDS):
        for name, chain in chains.items():
            started = process_time()
            chain()
            times[name].append((process_time() - started) / (3 * LINKS) * 1e9)
    for name, taken in times.items():
        ratios = [other / own for other, own in zip(times["minattn"], taken, strict=True)]
        median, ratio = statistics.median(taken), statistics.median(ratios)
        print(f"{name:18} {median:8.0f} ns an op, minattn takes {ratio:.2f} times as long")


if __name__ == "__main__":
    main()
