"""DenseNet: its published sizes, the growth of its maps, and its layers against a transcription."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from images_by_hand import (
    close,
    conv,
    linear,
    max_pool,
    mean_pool,
    norm,
    random_images,
    randomized,
    relu,
    unallocated,
    unit,
)

from minattn.autograd import no_grad, tensor
from minattn.errors import ConfigError
from minattn.models.summary import count_macs, count_parameters, summarize
from minattn.models.vision.densenet import CONFIGURATIONS, DenseBlock, DenseNet, DenseNetConfig, cifar

TOTALS = {
    "densenet121": 7_978_856,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
    "densenet161": 28_681_000,
    "densenet40_k12": 1_019_722,
    "densenet_bc100_k12": 769_162,
    "densenet_bc250_k24": 15_324_406,
    "densenet_bc190_k40": 25_624_430,
}
DEPTHS = {name: int("".join(c for c in name.partition("_k")[0] if c.isdigit())) for name in CONFIGURATIONS}
TINY = DenseNetConfig((2, 3), growth=3, first=5, classes=4, channels=2, size=32)


@functools.cache
def published(name):
    return unallocated(DenseNet, CONFIGURATIONS[name]).eval()


# ---------------------------------------------------------------------------------------------- sizes
@pytest.mark.parametrize("name", TOTALS)
def test_totals(name):
    assert published(name).count_parameters() == TOTALS[name]


def test_densenet121_by_kind():
    assert count_parameters(published("densenet121")) == (7_894_208, 1_000, 83_648)
    assert count_macs(published("densenet121"), (3, 224, 224)) == 2_834_161_664


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_layers_with_weights_are_as_many_as_the_name_says(name):
    """Table 1 and the L of table 2 count convolutions and the linear layer; the blocks of DenseNet-264 make 265."""
    kinds = [type(module).__name__ for module in published(name).named_modules().values()]
    assert kinds.count("Conv2d") + kinds.count("Linear") == (265 if name == "densenet264" else DEPTHS[name])


def test_the_sizes_of_table_1():
    rows = {row.path: row.shape for row in summarize(published("densenet121"), (3, 224, 224), depth=1)}
    stages = [rows[f"stages.{i}"] for i in range(7)]
    assert rows["conv1"] == (64, 112, 112)
    assert stages[::2] == [(256, 56, 56), (512, 28, 28), (1024, 14, 14), (1024, 7, 7)]
    assert stages[1::2] == [(128, 28, 28), (256, 14, 14), (512, 7, 7)]


@pytest.mark.parametrize(("name", "maps"), [("densenet40_k12", 448), ("densenet_bc100_k12", 342)])
def test_the_sizes_for_cifar(name, maps):
    network = published(name)
    nothing = tensor(np.zeros((0, 3, 32, 32), np.float32))
    logits, attention = network(nothing, return_attention=True)
    assert network.features(nothing).shape == (0, maps, 8, 8)
    assert logits.shape == (0, 10)
    assert {path: weights.shape for path, weights in attention.items()} == {"classifier": (0, 10, 8, 8)}


# ---------------------------------------------------------------------------------------------- the layers
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.booleans(), st.integers(0, 2**32 - 1))
def test_layer_l_sees_the_maps_of_all_layers_in_front_of_it(inputs, layers, growth, bottleneck, seed):
    """Behind layer l there are k_0 + k l maps, and the first of them are those that were there before."""
    block = randomized(DenseBlock(inputs, layers, growth, bottleneck, np.random.default_rng(seed)), seed)
    x = random_images((1, inputs, 3, 4), seed)
    seen = [x]
    for layer in block.layers:
        so_far = np.concatenate(seen, 1)
        assert so_far.shape[1] == inputs + growth * (len(seen) - 1)
        seen.append(layer_by_hand(so_far, layer, bottleneck))
    got = block(tensor(x))
    assert got.shape[1] == block.outputs == inputs + growth * layers
    assert close(got, np.concatenate(seen, 1))
    assert (got.data[:, :inputs] == x).all()


def layer_by_hand(x, layer, bottleneck):
    """H_l."""
    if bottleneck:
        x = norm_conv(x, layer.reduce)
    return norm_conv(x, layer.three, padding=1)


def norm_conv(x, layer, padding=0):
    return conv(relu(norm(x, layer.norm)), layer.conv, padding=padding)


def network_by_hand(images, network, config):
    if config.size == 32:
        x = conv(images, network.conv1, padding=1)
    else:
        x = max_pool(unit(images, network.conv1, stride=2, padding=3), 3, 2, padding=1)
    for i, stage in enumerate(network.stages):
        if i % 2:
            x = mean_pool(norm_conv(x, stage.one), 2, 2)
        else:
            for layer in stage.layers:
                x = np.concatenate([x, layer_by_hand(x, layer, config.bottleneck)], 1)
    return relu(norm(x, network.norm))


@pytest.mark.parametrize("size", [32, 224])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_the_network_against_a_transcription(size, bottleneck):
    config = DenseNetConfig((2, 3, 1), 3, 5, bottleneck, 0.5, classes=4, channels=2, size=size)
    network = randomized(DenseNet(config, np.random.default_rng(0)))
    images = random_images((2, 2, 19, 24))
    maps = network_by_hand(images, network, config)
    assert close(network.features(tensor(images)), maps)
    assert close(network(tensor(images)), linear(maps.mean((2, 3)), network.classifier))
    assert [stage.one.conv.weight.shape[0] for stage in network.stages[1::2]] == [5, 7]  # half of 11, half of 14


def test_float32_stays_and_every_backend_gives_the_same(backend):
    network = DenseNet(TINY, np.random.default_rng(0)).eval()
    images = random_images((2, 2, 8, 8)).astype(np.float32)
    with no_grad():
        expected = network(tensor(images)).data
        got = network.to(backend.device)(backend.tensor(images)).to("cpu").data
    assert got.dtype == expected.dtype == np.float32
    np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-4, atol=1e-6)


def test_every_weight_gets_a_gradient():
    network = DenseNet(TINY, np.random.default_rng(0))
    (network(tensor(random_images((3, 2, 8, 8)).astype(np.float32))) ** 2).sum().backward()
    for name, parameter in network.named_parameters().items():
        assert parameter.grad is not None, name
        assert np.abs(parameter.grad).max() > 0, name


# ---------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"blocks": ()}, "at least one layer"),
        ({"blocks": (6, 0)}, "at least one layer"),
        ({"growth": 0}, "growth"),
        ({"compression": 0.0}, "compression"),
        ({"compression": 1.5}, "compression"),
        ({"size": 64}, "224 for ImageNet"),
        ({"classes": 0}, "classes"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        DenseNetConfig(**changes)


@pytest.mark.parametrize(
    ("depth", "bottleneck", "said"),
    [
        (50, True, r"depth 6n \+ 4, got 50; hint: for example 52"),
        (43, True, r"depth 6n \+ 4, got 43; hint: for example 40"),  # three blocks of 13 plain layers
        (41, False, r"depth 3n \+ 4, got 41; hint: for example 40"),
        (4, False, r"depth 3n \+ 4, got 4; hint: for example 7"),
        (-2, True, r"depth 6n \+ 4, got -2; hint: for example 10"),
    ],
)
def test_depths_that_three_equal_blocks_do_not_make_are_refused(depth, bottleneck, said):
    with pytest.raises(ConfigError, match=said):
        cifar(depth, 12, bottleneck)


@given(st.integers(1, 50), st.booleans())
def test_a_network_for_cifar_has_as_many_layers_as_its_depth_says(layers, bottleneck):
    config = cifar((6 if bottleneck else 3) * layers + 4, 12, bottleneck)
    assert config.blocks == (layers,) * 3
