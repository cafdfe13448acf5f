"""Class activation maps against the paper's loops, and the identities of pooling and a linear layer."""

import inspect

import fakecupy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.spatial import (
    class_activation_map,
    class_scores,
    contrastive_map,
    gradient_class_activation_map,
)
from minattn.autograd import asnumpy, ops
from minattn.errors import ConfigError, ShapeError
from minattn.models.vision.cifar_resnet import CifarResNet, CifarResNetConfig
from minattn.models.vision.layers import PooledNetwork
from minattn.nn import Conv2d, Linear
from minattn.testing import check_gradients, strategies

SEEDS = st.integers(0, 2**32 - 1)
POOLINGS = st.sampled_from(["sum", "mean", "max"])


# ---------------------------------------------------------------------------------------------- what is drawn
@st.composite
def problems(draw, dtype=None):
    """(features, weight (channels, classes), bias) in any memory; no two features are near each other."""
    batch, channels, height, width, classes = (draw(st.integers(1, 4)) for _ in range(5))
    dtype = draw(st.sampled_from(strategies.DTYPES)) if dtype is None else dtype
    features = draw(strategies.arrays((batch, channels, height, width), dtype, distinct=True))
    return features, draw(strategies.arrays((channels, classes), dtype)), draw(strategies.arrays((classes,), dtype))


def classes_of(features, weight, seed):
    return np.random.default_rng(seed).integers(0, weight.shape[1], len(features))


def cam(features, weight):
    return class_activation_map(ma.tensor(features), ma.tensor(weight)).numpy()


def close(dtype):
    return {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-12}


# ---------------------------------------------------------------------------------------------- the paper's loops
def by_hand(features, weight, bias, pooling):
    """(scores, maps) of (1), (2) and (b), one number at a time."""
    batch, channels, height, width = features.shape
    classes = weight.shape[1]
    scores, maps = np.zeros((batch, classes)), np.zeros((batch, classes, height, width))
    for n in range(batch):
        f = features[n].tolist()
        places = [(y, x) for y in range(height) for x in range(width)]
        F = []
        for k in range(channels):
            values = [f[k][y][x] for y, x in places]
            F.append({"sum": sum(values), "mean": sum(values) / len(places), "max": max(values)}[pooling])
        for c in range(classes):
            scores[n, c] = float(bias[c]) + sum(float(weight[k, c]) * F[k] for k in range(channels))
            for y, x in places:
                maps[n, c, y, x] = sum(float(weight[k, c]) * f[k][y][x] for k in range(channels))
    return scores, maps


@given(problems(), POOLINGS)
def test_outputs_are_those_of_the_papers_loops(problem, pooling):
    features, weight, bias = problem
    results = class_scores(*map(ma.tensor, problem), pooling)
    for result, expected in zip(results, by_hand(features, weight, bias, pooling), strict=True):
        assert result.dtype == features.dtype
        np.testing.assert_allclose(result.data, expected, **close(features.dtype))


@given(problems(), POOLINGS)
def test_scores_alone_are_the_same(problem, pooling):
    scores, maps = class_scores(*map(ma.tensor, problem), pooling, need_weights=False)
    assert maps is None
    np.testing.assert_array_equal(scores.data, class_scores(*map(ma.tensor, problem), pooling)[0].data)


@given(problems(), POOLINGS, SEEDS)
def test_gradients_through_the_scores_and_the_maps(problem, pooling, seed):
    check_gradients(lambda *inputs: class_scores(*inputs, pooling), *problem, seed=seed, method="complex")


# ---------------------------------------------------------------------------------------------- identities
@given(problems())
def test_the_map_adds_up_to_the_score(problem):
    features, weight, _ = problem
    f, w = ma.tensor(features), ma.tensor(weight)
    within = {"rtol": 1e-3, "atol": 1e-4} if features.dtype == np.float32 else close(features.dtype)
    scores, maps = class_scores(f, w, pooling="sum")
    np.testing.assert_allclose(maps.data.sum((2, 3)), scores.data, **within)
    scores, maps = class_scores(f, w, pooling="mean")
    np.testing.assert_allclose(maps.data.mean((2, 3)), scores.data, **within)


@given(problems(), SEEDS)
def test_the_map_is_the_features_weighted_by_the_gradient(problem, seed):
    features, weight, bias = problem
    classes = classes_of(features, weight, seed)

    def head(f):
        return class_scores(f, ma.tensor(weight), ma.tensor(bias))[0]

    by_gradient = gradient_class_activation_map(ma.tensor(features), head, classes)
    assert by_gradient.dtype == features.dtype
    expected = cam(features, weight)[np.arange(len(features)), classes]
    np.testing.assert_allclose(by_gradient.data, expected, **close(features.dtype))


@given(problems(dtype=np.float64))
def test_pooling_and_a_1x1_convolution_change_places(problem):
    features, weight, bias = problem
    scores, maps = class_scores(*map(ma.tensor, problem))
    convolution = Conv2d(*weight.shape, 1, np.random.default_rng(0))
    convolution.weight, convolution.bias = ma.tensor(weight.T[:, :, None, None]), ma.tensor(bias)
    convolved = convolution(ma.tensor(features)).data
    np.testing.assert_allclose(convolved.mean((2, 3)), scores.data, **close(np.float64))
    np.testing.assert_allclose(convolved, maps.data + bias[:, None, None], **close(np.float64))


@given(problems(dtype=np.float64), SEEDS)
def test_the_largest_place_of_each_channel_takes_all_the_gradient_of_max_pooling(problem, seed):
    features, weight, bias = problem
    classes = classes_of(features, weight, seed)

    def score(f):
        scores, maps = class_scores(f, weight_there, bias_there, "max")
        np.testing.assert_array_equal(maps.data, cam(features, weight))  # the map stays (2)
        return ops.sum(ops.gather(scores, classes[:, None], axis=1))

    weight_there, bias_there = ma.tensor(weight), ma.tensor(bias)
    gradient = ma.grad(score)(features)
    largest = features == features.max((2, 3), keepdims=True)
    expected = largest * weight.T[classes][:, :, None, None]
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)


@given(problems(dtype=np.float64), st.floats(-3, 3))
def test_a_constant_on_every_weight_adds_the_features_to_every_map(problem, constant):
    features, weight, _ = problem
    expected = cam(features, weight) + constant * features.sum(1, keepdims=True)
    np.testing.assert_allclose(cam(features, weight + constant), expected, **close(np.float64))


@given(problems(dtype=np.float64), SEEDS)
def test_maps_are_linear_and_contrastive_maps_their_difference(problem, seed):
    features, weight, _ = problem
    rng = np.random.default_rng(seed)
    others, other_weight = rng.normal(size=features.shape), rng.normal(size=weight.shape)
    both = cam(features, weight) + cam(others, weight)
    np.testing.assert_allclose(cam(features + others, weight), both, **close(np.float64))
    both = cam(features, weight) - cam(features, other_weight)
    np.testing.assert_allclose(cam(features, weight - other_weight), both, **close(np.float64))
    first, second = classes_of(features, weight, seed), classes_of(features, weight, seed + 1)
    maps, images = cam(features, weight), np.arange(len(features))
    contrast = contrastive_map(ma.tensor(features), ma.tensor(weight), first, second)
    np.testing.assert_allclose(contrast.data, maps[images, first] - maps[images, second], **close(np.float64))


# ---------------------------------------------------------------------------------------------- networks
class TwoLayers(PooledNetwork):
    """A convolution, pooling, a linear layer."""

    def __init__(self, pooling, rng):
        self.convolution = Conv2d(1, 3, 3, rng)
        self.classifier = Linear(3, 4, rng)
        self.pooling = pooling

    def features_and_attention(self, images):
        return ops.relu(self.convolution(images)), {}

    def pool(self, features):
        return getattr(ops, self.pooling)(features, (2, 3))


@pytest.mark.parametrize("pooling", ["sum", "mean", "max"])
def test_a_network_that_ends_in_pooling_and_a_linear_layer_returns_its_maps(pooling):
    rng = np.random.default_rng(0)
    network = TwoLayers(pooling, rng)
    images = ma.tensor(rng.normal(size=(2, 1, 6, 7)).astype(np.float32))
    logits, attention = network(images, return_attention=True)
    classifier = network.classifier
    expected, maps = class_scores(network.features(images), classifier.weight, classifier.bias, pooling)
    np.testing.assert_allclose(logits.data, expected.data, rtol=1e-6)
    np.testing.assert_array_equal(network(images).data, logits.data)
    assert list(attention) == ["classifier"]
    np.testing.assert_array_equal(attention["classifier"].data, maps.data)


def test_the_maps_of_a_trained_resnet_are_those_of_its_gradient():
    """A few steps on made-up images, so that batch norm's statistics and all weights are those of training."""
    rng = np.random.default_rng(0)
    network = CifarResNet(CifarResNetConfig(depth=8, classes=3, channels=1), rng)
    labels = rng.integers(0, 3, 12)
    images = (rng.normal(size=(12, 1, 8, 8)) + labels[:, None, None, None]).astype(np.float32)
    for _ in range(5):
        network.zero_grad()
        ops.cross_entropy(network(ma.tensor(images)), labels).backward()
        for p in network.parameters():
            p.data = p.data - np.float32(0.05) * p.grad
    network.eval()
    logits, attention = network(ma.tensor(images), return_attention=True)
    maps = attention["classifier"]
    score = maps.data.mean((2, 3)) + network.classifier.bias.data
    np.testing.assert_allclose(score, logits.data, rtol=1e-4, atol=1e-5)

    def head(f):
        return network.classifier(network.pool(f))

    features, chosen = network.features(ma.tensor(images)), logits.data.argmax(-1)
    by_gradient = gradient_class_activation_map(features, head, chosen)
    assert by_gradient.dtype == np.float32
    np.testing.assert_allclose(by_gradient.data, maps.data[np.arange(12), chosen], rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------- refused
@pytest.mark.parametrize(
    ("features", "weight"),
    [((2, 3, 4, 4), (4, 5)), ((2, 3, 4, 4), (5, 3)), ((2, 3, 4), (3, 5)), ((2, 3, 4, 4), (3,)), ((2, 3), (3, 5))],
)
def test_a_weight_that_does_not_fit_the_features_is_refused_with_both_shapes(features, weight):
    arguments = ma.tensor(np.zeros(features)), ma.tensor(np.zeros(weight))
    ids = np.zeros(2, int)
    for function, more in ((class_activation_map, ()), (contrastive_map, (ids, ids))):
        with pytest.raises(ShapeError, match=r"expected \(batch, channels, height, width\) and \(ch.*hint") as error:
            inspect.unwrap(function)(*arguments, *more)
        assert f"{features} and a weight of shape {weight}" in str(error.value)


def test_a_pooling_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="pooling 'median' does not exist; hint: one of sum, mean, max"):
        inspect.unwrap(class_scores)(ma.tensor(np.zeros((1, 2, 3, 3))), ma.tensor(np.zeros((2, 2))), pooling="median")


@pytest.mark.parametrize("bias", [(5,), (1,), (), (1, 2)])
def test_a_bias_that_does_not_fit_the_weight_is_refused_with_both_shapes(bias):
    f, w = ma.tensor(np.zeros((1, 2, 3, 3))), ma.tensor(np.zeros((2, 2)))
    with pytest.raises(ShapeError, match=r"weight of shape \(2, 2\); hint: one number for each class") as error:
        inspect.unwrap(class_scores)(f, w, ma.tensor(np.zeros(bias)))
    assert f"a bias of shape {bias} does not" in str(error.value)


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 1)])
def test_other_classes_than_one_for_each_image_are_refused(shape):
    f, w, classes = ma.tensor(np.zeros((2, 2, 3, 3))), ma.tensor(np.zeros((2, 5))), np.zeros(shape, int)
    said = f"the shape {shape} for a batch of 2 images; hint: one class".replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ShapeError, match=f"classes has {said}"):
        inspect.unwrap(gradient_class_activation_map)(f, lambda f: ops.mean(f, (2, 3)), classes)
    with pytest.raises(ShapeError, match=f"second has {said}"):
        inspect.unwrap(contrastive_map)(f, w, np.zeros(2, int), classes)


def test_a_class_that_the_network_has_not_is_refused():
    f, w = ma.tensor(np.zeros((1, 2, 3, 3))), ma.tensor(np.zeros((2, 5)))
    with pytest.raises(IndexError, match="5"):
        contrastive_map(f, w, np.array([5]), np.array([0]))


# ---------------------------------------------------------------------------------------------- devices
@pytest.mark.parametrize("pooling", ["sum", "mean", "max"])
def test_the_same_numbers_everywhere_and_no_waiting(backend, pooling):
    rng = np.random.default_rng(0)
    host = [rng.normal(size=shape).astype(np.float32) for shape in ((2, 3, 4, 4), (3, 5), (5,))]

    def results(make):
        leaves = [make(x, requires_grad=True) for x in host]
        scores, maps = class_scores(*leaves, pooling)
        (scores.sum() + (maps * maps).sum()).backward()
        return [scores.data, maps.data, *(leaf.grad for leaf in leaves)]

    expected = results(ma.tensor)
    with fakecupy.no_sync():
        there = results(backend.tensor)
    for result, value in zip(there, expected, strict=True):
        assert result.dtype == np.float32
        np.testing.assert_allclose(asnumpy(result), value, rtol=1e-5, atol=1e-6)


def test_maps_by_gradient_and_contrastive_maps_everywhere(backend):
    rng = np.random.default_rng(0)
    features, weight = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 3, 4, 4), (3, 5)))
    first, second = np.array([1, 4]), np.array([0, 2])
    f, w = backend.tensor(features), backend.tensor(weight)
    maps, images = cam(features, weight), np.arange(2)
    contrast = contrastive_map(f, w, backend.array(first), backend.array(second))
    np.testing.assert_allclose(asnumpy(contrast.data), maps[images, first] - maps[images, second], rtol=1e-5, atol=1e-6)
    by_gradient = gradient_class_activation_map(f, lambda f: class_scores(f, w)[0], backend.array(first))
    np.testing.assert_allclose(asnumpy(by_gradient.data), maps[images, first], rtol=1e-5, atol=1e-5)
