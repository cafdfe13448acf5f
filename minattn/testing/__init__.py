"""Property-testing gradients: for the ops of minattn, for your own, for whole models and for other libraries.

`check_gradients` compares every gradient that `backward` gives with the complex step, an oracle that is exact to
rounding, in all the circumstances in which a gradient is asked for, and says what a wrong one looks like:

    import minattn as ma
    import numpy as np
    from minattn.testing import check_gradients

    @ma.op(listed=False)
    def cube(x, /):
        return x**3, lambda g: g * (2 * x * x)          # wrong: the slope is 3 x^2

    check_gradients(cube, np.array([1.0, 2.0]))

    GradientMismatch: the gradient of input 0 (float64 (2,)) is wrong at index 1
      backward      -1.0568389063304151
      complex step  -1.5852583594956227
      ...
      looks like a factor 0.666667 too many

`check_vjp` is the same for a function of NumPy arrays and its pullback, and `from_torch`, `from_jax`, `from_autograd`
and `from_mygrad` make these two of another library's function:

    check_vjp(lambda x: x**3, lambda g, x: g * 3 * x * x, np.array([1.0, 2.0]))
    check_vjp(*from_torch(torch.nn.functional.gelu), np.array([1.0, 2.0]))

With hypothesis (`pip install 'minattn[testing]'`) the arrays come from `minattn.testing.strategies`, in all the shapes
and memory layouts in which they come in life:

    from hypothesis import given
    from minattn.testing import strategies

    @given(strategies.arrays(strategies.shapes()))
    def test_cube(x):
        check_gradients(cube, x)

`minattn.testing.plugin` is a pytest plugin that stores failing examples in small files, with the command that runs a
test on one of them again.

`assert_equation` holds a fast kernel to the equation that it computes, in value and in every gradient:

    assert_equation(ma.softmax, lambda x: ma.exp(x) / ma.exp(x).sum(-1, keepdims=True), x)
"""

from minattn.testing.adapters import from_autograd, from_jax, from_mygrad, from_torch
from minattn.testing.checker import Checked, check_gradients, check_vjp
from minattn.testing.equations import assert_equation
from minattn.testing.mismatch import GradientMismatch, Tolerance

__all__ = [
    "Checked",
    "GradientMismatch",
    "Tolerance",
    "assert_equation",
    "check_gradients",
    "check_vjp",
    "from_autograd",
    "from_jax",
    "from_mygrad",
    "from_torch",
]
