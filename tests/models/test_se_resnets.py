"""Squeeze-and-excitation in residual networks: published sizes, reductions, positions in the block, SENet-154."""

from dataclasses import replace

import numpy as np
import pytest
import residual_by_hand as by_hand
from hypothesis import given
from hypothesis import strategies as st
from images_by_hand import gates_of
from residual_by_hand import randomized

import minattn as ma
from minattn.attention.channel.squeeze_excitation import SqueezeExcitation
from minattn.errors import ConfigError
from minattn.models.summary import count_macs, count_parameters
from minattn.models.vision import senet
from minattn.models.vision.residual_blocks import BasicBlock, Bottleneck
from minattn.models.vision.resnet import CONFIGURATIONS, ResNet, ResNetConfig
from minattn.models.vision.senet import SENet, SENetBlock, SENetConfig
from minattn.nn import Linear
from minattn.nn.initializers import unallocated
from minattn.testing import check_gradients

SEEDS = st.integers(0, 2**32 - 1)
POSITIONS = ("standard", "pre", "post", "identity", "3x3")
SIZES = {
    # name: (base, weights of SE, biases of SE, total, multiply-accumulates, MB of the authors' file)
    "se_resnet50": (25_557_032, 2_514_944, 16_048, 28_088_024, 3_860_488_192, 107.3),
    "se_resnet101": (44_549_160, 4_743_168, 34_544, 49_326_872, 7_574_937_600, 188.6),
    "se_resnet152": (60_192_808, 6_578_176, 50_864, 66_821_848, 11_288_993_792, 255.5),
    "se_resnext50_32x4d": (25_028_904, 2_514_944, 16_048, 27_559_896, 4_232_994_816, 105.4),
    "se_resnext101_32x4d": (44_177_704, 4_743_168, 34_544, 48_955_416, 7_974_739_968, 187.3),
}
REDUCTIONS = {
    # r: (with biases, without)
    2: (45_699_240, 45_676_584),
    4: (35_635_688, 35_616_808),
    8: (30_603_912, 30_586_920),
    16: (28_088_024, 28_071_976),
    32: (26_830_080, 26_814_504),
}


def unbuilt(name, **changes):
    with unallocated():
        return ResNet(replace(CONFIGURATIONS[name], **changes), np.random.default_rng(0))


def gating(network):
    """(weights, biases) of all the SE inside."""
    found = [module for module in network.named_modules().values() if isinstance(module, SqueezeExcitation)]
    weights = sum(se.W_1.size + se.W_2.size for se in found)
    return weights, sum(se.b_1.size + se.b_2.size for se in found)


def of_file(network):
    """The megabytes (2^20) of all numbers, the running statistics too, in float32."""
    return 4 * (network.count_parameters() + sum(b.size for b in network.named_buffers().values())) / 2**20


def images(seed=0, shape=(2, 4, 5, 4), dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def a_block(seed=0, position="standard", outputs=4, stride=1, se=1):
    settings = {"se": se, "position": position}
    return randomized(Bottleneck(4, 2, outputs, stride, np.random.default_rng(seed), **settings), seed)


# ---------------------------------------------------------------------------------------------- published sizes
@pytest.mark.parametrize("name", SIZES)
def test_parameters_and_multiply_accumulates(name):
    base, weights, biases, total, macs, megabytes = SIZES[name]
    network = unbuilt(name)
    assert gating(network) == (weights, biases)
    assert network.count_parameters() == base + weights + biases == total
    assert count_parameters(network).biases == 1000 + biases
    assert unbuilt(name, se=None).count_parameters() == base
    assert count_macs(network) == macs
    assert of_file(network) == pytest.approx(megabytes, abs=0.05)


@pytest.mark.parametrize("r", REDUCTIONS)
def test_reductions(r):
    with_biases, without = REDUCTIONS[r]
    network = unbuilt("se_resnet50", se=r)
    assert network.count_parameters() == with_biases
    assert with_biases - gating(network)[1] == without
    named = "se_resnet50" if r == 16 else f"se_resnet50_r{r}"
    assert CONFIGURATIONS[named] == network.config


def test_positions():
    counts = {"standard": 28_088_024, "post": 28_088_024, "pre": 27_562_140, "3x3": 25_718_228}
    for position, count in counts.items():
        network = unbuilt("se_resnet50", position=position)
        assert network.count_parameters() == count
        assert position == "standard" or CONFIGURATIONS[f"se_{position}_resnet50"] == network.config
    assert CONFIGURATIONS["se_identity_resnet50"].position == "identity"
    running = unbuilt("se_3x3_resnet50").named_buffers().values()
    assert 25_718_228 + sum(buffer.size for buffer in running) == 25_771_348


def test_the_cost_is_two_over_r_times_the_sum_of_squares():
    """(5), and what the paper says of it: about a tenth more, about 4% without the last stage."""
    network = unbuilt("se_resnet50")
    per_block = {256: (8_192, 272), 512: (32_768, 544), 1024: (131_072, 1_088), 2048: (524_288, 2_176)}
    for stage, (channels, cost) in zip(network.stages, per_block.items(), strict=True):
        assert cost[0] == 2 * channels**2 // 16
        assert all(gating(block) == cost for block in stage.blocks)
    assert [gating(stage)[0] for stage in network.stages] == [24_576, 131_072, 786_432, 1_572_864]
    without_the_last = sum(gating(stage)[0] for stage in network.stages[:-1])
    assert without_the_last == 942_080
    assert without_the_last / 25_557_032 == pytest.approx(0.0369, abs=5e-5)
    for name, growth in {"se_resnet50": 0.0984, "se_resnet101": 0.1065, "se_resnet152": 0.1093}.items():
        base, weights, *_ = SIZES[name]
        assert weights / base == pytest.approx(growth, abs=5e-5)


def test_senet_154():
    with unallocated():
        network = SENet(senet.CONFIGURATIONS["senet154"], np.random.default_rng(0)).eval()
    assert network.count_parameters() == 115_088_984
    assert count_macs(network) == 20_688_363_520
    assert of_file(network) == pytest.approx(440.0, abs=0.05)
    nothing = ma.tensor(np.zeros((0, 3, 224, 224), np.float32))
    x, shapes = network.stem(nothing), []
    assert x.shape == (0, 128, 56, 56)
    for stage in network.stages:
        x, _ = stage(x)
        shapes.append(x.shape)
    assert shapes == [(0, 256, 56, 56), (0, 512, 28, 28), (0, 1024, 14, 14), (0, 2048, 7, 7)]
    channels = [256] * 3 + [512] * 8 + [1024] * 36 + [2048] * 3
    _, attention = network(nothing, return_attention=True)
    assert [s.shape for s in gates_of(attention)] == [(0, c) for c in channels]
    in_convolutions = 3 + 3 * sum(network.config.blocks)
    assert in_convolutions + 1 == 154


# ---------------------------------------------------------------------------------------------- the equations
@given(
    seed=SEEDS,
    position=st.sampled_from(POSITIONS),
    outputs=st.integers(1, 5),
    stride=st.integers(1, 2),
    training=st.booleans(),
    se=st.sampled_from([1, 2, 16]),
)
def test_every_position_is_the_papers_equation(seed, position, outputs, stride, training, se):
    block, x = a_block(seed, position, outputs, stride, se).train(training), images(seed)
    y, attention = block(ma.tensor(x))
    expected, gates = by_hand.bottleneck(block, x, position, training)
    np.testing.assert_allclose(y.data, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(attention["se"].data, gates, rtol=1e-7, atol=1e-9)
    assert attention["se"].shape == (2, {"pre": 4, "3x3": 2}.get(position, outputs))


@pytest.mark.parametrize("position", ["standard", "3x3"])
def test_the_network_is_the_papers_equations(position):
    config = ResNetConfig((1, 1, 1, 1), groups=2, width=2, se=64, position=position, classes=3, channels=1)
    model = randomized(ResNet(config, np.random.default_rng(0)), 0).eval()
    x = images(shape=(1, 1, 9, 12))
    logits, maps, gates = by_hand.resnet(model, x)
    found, attention = model(ma.tensor(x), return_attention=True)
    np.testing.assert_allclose(model.features(ma.tensor(x)).data, maps, rtol=1e-7)
    np.testing.assert_allclose(found.data, logits, rtol=1e-7)
    for s, wanted in zip(gates_of(attention), gates, strict=True):
        np.testing.assert_allclose(s.data, wanted, rtol=1e-7, atol=1e-12)
    np.testing.assert_array_equal(model(ma.tensor(x)).data, found.data)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("stride", [1, 2])
def test_open_gates_are_a_block_without_se_and_shut_ones_take_away_what_they_gate(position, stride):
    block, x = a_block(0, position, 5, stride).eval(), ma.tensor(images())
    plain = Bottleneck(4, 2, 5, stride, np.random.default_rng(0)).eval()
    for name, parameter in plain.named_parameters().items():
        parameter.replace_data(block.named_parameters()[name].data)
    for name, buffer in plain.named_buffers().items():
        buffer.replace_data(block.named_buffers()[name].data)
    block.se.b_2.replace_data(np.full(block.se.b_2.shape, 800.0))
    np.testing.assert_allclose(block(x)[0].data, plain(x)[0].data, rtol=1e-12, atol=1e-12)

    block.se.b_2.replace_data(np.full(block.se.b_2.shape, -800.0))
    first, second, third = plain.convolutions
    zeros, shortcut = ma.tensor(np.zeros(x.shape)), plain.shortcut(x).data
    within = second(first(zeros if position == "pre" else x))
    branch = third(within * 0 if position == "3x3" else within).data
    if position == "standard":
        branch = branch * 0
    if position == "identity":
        shortcut = shortcut * 0
    expected = np.maximum(branch + shortcut, 0) * (position != "post")
    np.testing.assert_allclose(block(x)[0].data, expected, rtol=1e-12, atol=1e-12)


@given(seed=SEEDS, training=st.booleans())
def test_a_basic_block_gates_its_branch(seed, training):
    block = randomized(BasicBlock(4, 6, 2, np.random.default_rng(seed), option="A", se=2), seed).train(training)
    x = images(seed)
    expected, gates = by_hand.basic_block(block, x, 2, "A", training)
    y, attention = block(ma.tensor(x))
    np.testing.assert_allclose(y.data, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(attention["se"].data, gates, rtol=1e-7, atol=1e-9)


@given(
    seed=SEEDS,
    inputs=st.sampled_from([2, 4]),
    outputs=st.sampled_from([4, 8]),
    stride=st.integers(1, 2),
    se=st.sampled_from([None, 2]),
)
def test_a_block_of_senet_154(seed, inputs, outputs, stride, se):
    block = SENetBlock(SENetConfig(groups=2, se=se), inputs, outputs, stride, np.random.default_rng(seed))
    block, x = randomized(block, seed).eval(), images(seed, (2, inputs, 5, 4))
    y, attention = block(ma.tensor(x))
    expected, gates = by_hand.bottleneck(block, x, "standard", False)
    np.testing.assert_allclose(y.data, expected, rtol=1e-6, atol=1e-8)
    assert list(attention) == ([] if se is None else ["se"])
    assert (gates is None) == (se is None)
    kernels = [convolution.conv.weight.shape for convolution in block.convolutions]
    half = outputs // 2
    assert kernels == [(half, inputs, 1, 1), (outputs, half // 2, 3, 3), (outputs, outputs, 1, 1)]
    assert (block.shortcut is None) == (stride == 1 and inputs == outputs)
    if block.shortcut is not None:
        assert block.shortcut.conv.weight.shape[2:] == ((3, 3) if stride == 2 else (1, 1))


def test_the_stem_of_senet_154_ends_in_a_pool_whose_last_window_may_be_cut_off():
    with unallocated():
        network = SENet(SENetConfig((1, 1, 1, 1)), np.random.default_rng(0))
    for convolution in network.conv1:
        randomized(convolution.eval(), 0)
    x = images(shape=(1, 3, 12, 15))
    maps = x
    for convolution, stride in zip(network.conv1, (2, 1, 1), strict=True):
        assert convolution.conv.stride == stride
        maps = by_hand.conv_norm(convolution, maps, False, True)
    assert maps.shape == (1, 128, 6, 8)
    padded = np.pad(maps, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=-np.inf)
    np.testing.assert_allclose(network.stem(ma.tensor(x)).data, by_hand.max_pool(padded, 3, 2, 0), rtol=1e-7)


def test_the_scores_of_a_senet_are_those_of_its_means():
    """Dropout in training alone; elsewhere the classifier takes the means of the features.  Two stages are enough."""
    with unallocated():
        network = SENet(SENetConfig((1, 1, 1, 1), classes=5), np.random.default_rng(0))
    dropped = network.train().pool(ma.tensor(np.ones((9, 2048, 2, 1)))).data
    assert set(np.unique(dropped)) == {0, 1 / 0.8}
    assert 0.18 < (dropped == 0).mean() < 0.22
    network.stages, network.classifier = network.stages[:2], Linear(512, 5, np.random.default_rng(0))
    network = randomized(network, 0, np.float32).eval()
    x = ma.tensor(images(shape=(1, 3, 20, 9), dtype=np.float32))
    logits, attention = network(x, return_attention=True)
    features = network.features(x)
    assert features.shape == (1, 512, 3, 1)
    scores = features.data.mean((2, 3)) @ network.classifier.weight.data + network.classifier.bias.data
    np.testing.assert_allclose(logits.data, scores, rtol=1e-4, atol=1e-5)
    assert {array.dtype for array in (logits, features, *attention.values())} == {np.dtype(np.float32)}


@pytest.mark.parametrize("position", ["pre", "identity"])
def test_gradients(position):
    block = a_block(0, position, 3, 2)

    def outputs(x):
        y, attention = block(x)
        return y, attention["se"]

    check_gradients(outputs, images(shape=(2, 4, 3, 2)))


# ---------------------------------------------------------------------------------------------- refused
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"se": 0}, "se must be a whole number"),
        ({"dropout": 1.0}, "dropout must be in"),
        ({"dropout": -0.1}, "dropout must be in"),
        ({"blocks": (3, 8)}, "blocks must be 4 values"),
        ({"groups": 0}, "groups must be a whole number"),
    ],
)
def test_impossible_configurations_are_refused(settings, message):
    config = SENetConfig()
    for name, value in settings.items():
        object.__setattr__(config, name, value)  # the tests' type checks would be first to refuse it
    with pytest.raises(ConfigError, match=message):
        config.__post_init__()


def test_groups_that_do_not_divide_are_refused():
    for groups in (3, 256):  # 256 divides the channels that go out, not those that come in
        with pytest.raises(ConfigError, match=f"groups={groups} must divide the 128 channels"):
            SENetConfig(groups=groups)
    assert SENetConfig(groups=128).groups == 128
