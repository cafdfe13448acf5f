"""Gradients of functions: grad, value_and_grad, and exact Hessian-vector products."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from minattn.autograd.backend import Array, xp
from minattn.autograd.engine import mode
from minattn.autograd.tensor import Tensor, tensor
from minattn.errors import GradientError, ShapeError

STEP = 1e-20
"""The complex step.  f(x + ih) = f(x) + ih f'(x) - h^2 f''(x)/2: the error h^2 is far below rounding."""


def value_and_grad(function: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, Any]]:
    """A function of the same arguments that returns (value, gradient of the scalar value by each tensor argument).

    The gradient is one raw array for one argument and a tuple for several.  Arguments may be arrays, tensors or
    nested lists.  Raises GradientError inside another gradient's computation: gradients are first order only.
    """

    @functools.wraps(function)
    def differentiated(*arguments: Any, **parameters: Any) -> tuple[Tensor, Any]:
        if mode.recording and any(isinstance(a, Tensor) and a.requires_grad for a in arguments):
            raise GradientError(
                "grad of a tensor that itself requires a gradient would be second order, which is not kept; "
                "hint: minattn.hvp(fn, x, v) gives exact Hessian-vector products, or pass x.detach()"
            )
        leaves = [tensor(a, requires_grad=True) for a in arguments]
        value = function(*leaves, **parameters)
        value.backward()
        gradients = tuple(xp(x.data).zeros(x.shape, x.dtype) if x.grad is None else x.grad for x in leaves)
        return value.detach(), gradients[0] if len(gradients) == 1 else gradients

    return differentiated


def grad(function: Callable[..., Tensor]) -> Callable[..., Any]:
    """A function that returns the gradient of the scalar `function` by each of its tensor arguments."""
    both = value_and_grad(function)

    @functools.wraps(function)
    def differentiated(*arguments: Any, **parameters: Any) -> Any:
        return both(*arguments, **parameters)[1]

    return differentiated


def hvp(function: Callable[[Tensor], Tensor], x: Any, v: Any) -> Array:
    """The Hessian of the scalar `function` at x times the direction v (both of x's shape), exact to rounding.

    H v is the derivative of the gradient along v, taken by a complex step through the whole backward pass:
    H v = Im grad f(x + ihv) / h.  No differences are formed, so nothing cancels.  Needs a function whose ops take
    complex numbers, as all of minattn's do.  Result in float64.
    """
    point, direction = (np.asarray(a, dtype=np.float64) for a in (x, v))
    if point.shape != direction.shape:
        raise ShapeError(f"hvp: x has shape {point.shape}, the direction {direction.shape}; they must be equal")
    gradient = grad(function)(point + 1j * STEP * direction)
    return gradient.imag / STEP
