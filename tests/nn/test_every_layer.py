"""One model of every layer, on every backend; and the list of what the tests of this folder cover."""

import contextlib

import fakecupy
import numpy as np
import pytest

import minattn as ma
from minattn import nn
from minattn.autograd import OPS, asnumpy
from minattn.nn import Module

COVERED = {
    "maxout": "test_layers.py",
    "rnn_cell": "test_recurrent.py",
    "rnn": "test_recurrent.py",
    "gru_cell": "test_recurrent.py",
    "gru": "test_recurrent.py",
    "lstm_cell": "test_recurrent.py",
    "lstm": "test_recurrent.py",
}


def test_every_op_of_the_layers_is_covered():
    assert set(COVERED) == {name for name, op in OPS.items() if op.function.__module__.startswith("minattn.nn")}


class EveryLayer(Module):
    """Ids (batch, time) -> logits (batch, 5), with the embedded sentence seen as an image too."""

    def __init__(self, rng):
        self.embedding = nn.Embedding(7, 4, rng, std=1.0)
        self.dropout = nn.Dropout(0.25, rng)
        self.gated = nn.BidirectionalGRU(4, 3, rng)
        self.norm = nn.LayerNorm(6)
        self.by_size = nn.RMSNorm((5, 6))
        self.sequence = nn.Conv1d(6, 6, 3, rng, padding=1, padding_mode="replicate")
        self.lstm = nn.BidirectionalLSTM(6, 2, rng)
        self.cells = [nn.GRUCell(4, 3, rng), nn.LSTMCell(3, 3, rng), nn.RNNCell(3, 3, rng)]
        self.plain = nn.BidirectionalRNN(6, 3, rng)
        self.maxout = nn.Maxout(3, 4, rng)
        self.linear = nn.Linear(4, 5, rng)
        self.images = [
            nn.ConvNorm(1, 4, 3, rng, padding=1),
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 4, 3, rng, stride=2, padding=1, groups=2, padding_mode="reflect"),
            nn.GroupNorm(2, 4),
        ]

    def forward(self, ids, mask):
        x = self.dropout(self.embedding(ids))
        states = self.by_size(self.norm(self.plain(self.gated(x, mask), mask)))
        states, cell = self.lstm(self.sequence(states.swapaxes(1, 2)).swapaxes(1, 2), mask)
        gated, lstm, plain = self.cells
        first = states[:, 0, :3]
        hidden, cell = lstm(gated(cell, first), first, plain(first, first))
        maps = x[:, None]
        for layer in self.images:
            maps = layer(maps)
        return self.linear(self.maxout(hidden + cell) + maps.mean((2, 3)))


def test_every_layer_is_in_it():
    layers = {layer for layer in vars(nn).values() if isinstance(layer, type) and issubclass(layer, Module)}
    model = EveryLayer(np.random.default_rng(0))
    assert layers - {Module} == {type(module) for module in model.named_modules().values()} - {EveryLayer}


def step(device, waiting):
    """The loss of a training step in that place, and every parameter with its gradient."""
    model, rng = EveryLayer(np.random.default_rng(0)).to(device), np.random.default_rng(1)
    ids, mask = rng.integers(0, 7, (3, 5)), np.arange(5) < np.array([[5], [2], [0]])
    targets = rng.integers(0, 5, 3)
    with waiting:
        logits = model(ids, mask)
        log_p, left, right = ma.log_softmax(logits), logits[:, :2], logits[:, 2:4]
        loss = nn.cross_entropy(logits, targets) + nn.negative_log_likelihood(log_p, targets)
        loss = loss + nn.kl_divergence(log_p, ma.log_softmax(-logits))
        for elementwise in (nn.mean_squared_error, nn.mean_absolute_error, nn.huber):
            loss = loss + elementwise(left, right)
        loss = loss + nn.binary_cross_entropy_with_logits(left, ma.sigmoid(right))
        loss.backward()
    return loss, model.named_parameters()


@pytest.mark.parametrize("scrambled", [False, True], ids=["rows", "scrambled memory"])
def test_a_model_of_every_layer_gives_the_same_numbers_everywhere_and_never_waits(backend, scrambled):
    expected, here = step("cpu", contextlib.nullcontext())
    with contextlib.ExitStack() as stack:
        if backend.name == "fake" and scrambled:
            stack.enter_context(fakecupy.scrambled_layouts())
        loss, there = step(backend.device, fakecupy.no_sync() if backend.name == "fake" else contextlib.nullcontext())
    assert loss.device == there["linear.weight"].device
    assert loss.dtype == np.float32
    np.testing.assert_allclose(loss.item(), expected.item(), rtol=1e-5)
    assert there.keys() == here.keys()
    for name, parameter in there.items():
        assert parameter.grad.dtype == np.float32
        assert np.abs(here[name].grad).max() > 0, name
        np.testing.assert_allclose(asnumpy(parameter.grad), here[name].grad, rtol=1e-4, atol=1e-6, err_msg=name)
