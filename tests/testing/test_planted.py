"""Wrong gradients are refused, all of them; right ones pass, all of them; a diagnosis is right, or there is none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import RIGHT, WRONG

from minattn.testing import GradientMismatch, check_vjp


def named(entry):
    return f"{entry.kind}: {entry.name}" if hasattr(entry, "kind") else entry.name


def test_there_are_enough_of_both():
    assert len(WRONG) >= 120
    assert len(RIGHT) >= 60
    assert len({named(w) for w in WRONG}) == len(WRONG)


@pytest.mark.filterwarnings("ignore:(divide|invalid|overflow):RuntimeWarning")
@pytest.mark.parametrize("wrong", WRONG, ids=named)
def test_a_wrong_gradient_is_refused_and_what_it_looks_like_is_right(wrong):
    inputs = [x.copy() for x in wrong.inputs]
    with pytest.raises(GradientMismatch) as caught:
        check_vjp(wrong.f, wrong.vjp, *inputs)
    diagnosis = [line.strip() for line in str(caught.value).splitlines() if line.strip().startswith("looks like")]
    if wrong.says is None:
        assert diagnosis == []
    else:
        assert len(diagnosis) == 1
        assert wrong.says in diagnosis[0]


@pytest.mark.parametrize("right", RIGHT, ids=named)
@given(data=st.data(), seed=st.integers(0, 99))
@settings(max_examples=10)
def test_a_right_gradient_passes(right, data, seed):
    check_vjp(right.f, right.vjp, *data.draw(right.inputs), seed=seed)
