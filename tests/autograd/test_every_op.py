"""Every op of the op table, by enumeration: values, gradients, equations.  An op without a case fails here."""

import importlib
import pkgutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opcases import CASES

import minattn as ma
from minattn.autograd import OPS
from minattn.testing import assert_equation, check_gradients

BY_DIFFERENCES = {"astype"}


def import_all(name):
    for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
        importlib.import_module(module.name)


for name in ("minattn.nn", "minattn.attention", "minattn.models"):
    import_all(name)  # their ops enter the table

ALL = {name for name, op in OPS.items() if op.function.__module__.startswith("minattn.")}
DIFFERENTIABLE = sorted(name for name in CASES if CASES[name].method)
FUSED = sorted(name for name in ALL if OPS[name].equation)


def test_every_op_has_a_case():
    """An op that is new needs one in tests/autograd/opcases, and gets all tests of this file and of test_backends."""
    assert set(CASES) == ALL


def test_an_op_without_an_equation_is_compared_with_numpy():
    assert all(CASES[name].numpy for name in set(CASES) - set(FUSED))


def test_only_these_ops_are_checked_by_differences():
    assert {name for name in CASES if CASES[name].method == "difference"} == BY_DIFFERENCES


def as_tuple(values):
    return values if isinstance(values, tuple) else (values,)


@pytest.mark.parametrize("name", sorted(name for name in CASES if CASES[name].numpy))
@given(data=st.data())
def test_the_value_is_that_of_numpy(name, data):
    case = CASES[name]
    call = data.draw(case.calls)
    results = as_tuple(case.on_tensors(name, call.parameters)(*map(ma.tensor, call.inputs)))
    exact = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in call.inputs]
    expected = as_tuple(case.numpy(*exact, **call.parameters))
    assert len(results) == len(expected)
    tolerance = 1e-5 if any(x.dtype == np.float32 for x in call.inputs) else 1e-12
    for result, value in zip(results, expected, strict=True):
        assert result.shape == np.shape(value)
        np.testing.assert_allclose(result.data, value, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_the_gradients_are_those_of_the_oracle(name, data, seed):
    case = CASES[name]
    call = data.draw(case.calls)
    check_gradients(case.on_tensors(name, call.parameters), *call.inputs, seed=seed, method=case.method)


@pytest.mark.parametrize("name", sorted(set(CASES) - set(DIFFERENTIABLE)))
@given(data=st.data())
def test_ops_without_a_gradient_record_nothing(name, data):
    case = CASES[name]
    call = data.draw(case.calls)
    floating = [x.dtype.kind == "f" for x in call.inputs]
    tensors = [ma.tensor(x, requires_grad=f) for x, f in zip(call.inputs, floating, strict=True)]
    assert not case.on_tensors(name, call.parameters)(*tensors).requires_grad


@pytest.mark.parametrize("name", FUSED)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_a_fused_op_equals_its_equation(name, data, seed):
    call = data.draw(CASES[name].calls)
    assert_equation(
        CASES[name].on_tensors(name, call.parameters),
        lambda *tensors: OPS[name].equation(*tensors, **call.parameters),
        *call.inputs,
        seed=seed,
    )
