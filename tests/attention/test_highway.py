"""Highway layers against the paper's loops, the complex step, their Jacobian and the limits of the gate."""

import contextlib
import inspect
import math

import fakecupy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.channel import ConvHighway, Highway
from minattn.attention.channel.highway import gated, gated_equation
from minattn.autograd import asnumpy, ops
from minattn.errors import ConfigError, ShapeError
from minattn.nn import Parameter
from minattn.testing import assert_equation, check_gradients, strategies

SEEDS = st.integers(0, 2**32 - 1)
ACTIVATIONS = st.sampled_from(["relu", "tanh"])


# ---------------------------------------------------------------------------------------------- what is drawn
def randomized(layer, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    for name, old in layer.named_parameters().items():
        setattr(layer, name, Parameter(rng.normal(size=old.shape).astype(dtype)))
    return layer


def random_layer(size, seed=0, dtype=np.float64, activation="relu"):
    return randomized(Highway(size, np.random.default_rng(seed), activation=activation), seed, dtype)


def random_convolution(channels, kernel=3, seed=0, dtype=np.float64, activation="relu"):
    rng = np.random.default_rng(seed)
    return randomized(ConvHighway(channels, rng, kernel, activation=activation), seed, dtype)


@st.composite
def layers(draw, dtype=None):
    """(fully connected layer with every weight random, x of up to two leading axes in any memory)."""
    dtype = draw(st.sampled_from(strategies.DTYPES)) if dtype is None else dtype
    size = draw(st.integers(1, 4))
    lead = draw(strategies.shapes(max_dims=2, max_side=3))
    return random_layer(size, draw(SEEDS), dtype, draw(ACTIVATIONS)), draw(strategies.arrays((*lead, size), dtype))


@st.composite
def convolutions(draw, dtype=None):
    """(convolutional layer with every weight random, maps in any memory)."""
    dtype = draw(st.sampled_from(strategies.DTYPES)) if dtype is None else dtype
    batch, channels, height, width = (draw(st.integers(1, n)) for n in (2, 3, 4, 4))
    layer = random_convolution(channels, draw(st.sampled_from([1, 3])), draw(SEEDS), dtype, draw(ACTIVATIONS))
    return layer, draw(strategies.arrays((batch, channels, height, width), dtype))


def run(layer, x):
    y, t = layer(ma.tensor(x))
    return y.numpy(), t.numpy()


def with_gates_at(layer, b_T):
    layer.b_T.replace_data(np.full_like(layer.b_T.data, b_T))
    return layer


def close(dtype):
    return {"rtol": 1e-4, "atol": 1e-4} if dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-12}


# ---------------------------------------------------------------------------------------------- the paper's loops
def mixed(layer, a_H, a_T, x):
    """(y, T) of one number: H, T and (3)."""
    h = max(a_H, 0.0) if layer.activation == "relu" else math.tanh(a_H)
    t = 1 / (1 + math.exp(-a_T))
    return h * t + x * (1 - t), t


def by_hand(layer, x):
    """(3), one number at a time, of x (rows, size)."""
    W_H, b_H, W_T, b_T = (parameter.data.tolist() for parameter in (layer.W_H, layer.b_H, layer.W_T, layer.b_T))
    y, gates = np.zeros(x.shape), np.zeros(x.shape)
    for n, row in enumerate(x.tolist()):
        for j in range(len(row)):
            a_H = b_H[j] + sum(row[i] * W_H[i][j] for i in range(len(row)))
            a_T = b_T[j] + sum(row[i] * W_T[i][j] for i in range(len(row)))
            y[n, j], gates[n, j] = mixed(layer, a_H, a_T, row[j])
    return y, gates


def convolved_by_hand(layer, x):
    """(3) of maps, one number at a time; outside of the maps there are zeros."""
    batch, channels, height, width = x.shape
    W_H, b_H, W_T, b_T = (parameter.data.tolist() for parameter in (layer.W_H, layer.b_H, layer.W_T, layer.b_T))
    half = len(W_H[0][0]) // 2
    y, gates = np.zeros(x.shape), np.zeros(x.shape)
    for n, c, i, j in np.ndindex(batch, channels, height, width):
        a_H, a_T = b_H[c], b_T[c]
        for d in range(channels):
            for k in range(-half, half + 1):
                for m in range(-half, half + 1):
                    if 0 <= i + k < height and 0 <= j + m < width:
                        pixel = float(x[n, d, i + k, j + m])
                        a_H += W_H[c][d][half + k][half + m] * pixel
                        a_T += W_T[c][d][half + k][half + m] * pixel
        y[n, c, i, j], gates[n, c, i, j] = mixed(layer, a_H, a_T, float(x[n, c, i, j]))
    return y, gates


@given(layers())
def test_a_layer_is_the_papers_loops(problem):
    layer, x = problem
    expected = by_hand(layer, x.reshape(-1, x.shape[-1]))
    for found, wanted in zip(run(layer, x), expected, strict=True):
        assert found.dtype == x.dtype
        np.testing.assert_allclose(found, wanted.reshape(x.shape), **close(x.dtype))


@given(convolutions())
def test_a_convolutional_layer_is_the_papers_loops(problem):
    layer, x = problem
    for found, wanted in zip(run(layer, x), convolved_by_hand(layer, x), strict=True):
        assert found.dtype == x.dtype
        np.testing.assert_allclose(found, wanted, **close(x.dtype))


@given(ACTIVATIONS, SEEDS)
def test_the_fused_gate_is_its_equation(activation, seed):
    rng = np.random.default_rng(seed)
    assert_equation(
        lambda *a: gated(*a, activation), lambda *a: gated_equation(*a, activation), *rng.normal(size=(3, 4, 5))
    )


# ---------------------------------------------------------------------------------------------- gradients
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("judged", [(0, 1), (0,), (1,)])
def test_gradients_of_the_input_and_of_every_parameter(activation, judged):
    rng = np.random.default_rng(5)
    for layer, x in (
        (random_layer(4, 5, activation=activation), rng.normal(size=(3, 4))),
        (random_convolution(2, 3, 5, activation=activation), rng.normal(size=(2, 2, 3, 4))),
    ):

        def outputs(x, layer=layer):
            return tuple(layer(x)[i] for i in judged)

        gating = {name: p for name, p in layer.named_parameters().items() if 0 in judged or name.endswith("_T")}
        check_gradients(outputs, x, parameters=gating, method="complex")


@given(layers(np.float64))
def test_the_jacobian_is_that_of_the_docstring(problem):
    """diag(1 - T) + diag(T) H' + diag((H - x) T (1 - T)) W_T^T, at every x of the batch."""
    layer, x = problem
    for row in x.reshape(-1, x.shape[-1]):
        a_H = row @ layer.W_H.data + layer.b_H.data
        h = np.maximum(a_H, 0) if layer.activation == "relu" else np.tanh(a_H)
        slope = a_H > 0 if layer.activation == "relu" else 1 - h**2
        t = run(layer, row)[1]
        expected = np.diag(1 - t) + (t * slope)[:, None] * layer.W_H.data.T
        expected += ((h - row) * t * (1 - t))[:, None] * layer.W_T.data.T
        found = [ma.grad(lambda x, i=i: layer(x)[0][i])(row) for i in range(len(row))]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


# ---------------------------------------------------------------------------------------------- limits of the gate
@given(st.one_of(layers(), convolutions()))
def test_a_closed_gate_is_the_identity_with_its_gradient(problem):
    layer, x = problem
    with_gates_at(layer, -1e4)
    y, t = run(layer, x)
    assert not t.any()
    np.testing.assert_array_equal(y, x)
    upstream = np.random.default_rng(0).normal(size=x.shape).astype(x.dtype)
    gradient = ma.grad(lambda x: ops.sum(layer(x)[0] * upstream))(x)
    np.testing.assert_array_equal(gradient, upstream)


@given(st.one_of(layers(), convolutions()))
def test_an_open_gate_is_the_plain_layer(problem):
    layer, x = problem
    with_gates_at(layer, 1e4)
    y, t = run(layer, x)
    assert (t == 1).all()
    if x.ndim == 4 and isinstance(layer, ConvHighway):
        a = ops.conv2d(ma.tensor(x), layer.W_H, layer.b_H, padding=layer.W_H.shape[-1] // 2).data
    else:
        a = ops.linear(ma.tensor(x), layer.W_H, layer.b_H).data
    np.testing.assert_array_equal(y, np.maximum(a, 0) if layer.activation == "relu" else np.tanh(a))


@given(layers(np.float64))
def test_the_output_lies_between_the_input_and_its_transform(problem):
    layer, x = problem
    y, _ = run(layer, x)
    h, _ = run(with_gates_at(layer, 1e4), x)
    assert (y >= np.minimum(x, h) - 1e-12).all()
    assert (y <= np.maximum(x, h) + 1e-12).all()


@given(SEEDS, st.floats(-5, 5))
def test_a_transform_that_changes_nothing_leaves_nothing_to_the_gate(seed, b_T):
    layer = with_gates_at(random_layer(4, seed), b_T)
    layer.W_H.replace_data(np.eye(4))
    layer.b_H.replace_data(np.zeros(4))
    x = np.abs(np.random.default_rng(seed).normal(size=(3, 4)))  # H(x) = ReLU(x) = x
    np.testing.assert_allclose(run(layer, x)[0], x, rtol=1e-12)


@given(layers(np.float64), st.floats(-4, 4))
def test_without_w_t_the_gate_is_the_same_for_every_input(problem, b_T):
    layer, x = problem
    h, _ = run(with_gates_at(layer, 1e4), x)
    with_gates_at(layer, b_T).W_T.replace_data(np.zeros_like(layer.W_T.data))
    y, t = run(layer, x)
    share = 1 / (1 + math.exp(-b_T))
    np.testing.assert_allclose(t, np.full_like(t, share), rtol=1e-12)
    np.testing.assert_allclose(y, share * h + (1 - share) * x, rtol=1e-9, atol=1e-12)


@given(layers(np.float64))
def test_a_gate_of_one_half_is_the_mean(problem):
    layer, x = problem
    with_gates_at(layer, 0.0).W_T.replace_data(np.zeros_like(layer.W_T.data))
    a_H = x @ layer.W_H.data + layer.b_H.data
    h = np.maximum(a_H, 0) if layer.activation == "relu" else np.tanh(a_H)
    np.testing.assert_allclose(run(layer, x)[0], (h + x) / 2, rtol=1e-12, atol=1e-12)


@given(SEEDS, st.integers(1, 6), st.floats(-3, 3))
def test_layers_in_a_row_carry_what_the_product_of_their_carry_gates_lets_through(seed, depth, b_T):
    """With gates that are the same for every input, and H that gives nothing."""
    x = y = np.random.default_rng(seed).normal(size=(3, 4))
    carried = 1.0
    for i in range(depth):
        layer = with_gates_at(random_layer(4, seed + i), b_T + i)
        for parameter in (layer.W_T, layer.W_H, layer.b_H):
            parameter.replace_data(np.zeros_like(parameter.data))
        y, t = run(layer, y)
        carried *= 1 - t[0, 0]
    np.testing.assert_allclose(y, carried * x, rtol=1e-9)


def test_gradients_do_not_shrink_through_a_hundred_layers_whose_gates_are_closed():
    rng = np.random.default_rng(0)
    stack = [with_gates_at(random_layer(4, seed), -20.0) for seed in range(100)]
    for layer in stack:
        layer.W_T.replace_data(0.1 * layer.W_T.data)
    x, upstream = rng.normal(size=(2, 3, 4))

    def through(x):
        for layer in stack:
            x, _ = layer(x)
        return ops.sum(x * upstream)

    np.testing.assert_allclose(ma.grad(through)(x), upstream, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------- sizes and starts
def test_the_published_number_of_parameters_of_a_layer():
    rng = np.random.default_rng(0)
    assert Highway(50, rng).count_parameters() == 5_100
    assert ConvHighway(32, rng).count_parameters() == 2 * (9 * 32 * 32 + 32)


@pytest.mark.parametrize(("b_T", "carried"), [(-1.0, 0.731), (-2.0, 0.881), (-3.0, 0.953)])
def test_a_layer_starts_near_the_identity(b_T, carried):
    for layer, shape in (
        (Highway(8, np.random.default_rng(0), b_T), (8,)),
        (ConvHighway(8, np.random.default_rng(0), bias=b_T), (1, 8, 3, 3)),
    ):
        y, t = run(layer, np.zeros(shape, np.float32))
        assert 1 - t.mean() == pytest.approx(carried, abs=5e-4)
        assert not y.any()
        assert {p.dtype for p in layer.parameters()} == {np.dtype(np.float32)}


@pytest.mark.parametrize(("activation", "std"), [("relu", math.sqrt(2 / 200)), ("tanh", math.sqrt(2 / 400))])
def test_weights_start_he_normal_before_relu_and_else_glorot_uniform(activation, std):
    layer = Highway(200, np.random.default_rng(0), activation=activation)
    assert layer.W_H.data.std() == pytest.approx(std, rel=0.03)
    assert layer.W_T.data.std() == pytest.approx(math.sqrt(2 / 400), rel=0.03)
    assert np.abs(layer.W_T.data).max() <= math.sqrt(6 / 400)


def test_no_images_give_no_gates():
    y, t = run(ConvHighway(3, np.random.default_rng(0)), np.zeros((0, 3, 4, 5), np.float32))
    assert y.shape == t.shape == (0, 3, 4, 5)


# ---------------------------------------------------------------------------------------------- refused
@pytest.mark.parametrize("kind", [Highway, ConvHighway])
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"size": 0}, "at least one unit, or channel, got 0; hint"),
        ({"size": 2.0}, "at least one unit, or channel, got 2.0; hint"),
        ({"activation": "sigmoid"}, "activation 'sigmoid' does not exist; hint: one of relu, tanh"),
        ({"bias": float("nan")}, "b_T is a finite number, got nan"),
        ({"bias": None}, "b_T is a finite number, got None; hint: a negative one"),
    ],
)
def test_impossible_layers_are_refused(kind, arguments, says):
    settings = {"size": 4} | arguments
    with pytest.raises(ConfigError, match=says):
        inspect.unwrap(kind.__init__)(object.__new__(kind), settings.pop("size"), None, **settings)


@pytest.mark.parametrize("kernel", [0, 2, -3])
def test_kernels_that_change_the_size_of_the_maps_are_refused(kernel):
    with pytest.raises(ConfigError, match=f"no kernel of {kernel} does .*; hint: an odd kernel, such as 3"):
        ConvHighway(4, np.random.default_rng(0), kernel)


@pytest.mark.parametrize("shape", [(3, 5), (5,), ()])
def test_inputs_of_another_size_are_refused_by_their_shape(shape):
    layer = Highway(4, np.random.default_rng(0))
    with pytest.raises(ShapeError, match=r"expected \(.., 4\); hint: a plain layer before it") as error:
        inspect.unwrap(Highway.forward)(layer, ma.tensor(np.zeros(shape)))
    assert f"got x of shape {shape}" in str(error.value)


@pytest.mark.parametrize("shape", [(2, 3, 5, 5), (2, 4, 5), (4,)])
def test_maps_with_another_number_of_channels_are_refused_by_their_shape(shape):
    layer = ConvHighway(4, np.random.default_rng(0))
    with pytest.raises(ShapeError, match=r"expected \(batch, 4, height, width\); hint: a plain convolution") as error:
        inspect.unwrap(ConvHighway.forward)(layer, ma.tensor(np.zeros(shape)))
    assert f"got maps of shape {shape}" in str(error.value)


def test_sums_that_would_broadcast_are_refused():
    with pytest.raises(ShapeError, match=r"cannot mix \(2, 3\) with \(3,\) by gates of \(2, 3\); hint"):
        gated(np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(3))


# ---------------------------------------------------------------------------------------------- devices
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("scrambled", [False, True], ids=["rows", "scrambled memory"])
def test_the_same_numbers_everywhere_and_no_waiting(backend, activation, scrambled):
    rng = np.random.default_rng(0)
    row, maps = (rng.normal(size=shape).astype(np.float32) for shape in ((3, 6), (2, 4, 5, 3)))

    def layers():
        return [
            random_layer(6, 2, np.float32, activation),
            random_convolution(4, 3, 2, dtype=np.float32, activation=activation),
        ]

    def results(make, layer, x):
        x = make(x, requires_grad=True)
        y, t = layer(x)
        ((y * y).sum() + (t * t).sum()).backward()
        return [y.data, t.data, x.grad, *(p.grad for p in layer.parameters())]

    for here, there, x in zip(layers(), layers(), (row, maps), strict=True):
        expected = results(ma.tensor, here, x)
        there.to(backend.device)
        with fakecupy.scrambled_layouts() if scrambled else contextlib.nullcontext(), fakecupy.no_sync():
            found = results(backend.tensor, there, x)
        for result, value in zip(found, expected, strict=True):
            assert result.dtype == np.float32
            np.testing.assert_allclose(asnumpy(result), value, rtol=1e-4, atol=1e-5)
