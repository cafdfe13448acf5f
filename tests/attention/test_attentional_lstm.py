"""The decoder with input feeding: the whole sequence in one op against one step at a time."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.sequence import attentional_lstm
from minattn.attention.sequence.attentional_lstm import attentional_lstm_equation
from minattn.errors import ConfigError, ShapeError
from minattn.testing import assert_equation, check_gradients

SEEDS = st.integers(0, 2**32 - 1)
SCORES = ("product", "additive", "location")
KINDS = ("global", "local-m", "local-p")
REQUIRED = ("projected", "hidden", "cell", "layers", "keys", "values", "W_c")
OPTIONAL = ("bias", "W_a", "v_a", "W_p", "v_p")


def shapes_of(score, kind, bias=True, B=2, T=3, S=4, L=2, n=3, a=2, p=2, d=2):
    """The shapes of the arguments by name; what this kind of attention does not have is left out."""
    a = n if score == "product" else a
    shapes = {"projected": (B, T, 4 * n), "hidden": (L, B, n), "cell": (L, B, n), "layers": (L, 2 * n, 4 * n)}
    shapes |= {"keys": (B, S, a), "values": (B, S, d), "W_c": (d + n, n)}
    if bias:
        shapes["bias"] = (L, 4 * n)
    if score == "additive":
        shapes |= {"W_a": (n, a), "v_a": (a,)}
    elif score == "location":
        shapes["W_a"] = (n, S)
    if kind == "local-p":
        shapes |= {"W_p": (n, p), "v_p": (p,)}
    return shapes


def call(function, names, **parameters):
    """The op or its equation as a function of the tensors of those names."""

    def of_tensors(*tensors):
        given = dict(zip(names, tensors, strict=True))
        return function(*(given[name] for name in REQUIRED), *map(given.get, OPTIONAL), **parameters)

    return of_tensors


@st.composite
def calls(draw, score, kind, dtype):
    """(names, arrays, parameters)."""
    sizes = {name: draw(st.integers(1, 3)) for name in "BTSLnapd"}
    shapes = shapes_of(score, kind, draw(st.booleans()), **sizes)
    rng = np.random.default_rng(draw(SEEDS))
    arrays = [rng.normal(size=shape).astype(dtype) for shape in shapes.values()]
    batch, time, source, depth, n = (sizes[name] for name in "BTSLn")
    parameters = {"mask": rng.random((batch, source)) < 0.7} if draw(st.booleans()) else {}
    if kind != "global":
        parameters |= {"window": draw(st.integers(1, 2)), "sigma": draw(st.sampled_from([0.5, 2.0]))}
    if draw(st.booleans()):
        parameters["keep"] = (2.0 * (rng.random((depth, time, batch, n)) < 0.5)).astype(dtype)
    return tuple(shapes), arrays, parameters


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("score", SCORES)
@given(data=st.data(), seed=SEEDS)
def test_the_op_is_its_equation_and_its_gradients_are_the_oracles(score, kind, data, seed):
    for dtype in (np.float64, np.float32):
        names, arrays, parameters = data.draw(calls(score, kind, dtype))
        fast, equation = (call(f, names, **parameters) for f in (attentional_lstm, attentional_lstm_equation))
        assert_equation(fast, equation, *arrays, seed=seed)
    names, arrays, parameters = data.draw(calls(score, kind, np.float64))
    check_gradients(call(attentional_lstm, names, **parameters), *arrays, seed=seed, method="complex")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("score", SCORES)
@given(data=st.data())
def test_without_a_graph_it_is_the_same(score, kind, data):
    names, arrays, parameters = data.draw(calls(score, kind, np.float64))
    function = call(attentional_lstm, names, **parameters)
    expected = function(*(ma.tensor(x, requires_grad=True) for x in arrays))
    with ma.no_grad():
        for result, value in zip(function(*arrays), expected, strict=True):
            np.testing.assert_array_equal(result.data, value.data)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("none", ["B", "T"])
def test_no_sequences_and_no_steps(score, kind, none):
    shapes = shapes_of(score, kind, **{none: 0})
    leaves = [ma.tensor(np.ones(shape), requires_grad=True) for shape in shapes.values()]
    vectors, alignment = call(attentional_lstm, tuple(shapes), window=None if kind == "global" else 1, sigma=1.0)(
        *leaves
    )
    sizes = {"B": 2, "T": 3, none: 0}
    assert vectors.shape == (sizes["B"], sizes["T"], 3)
    assert alignment.shape == (sizes["B"], sizes["T"], 4)
    (vectors.sum() + alignment.sum()).backward()
    for name, leaf in zip(shapes, leaves, strict=True):
        assert leaf.grad is None or not leaf.grad.any(), name


def test_without_a_graph_one_step_is_kept_only():
    time, shapes = 50, shapes_of("additive", "global", B=4, T=50, S=20, n=4, a=64)
    inputs = [np.ones(shape, np.float32) for shape in shapes.values()]
    with ma.no_grad():
        tracemalloc.start()
        call(attentional_lstm, tuple(shapes))(*inputs)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 4 * 4 * time * 20 * 64  # bytes of the hidden layers of all steps: 1 MiB


@pytest.mark.parametrize("name", [*REQUIRED, "bias", "W_a", "v_a", "W_p", "v_p"])
def test_sizes_that_do_not_fit_are_named(name):
    shapes = shapes_of("additive", "local-p")
    shapes[name] = (*shapes[name][:-1], shapes[name][-1] + 1)
    with pytest.raises(ShapeError, match=r"attentional_lstm: .*expected"):
        call(attentional_lstm, tuple(shapes), window=1, sigma=1.0)(*map(np.zeros, shapes.values()))


def test_all_sizes_that_do_not_fit_are_named_at_once():
    shapes = shapes_of("product", "global") | {"cell": (2, 2, 5), "W_c": (5, 4)}
    message = r"sizes that do not fit: cell \(2, 2, 5\), expected \(2, 2, 3\); W_c \(5, 4\), expected \(5, 3\)"
    with pytest.raises(ShapeError, match=message):
        call(attentional_lstm, tuple(shapes))(*map(np.zeros, shapes.values()))


def test_a_source_of_no_positions_is_refused():
    shapes = shapes_of("product", "global", S=0)
    with pytest.raises(ShapeError, match=r"source at least 1; got .* \(2, 0, 3\) and \(2, 0, 2\)"):
        call(attentional_lstm, tuple(shapes))(*map(np.zeros, shapes.values()))


@pytest.mark.parametrize(
    ("missing", "window"), [("W_a", 1), ("W_p", 1), ("v_p", 1), ("", None)], ids=["W_a", "W_p", "v_p", "window"]
)
def test_parameters_without_those_that_belong_to_them_are_refused(missing, window):
    shapes = shapes_of("additive", "local-p", n=2, p=2)
    shapes.pop(missing, None)
    with pytest.raises((ConfigError, ShapeError), match=r"attentional_lstm: .*(hint|expected)"):
        call(attentional_lstm, tuple(shapes), window=window, sigma=1.0)(*map(np.zeros, shapes.values()))
