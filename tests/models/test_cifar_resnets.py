"""ResNet and ResNeXt for small images: published sizes, the network by hand, shortcuts, and configurations refused."""

from dataclasses import replace

import numpy as np
import pytest
import residual_by_hand as by_hand
from hypothesis import given
from hypothesis import strategies as st
from images_by_hand import gates_of
from residual_by_hand import randomized

import minattn as ma
from minattn.autograd import asnumpy
from minattn.errors import ConfigError, ShapeError
from minattn.models.summary import count_macs, count_parameters
from minattn.models.vision import cifar_resnet, cifar_resnext
from minattn.models.vision.cifar_resnet import CifarResNet, CifarResNetConfig
from minattn.models.vision.cifar_resnext import CifarResNeXt, CifarResNeXtConfig
from minattn.models.vision.residual_blocks import BasicBlock, PaddedShortcut
from minattn.nn.initializers import unallocated
from minattn.testing import check_gradients

SEEDS = st.integers(0, 2**32 - 1)
SIZES = {
    # name: (10 classes, 100 classes, what the paper prints in millions)
    "resnet20": (269_722, 275_572, 0.27),
    "resnet32": (464_154, None, 0.46),
    "resnet44": (658_586, None, 0.66),
    "resnet56": (853_018, 858_868, 0.85),
    "resnet110": (1_727_962, 1_733_812, 1.7),
    "resnet1202": (19_421_274, None, 19.4),
    "resnet20_b": (272_474, 278_324, None),
    "resnet56_b": (855_770, None, None),
    "resnet110_b": (1_730_714, None, None),
    "resnet164_b": (1_704_154, None, 1.7),
    "se_resnet20": (272_095, None, None),
    "se_resnet56": (860_137, None, None),
    "se_resnet110": (1_742_200, None, None),
    "se_resnet20_b": (274_847, None, None),
    "se_resnet56_b": (862_889, None, None),
}


def unbuilt(name, **changes):
    with unallocated():
        return CifarResNet(replace(cifar_resnet.CONFIGURATIONS[name], **changes), np.random.default_rng(0))


def small(seed=0, dtype=np.float64, **settings):
    config = CifarResNetConfig(**{"depth": 8, "width": 2, "classes": 3, **settings})
    return randomized(CifarResNet(config, np.random.default_rng(seed)), seed, dtype)


def images(seed=0, shape=(2, 3, 6, 6), dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


# ---------------------------------------------------------------------------------------------- published sizes
@pytest.mark.parametrize("name", SIZES)
def test_the_parameters_of_table_6_and_their_relatives(name):
    ten, hundred, millions = SIZES[name]
    assert unbuilt(name).count_parameters() == ten
    if hundred is not None:
        assert unbuilt(name, classes=100).count_parameters() == hundred
    if millions is not None:
        assert ten / 1e6 == pytest.approx(millions, abs=0.04)


@given(n=st.integers(1, 5), width=st.integers(1, 20), channels=st.integers(1, 4), classes=st.integers(1, 12))
def test_the_count_is_a_formula_of_n(n, width, channels, classes):
    config = CifarResNetConfig(6 * n + 2, width=width, channels=channels, classes=classes)
    with unallocated():
        found = count_parameters(CifarResNet(config, np.random.default_rng(0)))
    w = width
    same = 2 * n * 9 * (w * w + 4 * w * w + 16 * w * w)  # had all convolutions as many channels in as out
    widening = 9 * (2 * w * w + 4 * w * 4 * w // 2)  # what the first of a wider stage has less
    assert found.weights == 9 * channels * w + same - widening + 4 * w * classes
    assert found.batch_norm == 2 * (w + 2 * n * (w + 2 * w + 4 * w))
    assert found.biases == classes


def test_multiply_accumulates():
    for name, macs in {"resnet20": 40_551_040, "resnet56": 125_485_696, "resnet110": 252_887_680}.items():
        assert count_macs(unbuilt(name), (3, 32, 32)) == macs
    per_block = 2 * (16 * 1 + 32 * 2 + 64 * 4)  # 2 C^2 / r
    assert count_macs(unbuilt("se_resnet20"), (3, 32, 32)) == 40_551_040 + 3 * per_block


@pytest.mark.parametrize(("name", "count", "millions"), [("8x64d", 34_426_698, 34.4), ("16x64d", 68_155_210, 68.1)])
def test_resnext_29(name, count, millions):
    config = cifar_resnext.CONFIGURATIONS[f"resnext29_{name}"]
    with unallocated():
        network = CifarResNeXt(config, np.random.default_rng(0))
        gated = CifarResNeXt(replace(config, se=16), np.random.default_rng(0))
    assert network.count_parameters() == count
    assert count / 1e6 == pytest.approx(millions, abs=0.06)
    per_stage = [2 * c * c // 16 + c + c // 16 for c in (256, 512, 1024)]
    assert gated.count_parameters() == count + 3 * sum(per_stage)
    assert cifar_resnext.CONFIGURATIONS[f"se_resnext29_{name}"] == gated.config
    nothing = ma.tensor(np.zeros((0, 3, 32, 32), np.float32))
    assert network.eval().features(nothing).shape == (0, 1024, 8, 8)
    _, attention = gated.eval()(nothing, return_attention=True)
    expected = {f"stages.{i}.blocks.{j}.se": (0, c) for i, c in enumerate((256, 512, 1024)) for j in range(3)}
    assert {path: weights.shape for path, weights in attention.items()} == expected | {"classifier": (0, 10, 8, 8)}


def test_names_say_what_they_build():
    for name, config in cifar_resnet.CONFIGURATIONS.items():
        assert f"resnet{config.depth}" in name
        assert (config.se == 16) == name.startswith("se_")
        assert (config.shortcut == "B") == name.endswith("_b")
        assert (config.block == "bottleneck") == ("164" in name)
        assert (config.classes, config.channels, config.width, config.size) == (10, 3, 16, 32)


@given(side=st.integers(1, 40))
def test_the_maps_shrink_twice(side):
    network = unbuilt("resnet20").eval()
    x = network.stem(ma.tensor(np.zeros((0, 3, side, side), np.float32)))
    for stage, channels, shrunk in zip(network.stages, (16, 32, 64), (1, 2, 4), strict=True):
        x, _ = stage(x)
        assert x.shape == (0, channels, -(-side // shrunk), -(-side // shrunk))


# ---------------------------------------------------------------------------------------------- the equations
@st.composite
def networks(draw):
    settings = {
        "shortcut": draw(st.sampled_from("AB")),
        "se": draw(st.sampled_from([None, 1, 2, 16])),
        "channels": draw(st.integers(1, 3)),
        "width": draw(st.integers(1, 3)),
    }
    shape = (draw(st.integers(1, 3)), settings["channels"], draw(st.integers(1, 7)), draw(st.integers(1, 7)))
    return settings, shape


@given(network=networks(), seed=SEEDS, training=st.booleans())
def test_the_network_is_the_papers_equations(network, seed, training):
    settings, shape = network
    training = training and shape[0] > 1  # one number of a channel has no variance
    model, x = small(seed, **settings).train(training), images(seed, shape)
    expected, maps, gates = by_hand.cifar_resnet(model, x, training)
    logits, attention = model(ma.tensor(x), return_attention=True)
    np.testing.assert_allclose(logits.data, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(model.features(ma.tensor(x)).data, maps, rtol=1e-6, atol=1e-8)
    if model.config.se is None:
        assert list(attention) == ["classifier"]
    else:
        for found, wanted in zip(gates_of(attention), gates, strict=True):
            np.testing.assert_allclose(found.data, wanted, rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(model(ma.tensor(x)).data, logits.data)


def test_deeper_networks_repeat_the_block():
    model, x = small(depth=20, se=2).eval(), images()
    np.testing.assert_allclose(model(ma.tensor(x)).data, by_hand.cifar_resnet(model, x)[0], rtol=1e-6)


def test_bottlenecks_are_the_papers_equations():
    model, x = small(depth=11, shortcut="B", block="bottleneck", se=4).eval(), images()
    expected = by_hand.conv_norm(model.conv1, x, False, True)
    for stage in model.stages:
        for block in stage.blocks:
            expected, _ = by_hand.bottleneck(block, expected, "standard", False)
    np.testing.assert_allclose(model.features(ma.tensor(x)).data, expected, rtol=1e-7)


def test_resnext_is_the_papers_equations():
    model = CifarResNeXt(CifarResNeXtConfig(11, groups=2, group_width=1, se=64, channels=1), np.random.default_rng(0))
    model, x = randomized(model, 0).eval(), images(shape=(1, 1, 3, 2))
    expected = by_hand.conv_norm(model.conv1, x, False, True)
    for stage, stride in zip(model.stages, (1, 2, 2), strict=True):
        for block in stage.blocks:
            assert [unit.conv.stride for unit in block.convolutions] == [1, stride, 1]
            expected, _ = by_hand.bottleneck(block, expected, "standard", False)
    np.testing.assert_allclose(model.features(ma.tensor(x)).data, expected, rtol=1e-7)


@given(seed=SEEDS, option=st.sampled_from("AB"))
def test_the_classifier_takes_the_means_of_the_features(seed, option):
    model, x = small(seed, shortcut=option).eval(), ma.tensor(images(seed))
    places = np.moveaxis(model.features(x).data, 1, -1)
    scores = places @ model.classifier.weight.data + model.classifier.bias.data  # a 1x1 convolution
    np.testing.assert_allclose(model(x).data, scores.mean((1, 2)), rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------------------------------------- shortcuts
@given(seed=SEEDS, new=st.integers(0, 4), stride=st.integers(1, 3), height=st.integers(1, 7), width=st.integers(1, 7))
def test_option_a_takes_pixels_and_adds_exact_zeros(seed, new, stride, height, width):
    x = images(seed, (2, 3, height, width), np.float32)
    y = PaddedShortcut(3, 3 + new, stride)(ma.tensor(x)).data
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y[:, :3], x[:, :, ::stride, ::stride])
    assert y[:, 3:].shape == (2, new, *y.shape[2:])
    assert not y[:, 3:].any()


@given(seed=SEEDS)
def test_a_block_whose_last_norm_is_zero_is_the_relu_of_its_input(seed):
    block = randomized(BasicBlock(3, 3, 1, np.random.default_rng(seed)), seed)
    last = block.convolutions[-1].norm
    last.weight.replace_data(np.zeros(3))
    last.bias.replace_data(np.zeros(3))
    x = ma.tensor(images(seed))
    y, attention = block(x)
    assert attention == {}
    np.testing.assert_array_equal(y.data, np.maximum(x.data, 0))
    np.testing.assert_array_equal(block(y)[0].data, y.data)


@given(seed=SEEDS, option=st.sampled_from("AB"), new=st.integers(0, 2), stride=st.integers(1, 3))
def test_a_block_with_any_stride_and_width_is_the_papers_equations(seed, option, new, stride):
    """No published network has a stride without new channels; the shortcut has to shrink there all the same."""
    block = randomized(BasicBlock(3, 3 + new, stride, np.random.default_rng(seed), option=option), seed).eval()
    x = images(seed, (2, 3, 5, 4))
    expected, _ = by_hand.basic_block(block, x, stride, option, False)
    assert expected.shape == (2, 3 + new, -(-5 // stride), -(-4 // stride))
    np.testing.assert_allclose(block(ma.tensor(x))[0].data, expected, rtol=1e-6, atol=1e-8)


def test_the_two_options_differ_only_where_the_size_changes():
    extra = {
        name
        for name in unbuilt("resnet20_b").named_parameters().keys() ^ unbuilt("resnet20").named_parameters().keys()
        if name.endswith("conv.weight")
    }
    assert extra == {"stages.1.blocks.0.shortcut.conv.weight", "stages.2.blocks.0.shortcut.conv.weight"}


# ---------------------------------------------------------------------------------------------- training, types, places
@pytest.mark.parametrize("settings", [{"option": "A", "se": 1}, {"option": "B"}], ids=str)
def test_gradients_of_a_block_that_changes_the_size(settings):
    block = randomized(BasicBlock(1, 2, 2, np.random.default_rng(0), **settings), 0)
    check_gradients(lambda x: block(x)[0], images(shape=(2, 1, 4, 3)))


def test_float32_stays_float32():
    model = small(dtype=np.float32, se=2)
    x = ma.tensor(images(dtype=np.float32), requires_grad=True)
    logits, attention = model(x, return_attention=True)
    ma.sum(logits * logits).backward()
    found = [logits, model.features(x), *attention.values(), *(p.grad for p in model.parameters()), x.grad]
    assert {array.dtype for array in found} == {np.dtype(np.float32)}


def step(device, x):
    """The loss of a training step and all gradients."""
    model = small(dtype=np.float32, se=2, shortcut="A").to(device)
    loss = ma.cross_entropy(model(ma.tensor(x).to(device)), np.array([0, 2]))
    loss.backward()
    gradients = {name: asnumpy(parameter.grad) for name, parameter in model.named_parameters().items()}
    return loss, gradients


def test_a_training_step_is_the_same_on_every_device(backend):
    x = images(dtype=np.float32)
    (expected, wanted), (loss, found) = step("cpu", x), step(backend.device, x)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, gradient in wanted.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-3, atol=1e-5, err_msg=name)


def test_weights_are_drawn_he_normal_and_norms_start_at_one():
    network = CifarResNet(CifarResNetConfig(8), np.random.default_rng(0))
    for name, parameter in network.named_parameters().items():
        if name.endswith("conv.weight"):
            fan_in = np.prod(parameter.shape[1:])
            assert np.sqrt(fan_in / 2) * parameter.data.std() == pytest.approx(1, abs=0.15), name
        elif name.endswith("norm.weight"):
            assert (parameter.data == 1).all(), name
    again = CifarResNet(CifarResNetConfig(8), np.random.default_rng(0)).state_dict()
    assert all((again[name] == value).all() for name, value in network.state_dict().items())


# ---------------------------------------------------------------------------------------------- refused
@given(depth=st.integers(-3, 60), block=st.sampled_from(["basic", "bottleneck"]))
def test_every_depth_is_built_or_refused_with_one_that_is_not(depth, block):
    layers = {"basic": 6, "bottleneck": 9}[block]
    if depth > 2 and depth % layers == 2:
        assert CifarResNetConfig(depth, block=block).n == (depth - 2) // layers
        return
    with pytest.raises(ConfigError) as error:
        CifarResNetConfig(depth, block=block)
    if depth >= 1:
        assert f"got {depth}" in str(error.value)
        CifarResNetConfig(int(str(error.value).split()[-1]), block=block)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (CifarResNetConfig, {"shortcut": "C"}, 'shortcut must be one of "A", "B"; got \'C\''),
        (CifarResNetConfig, {"block": "wide"}, "block must be one of"),
        (CifarResNetConfig, {"se": 0}, "se must be a whole number"),
        (CifarResNetConfig, {"classes": 0}, "classes must be a whole number"),
        (CifarResNetConfig, {"channels": 1.0}, "channels must be a whole number"),
        (CifarResNeXtConfig, {"depth": 30}, "depth 9n \\+ 2, got 30"),
        (CifarResNeXtConfig, {"depth": 32}, "depth 9n \\+ 2, got 32"),
        (CifarResNeXtConfig, {"depth": 2}, "depth 9n \\+ 2, got 2"),
        (CifarResNeXtConfig, {"groups": 0}, "groups must be a whole number"),
    ],
)
def test_impossible_configurations_are_refused(kind, settings, message):
    config = kind()
    for name, value in settings.items():
        object.__setattr__(config, name, value)  # the tests' type checks would be first to refuse it
    with pytest.raises(ConfigError, match=message):
        config.__post_init__()


def test_images_with_other_channels_are_refused():
    with pytest.raises(ShapeError, match="1 channels"):
        small()(ma.tensor(images(shape=(1, 1, 6, 6))))
