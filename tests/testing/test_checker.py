"""The checker itself, fed wrong gradients: it must refuse each of them, and say what is wrong."""

import re

import numpy as np
import pytest

import minattn as ma
from minattn.autograd import OPS, engine, op
from minattn.errors import ConfigError
from minattn.testing import GradientMismatch, assert_equation, check_gradients

SMALL = np.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.5]])
LARGE = np.linspace(-2.0, 2.0, 300).reshape(20, 15)


@pytest.fixture
def faulty():
    """A decorator like `op`, whose ops leave the table after the test."""
    before = set(OPS)
    yield op
    for name in set(OPS) - before:
        del OPS[name]


def refused(*parts, kinds=GradientMismatch):
    """Expect a GradientMismatch whose message has all `parts`, in this order."""
    return pytest.raises(kinds, match="(?s)" + ".*".join(re.escape(part) for part in parts))


# ---------------------------------------------------------------------------------------------- right ones pass
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "values", [SMALL, LARGE, np.zeros((0, 3)), np.array(0.5)], ids=["small", "large", "empty", "0-d"]
)
@pytest.mark.parametrize("method", ["complex", "difference", "auto"])
def test_right_gradients_pass(values, dtype, method):
    check_gradients(lambda x: ma.tanh(x) * x, values.astype(dtype), method=method)


def test_every_result_and_every_input_is_looked_at():
    check_gradients(lambda a, b: (a * b, ma.exp(a), [1, 2]), SMALL, SMALL[0])


def test_ids_and_masks_are_passed_on():
    check_gradients(ma.embedding, SMALL, [[0, 1], [1, 1]])
    check_gradients(lambda x, mask: ma.where(mask, x, 0.0), SMALL, SMALL > 0)


def test_an_input_that_is_returned_as_it_is():
    check_gradients(lambda x: x, SMALL)
    check_gradients(lambda x: (x, 2 * x), SMALL)


def test_an_input_without_influence_has_a_zero_gradient():
    check_gradients(lambda a, b: a * 2.0, SMALL, SMALL)


# ---------------------------------------------------------------------------------------------- wrong ones do not
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("values", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("method", ["complex", "difference"])
class TestWrongGradients:
    def test_scaled(self, faulty, values, dtype, method):
        @faulty
        def twice_too_large(x, /):
            return x * x, lambda g: g * 4 * x

        with refused("the gradient of input 0", "elements are wrong, each by the factor 2", "seed=7"):
            check_gradients(twice_too_large, values.astype(dtype), method=method, seed=7)

    def test_one_sign_flipped(self, faulty, values, dtype, method):
        index = (1, 2)

        @faulty
        def flips_one(x, /):
            def pullback(g):
                gradient = g * np.cos(x)
                gradient[index] *= -1
                return gradient

            return np.sin(x), pullback

        with refused("the gradient of input 0", "is wrong at index (1, 2)", f"1 of {values.size} elements"):
            check_gradients(flips_one, values.astype(dtype), method=method)

    def test_zero_for_one_element(self, faulty, values, dtype, method):
        @faulty
        def forgets_one(x, /):
            def pullback(g):
                gradient = g * 3
                gradient[0, 1] = 0
                return gradient

            return x * 3, pullback

        with refused("is wrong at index (0, 1)", "backward", " 0\n", f"1 of {values.size} elements"):
            check_gradients(forgets_one, values.astype(dtype), method=method)

    def test_off_by_one_index(self, faulty, values, dtype, method):
        @faulty
        def shifted(x, /):
            return x[:-1], lambda g: np.concatenate([np.zeros_like(x[:1]), g])

        with refused("the gradient of input 0"):
            check_gradients(shifted, values.astype(dtype), method=method)

    def test_nan(self, faulty, values, dtype, method):
        @faulty
        def not_a_number(x, /):
            def pullback(g):
                gradient = g.copy()
                gradient[1, 1] = np.nan
                return gradient

            return x + 0, pullback

        with refused("is wrong at index (1, 1)", "backward", "nan"):
            check_gradients(not_a_number, values.astype(dtype), method=method)

    def test_missing_sum_over_a_broadcast_axis(self, faulty, values, dtype, method):
        @faulty
        def adds_a_row(a, b, /):
            return a + b, (lambda g: g, lambda g: g[0])

        with refused("the gradient of input 1", "(15,)" if values is LARGE else "(3,)"):
            check_gradients(adds_a_row, values.astype(dtype), values[0].astype(dtype), method=method)

    def test_swapped_gradients(self, faulty, values, dtype, method):
        @faulty
        def swapped(a, b, /):
            return a * b, (lambda g: g * a, lambda g: g * b)

        with refused("the gradient of input 0"):
            check_gradients(swapped, values.astype(dtype), values[::-1].astype(dtype) + 1, method=method)

    def test_a_gradient_that_ignores_the_upstream_one(self, faulty, values, dtype, method):
        @faulty
        def ignores_upstream(x, /):
            return x * 2, lambda g: np.full_like(g, 2)

        with refused("the gradient of input 0"):
            check_gradients(ignores_upstream, values.astype(dtype), method=method)

    def test_a_missing_gradient(self, faulty, values, dtype, method):
        @faulty
        def says_nothing_of_b(a, b, /):
            return a + b, lambda g: (g, None)

        with refused("the gradient of input 1", "is wrong at index", "backward", " 0\n"):
            check_gradients(says_nothing_of_b, values.astype(dtype), values.astype(dtype), method=method)


def test_only_the_float32_pass_is_wrong(faulty):
    @faulty
    def loses_digits(x, /):
        return x * 3, lambda g: g * (3.001 if g.dtype == np.float32 else 3)

    check_gradients(loses_digits, LARGE)
    with refused("the gradient of input 0 (float32 (20, 15))", "backward in float64"):
        check_gradients(loses_digits, LARGE.astype(np.float32))


# ---------------------------------------------------------------------------------------------- harm
def test_a_written_input(faulty):
    @faulty
    def writes_its_input(x, /):
        x *= 2
        return x + 0, lambda g: 2 * g

    with refused("input 0 was written to"):
        check_gradients(writes_its_input, SMALL.copy())


def test_an_input_written_by_the_backward_pass(faulty):
    @faulty
    def reuses_its_input(x, /):
        def pullback(g):
            x[...] = g
            return g.copy()

        return x + 0, pullback

    with refused("input 0 was written to"):
        check_gradients(reuses_its_input, SMALL.copy())


def test_an_input_that_only_the_first_call_changes(faulty):
    @faulty
    def sorts_in_place(x, /):
        x.sort()
        return x + 0, lambda g: g.copy()

    with refused("input 0 was written to"):
        check_gradients(sorts_in_place, SMALL.copy())


def test_written_ids(faulty):
    @faulty
    def writes_its_ids(x, /, ids):
        ids._data += 1
        return x + 0, lambda g: g.copy()

    with refused("input 1 was written to"):
        check_gradients(writes_its_ids, SMALL, np.arange(3))


@pytest.mark.parametrize("split", [False, True], ids=["one result", "two results"])
def test_a_written_upstream_gradient(faulty, split):
    @faulty
    def writes_upstream(x, /):
        def pullback(g):
            g *= 2
            return g.copy()

        return x * 2, pullback

    with refused("wrote into the upstream gradient"):
        check_gradients(lambda x: (writes_upstream(x), x * 2) if split else writes_upstream(x), SMALL)


def test_a_written_parameter():
    weight = ma.tensor(SMALL, requires_grad=True)

    def updates(x):
        y = x * weight.detach() * 1.0 + weight * 0.0
        weight._data *= 1.5
        return y

    with refused("parameter 0 was written to"):
        check_gradients(updates, SMALL)


def hooked(replacement):
    """An identity whose input's gradient is replaced after the engine has done its part."""

    def fn(x):
        if x.requires_grad:
            x.register_hook(replacement)
        return x * 1.0

    return fn


@pytest.fixture
def careless(monkeypatch):
    """An engine that leaves leaves whatever memory they are given."""
    monkeypatch.setattr(engine, "_own", lambda gradient, *_: gradient)


@pytest.mark.usefixtures("careless")
def test_an_aliased_input():
    x = SMALL.copy()
    with refused("the gradient of input 0 shares memory with input 0"):
        check_gradients(hooked(lambda g: x), x)


@pytest.mark.usefixtures("careless")
def test_two_gradients_in_one_memory():
    shared = np.ones((2, 3))

    def fn(a, b):
        for leaf in (a, b):
            if leaf.requires_grad:
                leaf.register_hook(lambda g: shared)
        return a + b

    with refused("the gradient of input 1 shares memory with the gradient of input 0"):
        check_gradients(fn, SMALL, SMALL.copy(), upstream=np.ones((2, 3)))


@pytest.mark.usefixtures("careless")
def test_an_aliased_upstream_gradient():
    def fn(x):
        y = x * 1.0
        if x.requires_grad:
            upstream = []
            y.register_hook(upstream.append)
            x.register_hook(lambda g: upstream[0])
        return y

    with refused("the gradient of input 0 shares memory with the upstream gradient"):
        check_gradients(fn, SMALL)


def test_a_wrong_dtype_and_a_wrong_shape():
    with refused("the gradient of input 0 is float64 (2, 3), the tensor is float32 (2, 3)"):
        check_gradients(hooked(lambda g: g.astype(np.float64)), SMALL.astype(np.float32))
    with refused("the gradient of input 0 is float64 (3,), the tensor is float64 (2, 3)"):
        check_gradients(hooked(lambda g: g[0].copy()), SMALL)


def test_float32_that_becomes_float64():
    with refused("result 0 of fn is float64, its inputs are float32", "Python numbers"):
        check_gradients(lambda x: x * np.array(2.0), SMALL.astype(np.float32))


# ---------------------------------------------------------------------------------------------- parameters
def test_captured_parameters_are_found_and_checked(faulty):
    @faulty
    def wrong_for_b(a, b, /):
        return a * b, (lambda g: g * b, lambda g: g * a * 2)

    weight = ma.tensor(SMALL[0], requires_grad=True)
    check_gradients(lambda x: x * weight, SMALL)
    with refused("the gradient of parameter 0 (float64 (3,))", "each by the factor 2"):
        check_gradients(lambda x: wrong_for_b(x, weight), SMALL)
    with refused("the gradient of weight (float64 (3,))"):
        check_gradients(lambda x: wrong_for_b(x, weight), SMALL, parameters={"weight": weight})
    check_gradients(lambda x: wrong_for_b(x, weight), SMALL, parameters=[])


def test_a_parameter_that_no_gradient_reaches():
    weight = ma.tensor(SMALL, requires_grad=True)

    def forgets_the_weight(x):
        return x * ma.Tensor(weight.data)  # its value is used, its gradient is lost

    with refused("the gradient of parameter 0", "backward", " 0\n"):
        check_gradients(forgets_the_weight, SMALL, parameters=[weight])


def test_parameters_are_left_as_they_were():
    weight = ma.tensor(SMALL.astype(np.float32), requires_grad=True)
    data, weight.grad = weight.data, np.full((2, 3), 5.0, np.float32)
    gradient = weight.grad
    check_gradients(lambda x: x @ weight, np.ones((4, 2), np.float32))
    assert weight.data is data
    assert weight.data.dtype == np.float32
    assert weight.grad is gradient
    assert (gradient == 5).all()


def test_parameters_alone():
    weight = ma.tensor(SMALL, requires_grad=True)
    check_gradients(lambda: ma.exp(weight).sum())


# ---------------------------------------------------------------------------------------------- the oracle's choice
def abs_by_numpy(faulty):
    @faulty
    def modulus(x, /):
        return np.abs(x), lambda g: g * np.sign(x)

    return modulus


def test_auto_uses_differences_where_complex_numbers_do_not_go(faulty):
    modulus = abs_by_numpy(faulty)
    check_gradients(modulus, SMALL)
    with refused("the complex step is not possible", "drops imaginary parts", 'method="difference"'):
        check_gradients(modulus, SMALL, method="complex")

    @faulty
    def floored(x, /):
        return np.floor(x) + x, lambda g: g.copy()

    check_gradients(floored, SMALL + 0.1)
    with refused("the complex step is not possible", "does not take complex numbers"):
        check_gradients(floored, SMALL + 0.1, method="complex")


def test_a_function_that_drops_a_part_of_the_imaginary_part_is_given_to_differences(faulty):
    modulus = abs_by_numpy(faulty)
    check_gradients(lambda x: modulus(x) + x, SMALL)
    with refused("not analytic", "drops imaginary parts", 'method="difference"'):
        check_gradients(lambda x: modulus(x) + x, SMALL, method="complex")


def test_a_gradient_that_forgets_what_the_complex_step_drops_is_refused(faulty):
    @faulty
    def softsign(x, /):
        d = 1 + np.abs(x)
        return x / d, lambda g: g / d  # what the complex step would say, too: |x| is taken for a constant

    with refused("the gradient of input 0"):
        check_gradients(softsign, SMALL)


def test_random_functions_are_refused():
    rng = np.random.default_rng(0)
    with refused("fn gave two values for one input", "inside fn"):
        check_gradients(lambda x: ma.dropout(x, 0.5, rng), SMALL)
    check_gradients(lambda x: ma.dropout(x, 0.5, np.random.default_rng(0)), SMALL)


def test_nothing_to_check():
    with refused("nothing that fn returns depends on its inputs"):
        check_gradients(lambda x: x > 0, SMALL)


def test_bad_requests():
    with pytest.raises(ConfigError, match=r"method must be .* 'numerical'"):
        check_gradients(ma.exp, SMALL, method="numerical")
    with pytest.raises(ConfigError, match=r"upstream has shapes \[\(3,\)\], the results of fn \[\(2, 3\)\]"):
        check_gradients(ma.exp, SMALL, upstream=np.ones(3))
    with pytest.raises(ConfigError, match="input 0 is float16; gradients are checked in float32 and float64"):
        check_gradients(ma.exp, SMALL.astype(np.float16))


def test_upstream_and_tolerances_are_used(faulty):
    @faulty
    def slightly_wrong(x, /):
        return x * 2, lambda g: g * 2.0001

    with refused("the gradient of input 0", "allowed 2e-10 (rtol 1e-10"):
        check_gradients(slightly_wrong, np.array(1.0), upstream=np.array(1.0), atol=0.0)
    check_gradients(slightly_wrong, SMALL, rtol=1e-3)
    check_gradients(slightly_wrong, SMALL, upstream=np.zeros((2, 3)))


def test_the_seed_reproduces_the_numbers(faulty):
    @faulty
    def off(x, /):
        return x * 2, lambda g: g * 3

    def message(seed):
        with pytest.raises(GradientMismatch) as caught:
            check_gradients(off, SMALL, seed=seed)
        return str(caught.value)

    assert message(1) == message(1)
    assert message(1) != message(2)


# ---------------------------------------------------------------------------------------------- equations
def softmax_by_hand(x):
    e = ma.exp(x)
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_equations_that_hold(dtype):
    assert_equation(ma.softmax, softmax_by_hand, SMALL.astype(dtype))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_wrong_value(dtype):
    with refused("result 0 is wrong", "fast", "reference", "each by the factor 2"):
        assert_equation(lambda x: 2 * ma.exp(x), ma.exp, SMALL.astype(dtype))
    with refused("result 1 is wrong"):
        assert_equation(lambda x: (x, ma.exp(x)), lambda x: (x, ma.tanh(x)), SMALL.astype(dtype))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_wrong_gradient(faulty, dtype):
    @faulty
    def right_value(a, b, /):
        return a * b, (lambda g: g * b, lambda g: -g * a)

    with refused("the gradient of input 1", "each by the factor -1"):
        assert_equation(right_value, ma.multiply, SMALL.astype(dtype), SMALL.astype(dtype))


def test_equations_compare_captured_parameters(faulty):
    @faulty
    def misses_the_weight(a, b, /):
        return a * b, (lambda g: g * b, lambda g: None)

    weight = ma.tensor(SMALL, requires_grad=True)
    assert_equation(lambda x: x * weight, lambda x: weight * x, SMALL)
    with refused("the gradient of parameter 0"):
        assert_equation(lambda x: misses_the_weight(x, weight), lambda x: x * weight, SMALL)


def test_equations_of_other_shapes():
    with refused("fast returns results of shapes [(2, 3)], the reference of [(2,)]"):
        assert_equation(ma.exp, lambda x: x.sum(-1), SMALL)


def test_the_fast_side_does_no_harm(faulty):
    @faulty
    def spoils_its_input(x, /):
        y = np.exp(x)
        x += 1
        return y, lambda g: g * y

    with refused("input 0 was written to"):
        assert_equation(spoils_its_input, ma.exp, SMALL.copy())


# ---------------------------------------------------------------------------------------------- on a device
def test_the_checker_runs_on_every_backend(backend):
    x, w = backend.array(SMALL.astype(np.float32)), backend.tensor(SMALL.T.copy(), requires_grad=True)
    check_gradients(lambda x: ma.tanh(x) @ w, x)
    assert_equation(ma.softmax, softmax_by_hand, x)
