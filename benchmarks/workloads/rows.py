"""W8: softmax, layer norm and GELU of the rows of a matrix, forward and backward."""

from functools import partial

import numpy as np

from benchmarks.inputs import Arrays, normal
from benchmarks.workload import ENGINES, NEEDS_ADAM, NEEDS_IMAGES, Limit, Workload

ROWS, COLUMNS = 4096, 1024
PASSES = 5  # over the array: forward reads x and writes y; backward reads g and either x or y, and writes dx
ELEMENT = (1234, 567)  # the element of the gradient that a step returns in place of a loss


def arrays(function: str) -> tuple[Arrays, np.ndarray]:
    """x (4096, 1024), with weight and bias (1024) of the layer norm, and the upstream gradient g."""
    rng = np.random.RandomState(8)
    x, g = normal(rng, ROWS, COLUMNS), normal(rng, ROWS, COLUMNS)
    affine = {"weight": 1 + normal(rng, COLUMNS) / 10, "bias": normal(rng, COLUMNS) / 10}
    return {"x": x} | (affine if function == "layer_norm" else {}), g


def over_rows(e, function):
    inputs, g = arrays(function)

    def apply(p):
        return getattr(e, function)(*(p[name] for name in inputs))

    return e.pulled_back(apply, inputs, g, {"x": ELEMENT})


def workload(name: str, title: str, function: str) -> Workload:
    return Workload(
        name,
        title,
        f"{title} of each row of ({ROWS}, {COLUMNS}), forward and backward with a fixed upstream gradient",
        dict.fromkeys(ENGINES, partial(over_rows, function=function)),
        {"torch-fused": NEEDS_ADAM, "torch-channels-last": NEEDS_IMAGES},
        Limit.COPY,
        4.0 * PASSES * ROWS * COLUMNS,
    )


WORKLOADS = [
    workload("W8-softmax", "softmax", "softmax"),
    workload("W8-layernorm", "layer norm", "layer_norm"),
    workload("W8-gelu", "GELU", "gelu"),
]
