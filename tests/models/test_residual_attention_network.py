"""The Residual Attention Network: published sizes, the network by hand, its forms, and what it refuses."""

import re
from dataclasses import replace

import fakecupy
import numpy as np
import pytest
import residual_by_hand as by_hand
from hypothesis import given
from hypothesis import strategies as st
from images_by_hand import max_pool, relu

import minattn as ma
from minattn.errors import ConfigError, ShapeError
from minattn.models import registry
from minattn.models.summary import count_macs, count_parameters
from minattn.models.vision.residual_attention import (
    CONFIGURATIONS,
    AttentionModule,
    GroupedUnit,
    ResidualAttentionConfig,
    ResidualAttentionNetwork,
    Unit,
)
from minattn.nn import Conv2d, Linear, initializers
from minattn.testing import check_gradients
from minattn.training import SGD

SEEDS = st.integers(0, 2**32 - 1)
CIFAR = CONFIGURATIONS["cifar_attention56"]


def unbuilt(name, **changes):
    with initializers.unallocated():
        return registry.build(name, np.random.default_rng(0), **changes)


def images(seed=0, shape=(2, 3, 24, 24), dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


# ---------------------------------------------------------------------------------------------- published sizes
@pytest.mark.parametrize(
    ("name", "weights", "total", "macs"),
    [
        ("attention56", 31_737_024, 31_810_728, 6_270_836_736),
        ("attention92", 52_331_712, 52_466_344, 10_533_789_696),
        ("attentionnext56", 31_219_392, 31_318_824, 6_419_106_816),
        ("attentionnext92", 51_930_816, 52_102_952, 10_704_337_920),
    ],
)
def test_parameters_and_macs_of_the_released_networks(name, weights, total, macs):
    network = unbuilt(name)
    assert network.count_parameters() == total
    assert count_parameters(network).weights == weights
    assert count_parameters(network).biases == 1000
    assert count_macs(network, (3, 224, 224)) == macs


@pytest.mark.parametrize(("m", "count", "millions"), [(1, 1_135_226, None), (2, 1_932_474, 1.9), (6, 5_121_466, 5.1)])
def test_parameters_of_the_reconstruction_for_cifar(m, count, millions):
    assert unbuilt(f"cifar_attention{36 * m + 20}").count_parameters() == count
    assert millions is None or count / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize("narrow", [2, 4, 8, 16])
def test_narrow_networks_have_all_numbers_of_maps_divided(narrow):
    """But for the stem and the classes, what multiplies maps with maps gets smaller by the square."""
    whole, divided = (unbuilt("cifar_attention92", narrow=n) for n in (1, narrow))
    assert divided.config.widths == tuple(width // narrow for width in (16, 64, 128, 256, 256))
    for (path, one), other in zip(whole.named_parameters().items(), divided.parameters(), strict=True):
        if path.startswith("stages") and one.ndim == 4:
            assert one.size == other.size * narrow**2, path


def test_a_trunk_of_two_modules_costs_what_one_with_masks_does():
    """About as many parameters, and 15 % more multiply-adds."""
    masked, trunk = (unbuilt(f"cifar_attention{d}", narrow=4, masks=m) for d, m in ((56, True), (92, False)))
    assert trunk.count_parameters() / masked.count_parameters() == pytest.approx(0.95, abs=0.01)
    assert count_macs(trunk, (3, 16, 16)) / count_macs(masked, (3, 16, 16)) == pytest.approx(1.15, abs=0.02)


@pytest.mark.parametrize("width", [256, 512, 1024, 2048])
def test_a_unit_has_seventeen_sixteenths_of_its_width_squared(width):
    with initializers.unallocated():
        unit = Unit(width, width, 1, np.random.default_rng(0))
    assert count_parameters(unit).weights * 16 == 17 * width**2


@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_the_depth_is_that_of_the_name(name):
    """The trunk, without masks and shortcuts: 36 m + 20 convolutions and linear layers, 12 m + 6 units of three."""
    modules = {path: module for path, module in unbuilt(name).named_modules().items() if ".mask." not in path}
    of_shortcuts = ("projection", "shortcut.conv")
    layers = [
        path
        for path, module in modules.items()
        if isinstance(module, Conv2d | Linear) and not path.endswith(of_shortcuts)
    ]
    units = [module for module in modules.values() if isinstance(module, Unit | GroupedUnit)]
    m = sum(CONFIGURATIONS[name].modules) // 3
    assert len(layers) == 36 * m + 20 == int(re.findall(r"\d+", name)[0])
    assert len(units) == 12 * m + 6


def test_the_maps_are_those_of_table_2():
    nothing = ma.tensor(np.zeros((0, 3, 224, 224), np.float32))
    network = unbuilt("attention92").eval()
    features, masks = network.features_and_attention(nothing)
    assert features.shape == (0, 2048, 7, 7)
    assert {path: m.shape[1:] for path, m in masks.items()} == {
        f"stages.{i}.modules.{j}.attention": shape
        for i, shape in enumerate([(256, 56, 56), (512, 28, 28), (1024, 14, 14)])
        for j in range(i + 1)
    }
    for stage in network.stages:
        for module in stage.modules:
            level = module.attention.mask.level
            sizes = []
            while level is not None:
                sizes.append(level)
                level = level.inner
            assert len(sizes) == module.attention.mask.depth


# ---------------------------------------------------------------------------------------------- by hand
def unit_by_hand(unit, x, training):
    activated = relu(by_hand.batch_norm(unit.norm, x, training))
    residual = by_hand.conv_norm(unit.conv1, activated, training, True)
    residual = by_hand.conv(unit.conv3, by_hand.conv_norm(unit.conv2, residual, training, True))
    return residual + (x if unit.projection is None else by_hand.conv(unit.projection, activated))


def grouped_by_hand(unit, x, training):
    return by_hand.bottleneck(unit, x, None, training)[0]


def enlarged(x, size):
    """Bilinear, corners on corners, by products with the weights of rows and of columns."""

    def weights(n, m):
        places = np.linspace(0, n - 1, m) if m > 1 else np.zeros(1)
        return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(n)))

    return weights(x.shape[2], size[0]) @ x @ weights(x.shape[3], size[1]).T


def level_by_hand(level, x, unit, training):
    z = unit(level.down, max_pool(x, 3, 2, ceil=True), training)
    if level.inner is not None:
        inner = level_by_hand(level.inner, z, unit, training)
        z = enlarged(inner, z.shape[2:]) + unit(level.skip, z, training)
    return unit(level.up, z, training)


def module_by_hand(module, x, unit, training):
    """(y, M or None)."""
    u = unit(module.first, x, training)
    branch = module.attention or module
    t = u
    for each in branch.trunk.units:
        t = unit(each, t, training)
    if module.attention is None:
        return unit(module.last, t, training), None
    mask = branch.mask
    y = enlarged(level_by_hand(mask.level, u, unit, training), u.shape[2:])
    y = y if mask.norm is None else relu(by_hand.batch_norm(mask.norm, y, training))
    m = by_hand.conv(mask.conv2, by_hand.conv_norm(mask.conv1, y, training, True))
    m = 1 / (1 + np.exp(-m))
    return unit(module.last, (m + 1) * t if branch.residual else m * t, training), m


def network_by_hand(model, x, training):
    """(logits, masks)."""
    unit = grouped_by_hand if model.config.grouped else unit_by_hand
    x, masks = by_hand.conv_norm(model.conv1, x, training, True), []
    x = max_pool(x, 3, 2, ceil=True) if model.config.size == 224 else x
    for stage in model.stages:
        x = unit(stage.first, x, training)
        for module in stage.modules:
            x, m = module_by_hand(module, x, unit, training)
            masks += [] if m is None else [m]
    for each in model.last.units:
        x = unit(each, x, training)
    x = x if model.norm is None else relu(by_hand.batch_norm(model.norm, x, training))
    return x.mean((2, 3)) @ model.classifier.weight.data + model.classifier.bias.data, masks


@pytest.mark.parametrize(
    "settings",
    [{}, {"residual": False}, {"masks": False}, {"modules": (2, 0, 1)}, {"grouped": True}],
    ids=str,
)
@pytest.mark.parametrize("training", [False, True])
def test_the_network_is_the_papers(settings, training):
    config = replace(CIFAR, classes=3, **settings)
    model = by_hand.randomized(ResidualAttentionNetwork(config, np.random.default_rng(0)), 0).train(training)
    x = images()
    logits, masks = network_by_hand(model, x, training)
    found, attention = model(ma.tensor(x), return_attention=True)
    np.testing.assert_allclose(found.data, logits, rtol=1e-5, atol=1e-6 * np.abs(logits).max())
    assert len(attention) == len(masks) + 1
    assert attention.pop("classifier").shape == (2, 3, 6, 6)
    for m, wanted in zip(attention.values(), masks, strict=True):
        np.testing.assert_allclose(m.data, wanted, rtol=1e-4, atol=1e-6)


def test_the_form_for_imagenet_is_the_papers():
    """The widths are those of the paper, so this is in float32 and of a small image."""
    config = ResidualAttentionConfig((1, 0, 0), classes=3)
    model = by_hand.randomized(ResidualAttentionNetwork(config, np.random.default_rng(0)), 0, np.float32).eval()
    x = images(shape=(1, 3, 64, 48), dtype=np.float32)
    logits, (mask,) = network_by_hand(model, x, training=False)
    found, attention = model(ma.tensor(x), return_attention=True)
    np.testing.assert_allclose(attention["stages.0.modules.0.attention"].data, mask, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(found.data, logits, rtol=1e-2, atol=1e-2 * np.abs(logits).max())


def test_gradients_of_an_attention_module():
    config = replace(CIFAR, modules=(1, 0, 0))
    module = by_hand.randomized(AttentionModule(config, 4, 1, np.random.default_rng(0)), 3).eval()
    check_gradients(lambda x: module(x)[0], images(shape=(1, 4, 4, 3)), method="complex")


# ---------------------------------------------------------------------------------------------- its forms
@given(SEEDS)
def test_a_unit_with_a_last_convolution_of_zeros_is_the_identity(seed):
    unit = by_hand.randomized(Unit(4, 4, 1, np.random.default_rng(seed)), seed)
    unit.conv3.weight.replace_data(np.zeros((4, 1, 1, 1)))
    x = images(seed, (2, 4, 3, 5))
    np.testing.assert_array_equal(unit(ma.tensor(x)).data, x)


@pytest.mark.parametrize("activation", ["mixed", "channel", "spatial"])
def test_every_activation_has_masks_of_its_kind(activation):
    model = registry.build("cifar_attention56", np.random.default_rng(0), activation=activation)
    _, attention = model(ma.tensor(images(dtype=np.float32)), return_attention=True)
    masks = [m.data for path, m in attention.items() if path.endswith("attention")]
    assert len(masks) == 3
    for m in masks:
        if activation == "channel":
            np.testing.assert_allclose((m**2).sum(1), 1, rtol=1e-4)
        else:
            assert ((m > 0) & (m < 1)).all()


def test_without_masks_it_is_the_trunk():
    """The parameters that are gone are those of the masks."""
    whole, trunk = unbuilt("attention56"), unbuilt("attention56", masks=False)
    of_masks = sum(p.size for path, p in whole.named_parameters().items() if ".mask." in path)
    assert whole.count_parameters() - trunk.count_parameters() == of_masks > 0


def test_float32_stays_float32():
    model = registry.build("cifar_attention56", np.random.default_rng(0))
    logits, attention = model(ma.tensor(images(dtype=np.float32)), return_attention=True)
    ma.sum(logits * logits).backward()
    found = [logits, *attention.values(), *(parameter.grad for parameter in model.parameters())]
    assert {array.dtype for array in found} == {np.dtype(np.float32)}


# ---------------------------------------------------------------------------------------------- devices
@pytest.mark.parametrize(
    "settings", [{}, {"residual": False, "activation": "spatial"}, {"activation": "channel"}], ids=str
)
def test_a_training_step_is_the_same_everywhere_and_waits_for_nothing(backend, settings):
    def step(make, model):
        x, labels = images(3, (3, 3, 12, 15), np.float32), np.arange(3)
        optimizer = SGD(model.named_parameters(), 0.01, momentum=0.9)
        logits, attention = model(make(x), return_attention=True)
        ma.cross_entropy(logits, labels).backward()
        optimizer.step()
        return [logits.data, *(m.data for m in attention.values()), *(p.data for p in model.parameters())]

    def built():
        return registry.build("cifar_attention56", np.random.default_rng(0), narrow=8, **settings)

    expected = step(ma.tensor, built())
    there = built().to(backend.device)
    with fakecupy.no_sync():  # concerns the fake alone
        found = step(backend.tensor, there)
    for result, value in zip(found, expected, strict=True):
        assert result.dtype == np.float32
        # normalizations over few numbers make the roundings of float32 larger
        np.testing.assert_allclose(ma.autograd.asnumpy(result), value, rtol=1e-2, atol=5e-3 * np.abs(value).max())


# ---------------------------------------------------------------------------------------------- refused
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"modules": (1, 1)}, r"3 values .*, got \(1, 1\); hint"),
        ({"modules": (1, -1, 1)}, r"those of 3 stages, got \(1, -1, 1\); hint"),
        ({"size": 64}, "224 for ImageNet's form or 32 for CIFAR's, got 64"),
        ({"activation": "softmax"}, 'activation must be one of "mixed", "channel", "spatial"'),
        ({"masks": 1}, "masks must be True or False"),
        ({"classes": 0}, "classes must be a whole number"),
        ({"narrow": 0}, "narrow must be a whole number of at least 1, got 0"),
        (
            {"narrow": 3},
            "narrow=3 leaves no whole number of maps for every convolution, or group; hint: one of 1, 2, 4,",
        ),
        ({"narrow": 8, "grouped": True}, "narrow=8 leaves no .*; hint: one of 1, 2, 4$"),
        ({"narrow": 2, "grouped": True, "size": 32}, "narrow=2 leaves no .*; hint: one of 1$"),
    ],
)
def test_impossible_configurations_are_refused(settings, message):
    config = ResidualAttentionConfig()
    for name, value in settings.items():
        object.__setattr__(config, name, value)  # the tests' type checks would be first to refuse it
    with pytest.raises(ConfigError, match=message):
        config.__post_init__()


def test_images_that_are_too_small_for_the_masks_are_refused():
    with pytest.raises(ShapeError, match=r"a soft mask of depth 2 got maps of shape .*; hint: larger images"):
        unbuilt("cifar_attention56").eval()(ma.tensor(np.zeros((0, 3, 8, 8), np.float32)))
