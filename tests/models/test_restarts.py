"""Memory networks trained at once are the same as each by itself."""

from dataclasses import replace

import numpy as np
import pytest
from small_models import randomised
from test_memn2n import SMALL, a_batch

import minattn as ma
from minattn.autograd import asnumpy
from minattn.models import MemN2N, Restarts


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize(
    "settings",
    [{}, {"tying": "layer-wise"}, {"encoding": "bag", "temporal": False}, {"hops": 1}],
    ids=["adjacent", "layer-wise", "bag", "one hop"],
)
def test_logits_and_gradients_are_those_of_each_network(backend, settings, linear, count):
    together = randomised(Restarts(replace(SMALL, **settings), count, np.random.default_rng(0)), 5, np.float64)
    together.to(backend.device)
    story, question, _, answers = a_batch(5)
    assert len(together.named_parameters()) == count * len(together.networks[0].named_parameters())
    logits = together(story, question, linear)
    assert logits.shape == (count, len(answers), SMALL.vocab_size)
    ma.cross_entropy(logits, np.broadcast_to(answers, logits.shape[:2]), reduction="sum").backward()
    for network, found in zip(together.networks, asnumpy(logits.data), strict=True):
        alone = MemN2N(network.config, np.random.default_rng(0))
        for name, parameter in alone.named_parameters().items():
            parameter.replace_data(asnumpy(network.named_parameters()[name].data))
        expected = alone(story, question, linear=linear)
        np.testing.assert_allclose(found, expected.data, rtol=1e-9, atol=1e-10)
        ma.cross_entropy(expected, answers, reduction="sum").backward()
        for name, parameter in network.named_parameters().items():
            reference = alone.named_parameters()[name].grad
            np.testing.assert_allclose(asnumpy(parameter.grad), reference, rtol=1e-8, atol=1e-9, err_msg=name)


def test_networks_start_differently_and_the_chosen_one_is_part_of_the_state():
    together, again = (Restarts(SMALL, 3, np.random.default_rng(0)) for _ in range(2))
    first, second, _ = (network.memory.embedding.words[0].data for network in together.networks)
    assert (first != second).all()
    assert together.number == 0
    together.choose(2)
    again.load_state_dict(together.state_dict())
    assert again.best is again.networks[2]
