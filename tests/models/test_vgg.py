"""VGG: its published sizes, its layers against a transcription, and the small network for small images."""

import dataclasses

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
    relu,
    response_norm,
    unallocated,
    unit,
)

from minattn.autograd import no_grad, ops, tensor
from minattn.errors import ConfigError, ShapeError
from minattn.models.summary import count_macs, count_parameters, summarize
from minattn.models.vision.vgg import CONFIGURATIONS, VGG, VGGConfig
from minattn.training import Adam

TOTALS = {
    "vgg11": 132_863_336,
    "vgg11_lrn": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg16_bn": 138_365_992,
    "vgg19": 143_667_240,
    "vgg19_bn": 143_678_248,
    "se_vgg16": 138_588_336,
}
TABLE_2 = {"vgg11": 133, "vgg11_lrn": 133, "vgg13": 133, "vgg16_c": 134, "vgg16": 138, "vgg19": 144}  # in millions
TINY = VGGConfig("4 4, 6 1-6, 4 8", classes=3, channels=2, size=16)


def published(name, **changes):
    return unallocated(VGG, dataclasses.replace(CONFIGURATIONS[name], **changes))


# ---------------------------------------------------------------------------------------------- sizes
@pytest.mark.parametrize("name", TOTALS)
def test_totals(name):
    assert published(name).count_parameters() == TOTALS[name]


@pytest.mark.parametrize("name", TABLE_2)
def test_the_millions_of_table_2(name):
    assert round(published(name).count_parameters() / 1e6) == TABLE_2[name]


def test_vgg16_by_kind():
    assert count_parameters(published("vgg16")) == (138_344_128, 13_416, 0)
    assert count_parameters(published("vgg16_bn")) == (138_344_128, 13_416, 8_448)
    base, gated = (count_parameters(published(name)) for name in ("vgg16", "se_vgg16"))
    assert (gated.weights - base.weights, gated.biases - base.biases) == (226_304, 4_488)


@pytest.mark.parametrize("name", ["vgg16", "vgg16_bn"])
def test_the_multiplications_of_vgg16(name):
    assert count_macs(published(name), (3, 224, 224)) == 15_470_264_320


def test_the_linear_layers_have_nearly_all_the_weights():
    network = published("vgg16")
    linear_layers = sum(layer.count_parameters() for layer in (network.fc1, network.fc2, network.fc3))
    assert linear_layers / network.count_parameters() == pytest.approx(0.8936, abs=5e-5)


def test_images_of_half_the_side_take_a_quarter_of_the_convolutions():
    macs = {}
    for side in (112, 224):
        rows = summarize(published("vgg16", size=side), (3, side, side))
        macs[side] = sum(row.macs for row in rows if row.kind == "Conv2d")
    assert macs[224] == 4 * macs[112] > 0


@pytest.mark.parametrize("name", ["vgg11", "vgg16", "vgg19"])
def test_every_pool_halves_the_side(name):
    network, layers = published(name).eval(), int(name.removeprefix("vgg"))
    rows = [row for row in summarize(network, (3, 224, 224)) if row.kind == "Conv2d"]
    assert sorted({row.shape[1:] for row in rows}, reverse=True) == [(n, n) for n in (224, 112, 56, 28, 14)]
    assert len(rows) == layers - 3
    nothing = tensor(np.zeros((0, 3, 224, 224), np.float32))
    assert network.features(nothing).shape == (0, 512, 14, 14)
    assert network.fc1.weight.shape == (512 * 7 * 7, 4096)
    assert network(nothing).shape == (0, 1000)


def test_column_c_has_its_1x1_convolutions_at_the_ends_of_the_last_three_stages():
    shapes = [[gated.layer.conv.weight.shape[2:] for gated in stage] for stage in published("vgg16_c").maps.stages]
    three, one = (3, 3), (1, 1)
    assert shapes == [[three] * 2, [three] * 2, *[[three, three, one]] * 3]


# ---------------------------------------------------------------------------------------------- the layers
def tiny_maps_by_hand(images, network):
    """The maps of TINY's column, "4 4, 6 1-6, 4 8", and the gates."""
    (a, b), (c, d), (e, f) = network.maps.stages
    x, gates = images, []
    for gated, padding, pooled in (
        (a, 1, False),
        (b, 1, True),
        (c, 1, False),
        (d, 0, True),
        (e, 1, False),
        (f, 1, False),
    ):
        x, s = gate(unit(x, gated.layer, padding=padding), gated.se)
        x = max_pool(x, 2, 2) if pooled else x
        gates.append(s)
    return x, gates


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("se", [None, 2])
def test_the_mean_form_against_a_transcription(norm, se):
    config = dataclasses.replace(TINY, norm=norm, se=se, head="mean")
    network = randomized(VGG(config, np.random.default_rng(1)))
    images = random_images((2, 2, 18, 17))
    maps, gates = tiny_maps_by_hand(images, network)
    logits, attention = network(tensor(images), return_attention=True)
    assert close(network.features(tensor(images)), maps)
    assert close(logits, linear(maps.mean((2, 3)), network.classifier))
    assert close(network(tensor(images)), logits.data)
    found = gates_of(attention)
    assert len(found) == (0 if se is None else 6)
    assert all(close(s, t) for s, t in zip(found, gates, strict=se is not None))


def test_the_linear_form_against_a_transcription():
    network = VGG(TINY, np.random.default_rng(1)).eval()
    images = random_images((2, 2, 16, 16)).astype(np.float32)
    with no_grad():
        logits = network(tensor(images))
    x = max_pool(tiny_maps_by_hand(images, network)[0], 2, 2).reshape(2, -1)
    expected = linear(relu(linear(relu(linear(x, network.fc1)), network.fc2)), network.fc3)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits.data, expected, rtol=1e-4, atol=1e-5)


def test_response_normalization_is_behind_the_first_convolution():
    config = VGGConfig("4 LRN, 4", head="mean", classes=3, channels=1)
    network = randomized(VGG(config, np.random.default_rng(1)))
    images = random_images((1, 1, 6, 6)) * 30
    (first, _), (second,) = network.maps.stages
    x = max_pool(response_norm(unit(images, first.layer, padding=1)), 2, 2)
    assert close(network.features(tensor(images)), unit(x, second.layer, padding=1))


def test_dropout_is_behind_both_hidden_linear_layers_in_training_only(monkeypatch):
    network = VGG(TINY, np.random.default_rng(1))
    images, seen = tensor(random_images((1, 2, 16, 16)).astype(np.float32)), []
    with no_grad():
        once, again = (network.eval()(images).data for _ in range(2))
        first, second = (network.train()(images).data for _ in range(2))
        monkeypatch.setattr(network, "dropout", lambda x: seen.append(x.data) or x)
        network.eval()(images)
    assert (once == again).all()
    assert (first != second).any()
    assert [x.shape for x in seen] == [(1, 4096), (1, 4096)]
    np.testing.assert_allclose(seen[1], relu(linear(seen[0], network.fc2)), rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------- small images
@pytest.mark.parametrize(("side", "left"), [(8, 2), (28, 7), (32, 8)])
def test_vgg8_takes_small_images(side, left):
    network = VGG(CONFIGURATIONS["vgg8"], np.random.default_rng(0)).eval()
    images = tensor(random_images((2, 1, side, side)).astype(np.float32))
    maps = network.features(images)
    logits, attention = network(images, return_attention=True)
    assert maps.shape == (2, 64, left, left)
    assert {path: weights.shape for path, weights in attention.items()} == {"classifier": (2, 10, left, left)}
    np.testing.assert_allclose(logits.data, linear(maps.data.mean((2, 3)), network.classifier), rtol=1e-4, atol=1e-5)


def test_vgg8_has_eight_layers_with_weights():
    layers = [m for m in published("vgg8").named_modules().values() if type(m).__name__ in ("Conv2d", "Linear")]
    assert len(layers) == 8
    assert CONFIGURATIONS["vgg8"].channels == 1


def test_vgg8_with_gates_learns_a_batch():
    network = VGG(CONFIGURATIONS["se_vgg8"], np.random.default_rng(0))
    images = tensor(random_images((20, 1, 8, 8)).astype(np.float32))
    labels = np.arange(20) % 10
    optimizer, losses = Adam(network.named_parameters(), 0.01), []
    for _ in range(15):
        loss = ops.cross_entropy(network(images), labels)
        network.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1.5
    assert losses[-1] < 0.3
    assert all(parameter.data.dtype == np.float32 for parameter in network.parameters())


def test_vgg8_on_every_backend(backend):
    network = VGG(CONFIGURATIONS["se_vgg8"], np.random.default_rng(0)).eval()
    images = random_images((2, 1, 8, 8)).astype(np.float32)
    expected = network(tensor(images))
    got = network.to(backend.device)(backend.tensor(images))
    np.testing.assert_allclose(np.asarray(got.to("cpu").data), expected.data, rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size": 31}, "side of 32"),
        ({"column": "64 M 128"}, "'M' is no entry"),
        ({"column": "64, conv3-64"}, "'conv3-64' is no entry"),
        ({"classes": 0}, "classes"),
        ({"se": 0}, "se must"),
        ({"dropout": -0.1}, "dropout must be in"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        VGGConfig(**changes)


def test_images_of_another_size_are_refused_with_both_sizes():
    network = unallocated(VGG, TINY).eval()
    with pytest.raises(ShapeError, match=r"takes 32 numbers of an image.* 8 feature maps of 3x3"):
        network(tensor(np.zeros((0, 2, 24, 24), np.float32)))
