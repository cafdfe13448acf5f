"""AlexNet: its published sizes, its layers against a transcription, and where its weights start."""

import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from images_by_hand import (
    close,
    conv,
    gate,
    gates_of,
    linear,
    max_pool,
    random_images,
    randomized,
    relu,
    response_norm,
    unallocated,
)

from minattn.autograd import no_grad, tensor
from minattn.errors import ConfigError, ShapeError
from minattn.models.summary import count_macs, count_parameters
from minattn.models.vision.alexnet import CONFIGURATIONS, AlexNet, AlexNetConfig, AlexNetMaps

COUNTS = {
    # name: (weights, biases, multiply-accumulates)
    "alexnet": (61_090_496, 10_344, 714_188_480),
    "alexnet_2012": (60_954_656, 10_568, 724_406_816),
    "alexnet_2012_ungrouped": (62_367_776, 10_568, 1_135_256_096),
}
TOTALS = {
    "alexnet": 61_100_840,
    "alexnet_2012": 60_965_224,
    "alexnet_2012_ungrouped": 62_378_344,
    "se_alexnet_2012": 61_021_086,
}


@functools.cache
def published(name):
    return unallocated(AlexNet, CONFIGURATIONS[name])


# ---------------------------------------------------------------------------------------------- sizes
@pytest.mark.parametrize("name", COUNTS)
def test_weights_biases_and_multiplications(name):
    network, (weights, biases, macs) = published(name), COUNTS[name]
    size = CONFIGURATIONS[name].size
    assert count_parameters(network) == (weights, biases, 0)
    assert count_macs(network, (3, size, size)) == macs


@pytest.mark.parametrize("name", TOTALS)
def test_totals(name):
    assert published(name).count_parameters() == TOTALS[name]


def test_squeeze_and_excitation_adds_54400_weights_and_1462_biases():
    base, gated = (count_parameters(published(name)) for name in ("alexnet_2012", "se_alexnet_2012"))
    assert (gated.weights - base.weights, gated.biases - base.biases) == (54_400, 1_462)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_images_of_the_published_size_give_maps_of_13x13_and_6x6(name):
    network, config = published(name).eval(), CONFIGURATIONS[name]
    nothing = tensor(np.zeros((0, 3, config.size, config.size), np.float32))
    first, _ = network.maps.convolutions[0](nothing)
    maps, _ = network.maps(nothing)
    logits = network(nothing)
    assert first.shape == (0, config.widths[0], 55, 55)
    assert maps.shape == (0, 256, 13, 13)
    assert config.side == 6
    assert network.fc6.weight.shape == (256 * 6 * 6, 4096)
    assert logits.shape == (0, 1000)


@given(st.integers(0, 2), st.integers(0, 100))
def test_the_side_of_the_last_maps_is_what_the_layers_give(padding, more):
    config = AlexNetConfig(padding=padding, size=67 - 2 * padding + more)
    network = unallocated(AlexNet, config).eval()
    logits = network(tensor(np.zeros((0, 3, config.size, config.size), np.float32)))
    assert logits.shape == (0, 1000)


# ---------------------------------------------------------------------------------------------- the layers
def maps_by_hand(images, maps, groups, padding, with_response_norm):
    layers = [(gated.layer.conv, gated.se) for gated in maps.convolutions]
    strides, paddings, in_groups = (4, 1, 1, 1, 1), (padding, 2, 1, 1, 1), (1, groups, 1, groups, groups)
    x, gates = images, []
    for i, (layer, se) in enumerate(layers):
        x, s = gate(relu(conv(x, layer, strides[i], paddings[i], in_groups[i])), se)
        gates.append(s)
        if i < 2:
            x = response_norm(x) if with_response_norm else x
            x = max_pool(x, 3, 2)
    return x, gates


@pytest.mark.parametrize("se", [None, 2])
@pytest.mark.parametrize(("groups", "padding", "with_response_norm"), [(2, 0, True), (1, 2, False)])
def test_the_convolutions_against_a_transcription(groups, padding, with_response_norm, se):
    config = AlexNetConfig((4, 6, 8, 6, 4), groups, padding, with_response_norm, se=se, channels=2, size=75)
    maps = randomized(AlexNetMaps(config, np.random.default_rng(1)))
    images = random_images((2, 2, 75, 75)) * 30  # large, so that response normalization is far from a constant
    got, attention = maps(tensor(images))
    gates = gates_of(attention)
    expected, expected_gates = maps_by_hand(images, maps, groups, padding, with_response_norm)
    assert close(got, expected)
    assert len(gates) == (0 if se is None else 5)
    assert all(close(s, t) for s, t in zip(gates, expected_gates, strict=False))


@pytest.fixture(scope="module")
def small():
    """The network of 2012 on the smallest images that it takes, with gates."""
    config = dataclasses.replace(CONFIGURATIONS["se_alexnet_2012"], widths=(16, 16, 32, 32, 16), classes=5, size=67)
    return AlexNet(config, np.random.default_rng(3))


def test_the_linear_layers_against_a_transcription(small):
    images = tensor(random_images((2, 3, 67, 67)).astype(np.float32) * 50)
    with no_grad():
        logits, attention = small.eval()(images, return_attention=True)
        maps, gates = small.maps(images)
    x = max_pool(maps.data, 3, 2).reshape(2, -1)
    x = relu(linear(relu(linear(x, small.fc6)), small.fc7))
    expected = linear(x, small.fc8)
    assert logits.dtype == np.float32
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(logits.data, expected, rtol=1e-4, atol=1e-5)
    assert list(attention) == [f"maps.convolutions.{i}.se" for i in range(5)]
    assert [s.shape for s in attention.values()] == [(2, 16), (2, 16), (2, 32), (2, 32), (2, 16)]
    assert all((s.data == t.data).all() for s, t in zip(attention.values(), gates.values(), strict=True))
    with no_grad():
        np.testing.assert_array_equal(small(images).data, logits.data)


def test_without_squeeze_and_excitation_there_is_no_attention():
    images = tensor(np.zeros((0, 3, 227, 227), np.float32))
    assert published("alexnet_2012").eval()(images, return_attention=True)[1] == {}


def test_dropout_draws_in_training_only(small):
    images = tensor(random_images((1, 3, 67, 67)).astype(np.float32))
    with no_grad():
        once, again = (small.eval()(images).data for _ in range(2))
        first, second = (small.train()(images).data for _ in range(2))
    assert (once == again).all()
    assert (first != second).any()
    assert small.dropout.rate == 0.5


def test_dropout_is_behind_both_hidden_linear_layers(small, monkeypatch):
    seen = []
    monkeypatch.setattr(small, "dropout", lambda x: seen.append(x.data) or x)
    with no_grad():
        small.eval()(tensor(random_images((1, 3, 67, 67)).astype(np.float32)))
    assert [x.shape for x in seen] == [(1, 4096), (1, 4096)]
    np.testing.assert_allclose(seen[1], relu(linear(seen[0], small.fc7)), rtol=1e-4, atol=1e-5)


def test_a_grouped_network_is_one_whose_groups_do_not_see_each_other():
    widths = (4, 4, 6, 4, 2)
    grouped = randomized(AlexNetMaps(AlexNetConfig(widths, 2, size=67), np.random.default_rng(0)))
    whole = randomized(AlexNetMaps(AlexNetConfig(widths, 1, size=67), np.random.default_rng(0)))
    for of_grouped, of_whole in zip(grouped.parameters(), whole.parameters(), strict=True):
        if of_grouped.shape == of_whole.shape:
            of_whole.replace_data(of_grouped.data)
        else:
            upper, lower = np.split(of_grouped.data, 2)
            zero = np.zeros_like(upper)
            blocks = [np.concatenate([upper, zero], 1), np.concatenate([zero, lower], 1)]
            of_whole.replace_data(np.concatenate(blocks))
    images = tensor(random_images((1, 3, 67, 67)))
    assert close(grouped(images)[0], whole(images)[0].data)


def test_the_convolutions_on_every_backend(backend):
    config = AlexNetConfig((4, 4, 4, 4, 2), se=2, size=67)
    maps = AlexNetMaps(config, np.random.default_rng(0)).eval()
    images = random_images((1, 3, 67, 67)).astype(np.float32)
    expected, _ = maps(tensor(images))
    got, _ = maps.to(backend.device)(backend.tensor(images))
    np.testing.assert_allclose(np.asarray(got.to("cpu").data), expected.data, rtol=1e-4, atol=1e-7)


# ---------------------------------------------------------------------------------------------- initial values
def test_weights_start_from_a_narrow_normal_and_the_papers_biases_at_1(small):
    state = small.state_dict()
    ones = {f"maps.convolutions.{i}.layer.conv.bias" for i in (1, 3, 4)} | {"fc6.bias", "fc7.bias"}
    layers = {name.rpartition(".")[0] for name in state if ".se." not in name}
    assert len(layers) == 8
    for layer in layers:
        weight, bias = state[f"{layer}.weight"], state[f"{layer}.bias"]
        assert (bias == (1 if f"{layer}.bias" in ones else 0)).all(), layer
        assert weight.std() == pytest.approx(0.01, rel=5 / (2 * weight.size) ** 0.5), layer
        assert abs(weight.mean()) < 5 * 0.01 / weight.size**0.5, layer


# ---------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size": 66}, "size=67"),
        ({"size": 62, "padding": 2}, "size=63"),
        ({"classes": 0}, "classes"),
        ({"channels": 0}, "channels"),
        ({"groups": 0}, "groups"),
        ({"se": 0}, "se must"),
        ({"dropout": 1.0}, "dropout must be in"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        AlexNetConfig(**changes)


def test_images_of_another_size_are_refused_with_both_sizes(small):
    with pytest.raises(ShapeError, match=r"takes 16 numbers of an image.* 16 feature maps of 6x6.*size"):
        small.eval()(tensor(np.zeros((0, 3, 227, 227), np.float32)))
