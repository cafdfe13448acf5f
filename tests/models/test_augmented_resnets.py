"""Residual networks with augmented convolutions: published sizes, where attention is, the blocks by hand."""

from dataclasses import replace

import numpy as np
import pytest
from residual_by_hand import randomized

import minattn as ma
from minattn.errors import ConfigError, ShapeError
from minattn.models import registry
from minattn.models.summary import count_macs
from minattn.models.vision.augmented_resnet import BACKBONES, CONFIGURATIONS, AugmentedResNet, AugmentedResNetConfig
from minattn.nn.initializers import unallocated
from minattn.testing import check_gradients


def unbuilt(name, **changes):
    with unallocated():
        return AugmentedResNet(replace(CONFIGURATIONS[name], **changes), np.random.default_rng(0))


# ---------------------------------------------------------------------------------------------- published sizes
@pytest.mark.parametrize(
    ("name", "count", "millions"),
    [
        ("aa_resnet34", 20_749_552, 20.7),
        ("aa_resnet50", 25_813_872, 25.8),
        ("aa_resnet101", 45_391_208, 45.4),
        ("aa_resnet152", 61_622_496, 61.6),
        ("aa_resnet50_0.25", 24_308_208, 24.3),
        ("aa_resnet50_0.5", 22_347_160, 22.3),
        ("aa_resnet50_0.75", 20_739_976, 20.7),
        ("aa_resnet50_1.0", 19_388_040, 19.4),
        ("aa_wrn_28_10", 36_054_100, None),  # printed: 36.2
    ],
)
def test_parameters(name, count, millions):
    assert unbuilt(name).count_parameters() == count
    assert millions is None or count / 1e6 == pytest.approx(millions, abs=0.05)


def test_resnet_34_with_the_shares_of_the_others_would_have_more():
    assert unbuilt("aa_resnet34", kappa=0.2, upsilon=0.1).count_parameters() == 22_038_128


@pytest.mark.parametrize(
    ("stage", "d_k", "d_v", "change", "relative"),
    [(1, 160, 8, 35_032, 2_200), (2, 160, 24, 34_424, 1_080), (3, 160, 48, -29_944, 520)],
)
def test_a_convolution_of_aa_resnet_50(stage, d_k, d_v, change, relative):
    """Keys of 20 numbers a head, values of a tenth of the filters, and what that adds to 3x3 filters."""
    layer = unbuilt("aa_resnet50").backbone.stages[stage].blocks[1].augmented
    width = 64 * 2**stage
    assert layer.attention.W_k.shape == (width, d_k)
    assert layer.attention.W_v.shape == (width, d_v)
    assert layer.count_parameters() - 9 * width * width == change
    assert layer.attention.r_H.size + layer.attention.r_W.size == relative


def test_multiply_accumulates_of_convolutions_and_projections():
    """Twice of them are 16.1 billions in the table; for AA-ResNet-50 it prints 8.3, these are 8.45."""
    assert 2 * count_macs(unbuilt("aa_resnet101"), (3, 224, 224)) / 1e9 == pytest.approx(16.10, abs=0.005)
    assert 2 * count_macs(unbuilt("aa_resnet50"), (3, 224, 224)) / 1e9 == pytest.approx(8.45, abs=0.005)


# ---------------------------------------------------------------------------------------------- where attention is
@pytest.mark.parametrize(
    ("name", "stages"), [("aa_resnet50", [1, 2, 3]), ("aa_resnet34", [1, 2, 3]), ("aa_wrn_28_10", [0, 1, 2])]
)
def test_every_block_of_the_augmented_stages_attends(name, stages):
    network = unbuilt(name).eval()
    config = network.config
    nothing = ma.tensor(np.zeros((0, 3, *config.sides), np.float32))
    _, attention = network(nothing, return_attention=True)
    del attention["backbone.classifier"]
    expected = {
        f"backbone.stages.{stage}.blocks.{i}.augmented": (0, 8, *config.sides_of(stage) * 2)
        for stage in stages
        for i in range(len(network.backbone.stages[stage].blocks))
    }
    assert {path: weights.shape for path, weights in attention.items()} == expected


@pytest.mark.parametrize("sides", [(32, 32), (28, 28), (33, 30), (8, 5)])
@pytest.mark.parametrize("backbone", ["resnet8", "resnet18", "wrn_16_8"])
def test_images_of_any_size_that_is_told(backbone, sides):
    config = AugmentedResNetConfig(backbone, heads=1, least_key=1, sides=sides)
    with unallocated():
        network = AugmentedResNet(config, np.random.default_rng(0)).eval()
    assert network(ma.tensor(np.zeros((0, 3, *sides), np.float32))).shape == (0, 1000)
    with pytest.raises(ShapeError, match="for which it was built"):
        network(ma.tensor(np.zeros((0, 3, sides[0] + 32, sides[1]), np.float32)))


def small(backbone, seed=0, dtype=np.float64, **settings):
    config = AugmentedResNetConfig(
        backbone,
        **{"kappa": 0.25, "upsilon": 0.25, "heads": 2, "least_key": 1, "classes": 3, "sides": (6, 5), **settings},
    )
    return randomized(AugmentedResNet(config, np.random.default_rng(seed)), seed, dtype)


@pytest.mark.parametrize("backbone", ["resnet8", "resnet8_b"])
def test_basic_blocks_by_hand(backbone):
    network = small(backbone).eval()
    x = ma.tensor(np.random.default_rng(1).normal(size=(2, 3, 6, 5)))
    maps = network.backbone.stem(x)
    for stage in network.backbone.stages:
        (block,) = stage.blocks
        inner, weights = block.augmented(maps)
        residual = block.after[0](ma.ops.relu(block.norm(inner)))
        shortcut = maps if block.shortcut is None else block.shortcut(maps)
        expected = np.maximum((residual + shortcut).numpy(), 0)
        maps, attention = block(maps)
        np.testing.assert_allclose(maps.numpy(), expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_array_equal(attention["augmented"].numpy(), weights.numpy())
    logits = network.backbone.classifier(ma.ops.mean(maps, (2, 3)))
    np.testing.assert_allclose(network(x).numpy(), logits.numpy(), rtol=1e-10, atol=1e-12)


def test_basic_blocks_of_which_both_convolutions_are_augmented_by_hand():
    """With kappa = upsilon = 1 nothing but the stem is a 3x3 convolution."""
    network = small("resnet8", both=True, kappa=1.0, upsilon=1.0).eval()
    x = ma.tensor(np.random.default_rng(1).normal(size=(2, 16, 6, 5)))
    block = network.backbone.stages[0].blocks[0]
    first, first_weights = block.augmented(x)
    last, last_weights = block.last.augmented(ma.ops.relu(block.norm(first)))
    y, attention = block(x)
    np.testing.assert_allclose(y.numpy(), np.maximum((block.last.norm(last) + x).numpy(), 0), rtol=1e-10, atol=1e-12)
    assert {name: weights.numpy().tolist() for name, weights in attention.items()} == {
        "augmented": first_weights.numpy().tolist(),
        "last.augmented": last_weights.numpy().tolist(),
    }
    shapes = [parameter.shape for parameter in network.parameters()]
    assert sum(shape[2:] == (3, 3) for shape in shapes) == 1
    bottlenecks = small("resnet50", both=True, sides=(8, 8)).backbone.stages[1].blocks[0]
    assert bottlenecks.last is None
    with pytest.raises(ConfigError, match="in a wide block one convolution is augmented"):
        AugmentedResNetConfig("wrn_16_8", both=True)


def test_bottlenecks_by_hand():
    network = small("resnet50", sides=(16, 8), upsilon=0.5).eval()
    block = network.backbone.stages[1].blocks[0]
    x = ma.tensor(np.random.default_rng(1).normal(size=(2, 256, 4, 2)))
    inner, _ = block.augmented(block.before[0](x))
    residual = block.after[0](ma.ops.relu(block.norm(inner))) + block.shortcut(x)
    np.testing.assert_allclose(block(x)[0].numpy(), np.maximum(residual.numpy(), 0), rtol=1e-10, atol=1e-12)


def test_wide_blocks_have_the_dropout_of_their_backbone(monkeypatch):
    monkeypatch.setitem(BACKBONES, "dropping", replace(BACKBONES["wrn_16_8"], dropout=0.5, widening=1))
    network = small("dropping", sides=(4, 4), stages=1).eval()
    block = network.backbone.stages[2].blocks[0]
    x = ma.tensor(np.random.default_rng(1).normal(size=(1, 32, 2, 2)))
    same = block(x)[0].numpy()
    np.testing.assert_array_equal(block(x)[0].numpy(), same)
    block.dropout.train()
    assert not np.allclose(block(x)[0].numpy(), same)


@pytest.mark.parametrize("backbone", ["wrn_16_8", "wrn_28_10_a"])
def test_wide_blocks_by_hand(backbone):
    with unallocated():
        config = AugmentedResNetConfig(backbone, heads=2, least_key=1, sides=(4, 4), upsilon=0.01, kappa=0.01)
        block = AugmentedResNet(config, np.random.default_rng(0)).backbone.stages[0].blocks[0]
    randomized(block, 0, np.float64)
    block.eval()
    x = ma.tensor(np.random.default_rng(1).normal(size=(1, 16, 4, 4)))
    activated = ma.ops.relu(block.norm1(x))
    residual = block.conv2(ma.ops.relu(block.norm2(block.augmented(activated)[0])))
    shortcut = block.projection(activated) if block.projection is not None else block.padded(x)
    np.testing.assert_allclose(block(x)[0].numpy(), (residual + shortcut).numpy(), rtol=1e-9, atol=1e-10)


def test_gradients_through_a_network():
    network = small("resnet8", stages=1, sides=(4, 4)).eval()
    maps = np.random.default_rng(1).normal(size=(1, 3, 4, 4))
    attention = network.backbone.stages[2].blocks[0].augmented.attention
    check_gradients(network, maps, parameters=attention.named_parameters())


def test_without_a_value_a_head_there_is_no_attention():
    network = unbuilt("aa_resnet20", upsilon=0.01).eval()
    _, attention = network(ma.tensor(np.zeros((0, 3, 32, 32), np.float32)), return_attention=True)
    assert list(attention) == ["backbone.classifier"]
    with unallocated():
        plain = registry.build("resnet20", np.random.default_rng(0))
    assert network.count_parameters() == plain.count_parameters()


# ---------------------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "se_resnet50"}, "no backbone 'se_resnet50'; hint: one of resnet18"),
        ({"kappa": -0.1}, "got -0.1 and 0.1"),
        ({"kappa": float("inf")}, "got inf and 0.1"),
        ({"upsilon": 1.5}, "got 0.2 and 1.5"),
        ({"upsilon": float("nan")}, "got 0.2 and nan"),
        ({"heads": 0}, "heads must be a whole number"),
        ({"sides": (0, 3)}, r"height and width of the images, got \(0, 3\)"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(CONFIGURATIONS["aa_resnet50"], **changes)
