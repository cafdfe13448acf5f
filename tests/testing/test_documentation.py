"""What the documentation of `minattn.testing` shows is what happens."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

import minattn as ma
import minattn.testing
from minattn.testing import GradientMismatch, assert_equation, check_vjp

DOC = minattn.testing.__doc__
PAGE = (Path(__file__).parents[2] / "docs" / "gradient_checking.md").read_text(encoding="utf-8")
PROGRAMS = [
    (program, textwrap.dedent(shown).strip())
    for program, shown in re.findall(r"```python\n(.*?)```\n\n((?:    [^\n]*\n)+)", PAGE, re.DOTALL)
]


@pytest.fixture
def example():
    """The first example of the docstring, as a program."""
    start = DOC.index("    import minattn as ma")
    return textwrap.dedent(DOC[start : DOC.index("    GradientMismatch:")])


def test_the_wrong_cube_is_refused_with_the_message_shown(example):
    with pytest.raises(GradientMismatch) as caught:
        exec(compile(example, "the example", "exec"), {})
    shown = DOC[DOC.index("GradientMismatch: ") :].split("      ...")[0]
    for line in shown.removeprefix("GradientMismatch: ").splitlines():
        assert line.strip() in str(caught.value)
    assert "looks like a factor 0.666667 too many" in str(caught.value)


def test_the_pullback_shown_is_right():
    check_vjp(lambda x: x**3, lambda g, x: g * 3 * x * x, np.array([1.0, 2.0]))


def test_the_equation_shown_holds():
    x = np.array([[0.5, -1.0, 2.0]])
    assert_equation(ma.softmax, lambda x: ma.exp(x) / ma.exp(x).sum(-1, keepdims=True), x)


@pytest.mark.parametrize(("program", "shown"), PROGRAMS)
def test_the_programs_of_the_page_end_as_shown(program, shown):
    names = {"np": np, "check_vjp": check_vjp}
    with pytest.raises(GradientMismatch) as caught:
        exec(compile(program, "the page", "exec"), names)
    assert shown.removeprefix("GradientMismatch: ") in str(caught.value)


def test_the_page_has_programs():
    assert len(PROGRAMS) == 2
