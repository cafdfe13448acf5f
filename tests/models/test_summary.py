"""The summary of a network: rows, shapes, parameters and multiply-accumulates, against sums made by hand."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minattn.attention.channel.squeeze_excitation import SqueezeExcitation
from minattn.autograd import ops, tensor
from minattn.autograd.engine import mode
from minattn.errors import ConfigError, ShapeError
from minattn.models.summary import Row, count_macs, count_parameters, summarize
from minattn.nn import Conv2d, ConvNorm, Dropout, Linear, Module, Parameter, initializers


class Small(Module):
    """A unit, a convolution that is used twice, dropout, a linear layer, and a matrix and a vector of its own."""

    def __init__(self, rng):
        self.unit = ConvNorm(3, 8, 3, rng, padding=1)
        self.twice = Conv2d(8, 8, 3, rng, stride=2, padding=1, groups=2)
        self.dropout = Dropout(0.5, rng)
        self.linear = Linear(8, 5, rng)
        self.matrix = initializers.zeros((5, 4))
        self.unused = Linear(2, 3, rng)

    def forward(self, x):
        x = self.twice(self.twice(self.unit(x)))
        x = self.linear(self.dropout(ops.mean(x, axis=(2, 3))))
        return ops.linear(x, self.matrix), None


ROWS = [  # of images of 10x6
    Row("", "Small", (4,), 20, 20),
    Row("unit.conv", "Conv2d", (8, 10, 6), 8 * 3 * 9, 60 * 8 * 3 * 9),
    Row("unit.norm", "BatchNorm2d", (8, 10, 6), 16, 0),
    Row("twice", "Conv2d", (8, 5, 3), 8 * 4 * 9 + 8, 15 * 8 * 4 * 9),
    Row("twice", "Conv2d", (8, 3, 2), 0, 6 * 8 * 4 * 9),
    Row("dropout", "Dropout", (8,), 0, 0),
    Row("linear", "Linear", (5,), 45, 40),
]
UNUSED = 9


@pytest.fixture(params=[True, False], ids=["allocated", "unallocated"])
def small(request):
    if request.param:
        return Small(np.random.default_rng(0))
    with initializers.unallocated():
        return Small(np.random.default_rng(0))


def test_a_row_for_every_call_of_a_layer(small):
    assert summarize(small, (3, 10, 6)) == ROWS


def test_the_sums_are_those_of_the_network(small):
    assert sum(row.parameters for row in ROWS) + UNUSED == small.count_parameters()
    assert count_macs(small, (3, 10, 6)) == sum(row.macs for row in ROWS)


def test_parameters_by_what_they_are(small):
    count = count_parameters(small)
    assert count == (8 * 3 * 9 + 8 * 4 * 9 + 40 + 20 + 6, 8 + 5 + 3, 16)
    assert count.total == small.count_parameters()


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_a_depth_adds_up_what_is_below(small, depth):
    rows = summarize(small, (3, 10, 6), depth)
    if depth == 0:
        assert rows == [Row("", "Small", (4,), sum(r.parameters for r in ROWS), sum(r.macs for r in ROWS))]
    elif depth == 1:
        assert rows == [ROWS[0], Row("unit", "ConvNorm", (8, 10, 6), 8 * 3 * 9 + 16, ROWS[1].macs), *ROWS[3:]]
    else:
        assert rows == ROWS


@given(
    st.integers(1, 3).flatmap(lambda groups: st.tuples(st.just(groups), st.integers(1, 3), st.integers(1, 3))),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(4, 9), st.integers(4, 9)),
)
def test_macs_of_a_convolution_are_the_products_that_it_makes(channels, kernel, stride, size):
    """All inputs and weights 1, without padding: each place of the output is the number of its products."""
    groups, inputs, outputs = channels
    layer = Conv2d(groups * inputs, groups * outputs, kernel, np.random.default_rng(0), stride=stride, groups=groups)
    layer.weight.data = np.ones_like(layer.weight.data)
    image = (groups * inputs, *size)
    assert count_macs(layer, image) == layer(tensor(np.ones((1, *image), np.float32))).data.sum()


class Transposed(Module):
    def __init__(self):
        self.weight = initializers.ones((2, 3, 4, 4))

    def forward(self, x):
        return ops.conv_transpose2d(x, self.weight, stride=2)


def test_macs_of_a_transposed_convolution_are_the_products_that_it_makes():
    layer = Transposed()
    assert count_macs(layer, (2, 5, 6)) == layer(tensor(np.ones((1, 2, 5, 6)))).data.sum() == 5 * 6 * 2 * 3 * 16


class ByRow(Module):
    """A linear layer over the channels of every pixel."""

    def __init__(self, rng):
        self.linear = Linear(3, 7, rng)

    def forward(self, x):
        return self.linear(ops.transpose(x, (0, 2, 3, 1)))


def test_a_linear_layer_counts_every_row():
    assert summarize(ByRow(np.random.default_rng(0)), (3, 4, 5)) == [Row("linear", "Linear", (4, 5, 7), 28, 20 * 21)]


def test_the_shape_of_a_layer_with_two_outputs_is_that_of_the_first():
    """Squeeze-and-excitation gives the scaled maps, and then its gates."""
    gated = SqueezeExcitation(4, np.random.default_rng(0), reduction=2)
    assert summarize(gated, (4, 5, 3)) == [Row("", "SqueezeExcitation", (4, 5, 3), 4 * 2 + 2 + 2 * 4 + 4, 16)]


def test_a_weight_of_two_layers_counts_once():
    layer = ByRow(np.random.default_rng(0))
    layer.linear.bias = None
    both = Both(layer, ByRow(np.random.default_rng(0)))
    both.second.linear.weight = layer.linear.weight
    rows = summarize(both, (3, 2, 2))
    assert [row.parameters for row in rows] == [21, 7]
    assert [row.macs for row in rows] == [84, 84]


class Both(Module):
    def __init__(self, first, second):
        self.first, self.second = first, second

    def forward(self, x):
        return self.first(x), self.second(x)


# ---------------------------------------------------------------------------------------------- nothing is changed
def state_of(network):
    """All that modules hold, but for the values of arrays, which are compared by identity."""
    return {
        path: {key: value if isinstance(value, (bool, str)) else id(value) for key, value in vars(module).items()}
        for path, module in network.named_modules().items()
    }


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_as_it_was(small, training):
    small.train(training)
    small.dropout.training = not training
    before, arrays = state_of(small), {name: id(p.data) for name, p in small.named_parameters().items()}
    summarize(small, (3, 10, 6))
    assert state_of(small) == before
    assert {name: id(p.data) for name, p in small.named_parameters().items()} == arrays
    assert mode.recording
    assert not mode.observers


def test_the_network_is_as_it_was_after_an_error(small):
    small.train()
    before = state_of(small)
    with pytest.raises(ShapeError, match="channels"):
        summarize(small, (4, 10, 6))
    assert state_of(small) == before
    assert mode.recording
    assert not mode.observers
    assert summarize(small, (3, 10, 6)) == ROWS


def test_it_takes_no_memory():
    class Large(Module):
        def __init__(self):
            self.convolution = Conv2d(512, 4096, 7, np.random.default_rng(0))
            self.linear = Linear(4096, 4096, np.random.default_rng(0))

        def forward(self, x):
            return self.linear(ops.reshape(self.convolution(x), (0, 4096)))

    with initializers.unallocated():
        network = Large()
    tracemalloc.start()
    try:
        macs = count_macs(network, (512, 7, 7))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert macs == 4096 * 512 * 49 + 4096**2
    assert peak < 1e6


@pytest.mark.parametrize("image", [(3, 10), (3, 0, 6), (1, 3, 10, 6), (-3, 10, 6)])
def test_an_image_that_is_none_is_refused(small, image):
    with pytest.raises(ConfigError, match=r"channels, height, width.*hint"):
        summarize(small, image)


class Scaled(Module):
    """A parameter of its own beside a layer; it looks at the mode that it is called in."""

    def __init__(self):
        self.scale = Parameter(np.ones((3, 1, 1), np.float32))
        self.layer = Conv2d(3, 2, 1, np.random.default_rng(0), bias=False)
        self.called_in = []

    def forward(self, x):
        self.called_in.append((self.training, mode.recording))
        return self.layer(x * self.scale)


def test_a_parameter_used_by_itself_belongs_to_who_uses_it():
    rows = summarize(Scaled(), (3, 2, 2))
    assert rows == [Row("", "Scaled", (2, 2, 2), 3, 0), Row("layer", "Conv2d", (2, 2, 2), 6, 24)]


def test_it_is_called_once_in_evaluation_mode_without_gradients():
    network = Scaled()
    summarize(network, (3, 2, 2))
    assert network.called_in == [(False, False)]
