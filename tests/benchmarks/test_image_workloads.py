"""The workloads on images as minattn does them, against the network and the convolution written out in float64."""

import numpy as np
import pytest
from scipy.signal import correlate

from benchmarks import inputs
from benchmarks.engines import minattn as engine
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads import convolution as conv
from benchmarks.workloads import resnet as network


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small inputs, and the same batch at every step."""
    sizes = {
        inputs: {"BATCHES": 1},
        network: {"BLOCKS": 1, "FILTERS": 4, "REDUCTION": 2, "IMAGES": (3, 3, 8, 8), "RATE": 0.01},
        conv: {"SHAPE": (2, 3, 5, 4), "PIXEL": (1, 2, 4, 0), "TAP": (2, 1, 0, 2)},
    }
    for module, values in sizes.items():
        for name, size in values.items():
            monkeypatch.setattr(module, name, size)


def step_of(workload):
    engine.use(1)
    return WORKLOADS[workload].steps["minattn"](engine)


@pytest.mark.parametrize(("name", "se"), [("W6", False), ("W6se", True)])
def test_the_residual_network_learns(name, se):
    p, [(images, labels)] = network.data(se)
    step = step_of(name)
    first, second = step(), step()
    logits = resnet(p, images, se, of_batch)
    logits -= logits.max(1, keepdims=True)
    expected = np.mean([np.log(np.exp(row).sum()) - row[label] for row, label in zip(logits, labels, strict=True)])
    assert first == pytest.approx(expected, rel=1e-5)
    assert second < first


@pytest.mark.parametrize(("name", "se"), [("W6i", False), ("W6sei", True)])
def test_inference_takes_the_running_statistics_and_changes_nothing(name, se):
    p, [(images, _)] = network.data(se)
    step = step_of(name)
    expected = resnet(p, images, se, running).max()
    assert [step(), step()] == pytest.approx([expected] * 2, rel=1e-5)


@pytest.mark.parametrize(("name", "depthwise"), [("W7", False), ("W7-depthwise", True)])
def test_the_convolution(name, depthwise):
    arrays = {name: array.astype(np.float64) for name, array in conv.arrays(depthwise).items()}
    x, weight, g = arrays["x"], arrays["weight"], arrays["g"]

    def y(x, weight):
        if not depthwise:
            return convolution(x, weight)
        channels = [convolution(x[:, i : i + 1], weight[i : i + 1]) for i in range(len(weight))]
        return np.concatenate(channels, axis=1)

    step = step_of(f"{name}-forward")
    assert [step(), step()] == pytest.approx([y(x, weight)[conv.PIXEL]] * 2, rel=1e-4)

    def slope(array, element):
        """Of sum(g y) by an element of x or of the weight, in which y is linear."""
        moved = array.copy()
        moved[element] += 1
        there = y(moved, weight) if array is x else y(x, moved)
        return (g * (there - y(x, weight))).sum()

    output, channel, *tap = conv.TAP
    expected = slope(weight, (output, 0 if depthwise else channel, *tap)) + slope(x, conv.PIXEL)
    step = step_of(f"{name}-backward")
    assert [step(), step()] == pytest.approx([expected] * 2, rel=1e-4)


@pytest.mark.parametrize("se", [False, True])
def test_inputs_are_the_same_every_time_and_float32(se):
    p, [batch] = network.data(se)
    again, [batch_again] = network.data(se)
    assert all(np.array_equal(p[name], again[name]) for name in p)
    assert np.array_equal(batch.images, batch_again.images)
    assert any("_se_" in name for name in p) == se
    given = (*p.values(), batch.images, *conv.arrays(depthwise=se).values())
    assert {array.dtype for array in given} == {np.dtype(np.float32)}
    assert batch.labels.dtype == np.int64


# ---------------------------------------------------------------------------------------------- by hand
def resnet(weights, images, se, norm):
    p = {name: weight.astype(np.float64) for name, weight in weights.items()}
    x = np.maximum(unit(p, "conv", images.astype(np.float64), norm), 0)
    for stage in (1, 2, 3):
        stride = 1 if stage == 1 else 2
        y = np.maximum(unit(p, f"stage{stage}_block1_conv1", x, norm, stride), 0)
        y = unit(p, f"stage{stage}_block1_conv2", y, norm)
        if se:
            y = y * gates(p, f"stage{stage}_block1_se", y)[:, :, None, None]
        identity = x[:, :, ::stride, ::stride]
        identity = np.concatenate([identity, np.zeros_like(y[:, identity.shape[1] :])], axis=1)
        x = np.maximum(y + identity, 0)
    return x.mean((2, 3)) @ p["classifier_W"] + p["classifier_b"]


def gates(p, name, x):
    hidden = np.maximum(x.mean((2, 3)) @ p[f"{name}_W_1"] + p[f"{name}_b_1"], 0)
    return 1 / (1 + np.exp(-(hidden @ p[f"{name}_W_2"] + p[f"{name}_b_2"])))


def unit(p, name, x, norm, stride=1):
    return norm(convolution(x, p[f"{name}_W"])[:, :, ::stride, ::stride])


def of_batch(x):
    mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5)


def running(x):
    return x / np.sqrt(1 + 1e-5)


def convolution(x, weight):
    """Image by image and kernel by kernel, with a margin of one pixel of zeros."""
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    return np.array([[correlate(image, kernel, "valid")[0] for kernel in weight] for image in padded])
