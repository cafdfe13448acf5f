"""This kernel equals this equation: in its value, and in every gradient."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minattn.autograd import asnumpy
from minattn.testing.mismatch import GradientMismatch, require_close, tolerance
from minattn.testing.problem import Parameters, TensorProblem, or_zeros


def assert_equation(
    fast: Callable[..., Any],
    reference: Callable[..., Any],
    *inputs: Any,
    parameters: Parameters = None,
    upstream: Any = None,
    seed: int = 0,
    rtol: float | None = None,
    atol: float | None = None,
) -> None:
    """Raise GradientMismatch unless `fast` and `reference` have the same values and the same gradients.

    Both take one tensor for each of `inputs` and return a tensor or a tuple of tensors.  The reference is evaluated
    in float64, also for float32 inputs, for which `fast` runs in float32 and is held to its tolerance.  `fast` is
    also required to do no harm, as by `check_gradients`, whose arguments these are.
    """
    problem = TensorProblem(fast, inputs, parameters, upstream, seed)
    captured = dict(zip(problem.names[len(problem.argnums) :], problem.parameters, strict=True))
    equation = TensorProblem(reference, inputs, captured, None, seed)
    _require_same_shapes(problem, equation)
    equation.upstream = problem.upstream
    within = tolerance(problem.dtypes, rtol, atol)

    def compare(subject: str, actual: np.ndarray, expected: np.ndarray) -> None:
        require_close(subject, actual, expected, within, names=("fast", "reference"), seed=seed)

    gradients = problem.gradients()
    point = problem.precise()
    for i, y, expected in zip(problem.judged, problem.result_arrays, equation.values(point), strict=True):
        compare(f"result {i}", asnumpy(y), expected)
    expectations = equation.gradients(point)
    for k, array in enumerate(problem.arrays):
        subject = f"the gradient of {problem.described(k)}"
        compare(subject, or_zeros(gradients[k], array), or_zeros(expectations[k], array))


def _require_same_shapes(problem: TensorProblem, equation: TensorProblem) -> None:
    fast, reference = ([tuple(y.shape) for y in p.result_arrays] for p in (problem, equation))
    if fast != reference:
        raise GradientMismatch(f"fast returns results of shapes {fast}, the reference of {reference}")
