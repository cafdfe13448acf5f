"""Attention is named by the path of the mechanism that it comes from."""

import numpy as np

from minattn.autograd import Tensor, tensor
from minattn.nn import Module
from minattn.nn.attention_paths import Attention, in_sequence, prefixed


class Gate(Module):
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * self.factor, tensor(np.array(self.factor))


class Block(Module):
    def __init__(self, factor: float | None) -> None:
        self.gate = None if factor is None else Gate(factor)

    def forward(self, x: Tensor, plus: float = 0.0) -> tuple[Tensor, Attention]:
        if self.gate is None:
            return x + plus, {}
        x, weights = self.gate(x)
        return x + plus, {"gate": weights}


class Network(Module):
    def __init__(self) -> None:
        self.first = Block(5.0)
        self.stages = [Block(2.0), Block(None), Block(3.0)]

    def forward(self, x: Tensor) -> tuple[Tensor, Attention]:
        x, first = self.first(x)
        x, stages = in_sequence("stages", self.stages, x, 1.0)
        return x, prefixed("first", first) | stages


def test_every_weight_stands_under_the_path_of_its_module() -> None:
    network = Network()
    output, attention = network(tensor(np.array(1.0)))
    assert output.data == ((5.0 * 2.0 + 1.0) + 1.0) * 3.0 + 1.0
    assert list(attention) == ["first.gate", "stages.0.gate", "stages.2.gate"]
    modules = network.named_modules()
    for path, weights in attention.items():
        assert modules[path].factor == weights.data


def test_a_module_without_attention_adds_nothing() -> None:
    assert prefixed("encoder", {}) == {}
    x = tensor(np.array(1.0))
    assert in_sequence("stages", [], x) == (x, {})
