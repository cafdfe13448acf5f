"""Property-testing gradients: for the ops of minattn, for your own, and for whole models.

`check_gradients` compares every gradient that `backward` gives with the complex step, an oracle that is exact to
rounding, and makes sure that the backward pass does no other harm:

    import minattn as ma
    import numpy as np
    from minattn.testing import check_gradients

    @ma.op
    def cube(x, /):
        return x**3, lambda g: g * (2 * x * x)          # wrong: the slope is 3 x^2

    check_gradients(cube, np.array([1.0, 2.0]))

    GradientMismatch: the gradient of input 0 (float64 (2,)) is wrong at index 1
      backward      -1.0568389063304151
      complex step  -1.5852583594956227
      ...

With hypothesis (`pip install 'minattn[testing]'`) the arrays come from `minattn.testing.strategies`, in all the shapes
and memory layouts in which they come in life:

    from hypothesis import given
    from minattn.testing import strategies

    @given(strategies.arrays(strategies.shapes()))
    def test_cube(x):
        check_gradients(cube, x)

`assert_equation` holds a fast kernel to the equation that it computes, in value and in every gradient:

    assert_equation(ma.softmax, lambda x: ma.exp(x) / ma.exp(x).sum(-1, keepdims=True), x)
"""

from minattn.testing.checker import Checked, check_gradients, check_vjp
from minattn.testing.equations import assert_equation
from minattn.testing.mismatch import GradientMismatch, Tolerance

__all__ = ["Checked", "GradientMismatch", "Tolerance", "assert_equation", "check_gradients", "check_vjp"]
