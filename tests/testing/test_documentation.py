"""What the documentation of `minattn.testing` shows is what happens."""

import textwrap

import numpy as np
import pytest

import minattn as ma
import minattn.testing
from minattn.autograd import OPS
from minattn.testing import GradientMismatch, assert_equation

DOC = minattn.testing.__doc__


@pytest.fixture
def example():
    """The first example of the docstring, as a program; its op leaves the table afterwards."""
    start = DOC.index("    import minattn as ma")
    yield textwrap.dedent(DOC[start : DOC.index("    GradientMismatch:")])
    OPS.pop("cube", None)


def test_the_wrong_cube_is_refused_with_the_message_shown(example):
    with pytest.raises(GradientMismatch) as caught:
        exec(compile(example, "the example", "exec"), {})
    shown = DOC[DOC.index("GradientMismatch: ") :].split("      ...")[0]
    for line in shown.removeprefix("GradientMismatch: ").splitlines():
        assert line.strip() in str(caught.value)


def test_the_equation_shown_holds():
    x = np.array([[0.5, -1.0, 2.0]])
    assert_equation(ma.softmax, lambda x: ma.exp(x) / ma.exp(x).sum(-1, keepdims=True), x)
