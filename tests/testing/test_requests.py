"""What the checker is given that it cannot check: one line says what it was, what was expected, and a hint."""

import numpy as np
import pytest

import minattn as ma
from minattn import nn
from minattn.errors import ConfigError
from minattn.testing import GradientMismatch, assert_equation, check_gradients, check_vjp

X = np.array([[1.0, -0.5, 0.25], [2.0, 0.75, -1.5]])


def sine_vjp(g, x):
    return g * np.cos(x)


def refusal(error, call):
    """The one line of the error that `call` raises."""
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


# ---------------------------------------------------------------------------------------------- arguments
@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ((), "expected a floating-point input, got none"),
        ((1,), "expected a floating-point input, got int64 (); hint: numbers such as 1.0"),
        ((np.arange(3),), "got int64 (3,)"),
        ((X + 0j,), "input 0 is complex128; gradients are checked in float32 and float64; hint: its real and its"),
        ((X.astype(np.float16),), "hint: .astype(np.float64)"),
        ((X, "mean"), "input 1 is str; expected numbers; hint: bind other arguments by a lambda"),
        ((X, None), "input 1 is NoneType; expected numbers"),
        (([[1.0], [1.0, 2.0]],), "input 0 is a ragged list"),
        ((np.ma.array(X, mask=X > 0),), "input 0 is a MaskedArray; expected a plain array; hint: np.asarray(..)"),
    ],
)
def test_inputs(inputs, said):
    assert said in refusal(ConfigError, lambda: check_vjp(np.sin, sine_vjp, *inputs))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": -1}, "seed must be a whole number, 0 or more, got -1"),
        ({"seed": 1.5}, "got 1.5"),
        ({"rtol": "a"}, "rtol must be a number, 0 or more, got 'a'"),
        ({"atol": -1}, "atol must be a number, 0 or more, got -1"),
        ({"rtol": np.nan}, "got nan"),
        ({"upstream": X + 0j}, "upstream must be real and finite, got complex128"),
        ({"upstream": X * np.inf}, "upstream must be real and finite, got inf"),
        ({"upstream": "ones"}, "upstream is str; expected numbers"),
    ],
)
def test_options(options, said):
    assert said in refusal(ConfigError, lambda: check_vjp(np.sin, sine_vjp, X, **options))
    assert said in refusal(ConfigError, lambda: check_gradients(ma.sin, X, **options))
    assert said in refusal(ConfigError, lambda: assert_equation(ma.sin, ma.sin, X, **options))


def test_a_pullback_that_is_forgotten():
    said = "expected a function for vjp, got ndarray; the arguments are f, vjp, *inputs"
    assert said in refusal(ConfigError, lambda: check_vjp(np.sin, X))
    assert "expected a function for fn" in refusal(ConfigError, lambda: check_gradients(X))


def test_parameters():
    layer = nn.Linear(3, 2, rng=np.random.default_rng(0))
    said = "parameters is a Linear; expected a list or a dict of tensors; hint: module.named_parameters()"
    assert said in refusal(ConfigError, lambda: check_gradients(ma.exp, X, parameters=layer))
    said = "parameter 0 is a ndarray; expected a leaf tensor, made with requires_grad=True"
    assert said in refusal(ConfigError, lambda: check_gradients(ma.exp, X, parameters=[X]))
    for no_leaf in (ma.tensor(X), ma.tensor(X, requires_grad=True) * 2):
        said = "weight is a tensor; expected a leaf tensor"
        assert said in refusal(ConfigError, lambda t=no_leaf: check_gradients(ma.exp, X, parameters={"weight": t}))


def test_another_byte_order_is_no_other_dtype():
    check_vjp(np.sin, sine_vjp, X.astype(">f8"))


# ---------------------------------------------------------------------------------------------- what functions return
@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "f returns NoneType; expected an array of floating-point numbers, or a tuple of arrays"),
        ((), "f returns an empty tuple"),
        ({"y": X}, "f returns dict"),
        (np.arange(3), "f returns int64 (3,)"),
        (X + 0j, "result 0 of fn is complex128; expected real numbers; hint: its real and its imaginary part"),
        (np.ma.array(X), "result 0 of f is a MaskedArray"),
    ],
)
def test_results(returned, said):
    assert said in refusal(GradientMismatch, lambda: check_vjp(lambda x: returned, sine_vjp, X))


@pytest.mark.parametrize(
    ("fn", "said"),
    [
        (lambda x: None, "return a tensor or a tuple of tensors (fn returned NoneType)"),
        (lambda x: {"y": ma.exp(x)}, "(fn returned dict)"),
        (lambda x: (), "(fn returned nothing)"),
        (lambda x: x.detach() * 2, "what .data, detach() or hvp give has no gradient"),
    ],
)
def test_results_without_a_gradient(fn, said):
    message = refusal(GradientMismatch, lambda: check_gradients(fn, X))
    assert message.startswith("nothing that fn returns depends on its inputs by ops that have a gradient; hint: ")
    assert said in message


def test_inputs_of_whole_numbers_have_no_gradient():
    message = refusal(GradientMismatch, lambda: check_gradients(lambda x: x * 2.0, np.arange(3)))
    assert "hint: floating-point inputs (given: int64 (3,))" in message


@pytest.mark.parametrize(
    ("vjp", "said"),
    [
        (lambda g, x: "cos", "the gradient of input 0 is str; expected numbers"),
        (lambda g, x: {"x": g}, "the gradient of input 0 is dict; expected numbers"),
        (lambda g, x: (g, g), "vjp returns 2 gradients for 1 inputs; hint: a tuple with an array for each input"),
        (lambda g, x: g[0], "the gradient of input 0 is float64 (3,), the tensor is float64 (2, 3)"),
        (lambda g, x: g + 0j, "the gradient of input 0 is complex128 (2, 3), the tensor is float64 (2, 3)"),
    ],
)
def test_gradients(vjp, said):
    assert said in refusal(GradientMismatch, lambda: check_vjp(np.sin, vjp, X))


def test_a_list_of_numbers_is_an_array():
    check_vjp(np.sin, lambda g, x: sine_vjp(g, x).tolist(), X)
    check_vjp(lambda x: np.sin(x).tolist(), sine_vjp, X)


def test_an_error_of_the_pullback_says_how_it_was_called():
    with pytest.raises(TypeError) as caught:
        check_vjp(np.sin, lambda x: lambda g: g, X)
    assert caught.value.__notes__ == [
        "minattn.testing called vjp(*upstream, *inputs) with upstream float64 (2, 3); inputs float64 (2, 3)"
    ]


# ---------------------------------------------------------------------------------------------- where there is no slope
@pytest.mark.filterwarnings("ignore:(divide|invalid):RuntimeWarning")
def test_values_that_are_not_finite():
    said = "result 0 of fn is -inf at index 1, and has no slope there; hint: inputs inside fn's domain"
    assert said == refusal(
        GradientMismatch, lambda: check_vjp(np.log, lambda g, x: g / x, np.array([1.0, 0.0]), only_as_given=True)
    )
    assert "result 0 of fn is nan" in refusal(GradientMismatch, lambda: check_gradients(ma.log, np.array(-1.0)))


@pytest.mark.filterwarnings("ignore:(divide|invalid):RuntimeWarning")
def test_a_slope_that_is_not_finite():
    """Differences behind 0 are NaN."""
    with pytest.raises(GradientMismatch, match=r"no slope that differences could find by input 0 .* at index 1: "):
        check_vjp(np.sqrt, lambda g, x: g / (2 * np.sqrt(x)), np.array([1.0, 0.0]), only_as_given=True)


def only_at(x, message="no such point"):
    """The sine, of points near x alone."""

    def f(at):
        if np.abs(at - x).max() > 1e-3:
            raise ValueError(message)
        return np.sin(at)

    return f


def test_a_function_that_raises_outside_its_domain():
    """Differences, whose first steps are 1/32, take shorter ones then."""
    checked = check_vjp(only_at(X), sine_vjp, X)
    assert checked.oracles == {"input 0": "complex step"}
    with pytest.raises(GradientMismatch, match="the gradient of input 0"):
        check_vjp(only_at(X), lambda g, x: 2 * sine_vjp(g, x), X)


def test_a_function_that_raises_everywhere_else():
    def f(x):
        if not np.array_equal(x, X):
            raise ValueError("no such point")
        return np.sin(x)

    said = (
        "fn raises ValueError close to its inputs, where differences evaluate it: no such point; hint: inputs farther"
    )
    assert said in refusal(GradientMismatch, lambda: check_vjp(f, sine_vjp, X))


def test_results_of_another_number_or_shape_elsewhere():
    def another_number(x):
        return (x * 1, x * 2) if np.array_equal(x, X) else x * 1

    said = "fn returns 2 results, and 1 at another point"
    assert said in refusal(GradientMismatch, lambda: check_vjp(another_number, lambda g, h, x: g + 2 * h, X))
    said = "result 0 of fn has shape (1,), and (0,) at another point"
    assert said in refusal(
        GradientMismatch,
        lambda: check_vjp(lambda x: x[x > 1], lambda g, x: np.where(x > 1, 1.0, 0), np.array([1 + 1e-9])),
    )


def test_a_jump_is_named_with_its_index():
    with pytest.raises(
        GradientMismatch, match=r"(?s)input 0 \(float64 \(2,\)\) at index 1.*a jump \(floor, a comparison"
    ):
        check_vjp(np.floor, lambda g, x: 0 * g, np.array([0.5, 1.0]))


@pytest.mark.parametrize("seed", range(8))
def test_float32_inside_is_not_taken_for_a_wrong_gradient(seed):
    """Steps that float32 rounds away give differences that look exact."""

    def f(x):
        return np.exp(np.sin(x).astype(np.float32).astype(np.float64))

    def vjp(g, x):
        return g * np.exp(np.sin(x)) * np.cos(x)

    x = np.random.default_rng(seed).uniform(-2, 2, 3)
    with pytest.raises(GradientMismatch, match=r"(?s)^fn has no slope that differences could find.*to float32 for one"):
        check_vjp(f, vjp, x, seed=seed)
    check_vjp(f, vjp, x, seed=seed, rtol=1e-3)


# ---------------------------------------------------------------------------------------------- what is right
def test_a_function_may_return_the_same_memory_at_every_call():
    rooms = {}

    def f(x):
        room = rooms.setdefault(x.dtype, np.empty(x.shape, x.dtype))
        np.sin(x, out=room)
        return room

    check_vjp(f, sine_vjp, X)


def test_inputs_that_must_not_be_equal():
    def f(a, b):
        if np.array_equal(a, b):
            raise ZeroDivisionError("a - b")
        return 1 / (a - b)

    check_vjp(f, lambda g, a, b: (-g / (a - b) ** 2, g / (a - b) ** 2), X, X + 1)


@pytest.mark.parametrize(("dtype", "at"), [(np.float64, 700.0), (np.float32, 80.0)])
def test_gradients_near_the_largest_number_are_not_multiplied(dtype, at):
    check_vjp(np.exp, lambda g, x: g * np.exp(x), np.array([at, 1.0], dtype))


def test_large_inputs():
    """Steps of 1/32 would be lost in the rounding of 1e24."""
    x = np.array([1e10, -3e12])
    check_vjp(np.square, lambda g, x: 2 * g * x, x)
    with pytest.raises(GradientMismatch, match=r"looks like a factor 1.5 too many"):
        check_vjp(np.square, lambda g, x: 3 * g * x, x)


def test_long_steps_are_not_believed_where_they_skip_what_fn_does():
    with pytest.raises(GradientMismatch, match="fn has no slope that differences could find"):
        check_vjp(np.sin, sine_vjp, np.array([1e10, -3e12]))
