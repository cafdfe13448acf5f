"""ResNet, ResNeXt and Wide ResNet-50-2: published sizes and multiply-accumulates, the network by hand, identities."""

from dataclasses import replace

import numpy as np
import pytest
import residual_by_hand as by_hand
from hypothesis import given
from hypothesis import strategies as st
from residual_by_hand import randomized

import minattn as ma
from minattn.errors import ConfigError
from minattn.models.summary import count_macs, count_parameters
from minattn.models.vision.residual_blocks import Bottleneck
from minattn.models.vision.resnet import CONFIGURATIONS, ResNet, ResNetConfig, make_stage
from minattn.nn import ConvNorm
from minattn.nn.initializers import unallocated

SEEDS = st.integers(0, 2**32 - 1)
SIZES = {
    # name: (parameters, weights, those of batch norm, multiply-accumulates)
    "resnet18": (11_689_512, 11_678_912, 9_600, 1_814_073_344),
    "resnet34": (21_797_672, 21_779_648, 17_024, 3_663_761_408),
    "resnet50": (25_557_032, 25_502_912, 53_120, 4_089_184_256),
    "resnet101": (44_549_160, 44_442_816, 105_344, 7_801_405_440),
    "resnet152": (60_192_808, 60_040_384, 151_424, 11_513_626_624),
    "resnet50_1x1": (25_557_032, 25_502_912, 53_120, 3_857_973_248),
    "resnet101_1x1": (44_549_160, 44_442_816, 105_344, 7_570_194_432),
    "resnet152_1x1": (60_192_808, 60_040_384, 151_424, 11_282_415_616),
    "resnext50_32x4d": (25_028_904, 24_959_680, 68_224, 4_230_479_872),
    "resnext101_32x4d": (44_177_704, None, None, 7_969_996_800),
    "resnext101_32x8d": (88_791_336, None, None, None),
    "wide_resnet50_2": (68_883_240, None, None, None),
}


def unbuilt(name, **changes):
    with unallocated():
        return ResNet(replace(CONFIGURATIONS[name], **changes), np.random.default_rng(0))


def no_images(side):
    return ma.tensor(np.zeros((0, 3, side, side), np.float32))


def images(seed=0, shape=(2, 3, 6, 6), dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


# ---------------------------------------------------------------------------------------------- published sizes
@pytest.mark.parametrize("name", SIZES)
def test_parameters_and_multiply_accumulates(name):
    total, weights, batch_norm, macs = SIZES[name]
    network = unbuilt(name)
    found = count_parameters(network)
    assert found.total == network.count_parameters() == total
    assert found.biases == 1000
    assert weights is None or (found.weights, found.batch_norm) == (weights, batch_norm)
    assert macs is None or count_macs(network) == macs


def test_every_plain_configuration_is_counted():
    assert set(SIZES) == {name for name, config in CONFIGURATIONS.items() if config.se is None}


def test_the_3_86_billions_of_the_se_paper_have_the_stride_in_the_1x1():
    for name, billions in {"resnet50_1x1": 3.86, "resnet101_1x1": 7.58, "resnet152_1x1": 11.30}.items():
        assert SIZES[name][3] / 1e9 == pytest.approx(billions, abs=0.02)
        assert SIZES[name.removesuffix("_1x1")][3] / 1e9 > billions + 0.2


def test_other_classes_and_channels():
    counts = [unbuilt("resnet50", classes=k).count_parameters() for k in (1, 2, 10)]
    assert counts == [25_557_032 - 999 * 2049, 25_557_032 - 998 * 2049, 25_557_032 - 990 * 2049]
    assert unbuilt("resnet18", channels=1).count_parameters() == 11_689_512 - 2 * 64 * 49


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet50_1x1", "resnext50_32x4d"])
def test_the_maps_are_those_of_table_1(name):
    network, shapes = unbuilt(name).eval(), []
    x = no_images(224)
    shapes.append(network.conv1(x).shape)
    x = network.stem(x)
    for stage in network.stages:
        x, attention = stage(x)
        assert attention == {}
        shapes.append(x.shape)
    first = network.config.outputs[0]
    assert first == (64 if name == "resnet18" else 256)
    maps = [(first, 56), (2 * first, 28), (4 * first, 14), (8 * first, 7)]
    assert shapes == [(0, 64, 112, 112), *((0, channels, side, side) for channels, side in maps)]
    assert network.features(no_images(224)).shape == (0, 8 * first, 7, 7)
    assert network(no_images(224)).shape == (0, 1000)


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d"])
def test_twice_the_side_is_four_times_the_convolutions(name):
    network = unbuilt(name)
    of_classifier = network.classifier.weight.size
    half, whole, double = (count_macs(network, (3, side, side)) - of_classifier for side in (112, 224, 448))
    assert double == 4 * whole
    in_the_last_stage = count_macs(network.stages[-1], (network.config.outputs[2], 7, 7))
    assert whole == 4 * half - 4 * in_the_last_stage + count_macs(
        network.stages[-1], (network.config.outputs[2], 14, 14)
    )


def test_a_stage_can_keep_the_size():
    """What an attention branch starts with: a copy of the last stage with stride 1."""
    with unallocated():
        stage = make_stage(CONFIGURATIONS["resnet50"], 3, np.random.default_rng(0), stride=1).eval()
    assert stage(ma.tensor(np.zeros((0, 1024, 14, 14), np.float32)))[0].shape == (0, 2048, 14, 14)
    assert stage.count_parameters() == unbuilt("resnet50").stages[3].count_parameters()


# ---------------------------------------------------------------------------------------------- the equations
@given(
    seed=SEEDS,
    strided=st.sampled_from(["1x1", "3x3"]),
    groups=st.integers(1, 2),
    stride=st.integers(1, 2),
    training=st.booleans(),
    outputs=st.integers(1, 4),
    side=st.integers(2, 5),
)
def test_a_bottleneck_is_the_papers_equations(seed, strided, groups, stride, training, outputs, side):
    block = Bottleneck(3, 2, outputs, stride, np.random.default_rng(seed), strided=strided, groups=groups)
    randomized(block, seed).train(training)
    x = images(seed, (2, 3, side, side))
    y, attention = block(ma.tensor(x))
    np.testing.assert_allclose(y.data, by_hand.bottleneck(block, x, "standard", training)[0], rtol=1e-6, atol=1e-8)
    assert attention == {}
    assert (block.shortcut is None) == (outputs == 3 and stride == 1)
    first, second, third = (convolution.conv for convolution in block.convolutions)
    assert (first.stride, second.stride, third.stride) == ((stride, 1, 1) if strided == "1x1" else (1, stride, 1))
    assert (first.groups, second.groups, third.groups) == (1, groups, 1)


@pytest.mark.parametrize("strided", ["1x1", "3x3"])
def test_the_network_is_the_papers_equations(strided):
    config = ResNetConfig((1, 2, 1, 1), strided=strided, groups=2, width=2, classes=3, channels=1)
    model = randomized(ResNet(config, np.random.default_rng(0)), 0).eval()
    x = images(shape=(1, 1, 21, 11))
    logits, maps, _ = by_hand.resnet(model, x)
    found, attention = model(ma.tensor(x), return_attention=True)
    assert list(attention) == ["classifier"]
    np.testing.assert_allclose(found.data, logits, rtol=1e-8)
    np.testing.assert_allclose(model.features(ma.tensor(x)).data, maps, rtol=1e-8)


def test_basic_blocks_make_the_smaller_networks():
    model = ResNet(replace(CONFIGURATIONS["resnet18"], blocks=(1, 1, 1, 1), channels=1), np.random.default_rng(0))
    model, x = randomized(model, 0).eval(), images(shape=(1, 1, 9, 9))
    expected = by_hand.max_pool(by_hand.conv_norm(model.conv1, x, False, True), 3, 2, 1)
    for stage, stride in zip(model.stages, (1, 2, 2, 2), strict=True):
        (block,) = stage.blocks
        expected, _ = by_hand.basic_block(block, expected, stride, "B", False)
    np.testing.assert_allclose(model.features(ma.tensor(x)).data, expected, rtol=1e-8)


@given(seed=SEEDS)
def test_a_block_whose_last_norm_is_zero_is_the_relu_of_its_input(seed):
    block = randomized(Bottleneck(4, 2, 4, 1, np.random.default_rng(seed)), seed)
    last = block.convolutions[-1].norm
    last.weight.replace_data(np.zeros(4))
    last.bias.replace_data(np.zeros(4))
    x = ma.tensor(images(seed, (2, 4, 3, 3)))
    y, _ = block(x)
    np.testing.assert_array_equal(y.data, np.maximum(x.data, 0))
    np.testing.assert_array_equal(block(y)[0].data, y.data)


@given(seed=SEEDS, groups=st.integers(1, 4), width=st.integers(1, 3), stride=st.integers(1, 2))
def test_groups_are_a_dense_convolution_with_zeros_between_groups(seed, groups, width, stride):
    channels, rng = groups * width, np.random.default_rng(seed)
    settings = {"stride": stride, "padding": 1}
    grouped = randomized(ConvNorm(channels, channels, 3, rng, groups=groups, **settings), seed).eval()
    dense = randomized(ConvNorm(channels, channels, 3, rng, **settings), seed).eval()
    weight = np.zeros((channels, channels, 3, 3))
    for group in range(groups):
        own = slice(group * width, (group + 1) * width)
        weight[own, own] = grouped.conv.weight.data[own]
    dense.load_state_dict(grouped.state_dict() | {"conv.weight": weight})
    x = ma.tensor(images(seed, (2, channels, 5, 4)))
    np.testing.assert_allclose(grouped(x).data, dense(x).data, rtol=1e-9, atol=1e-12)


def test_the_published_networks_can_be_built_and_run():
    """One with its weights: float32 throughout, the mean of the features through the classifier."""
    network = ResNet(replace(CONFIGURATIONS["resnext50_32x4d"], classes=5), np.random.default_rng(0)).eval()
    x = ma.tensor(images(shape=(1, 3, 33, 40), dtype=np.float32))
    logits = network(x)
    features = network.features(x)
    assert logits.dtype == features.dtype == np.float32
    assert features.shape == (1, 2048, 2, 2)
    scores = features.data.mean((2, 3)) @ network.classifier.weight.data + network.classifier.bias.data
    np.testing.assert_allclose(logits.data, scores, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------- refused
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strided": "5x5"}, 'strided must be one of "1x1", "3x3"'),
        ({"block": "wide"}, "block must be one of"),
        ({"position": "last"}, "position must be one of"),
        ({"se": 0}, "se must be a whole number"),
        ({"classes": 0}, "classes must be a whole number"),
        ({"groups": 3}, "groups=3 must divide the 64 channels"),
        ({"blocks": (3, 4, 6)}, r"blocks (must be 4 values|are those of 4 stages)"),
        ({"blocks": (3, 0, 6, 3)}, r"blocks (must be 4 values|are those of 4 stages)"),
        ({"block": "basic", "groups": 32}, 'basic blocks have groups 1.*hint: block="bottleneck"'),
        ({"block": "basic", "width": 128}, "basic blocks have"),
        ({"block": "basic", "position": "3x3"}, "basic blocks have"),
    ],
)
def test_impossible_configurations_are_refused(settings, message):
    config = ResNetConfig()
    for name, value in settings.items():
        object.__setattr__(config, name, value)  # the tests' type checks would be first to refuse it
    with pytest.raises(ConfigError, match=message):
        config.__post_init__()
