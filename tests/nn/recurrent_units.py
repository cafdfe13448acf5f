"""The recurrent units, number by number: loops over indices and nothing else, to hold the fast ones to."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from minattn import nn
from minattn.nn import Parameter
from minattn.nn.recurrent import gru, lstm, rnn
from minattn.nn.recurrent.shared import RecurrentUnit
from minattn.testing import strategies


def sigma(x):
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def gated_unit_by_hand(x, states, W, U, bias):
    """The equations of nn/recurrent/gru.py and a bias: the new state from x and the old one."""
    (h,) = states
    n = len(h)
    z, r, new = [0.0] * n, [0.0] * n, [0.0] * n
    for k in range(n):
        into_z, into_r = bias[k], bias[n + k]
        for i in range(len(x)):
            into_z += W[i][k] * x[i]
            into_r += W[i][n + k] * x[i]
        for j in range(n):
            into_z += U[j][k] * h[j]
            into_r += U[j][n + k] * h[j]
        z[k], r[k] = sigma(into_z), sigma(into_r)
    for k in range(n):
        into_candidate = bias[2 * n + k]
        for i in range(len(x)):
            into_candidate += W[i][2 * n + k] * x[i]
        for j in range(n):
            into_candidate += U[j][2 * n + k] * (r[j] * h[j])
        new[k] = (1 - z[k]) * h[k] + z[k] * math.tanh(into_candidate)
    return (new,)


def lstm_unit_by_hand(x, states, W, U, bias):
    """The equations of nn/recurrent/lstm.py: the new hidden state and cell from x and the old ones."""
    h, c = states
    n = len(h)
    new_h, new_c = [0.0] * n, [0.0] * n
    for k in range(n):
        into = [0.0] * 4  # i, f, o, g
        for gate in range(4):
            into[gate] = bias[gate * n + k]
            for i in range(len(x)):
                into[gate] += W[i][gate * n + k] * x[i]
            for j in range(n):
                into[gate] += U[j][gate * n + k] * h[j]
        new_c[k] = sigma(into[1]) * c[k] + sigma(into[0]) * math.tanh(into[3])
        new_h[k] = sigma(into[2]) * math.tanh(new_c[k])
    return new_h, new_c


def plain_unit_by_hand(x, states, W, U, bias):
    """The equation of nn/recurrent/rnn.py and a bias: the new state from x and the old one."""
    (h,) = states
    new = [0.0] * len(h)
    for k in range(len(h)):
        into = bias[k]
        for i in range(len(x)):
            into += W[i][k] * x[i]
        for j in range(len(h)):
            into += U[j][k] * h[j]
        new[k] = math.tanh(into)
    return (new,)


@dataclass(frozen=True)
class Unit:
    """One kind of unit; its state is `states` vectors, of which the first is what the layer gives at each step."""

    cell: type
    layer: type
    both_ways: type
    step: Callable
    step_equation: Callable
    sequence: Callable
    sequence_equation: Callable
    by_hand: Callable
    gates: int
    states: int

    def run_by_hand(self, layer, x, mask, starts, reverse=False):
        """What the layer should return: the states at all steps, and the rest of the state after the last one."""
        batch, time, _ = x.shape
        W, U = layer.W.data.tolist(), layer.U.data.tolist()
        bias = [0.0] * len(U[0]) if layer.bias is None else layer.bias.data.tolist()
        history, ends = np.zeros((batch, time, layer.size)), [np.zeros(s.shape) for s in starts]
        for b in range(batch):
            states = tuple(s[b].tolist() for s in starts)
            for t in reversed(range(time)) if reverse else range(time):
                if mask is None or mask[b, t]:
                    states = self.by_hand(x[b, t].tolist(), states, W, U, bias)
                history[b, t] = states[0]
            for end, state in zip(ends, states, strict=True):
                end[b] = state
        return [history, *ends[1:]]

    def random_layer(self, kind, inputs, size, seed, dtype=np.float64, **parameters):
        """A layer of class `kind` with every weight drawn from N(0, 1), the biases too."""
        rng = np.random.default_rng(seed)
        layer = kind(inputs, size, rng, **parameters)
        parts = (layer,) if isinstance(layer, RecurrentUnit) else (layer.forwards, layer.backwards)
        for part in parts:
            for name, old in part.named_parameters().items():
                setattr(part, name, Parameter(rng.normal(size=old.shape).astype(dtype)))
        return layer


UNITS = {
    "plain unit": Unit(
        nn.RNNCell,
        nn.RNN,
        nn.BidirectionalRNN,
        nn.rnn_cell,
        rnn.rnn_cell_equation,
        nn.rnn,
        rnn.rnn_equation,
        plain_unit_by_hand,
        gates=1,
        states=1,
    ),
    "gated unit": Unit(
        nn.GRUCell,
        nn.GRU,
        nn.BidirectionalGRU,
        nn.gru_cell,
        gru.gru_cell_equation,
        nn.gru,
        gru.gru_equation,
        gated_unit_by_hand,
        gates=3,
        states=1,
    ),
    "LSTM": Unit(
        nn.LSTMCell,
        nn.LSTM,
        nn.BidirectionalLSTM,
        nn.lstm_cell,
        lstm.lstm_cell_equation,
        nn.lstm,
        lstm.lstm_equation,
        lstm_unit_by_hand,
        gates=4,
        states=2,
    ),
}


def results(value):
    """What a layer or an op returns, as a tuple."""
    return value if isinstance(value, tuple) else (value,)


def close(dtype):
    return {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-12}


# ---------------------------------------------------------------------------------------------- what is drawn
@st.composite
def calls(draw, unit, sequence=True, dtype=None, plain=False):
    """The tensor arguments of the step or the sequence op, in any memory layout: projected, states, U."""
    batch, time, n = (draw(st.integers(1, 3)) for _ in range(3))
    dtype = draw(st.sampled_from(strategies.DTYPES)) if dtype is None else dtype
    projected = (batch, time, unit.gates * n) if sequence else (batch, unit.gates * n)
    shapes = [projected, *[(batch, n)] * unit.states, (n, unit.gates * n)]
    return [draw(strategies.arrays(shape, dtype, plain=plain)) for shape in shapes]


def masks_of(inputs):
    """None, or a mask for these arguments of a sequence op; rows of nothing but padding among them."""
    return st.none() | strategies.masks(inputs[0].shape[:2])


@st.composite
def problems(draw, unit, kind=None, dtype=None, masked=None, **parameters):
    """A layer with random weights, its input (batch, time, inputs), a mask or None, and a state to start from."""
    batch, time, inputs, n = (draw(st.integers(1, 3)) for _ in range(4))
    dtype = draw(st.sampled_from(strategies.DTYPES)) if dtype is None else dtype
    layer = unit.random_layer(kind or unit.layer, inputs, n, draw(st.integers(0, 2**32 - 1)), dtype, **parameters)
    x = draw(strategies.arrays((batch, time, inputs), dtype, plain=True))
    starts = [draw(strategies.arrays((batch, n), dtype, plain=True)) for _ in range(unit.states)]
    masks = strategies.masks((batch, time))
    return layer, x, draw(masks if masked else st.none() | masks), starts
