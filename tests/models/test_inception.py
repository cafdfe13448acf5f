"""GoogLeNet, as printed and with batch normalization: its table, its sizes, and its modules against a transcription."""

import functools

import numpy as np
import pytest
from images_by_hand import (
    close,
    gate,
    gates_of,
    linear,
    max_pool,
    random_images,
    randomized,
    response_norm,
    unallocated,
    unit,
)

from minattn.autograd import no_grad, tensor
from minattn.errors import ConfigError
from minattn.models.summary import count_macs, count_parameters, summarize
from minattn.models.vision.inception import CONFIGURATIONS, GoogLeNet, GoogLeNetConfig, Inception, Widths

MODULES = {
    # name: (channels, side, parameters with biases)
    "3a": (256, 28, 163_696),
    "3b": (480, 28, 388_736),
    "4a": (512, 14, 376_176),
    "4b": (512, 14, 449_160),
    "4c": (512, 14, 510_104),
    "4d": (528, 14, 605_376),
    "4e": (832, 14, 868_352),
    "5a": (832, 7, 1_043_456),
    "5b": (1024, 7, 1_444_080),
}
COUNTS = {
    # name: (weights, biases, batch normalization, multiply-accumulates)
    "googlenet": (6_990_272, 8_280, 0, 1_582_671_872),
    "googlenet_bn": (6_609_344, 1_000, 14_560, 1_498_376_192),
}
TOTALS = {"googlenet": 6_998_552, "googlenet_bn": 6_624_904, "se_googlenet": 7_478_655}


@functools.cache
def published(name):
    return unallocated(GoogLeNet, CONFIGURATIONS[name]).eval()


# ---------------------------------------------------------------------------------------------- sizes
@pytest.mark.parametrize("name", COUNTS)
def test_parameters_by_kind_and_multiplications(name):
    network, (*parameters, macs) = published(name), COUNTS[name]
    assert count_parameters(network) == tuple(parameters)
    assert count_macs(network, (3, 224, 224)) == macs


@pytest.mark.parametrize("name", TOTALS)
def test_totals(name):
    assert published(name).count_parameters() == TOTALS[name]


def test_squeeze_and_excitation_adds_474272_weights_and_5831_biases():
    base, gated = (count_parameters(published(name)) for name in ("googlenet", "se_googlenet"))
    assert (gated.weights - base.weights, gated.biases - base.biases) == (474_272, 5_831)


def test_the_parameters_of_every_module():
    modules = published("googlenet").maps.inception
    counts = {name: gated.layer.count_parameters() for name, gated in modules.items()}
    assert counts == {name: parameters for name, (_, _, parameters) in MODULES.items()}


@pytest.mark.parametrize("form", CONFIGURATIONS)
def test_the_maps_that_every_module_gives(form):
    shapes = {row.path: row.shape for row in summarize(published(form), (3, 224, 224), depth=2)}
    for name, (channels, side, _) in MODULES.items():
        assert shapes[f"maps.inception.{name}"] == (channels, side, side)
    assert (shapes["maps.conv1"], shapes["maps.conv2"]) == ((64, 112, 112), (192, 56, 56))


def test_the_logits_of_no_images():
    nothing = tensor(np.zeros((0, 3, 224, 224), np.float32))
    logits, attention = published("se_googlenet")(nothing, return_attention=True)
    assert logits.shape == (0, 1000)
    assert attention.pop("classifier").shape == (0, 1000, 7, 7)
    expected = {f"maps.inception.{name}.se": (0, channels) for name, (channels, _, _) in MODULES.items()}
    assert {path: gates.shape for path, gates in attention.items()} == expected


# ---------------------------------------------------------------------------------------------- the layers
def module_by_hand(x, module, five):
    branches = [
        unit(x, module.one),
        unit(unit(x, module.three_reduce), module.three, padding=1),
        unit(unit(x, module.five_reduce), module.five, padding=five // 2),
        unit(max_pool(x, 3, 1, padding=1), module.pool),
    ]
    return np.concatenate(branches, 1)


@pytest.mark.parametrize("norm", [False, True])
def test_a_module_against_a_transcription(norm):
    module = randomized(Inception(3, Widths(2, 3, 4, 2, 3, 5), np.random.default_rng(0), norm))
    assert module.five.conv.weight.shape[2:] == ((3, 3) if norm else (5, 5))
    x = random_images((2, 3, 6, 5))
    got = module(tensor(x))
    assert got.shape == (2, 2 + 4 + 3 + 5, 6, 5)
    assert close(got, module_by_hand(x, module, 3 if norm else 5))


def maps_by_hand(images, maps, norm):
    x = max_pool(unit(images, maps.conv1, stride=2, padding=3), 3, 2, ceil=True)
    x = x if norm else response_norm(x)
    x = unit(unit(x, maps.conv2_reduce), maps.conv2, padding=1)
    x = max_pool(x if norm else response_norm(x), 3, 2, ceil=True)
    gates = []
    for name, gated in maps.inception.items():
        x, s = gate(module_by_hand(x, gated.layer, 3 if norm else 5), gated.se)
        gates.append(s)
        x = max_pool(x, 3, 2, ceil=True) if name in ("3b", "4e") else x
    return x, gates


@pytest.mark.parametrize("name", ["se_googlenet", "googlenet_bn"])
def test_the_network_against_a_transcription(name):
    config = CONFIGURATIONS[name]
    network = GoogLeNet(config, np.random.default_rng(0)).eval()
    for parameter in network.parameters():
        parameter.replace_data(parameter.data.astype(np.float64))
    images = random_images((1, 3, 48, 57))
    with no_grad():
        logits, attention = network(tensor(images), return_attention=True)
        maps, gates = maps_by_hand(images, network.maps, config.norm)
        assert close(network.features(tensor(images)), maps)
        assert close(logits, linear(maps.mean((2, 3)), network.classifier))
    found = gates_of(attention)
    assert len(found) == (0 if config.se is None else 9)
    assert all(close(s, t) for s, t in zip(found, gates, strict=config.se is not None))


def test_dropout_is_on_the_means_in_training_only(monkeypatch):
    network = GoogLeNet(CONFIGURATIONS["googlenet"], np.random.default_rng(0))
    assert (network.dropout.rate, CONFIGURATIONS["googlenet_bn"].dropout) == (0.4, 0.2)
    images = tensor(random_images((1, 3, 48, 48)).astype(np.float32))
    with no_grad():
        once, again = (network.eval()(images) for _ in range(2))
        first, second = (network.train()(images).data for _ in range(2))
    assert once.dtype == np.float32
    assert (once.data == again.data).all()
    assert (first != second).any()
    seen = []
    monkeypatch.setattr(network, "dropout", lambda x: seen.append(x.shape) or x)
    network.eval()(tensor(np.zeros((0, 3, 48, 48), np.float32)))
    assert seen == [(0, 1024)]


def test_a_module_on_every_backend(backend):
    module = Inception(3, Widths(2, 3, 4, 2, 3, 5), np.random.default_rng(0))
    x = random_images((2, 3, 5, 4)).astype(np.float32)
    expected = module(tensor(x)).data
    got = module.to(backend.device)(backend.tensor(x))
    np.testing.assert_allclose(np.asarray(got.to("cpu").data), expected, rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("changes", "said"), [({"classes": 0}, "classes"), ({"se": -1}, "se must"), ({"dropout": 1.0}, "dr")]
)
def test_settings_that_cannot_be_are_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        GoogLeNetConfig(**changes)
