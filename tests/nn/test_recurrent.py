"""The recurrent units against loops, equations and the complex step; padding, direction, state, devices."""

import contextlib

import fakecupy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrent_units import UNITS, calls, close, masks_of, problems, results

import minattn as ma
from minattn.autograd import asnumpy
from minattn.errors import ShapeError
from minattn.testing import assert_equation, check_gradients

SEEDS = st.integers(0, 2**32 - 1)
few = settings(max_examples=settings.default.max_examples // 4)  # each example runs the op some hundred times
every_unit = pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)


def arrays(values):
    return [value.data for value in results(values)]


# ---------------------------------------------------------------------------------------------- against loops
@every_unit
@given(data=st.data(), bias=st.booleans())
def test_one_step_is_the_loops(unit, data, bias):
    cell, x, _, starts = data.draw(problems(unit, unit.cell, bias=bias))
    new = arrays(cell(ma.tensor(x[:, 0]), *map(ma.tensor, starts)))
    history, *rest = unit.run_by_hand(cell, x[:, :1], None, starts)
    for result, expected in zip(new, [history[:, 0], *rest], strict=True):
        assert result.dtype == x.dtype
        np.testing.assert_allclose(result, expected, **close(x.dtype))


@every_unit
@given(data=st.data(), bias=st.booleans(), reverse=st.booleans(), from_zero=st.booleans())
def test_a_sequence_is_the_loops(unit, data, bias, reverse, from_zero):
    layer, x, mask, starts = data.draw(problems(unit, bias=bias, reverse=reverse))
    if from_zero:
        found = layer(ma.tensor(x), mask)
        starts = [np.zeros_like(s) for s in starts]
    else:
        found = layer(ma.tensor(x), mask, *map(ma.tensor, starts))
    expected = unit.run_by_hand(layer, x, mask, starts, reverse)
    for result, value in zip(arrays(found), expected, strict=True):
        assert result.dtype == x.dtype
        np.testing.assert_allclose(result, value, **close(x.dtype))


@every_unit
@given(data=st.data())
def test_both_ways_is_one_forwards_beside_one_backwards(unit, data):
    layer, x, mask, starts = data.draw(problems(unit, unit.both_ways))
    zero, n = [np.zeros_like(s) for s in starts], layer.forwards.size
    expected = [
        unit.run_by_hand(part, x, mask, zero, reverse)
        for part, reverse in ((layer.forwards, False), (layer.backwards, True))
    ]
    for result, forwards, backwards in zip(arrays(layer(ma.tensor(x), mask)), *expected, strict=True):
        np.testing.assert_allclose(result[..., :n], forwards, **close(x.dtype))
        np.testing.assert_allclose(result[..., n:], backwards, **close(x.dtype))


# ---------------------------------------------------------------------------------------------- equation, gradients
@every_unit
@few
@given(data=st.data(), seed=SEEDS)
def test_the_step_op_is_its_equation_and_has_its_gradients(unit, data, seed):
    inputs = data.draw(calls(unit, sequence=False))
    assert_equation(unit.step, unit.step_equation, *inputs, seed=seed)
    check_gradients(unit.step, *inputs, seed=seed, method="complex")


@every_unit
@given(data=st.data(), reverse=st.booleans(), seed=SEEDS)
def test_the_sequence_op_is_its_equation(unit, data, reverse, seed):
    inputs = data.draw(calls(unit))
    mask = data.draw(masks_of(inputs))
    assert_equation(
        lambda *tensors: unit.sequence(*tensors, mask, reverse),
        lambda *tensors: unit.sequence_equation(*tensors, mask, reverse),
        *inputs,
        seed=seed,
    )


@every_unit
@few
@given(data=st.data(), reverse=st.booleans(), seed=SEEDS)
def test_gradients_of_the_sequence_op_by_each_of_its_results(unit, data, reverse, seed):
    inputs = data.draw(calls(unit))
    mask = data.draw(masks_of(inputs))
    judged = data.draw(st.sampled_from([(0,), (1,), (0, 1)] if unit.states == 2 else [(0,)]))
    check_gradients(
        lambda *tensors: tuple(results(unit.sequence(*tensors, mask, reverse))[i] for i in judged),
        *inputs,
        seed=seed,
        method="complex",
    )


@every_unit
@few
@given(data=st.data(), seed=SEEDS)
def test_gradients_of_the_layer(unit, data, seed):
    layer, x, mask, _ = data.draw(problems(unit, unit.both_ways))
    check_gradients(lambda x: layer(x, mask), x, parameters=layer.named_parameters(), seed=seed, method="complex")


@every_unit
@pytest.mark.parametrize("reverse", [False, True])
def test_second_derivatives_by_each_argument_alone(unit, reverse):
    """A complex step through the backward pass in which only one argument is complex."""
    rng, n = np.random.default_rng(0), 2
    shapes = [(2, 3, unit.gates * n), *[(2, n)] * unit.states, (n, unit.gates * n)]
    inputs = [rng.normal(size=shape) for shape in shapes]
    mask = np.array([[True, False, True], [True, True, True]])
    for which, x in enumerate(inputs):

        def loss(x, which=which):
            found = unit.sequence(*inputs[:which], x, *inputs[which + 1 :], mask, reverse)
            return sum((value**3).sum() for value in results(found))

        v, h = rng.normal(size=x.shape), 1e-5
        difference = (ma.grad(loss)(x + h * v) - ma.grad(loss)(x - h * v)) / (2 * h)
        np.testing.assert_allclose(ma.hvp(loss, x, v), difference, rtol=1e-6, atol=1e-8)


# ---------------------------------------------------------------------------------------------- padding
def outputs_and_gradients(layer, x, mask, weights):
    """The layer's results, and the gradients of <weights, results> by x and by the parameters."""
    layer.zero_grad()
    leaf = ma.tensor(x, requires_grad=True)
    found = results(layer(leaf, mask))
    total = (found[0] * weights).sum()
    for rest in found[1:]:
        total = total + rest.sum()
    total.backward()
    return [value.data for value in found], leaf.grad, {k: p.grad for k, p in layer.named_parameters().items()}


@every_unit
@given(data=st.data(), reverse=st.booleans(), seed=SEEDS)
def test_what_stands_in_the_padding_does_not_matter(unit, data, reverse, seed):
    layer, x, mask, _ = data.draw(problems(unit, reverse=reverse, masked=True))
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(*x.shape[:2], layer.size)).astype(x.dtype)
    other = np.where(mask[..., None], x, rng.normal(scale=100, size=x.shape).astype(x.dtype))
    found, by_x, by_parameters = outputs_and_gradients(layer, x, mask, weights)
    again, by_other, by_parameters_again = outputs_and_gradients(layer, other, mask, weights)
    for first, second in zip([*found, by_x], [*again, by_other], strict=True):
        np.testing.assert_array_equal(first, second)
    assert (by_other[~mask] == 0).all()
    for name, gradient in by_parameters.items():
        np.testing.assert_allclose(gradient, by_parameters_again[name], **close(x.dtype))


@every_unit
@given(data=st.data(), reverse=st.booleans(), seed=SEEDS)
def test_a_padded_batch_gives_the_numbers_of_its_sequences_alone(unit, data, reverse, seed):
    layer, x, _, _ = data.draw(problems(unit, reverse=reverse, dtype=np.float64))
    batch, time, _ = x.shape
    lengths = data.draw(st.lists(st.integers(1, time), min_size=batch, max_size=batch))
    mask = np.arange(time) < np.array(lengths)[:, None]
    weights = np.random.default_rng(seed).normal(size=(batch, time, layer.size)) * mask[..., None]
    (states, *ends), by_x, by_parameters = outputs_and_gradients(layer, x, mask, weights)
    total = {name: np.zeros(g.shape) for name, g in by_parameters.items()}
    for b, length in enumerate(lengths):
        one = slice(b, b + 1), slice(0, length)
        (alone, *ends_alone), by_x_alone, by_parameters_alone = outputs_and_gradients(layer, x[one], None, weights[one])
        np.testing.assert_allclose(states[one], alone, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(by_x[one], by_x_alone, rtol=1e-11, atol=1e-13)
        for end, end_alone in zip(ends, ends_alone, strict=True):
            np.testing.assert_allclose(end[b], end_alone[0], rtol=1e-12, atol=1e-14)
        if not reverse:
            assert (states[b, length:] == states[b, length - 1]).all()
        total = {name: total[name] + by_parameters_alone[name] for name in total}
    for name, gradient in by_parameters.items():
        np.testing.assert_allclose(gradient, total[name], rtol=1e-10, atol=1e-12)


@every_unit
@pytest.mark.parametrize("reverse", [False, True])
def test_a_sequence_of_padding_hands_its_state_and_the_gradient_on(unit, reverse):
    rng, n = np.random.default_rng(0), 3
    shapes = [(2, 4, unit.gates * n), *[(2, n)] * unit.states, (n, unit.gates * n)]
    inputs = [ma.tensor(rng.normal(size=shape), requires_grad=True) for shape in shapes]
    projected, hidden, *cells, U = inputs
    states, *ends = results(unit.sequence(*inputs, np.zeros((2, 4), bool), reverse))
    for t in range(4):
        np.testing.assert_array_equal(states.data[:, t], hidden.data)
    for end, start in zip(ends, cells, strict=True):
        np.testing.assert_array_equal(end.data, start.data)
    (states.sum() + sum(end.sum() for end in ends)).backward()
    np.testing.assert_array_equal(hidden.grad, np.full((2, n), 4.0))
    for start in cells:
        np.testing.assert_array_equal(start.grad, np.ones((2, n)))
    assert not projected.grad.any()
    assert not U.grad.any()


# ---------------------------------------------------------------------------------------------- direction, state
@every_unit
@given(data=st.data())
def test_reverse_is_flip_forwards_flip(unit, data):
    inputs = data.draw(calls(unit, plain=True))
    mask = data.draw(masks_of(inputs))
    backwards, *ends = arrays(unit.sequence(*inputs, mask, True))
    flipped = None if mask is None else mask[:, ::-1]
    forwards, *ends_again = arrays(unit.sequence(inputs[0][:, ::-1], *inputs[1:], flipped))
    np.testing.assert_array_equal(backwards, forwards[:, ::-1])
    for end, again in zip(ends, ends_again, strict=True):
        np.testing.assert_array_equal(end, again)


@every_unit
@given(data=st.data())
def test_a_sequence_goes_on_from_the_state_of_an_earlier_one(unit, data):
    inputs = data.draw(calls(unit, dtype=np.float64))
    mask = data.draw(masks_of(inputs))
    projected, *starts, U = inputs
    cut = data.draw(st.integers(0, projected.shape[1]))
    whole, *ends = arrays(unit.sequence(*inputs, mask))
    pieces = []
    for piece in (slice(0, cut), slice(cut, None)):
        states, *rest = arrays(unit.sequence(projected[:, piece], *starts, U, None if mask is None else mask[:, piece]))
        starts = [states[:, -1] if states.shape[1] else starts[0], *rest]
        pieces.append(states)
    np.testing.assert_allclose(np.concatenate(pieces, 1), whole, rtol=1e-12, atol=1e-14)
    for end, again in zip(ends, starts[1:], strict=True):
        np.testing.assert_allclose(end, again, rtol=1e-12, atol=1e-14)


@every_unit
@given(data=st.data())
def test_a_sequence_of_one_step_is_the_step(unit, data):
    projected, *others = data.draw(calls(unit, dtype=np.float64))
    states, *ends = arrays(unit.sequence(projected[:, :1], *others))
    hidden, *cells = arrays(unit.step(projected[:, 0], *others))
    for result, expected in zip([states[:, 0], *ends], [hidden, *cells], strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-14)


@every_unit
@pytest.mark.parametrize("reverse", [False, True])
def test_a_sequence_without_steps(unit, reverse):
    shapes = [(2, 0, unit.gates * 3), *[(2, 3)] * unit.states, (3, unit.gates * 3)]
    inputs = [ma.tensor(np.ones(shape), requires_grad=True) for shape in shapes]
    states, *ends = results(unit.sequence(*inputs, None, reverse))
    assert states.shape == (2, 0, 3)
    (states.sum() + sum(end.sum() for end in ends)).backward()
    for x, expected in zip(inputs, [0, 0, *[1] * len(ends), 0], strict=True):
        np.testing.assert_array_equal(x.grad, np.full(x.shape, expected))


# ---------------------------------------------------------------------------------------------- dtypes
@every_unit
def test_float32_stays_float32(unit):
    layer = unit.both_ways(3, 4, np.random.default_rng(0))
    x = ma.tensor(np.ones((2, 5, 3), np.float32), requires_grad=True)
    found = results(layer(x, np.array([[True] * 5, [True] * 2 + [False] * 3])))
    found[0].sum().backward()
    made = [*found, x.grad, *(p.grad for p in layer.parameters())]
    assert {array.dtype for array in made} == {np.dtype(np.float32)}


@every_unit
@pytest.mark.parametrize("which", range(3))
def test_arguments_of_two_dtypes_give_the_wider_and_get_gradients_of_their_own(unit, which):
    rng = np.random.default_rng(0)
    shapes = [(2, 3, unit.gates * 2), *[(2, 2)] * unit.states, (2, unit.gates * 2)]
    inputs = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    inputs[which] = inputs[which].astype(np.float64)
    tensors = [ma.tensor(x, requires_grad=True) for x in inputs]
    found = results(unit.sequence(*tensors))
    expected = arrays(unit.sequence(*(x.astype(np.float64) for x in inputs)))
    for result, value in zip(found, expected, strict=True):
        np.testing.assert_allclose(result.data, value, rtol=1e-5)  # a product of float32 is rounded so
    found[0].sum().backward()
    assert found[0].dtype == np.float64
    assert [x.grad.dtype for x in tensors] == [x.dtype for x in inputs]


# ---------------------------------------------------------------------------------------------- masks and errors
@every_unit
def test_a_mask_may_be_an_array_a_tensor_or_a_list(unit):
    rng = np.random.default_rng(0)
    shapes = [(2, 3, unit.gates * 2), *[(2, 2)] * unit.states, (2, unit.gates * 2)]
    inputs = [rng.normal(size=shape) for shape in shapes]
    mask = np.array([[True, False, True], [True, True, False]])
    expected = arrays(unit.sequence(*inputs, mask))
    for same in (ma.tensor(mask), mask.tolist()):
        for result, value in zip(arrays(unit.sequence(*inputs, same)), expected, strict=True):
            np.testing.assert_array_equal(result, value)


@every_unit
@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (np.ones((2, 4), bool), ShapeError, r"\(2, 4\) does not fit \(batch, time\) = \(2, 3\); hint"),
        (np.ones((3, 2), bool), ShapeError, r"\(3, 2\) does not fit \(batch, time\) = \(2, 3\); hint"),
        (np.ones((1, 3), bool), ShapeError, r"\(1, 3\) does not fit \(batch, time\) = \(2, 3\); hint"),  # would stretch
        (np.ones(3, bool), ShapeError, r"\(3,\) does not fit \(batch, time\) = \(2, 3\); hint"),
        (np.ones((2, 3)), TypeError, "a padding mask .* must be boolean, got float64"),
        ([[1, 1, 0], [1, 0, 0]], TypeError, "a padding mask .* must be boolean, got int64"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused_with_both_shapes(unit, mask, error, message):
    inputs = np.zeros((2, 3, unit.gates)), *[np.zeros((2, 1))] * unit.states, np.zeros((1, unit.gates))
    with pytest.raises(error, match=message):
        unit.sequence(*inputs, mask)


@every_unit
@pytest.mark.parametrize(
    ("which", "shape"),
    [("projected", (2, 3)), ("projected", (1, 3, 6)), ("projected", (2, 3, 5)), ("state", (2, 3)), ("U", (2, 5))],
)
def test_sizes_that_do_not_fit_are_refused(unit, which, shape):
    g = unit.gates
    shapes = {"projected": (2, 3, g * 2), "state": (2, 2), "U": (2, g * 2), which: shape}
    inputs = [np.zeros(shapes[name]) for name in ("projected", *["state"] * unit.states, "U")]
    with pytest.raises(ShapeError, match=rf"expected projected \(batch, time, {g}n\), state \(batch, n\)") as error:
        unit.sequence(*inputs)
    assert str(shape) in str(error.value)
    with pytest.raises(ShapeError, match=rf"expected projected \(batch, {g}n\), state \(batch, n\)"):
        unit.step(*inputs)  # has three axes


def test_a_cell_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"lstm_cell: the cell must have the shape of the hidden state, \(2, 1\)"):
        UNITS["LSTM"].step(np.zeros((2, 4)), np.zeros((2, 1)), np.zeros((1, 1)), np.zeros((1, 4)))


# ---------------------------------------------------------------------------------------------- devices
@every_unit
@pytest.mark.parametrize("mask_there", [True, False], ids=["mask there", "mask on the host"])
@pytest.mark.parametrize("scrambled", [False, True], ids=["rows", "scrambled memory"])
def test_the_same_numbers_everywhere_and_no_waiting(backend, unit, mask_there, scrambled):
    rng = np.random.default_rng(0)
    layer = unit.both_ways(3, 4, rng)
    x, mask = rng.normal(size=(2, 5, 3)).astype(np.float32), np.array([[True] * 5, [False, True, True, False, False]])
    weights = rng.normal(size=(2, 5, 8)).astype(np.float32)
    found, by_x, by_parameters = outputs_and_gradients(layer, x, mask, weights)

    layer.to(backend.device)
    there, there_weights = backend.tensor(x, requires_grad=True), backend.array(weights)
    there_mask = backend.array(mask) if mask_there else mask
    fake = backend.name == "fake"
    with (
        fakecupy.no_sync() if fake else contextlib.nullcontext(),
        fakecupy.scrambled_layouts() if fake and scrambled else contextlib.nullcontext(),
    ):
        again = results(layer(there, there_mask))
        ((again[0] * there_weights).sum() + sum(rest.sum() for rest in again[1:])).backward()
    for result, value in zip([*(y.data for y in again), there.grad], [*found, by_x], strict=True):
        np.testing.assert_allclose(asnumpy(result), value, rtol=1e-5, atol=1e-6)
    for name, parameter in layer.named_parameters().items():
        np.testing.assert_allclose(asnumpy(parameter.grad), by_parameters[name], rtol=1e-5, atol=1e-5)
