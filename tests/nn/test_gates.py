"""What the gates mean: a unit whose gates are held open or shut by huge biases is a simpler unit."""

import math

import numpy as np
from hypothesis import given
from recurrent_units import UNITS, problems

import minattn as ma

OPEN, SHUT = 1e3, -1e3
gated_units, lstms = (problems(UNITS[name], dtype=np.float64) for name in ("gated unit", "LSTM"))


def hold(layer, *gates):
    """Hold the gates of a layer, in the order of its blocks, at 1 (OPEN) or 0 (SHUT); None leaves a gate as it is."""
    bias = layer.bias.data.reshape(-1, layer.size).copy()
    for place, value in enumerate(gates):
        if value is not None:
            bias[place] = value
    layer.bias.data = bias.reshape(-1)


def candidate(layer, x, h):
    """tanh(x W + h U + bias), number by number, with the weights of the last block."""
    n, new = layer.size, []
    for k in range(-n, 0):
        total = layer.bias.data[k]
        for i in range(len(x)):
            total += layer.W.data[i, k] * x[i]
        for j in range(len(h)):
            total += layer.U.data[j, k] * h[j]
        new.append(math.tanh(total))
    return new


# ---------------------------------------------------------------------------------------------- the gated unit
@given(gated_units)
def test_with_z_shut_the_state_is_copied(problem):
    layer, x, _, (start,) = problem
    hold(layer, SHUT, None)
    states = layer(ma.tensor(x), None, ma.tensor(start))
    for t in range(x.shape[1]):
        np.testing.assert_array_equal(states.data[:, t], start)


@given(gated_units)
def test_with_z_and_r_open_it_is_the_tanh_network(problem):
    layer, x, _, (start,) = problem
    hold(layer, OPEN, OPEN)
    states = layer(ma.tensor(x), None, ma.tensor(start)).data
    for b, h in enumerate(start):
        for t in range(x.shape[1]):
            h = candidate(layer, x[b, t], h)
            np.testing.assert_allclose(states[b, t], h, rtol=1e-12, atol=1e-12)


@given(gated_units)
def test_with_z_open_and_r_shut_it_is_feed_forward(problem):
    layer, x, _, (start,) = problem
    hold(layer, OPEN, SHUT)
    states = layer(ma.tensor(x), None, ma.tensor(start)).data
    for b, t in np.ndindex(x.shape[:2]):
        np.testing.assert_allclose(states[b, t], candidate(layer, x[b, t], []), rtol=1e-12, atol=1e-12)


# ---------------------------------------------------------------------------------------------- the LSTM: i, f, o
@given(lstms)
def test_with_i_shut_and_f_open_the_cell_keeps_its_contents_and_their_gradient(problem):
    """The constant error carousel: what goes through the cell comes back undiminished."""
    layer, x, mask, (hidden, cell) = problem
    hold(layer, SHUT, OPEN, None)
    start = ma.tensor(cell, requires_grad=True)
    _, end = layer(ma.tensor(x), mask, ma.tensor(hidden), start)
    np.testing.assert_array_equal(end.data, cell)
    end.sum().backward()
    np.testing.assert_array_equal(start.grad, np.ones_like(cell))


@given(lstms)
def test_with_all_gates_open_the_cell_adds_up_the_candidates(problem):
    layer, x, _, (hidden, cell) = problem
    hold(layer, OPEN, OPEN, OPEN)
    states, end = layer(ma.tensor(x), None, ma.tensor(hidden), ma.tensor(cell))
    for b, (h, c) in enumerate(zip(hidden, cell, strict=True)):
        for t in range(x.shape[1]):
            c = c + np.array(candidate(layer, x[b, t], h))
            h = np.tanh(c)
            np.testing.assert_allclose(states.data[b, t], h, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(end.data[b], c, rtol=1e-12, atol=1e-12)


@given(lstms)
def test_with_f_shut_the_old_cell_does_not_matter(problem):
    layer, x, _, (hidden, cell) = problem
    hold(layer, None, SHUT, None)
    first, second = (layer(ma.tensor(x), None, ma.tensor(hidden), ma.tensor(c)) for c in (cell, cell + 1))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.data, other.data)


@given(lstms)
def test_with_o_shut_nothing_comes_out(problem):
    layer, x, _, starts = problem
    hold(layer, None, None, SHUT)
    states, _ = layer(ma.tensor(x), None, *map(ma.tensor, starts))
    assert not states.data.any()
