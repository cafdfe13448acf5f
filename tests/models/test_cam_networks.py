"""The networks of class activation maps: their published sizes, what they are cut from, and the maps' identities."""

import functools

import numpy as np
import pytest
from images_by_hand import close, linear, max_pool, random_images, randomized, unallocated, unit

from minattn.attention.spatial import class_activation_map
from minattn.autograd import no_grad, ops, tensor
from minattn.errors import ConfigError
from minattn.models.summary import count_macs
from minattn.models.vision import alexnet, inception, vgg
from minattn.models.vision.cam_networks import CONFIGURATIONS, CamConfig, CamNetwork
from minattn.nn import Linear

TOTALS = {
    "alexnet_gap": 5_133_800,
    "vggnet_gap": 18_100_008,
    "vggnet_gap_ungrouped": 20_459_304,
    "googlenet_gap": 8_345_896,
    "googlenet_gap_ungrouped": 12_179_752,
    "googlenet_gmp": 8_345_896,
}
MAPS = {"alexnet": (512, 11, 11), "vggnet": (1024, 14, 14), "googlenet": (1024, 14, 14)}


@functools.cache
def published(name):
    return unallocated(CamNetwork, CONFIGURATIONS[name]).eval()


# ---------------------------------------------------------------------------------------------- sizes
@pytest.mark.parametrize("name", TOTALS)
def test_totals(name):
    assert published(name).count_parameters() == TOTALS[name]


def test_the_multiplications_of_vggnet_gap():
    assert round(count_macs(published("vggnet_gap"), (3, 224, 224)) / 1e7) == 1581


def test_vggnet_gap_is_87_percent_smaller_than_vgg16():
    whole = unallocated(vgg.VGG, vgg.CONFIGURATIONS["vgg16"]).count_parameters()
    assert 1 - published("vggnet_gap").count_parameters() / whole == pytest.approx(0.869, abs=5e-4)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_maps_of_images_of_the_published_size(name):
    network, config = published(name), CONFIGURATIONS[name]
    nothing = tensor(np.zeros((0, 3, config.size, config.size), np.float32))
    logits, attention = network(nothing, return_attention=True)
    assert network.features(nothing).shape == (0, *MAPS[config.network])
    assert logits.shape == (0, 1000)
    assert {path: maps.shape for path, maps in attention.items()} == {
        "classifier": (0, 1000, *MAPS[config.network][1:])
    }


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_groups_are_in_the_added_convolutions(name):
    expected = 1 if name.endswith("_ungrouped") else 2
    assert {layer.conv.groups for layer in published(name).added} == {expected}


def test_what_is_in_front_of_the_cut_is_the_networks_own():
    """The weights are GoogLeNet's up to 4e, those of VGG-16's convolutions, and AlexNet's but for conv5."""
    whole = {
        "alexnet_gap": unallocated(alexnet.AlexNet, alexnet.CONFIGURATIONS["alexnet_2012"]),
        "vggnet_gap": unallocated(vgg.VGG, vgg.CONFIGURATIONS["vgg16"]),
        "googlenet_gap": unallocated(inception.GoogLeNet, inception.CONFIGURATIONS["googlenet"]),
    }
    for name, network in whole.items():
        own = {key: p.shape for key, p in network.maps.named_parameters().items()}
        cut = {key: p.shape for key, p in published(name).trunk.named_parameters().items()}
        other = {key for key in own if own[key] != cut.get(key)}
        if name == "alexnet_gap":
            assert other == {"convolutions.4.layer.conv.weight", "convolutions.4.layer.conv.bias"}
        else:
            assert {key.split(".")[1] for key in other} == ({"5a", "5b"} if name == "googlenet_gap" else set())
        assert not set(cut) - set(own)
    assert published("alexnet_gap").trunk.response_norm


# ---------------------------------------------------------------------------------------------- the layers
@pytest.fixture(scope="module")
def small():
    """AlexNet*-GAP in float64, with two classes."""
    return randomized(CamNetwork(CamConfig("alexnet", classes=2), np.random.default_rng(0)))


def test_what_is_added_against_a_transcription(small):
    images = random_images((1, 3, 99, 107))
    with no_grad():
        conv5, _ = small.trunk(tensor(images))
        got, logits = small.features(tensor(images)), small(tensor(images))
    x = max_pool(conv5.data, 3, 1)
    for layer in small.added:
        x = unit(x, layer, padding=1, groups=2)
    assert conv5.shape == (1, 384, 5, 5)
    assert close(got, x)
    assert close(logits, linear(x.mean((2, 3)), small.classifier))


def test_the_mean_of_a_class_activation_map_is_the_score(small):
    images = tensor(random_images((2, 3, 99, 107)))
    with no_grad():
        logits, attention = small(images, return_attention=True)
        features = small.features(images)
    maps, scores = attention["classifier"], logits.data - small.classifier.bias.data
    assert close(maps, class_activation_map(features, small.classifier.weight).data)
    assert maps.shape == (2, 2, 3, 3)
    assert close(ops.mean(maps, axis=(2, 3)), scores)


def test_the_linear_layer_behind_the_mean_is_a_1x1_convolution_in_front_of_it():
    features = tensor(random_images((2, 6, 5, 4)))
    classifier = randomized(Linear(6, 3, np.random.default_rng(0)))
    kernels = ops.reshape(ops.transpose(classifier.weight), (3, 6, 1, 1))
    in_front = ops.mean(ops.conv2d(features, kernels, classifier.bias), axis=(2, 3))
    assert close(classifier(ops.mean(features, axis=(2, 3))), in_front.data)


@pytest.mark.parametrize(("pooling", "pooled"), [("mean", np.mean), ("max", np.max)])
def test_the_pooling_is_what_the_scores_are_made_of(pooling, pooled):
    network = CamNetwork(CamConfig("googlenet", pooling=pooling, classes=2), np.random.default_rng(0)).eval()
    images = tensor(random_images((1, 3, 48, 48)).astype(np.float32))
    with no_grad():
        maps, logits = network.features(images).data, network(images).data
        again, _ = network(images, return_attention=True)
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(again.data, logits)
    assert maps.shape == (1, 1024, 3, 3)
    np.testing.assert_allclose(logits, linear(pooled(maps, (2, 3)), network.classifier), rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(("changes", "said"), [({"groups": 0}, "groups"), ({"classes": 0}, "classes")])
def test_settings_that_cannot_be_are_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        CamConfig(**changes)
