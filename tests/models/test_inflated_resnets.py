"""I3D: the inflated convolution in loops, published sizes, and still clips, on which inflation changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
from residual_by_hand import randomized

import minattn as ma
from minattn.errors import ConfigError, ShapeError
from minattn.models.vision.inflated_resnet import (
    I3D,
    I3D_CONFIGURATIONS,
    I3DConfig,
    InflatedConv3d,
    inflated,
)
from minattn.models.vision.non_local_resnet import C2D, C2DConfig, as_clips, as_frames
from minattn.nn.initializers import unallocated
from minattn.testing import check_gradients

CLOSE = {"rtol": 1e-9, "atol": 1e-11}


def convolved(x, weight, stride, temporal_stride):
    """y (batch, outputs, frames, rows, columns), one element at a time; the first and last frames are repeated."""
    outputs, inputs, kernel_frames, kernel, _ = weight.shape
    batch, _, frames, height, width = x.shape
    before, margin = kernel_frames // 2, kernel // 2
    shape = -(-frames // temporal_stride), -(-height // stride), -(-width // stride)
    y = np.zeros((batch, outputs, *shape))
    for n, o, t, i, j in np.ndindex(y.shape):
        for c, dt, di, dj in np.ndindex(inputs, kernel_frames, kernel, kernel):
            frame = min(max(t * temporal_stride + dt - before, 0), frames - 1)
            row, column = i * stride + di - margin, j * stride + dj - margin
            if 0 <= row < height and 0 <= column < width:
                y[n, o, t, i, j] += weight[o, c, dt, di, dj] * x[n, c, frame, row, column]
    return y


@pytest.mark.parametrize(
    ("kernel", "kernel_frames", "stride", "temporal_stride"), [(1, 3, 1, 1), (3, 3, 1, 1), (3, 3, 2, 1), (3, 5, 2, 2)]
)
@pytest.mark.parametrize("frames", [1, 2, 4, 5])
def test_the_convolution_in_loops(kernel, kernel_frames, stride, temporal_stride, frames):
    rng = np.random.default_rng(0)
    layer = InflatedConv3d(2, 3, kernel, kernel_frames, rng, stride=stride, temporal_stride=temporal_stride)
    layer.weight.replace_data(rng.normal(size=layer.weight.shape))
    x = rng.normal(size=(2, 2, frames, 5, 4))
    y, left = layer(as_frames(ma.tensor(x)), frames)
    expected = convolved(x, layer.weight.data, stride, temporal_stride)
    assert left == expected.shape[2]
    np.testing.assert_allclose(as_clips(y, left).numpy(), expected, **CLOSE)


def test_gradients_of_the_convolution():
    rng = np.random.default_rng(0)
    layer = InflatedConv3d(2, 2, 3, 3, rng, stride=2, temporal_stride=2)
    layer.weight.replace_data(rng.normal(size=layer.weight.shape))
    check_gradients(lambda x: layer(x, 3)[0], rng.normal(size=(3, 2, 4, 3)), parameters=layer.named_parameters())


def test_an_inflated_kernel_sees_a_still_clip_as_the_kernel_of_images_sees_the_image():
    rng = np.random.default_rng(0)
    layer, kernel = InflatedConv3d(2, 3, 3, 5, rng), rng.normal(size=(3, 2, 3, 3))
    layer.weight.replace_data(inflated(kernel, 5))
    image = rng.normal(size=(1, 2, 6, 5))
    y, _ = layer(ma.tensor(np.repeat(image, 4, axis=0)), 4)
    expected = ma.ops.conv2d(ma.tensor(image), ma.tensor(kernel), padding=1).numpy()
    np.testing.assert_allclose(y.numpy(), np.repeat(expected, 4, axis=0), **CLOSE)


# ---------------------------------------------------------------------------------------------- published sizes
def unbuilt(name):
    with unallocated():
        return I3D(I3D_CONFIGURATIONS[name], np.random.default_rng(0))


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("i3d_resnet50_3x3x3", 38_025_152),
        ("i3d_resnet50_3x1x1", 29_005_760),
        ("i3d_resnet101_3x3x3", 67_581_888),
        ("i3d_resnet101_3x1x1", 52_664_256),
        ("i3d_resnet101_3x1x1_nl5", 52_664_256 + 7_340_032),
    ],
)
def test_weights_of_the_published_networks(name, weights):
    """Those of convolutions and of the linear layer.  Of ResNet-101 the paper prints 1.5 and 1.2 times those of C2D."""
    network = unbuilt(name)
    assert sum(p.size for p in network.parameters() if p.ndim > 1) == weights


@pytest.mark.parametrize(("kernel", "times"), [("3x3x3", 1.564), ("3x1x1", 1.219)])
def test_how_many_times_the_weights_of_c2d(kernel, times):
    extra = unbuilt(f"i3d_resnet101_{kernel}").count_parameters() - 43_319_760
    assert (43_214_016 + extra) / 43_214_016 == pytest.approx(times, abs=0.001)


def test_which_kernels_have_more_frames():
    network = unbuilt("i3d_resnet50_3x3x3")
    found = {path: p.shape[2:] for path, p in network.named_parameters().items() if p.ndim == 5}
    assert found.pop("backbone.conv1.conv.weight") == (5, 7, 7)
    blocks = [(stage, block) for stage, count in enumerate((3, 4, 6, 3)) for block in range(0, count, 2)]
    names = [f"backbone.stages.{stage}.blocks.{block}.convolutions.1.conv.weight" for stage, block in blocks]
    assert found == dict.fromkeys(names, (3, 3, 3))


def test_frames_halve_as_in_c2d():
    network = unbuilt("i3d_resnet50_3x1x1_nl5").eval()
    clips = ma.tensor(np.zeros((0, 3, 32, 224, 224), np.float32))
    logits, attention = network(clips, return_attention=True)
    assert logits.shape == (0, 400)
    assert [weights.shape for weights in attention.values()] == [(0, 3136, 784)] * 2 + [(0, 784, 196)] * 3


# ---------------------------------------------------------------------------------------------- still clips
@pytest.mark.parametrize(("kernel", "blocks", "frames"), [("3x1x1", 0, 1), ("3x1x1", 1, 5), ("3x3x3", 1, 5)])
def test_a_still_clip_is_what_c2d_says_of_the_image(kernel, blocks, frames):
    """The kernels are inflated, and nothing else of C2D changes; its non-local blocks see every position as often."""
    settings = {"blocks": blocks, "classes": 3}
    flat = randomized(C2D(C2DConfig(**settings), np.random.default_rng(0)), 0, np.float64).eval()
    network = randomized(I3D(I3DConfig(**settings, inflate=kernel), np.random.default_rng(1)), 1, np.float64).eval()
    image = np.random.default_rng(1).normal(size=(1, 3, 1, 32, 32))
    clip = ma.tensor(np.repeat(image, frames, axis=2))
    expected = flat(ma.tensor(image)).numpy()
    assert not np.allclose(network(clip).numpy(), expected)
    network.load_inflated(flat.state_dict())
    np.testing.assert_allclose(network(clip).numpy(), expected, **CLOSE)


def test_a_clip_that_moves_is_not():
    flat = randomized(C2D(C2DConfig(blocks=0, classes=3), np.random.default_rng(0)), 0, np.float64).eval()
    network = randomized(I3D(I3DConfig(blocks=0, classes=3), np.random.default_rng(0)), 0, np.float64).eval()
    network.load_inflated(flat.state_dict())
    clip = ma.tensor(np.random.default_rng(1).normal(size=(1, 3, 4, 32, 32)))
    assert not np.allclose(network(clip).numpy(), flat(clip).numpy(), rtol=1e-3)


# ---------------------------------------------------------------------------------------------- what is refused
def test_another_network_s_state_is_refused():
    network = I3D(I3DConfig(classes=3), np.random.default_rng(0))
    other = C2D(C2DConfig(blocks=1, classes=3), np.random.default_rng(0))
    with pytest.raises(ShapeError, match="non_local"):
        network.load_inflated(other.state_dict())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "resnet18"}, "I3D inflates bottlenecks of ResNet, got 'resnet18'"),
        ({"backbone": "se_resnet50"}, "I3D inflates bottlenecks of ResNet, got 'se_resnet50'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(I3D_CONFIGURATIONS["i3d_resnet50_3x1x1"], **changes)


def test_an_even_number_of_frames_is_refused():
    with pytest.raises(ConfigError, match="got 4 frames; hint: 3 or 5"):
        InflatedConv3d(1, 1, 1, 4, np.random.default_rng(0))
