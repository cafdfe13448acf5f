"""Wide residual networks: published sizes, the network by hand, shortcuts and dropout."""

from dataclasses import replace

import numpy as np
import pytest
import residual_by_hand as by_hand
from hypothesis import given
from hypothesis import strategies as st
from images_by_hand import gates_of
from residual_by_hand import randomized

import minattn as ma
from minattn.errors import ConfigError
from minattn.models.summary import count_macs, count_parameters
from minattn.models.vision.wide_resnet import CONFIGURATIONS, WideBlock, WideResNet, WideResNetConfig
from minattn.nn.initializers import unallocated
from minattn.testing import check_gradients

SEEDS = st.integers(0, 2**32 - 1)


def unbuilt(name, **changes):
    with unallocated():
        return WideResNet(replace(CONFIGURATIONS[name], **changes), np.random.default_rng(0))


def small(seed=0, dtype=np.float64, **settings):
    config = WideResNetConfig(**{"depth": 10, "widening": 1, "classes": 3, **settings})
    return randomized(WideResNet(config, np.random.default_rng(seed)), seed, dtype)


def images(seed=0, shape=(2, 3, 5, 4), dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


# ---------------------------------------------------------------------------------------------- published sizes
@pytest.mark.parametrize(
    ("name", "count", "hundred", "millions"),
    [
        ("wrn_28_10", 36_479_194, 36_536_884, 36.5),
        ("wrn_40_4", 8_949_210, None, 8.9),
        ("wrn_16_8", 10_961_370, None, 11.0),
        ("se_wrn_16_8", 11_049_290, None, None),
    ],
)
def test_parameters(name, count, hundred, millions):
    assert unbuilt(name).count_parameters() == count
    assert hundred is None or unbuilt(name, classes=100).count_parameters() == hundred
    assert millions is None or count / 1e6 == pytest.approx(millions, abs=0.05)


def test_se_wrn_28_10_of_the_comparison_with_augmented_attention():
    """100 classes, no projections in the shortcuts, SE without biases: 36.5 millions."""
    network = unbuilt("se_wrn_28_10", classes=100, shortcut="A", se_biases=False)
    assert network.count_parameters() == 36_547_124
    assert count_parameters(network).biases == 100
    with_biases = unbuilt("se_wrn_28_10", classes=100, shortcut="A")
    assert with_biases.count_parameters() - 36_547_124 == 4 * sum(c + c // 16 for c in (160, 320, 640))
    plain = unbuilt("wrn_28_10", classes=100, shortcut="A")
    assert plain.count_parameters() == 36_536_884 - (16 * 160 + 160 * 320 + 320 * 640)


def test_multiply_accumulates():
    assert count_macs(unbuilt("wrn_28_10"), (3, 32, 32)) == 5_243_328_768


def test_names_say_what_they_build():
    for name, config in CONFIGURATIONS.items():
        assert name == f"{'se_' if config.se else ''}wrn_{config.depth}_{config.widening}"
        assert (config.se in (None, 16), config.dropout, config.shortcut, config.size) == (True, 0, "B", 32)


def test_the_maps_are_those_of_table_1():
    network = unbuilt("wrn_28_10").eval()
    x = network.stem(ma.tensor(np.zeros((0, 3, 32, 32), np.float32)))
    assert x.shape == (0, 16, 32, 32)
    for stage, shape in zip(network.stages, [(160, 32, 32), (320, 16, 16), (640, 8, 8)], strict=True):
        x, _ = stage(x)
        assert x.shape == (0, *shape)
        assert len(stage.blocks) == 4


# ---------------------------------------------------------------------------------------------- the equations
@given(
    seed=SEEDS,
    shortcut=st.sampled_from("AB"),
    se=st.sampled_from([None, 2]),
    outputs=st.integers(3, 5),
    stride=st.integers(1, 2),
)
def test_a_block_is_the_papers_equations(seed, shortcut, se, outputs, stride):
    config = WideResNetConfig(shortcut=shortcut, se=se)
    block = randomized(WideBlock(config, 3, outputs, stride, np.random.default_rng(seed)), seed)
    for training in (True, False):
        x = images(seed, (2, 3, 5, 4))
        expected, gates = by_hand.wide_block(block.train(training), x, stride, shortcut, training)
        y, attention = block(ma.tensor(x))
        np.testing.assert_allclose(y.data, expected, rtol=1e-6, atol=1e-8)
        assert list(attention) == ([] if se is None else ["se"])
        for s in attention.values():
            np.testing.assert_allclose(s.data, gates, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("settings", [{"shortcut": "A"}, {"se": 8}, {"depth": 16, "channels": 1}], ids=str)
def test_the_network_is_the_papers_equations(settings):
    model = small(**settings)
    x = images(shape=(2, model.config.channels, 5, 4))
    for training in (True, False):
        logits, maps, gates = by_hand.wide_resnet(model.train(training), x, training)
        found, attention = model(ma.tensor(x), return_attention=True)
        np.testing.assert_allclose(found.data, logits, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(model.features(ma.tensor(x)).data, maps, rtol=1e-6, atol=1e-8)
        if model.config.se is None:
            assert list(attention) == ["classifier"]
        else:
            assert [s.shape for s in gates_of(attention)] == [(2, 16), (2, 32), (2, 64)]
            for s, wanted in zip(gates_of(attention), gates, strict=True):
                np.testing.assert_allclose(s.data, wanted, rtol=1e-6, atol=1e-9)


@given(seed=SEEDS)
def test_a_block_with_a_last_convolution_of_zeros_is_the_identity(seed):
    """Nothing follows the sum, so that x comes through as it is, its negative numbers too."""
    block = randomized(WideBlock(WideResNetConfig(), 3, 3, 1, np.random.default_rng(seed)), seed)
    block.conv2.weight.replace_data(np.zeros((3, 3, 3, 3)))
    x = ma.tensor(images(seed))
    np.testing.assert_array_equal(block(x)[0].data, x.data)


@pytest.mark.parametrize("settings", [{"shortcut": "A", "se": 2}, {"shortcut": "B"}], ids=str)
def test_gradients_of_a_block_that_changes_the_size(settings):
    block = WideBlock(WideResNetConfig(**settings), 1, 2, 2, np.random.default_rng(0))
    randomized(block, 0)
    check_gradients(lambda x: block(x)[0], images(shape=(2, 1, 4, 3)))


def test_dropout_is_in_training_alone_and_the_generators():
    def logits(dropout, training):
        model = WideResNet(WideResNetConfig(10, 1, dropout=dropout), np.random.default_rng(0))
        return model.train(training)(ma.tensor(images(dtype=np.float32))).data

    np.testing.assert_array_equal(logits(0.3, True), logits(0.3, True))
    assert np.abs(logits(0.3, True) - logits(0.0, True)).max() > 0.01
    np.testing.assert_array_equal(logits(0.3, False), logits(0.0, False))


def test_dropout_is_between_the_convolutions(monkeypatch):
    block, seen = WideBlock(WideResNetConfig(dropout=0.5), 3, 4, 2, np.random.default_rng(0)).eval(), []
    monkeypatch.setattr(block, "dropout", lambda x: seen.append(x.data) or x)
    x = ma.tensor(images(dtype=np.float32))
    block(x)
    (between,) = seen
    np.testing.assert_array_equal(between, block.norm2(block.conv1(block.norm1(x, relu=True)), relu=True).data)


def test_float32_stays_float32():
    model = small(dtype=np.float32, se=8)
    logits, attention = model(ma.tensor(images(dtype=np.float32)), return_attention=True)
    ma.sum(logits * logits).backward()
    found = [logits, *attention.values(), *(parameter.grad for parameter in model.parameters())]
    assert {array.dtype for array in found} == {np.dtype(np.float32)}


# ---------------------------------------------------------------------------------------------- refused
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 27}, "depth 6N \\+ 4, got 27; hint: for example 28"),
        ({"depth": 4}, "depth 6N \\+ 4, got 4; hint: for example 10"),
        ({"widening": 0}, "widening must be a whole number"),
        ({"dropout": 1.0}, "dropout must be in"),
        ({"shortcut": "C"}, 'shortcut must be one of "A", "B"'),
        ({"se": 0}, "se must be a whole number"),
    ],
)
def test_impossible_configurations_are_refused(settings, message):
    config = WideResNetConfig()
    for name, value in settings.items():
        object.__setattr__(config, name, value)  # the tests' type checks would be first to refuse it
    with pytest.raises(ConfigError, match=message):
        config.__post_init__()
