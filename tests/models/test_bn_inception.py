"""BN-Inception: its table, its published sizes with and without gates, and its modules against a transcription."""

import functools

import numpy as np
import pytest
from images_by_hand import (
    close,
    gate,
    gates_of,
    linear,
    max_pool,
    mean_pool,
    random_images,
    randomized,
    unallocated,
    unit,
)

from minattn.autograd import no_grad, tensor
from minattn.errors import ConfigError, ShapeError
from minattn.models.summary import count_macs, count_parameters, summarize
from minattn.models.vision.bn_inception import (
    CONFIGURATIONS,
    FIGURE_5,
    BNInception,
    BNInceptionConfig,
    BNInceptionModule,
    Widths,
)

MODULES = {
    # name: (channels, side)
    "3a": (256, 28),
    "3b": (320, 28),
    "3c": (576, 14),
    "4a": (576, 14),
    "4b": (576, 14),
    "4c": (608, 14),
    "4d": (608, 14),
    "4e": (1056, 7),
    "5a": (1024, 7),
    "5b": (1024, 7),
}
NOTHING = np.zeros((0, 3, 224, 224), np.float32)


@functools.cache
def published(name):
    return unallocated(BNInception, CONFIGURATIONS[name]).eval()


# ---------------------------------------------------------------------------------------------- sizes
def test_the_base_network():
    network = published("bn_inception")
    counts = count_parameters(network)
    assert network.count_parameters() == counts.total == 11_285_224
    assert (counts.biases, counts.batch_norm) == (1_000, 20_032)
    assert counts.total + counts.batch_norm // 2 == 11_295_240  # with a bias for each of the convolutions' channels
    assert round(count_macs(network) / 1e7) == 203


def test_with_squeeze_and_excitation():
    base, gated = (count_parameters(published(name)) for name in ("bn_inception", "se_bn_inception"))
    assert (gated.weights - base.weights, gated.biases - base.biases) == (639_360, 7_038)
    assert gated.total == 11_931_622
    assert gated.total - 7_038 == 11_924_584  # without its biases
    assert count_macs(published("se_bn_inception")) == 2_033_239_424


def test_the_published_files_size():
    """45.6 MiB of float32: the parameters, and the running mean and variance of every normalization."""
    network = published("se_bn_inception")
    numbers = network.count_parameters() + sum(buffer.size for buffer in network.named_buffers().values())
    assert round(numbers * 4 / 2**20, 1) == 45.6


@pytest.mark.parametrize("form", CONFIGURATIONS)
def test_the_maps_that_every_module_gives(form):
    shapes = {row.path: row.shape for row in summarize(published(form), (3, 224, 224), depth=1)}
    for name, (channels, side) in MODULES.items():
        assert shapes[f"inception.{name}"] == (channels, side, side)
    assert (shapes["conv1"], shapes["conv2"]) == ((64, 112, 112), (192, 56, 56))


def test_the_logits_of_no_images():
    logits, attention = published("se_bn_inception")(tensor(NOTHING), return_attention=True)
    assert logits.shape == (0, 1000)
    assert attention.pop("classifier").shape == (0, 1000, 7, 7)
    expected = {f"inception.{name}.se": (0, channels) for name, (channels, _) in MODULES.items()}
    assert {path: gates.shape for path, gates in attention.items()} == expected
    assert list(published("bn_inception")(tensor(NOTHING), return_attention=True)[1]) == ["classifier"]


def test_the_pools_are_means_but_for_those_that_halve_and_the_last():
    assert {name for name, widths in FIGURE_5.items() if widths.pool == "max"} == {"3c", "4e", "5b"}
    assert {name for name, widths in FIGURE_5.items() if widths.stride == 2} == {"3c", "4e"}


def test_no_convolution_has_a_bias():
    names = published("bn_inception").named_parameters().keys()
    assert not [name for name in names if name.endswith("conv.bias")]


# ---------------------------------------------------------------------------------------------- the layers
def module_by_hand(x, module, widths):
    stride = 1 if widths.one else 2
    if stride == 2:
        pooled = max_pool(x, 3, 2, ceil=True)
    else:
        pooled = mean_pool(x, 3, 1, 1) if widths.pool == "mean" else max_pool(x, 3, 1, 1)
    double = unit(unit(unit(x, module.double_reduce), module.double_a, padding=1), module.double_b, stride, 1)
    branches = [
        *([unit(x, module.one)] if widths.one else []),
        unit(unit(x, module.three_reduce), module.three, stride, 1),
        double,
        unit(pooled, module.projection) if widths.projection else pooled,
    ]
    return np.concatenate(branches, 1)


KINDS = [Widths(2, 3, 4, 2, 3, 5, "mean", 3), Widths(2, 3, 4, 2, 3, 5, "max", 3), Widths(0, 3, 4, 2, 3, 5, "max", 0)]


@pytest.mark.parametrize("widths", KINDS)
@pytest.mark.parametrize("size", [(6, 8), (4, 10)])
def test_a_module_against_a_transcription(widths, size):
    module = randomized(BNInceptionModule(3, widths, np.random.default_rng(0)))
    x = random_images((2, 3, *size))
    expected = module_by_hand(x, module, widths)
    assert expected.shape[1] == module.outputs
    assert close(module(tensor(x)), expected)


def test_the_network_against_a_transcription():
    network = BNInception(CONFIGURATIONS["se_bn_inception"], np.random.default_rng(0)).eval()
    for parameter in network.parameters():
        parameter.replace_data(parameter.data.astype(np.float64))
    images = random_images((1, 3, 64, 64))
    x = max_pool(unit(images, network.conv1, 2, 3), 3, 2, ceil=True)
    x = max_pool(unit(unit(x, network.conv2_reduce), network.conv2, padding=1), 3, 2, ceil=True)
    gates = []
    for name, gated in network.inception.items():
        x, s = gate(module_by_hand(x, gated.layer, FIGURE_5[name]), gated.se)
        gates.append(s)
    with no_grad():
        logits, attention = network(tensor(images), return_attention=True)
    assert close(logits, linear(x.mean((2, 3)), network.classifier))
    assert all(close(s, t) for s, t in zip(gates_of(attention), gates, strict=True))


def test_float32_stays_and_every_backend_gives_the_same(backend):
    module = BNInceptionModule(3, KINDS[0], np.random.default_rng(0)).eval()
    x = random_images((2, 3, 5, 4)).astype(np.float32)
    expected = module(tensor(x)).data
    got = module.to(backend.device)(backend.tensor(x)).to("cpu").data
    assert got.dtype == expected.dtype == np.float32
    np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------------------------------------- bad input
def test_maps_of_an_odd_side_cannot_be_halved():
    module = BNInceptionModule(3, KINDS[2], np.random.default_rng(0))
    with pytest.raises(ShapeError, match=r"halves maps of 6x5.*multiple of 32"):
        module(tensor(random_images((1, 3, 6, 5))))


@pytest.mark.parametrize("changes", [{"classes": 0}, {"channels": 0}, {"se": 0}])
def test_settings_that_cannot_be_are_refused(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        BNInceptionConfig(**changes)
