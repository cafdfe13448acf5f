"""Highway networks: published sizes, the networks layer by layer, their limits, and what they refuse."""

import contextlib
from dataclasses import replace

import fakecupy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from residual_by_hand import randomized

import minattn as ma
from minattn.autograd import asnumpy, ops
from minattn.errors import ConfigError, ShapeError
from minattn.models import CifarHighwayConfig, MnistHighwayConfig, ThinHighway, ThinHighwayConfig, count_macs, registry
from minattn.models.vision import highway
from minattn.nn import initializers
from minattn.testing import check_gradients
from minattn.training import SGD

SEEDS = st.integers(0, 2**32 - 1)
SMALL = {
    "highway10": {"depth": 3, "width": 4, "pixels": 6, "channels": 2},
    "plain10": {"depth": 3, "width": 4, "pixels": 6, "channels": 2},
    "highway_mnist16": {"width": 2, "size": 12},
    "highway_cifar10": {"widths": (2, 3, 4), "last": 5},
}
SHAPES = {"highway10": (2, 2, 3), "plain10": (2, 3, 2), "highway_mnist16": (1, 12, 12), "highway_cifar10": (3, 8, 9)}


def unallocated(name, **changes):
    with initializers.unallocated():
        return registry.build(name, np.random.default_rng(0), **changes)


def small(name, seed=0, dtype=np.float64, **changes):
    model = registry.build(name, np.random.default_rng(seed), classes=3, **SMALL[name] | changes)
    return randomized(model, seed, dtype)


def images(name, seed=0, batch=2, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=(batch, *SHAPES[name])).astype(dtype)


# ---------------------------------------------------------------------------------------------- published sizes
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("highway10", 85_660),
        ("highway20", 136_660),
        ("highway50", 289_660),
        ("highway100", 544_660),
        ("plain10", 102_463),
        ("plain20", 153_583),
        ("plain50", 306_943),
        ("plain100", 562_543),
        ("highway_mnist16", 38_986),  # the paper: 39K
        ("highway_mnist32", 151_690),  # the paper: 151K
        ("highway_cifar10", 2_256_838),  # the paper: about 2.3M
        ("highway_cifar100", 2_265_928),
    ],
)
def test_parameters(name, count):
    assert unallocated(name).count_parameters() == count


def test_a_layer_more_costs_about_five_thousand_parameters_in_both_kinds():
    for kind, layer in (("highway", 2 * (50**2 + 50)), ("plain", 71**2 + 71)):
        by_depth = {depth: unallocated(f"{kind}{depth}").count_parameters() for depth in highway.DEPTHS}
        assert {(by_depth[d] - by_depth[10]) // (d - 10) for d in (20, 50, 100)} == {layer}


@pytest.mark.parametrize(("name", "macs"), [("highway_mnist32", 31_650_624), ("highway_cifar10", 330_826_728)])
def test_multiply_accumulates(name, macs):
    model = unallocated(name)
    assert count_macs(model, (model.config.channels, model.config.size, model.config.size)) == macs


def test_the_layers_are_as_many_as_the_names_say():
    def layers(model):
        weights = [p for p in model.state_dict() if p.endswith(("weight", "W_H"))]
        return len(weights)

    assert layers(unallocated("highway_mnist16")) == 10
    assert layers(unallocated("highway_cifar10")) == 19
    assert {layers(unallocated(f"{kind}{depth}")) - depth for kind in ("highway", "plain") for depth in (10, 100)} == {
        1
    }


def test_the_maps_are_those_of_the_authors():
    _, attention = unallocated("highway_mnist32")(
        ma.tensor(np.zeros((0, 1, 28, 28), np.float32)), return_attention=True
    )
    assert [t.shape[1:] for t in attention.values()] == [(32, 24, 24)] * 2 + [(32, 12, 12)] * 3 + [(32, 6, 6)] * 3
    _, attention = unallocated("highway_cifar10")(
        ma.tensor(np.zeros((0, 3, 32, 32), np.float32)), return_attention=True
    )
    gates = [t.shape[1:] for path, t in attention.items() if path != "classifier"]
    assert gates == [(32, 32, 32)] * 4 + [(80, 16, 16)] * 5 + [(128, 8, 8)] * 5


@pytest.mark.parametrize(("size", "side"), [(28, 3), (32, 4), (12, 1), (16, 2), (27, 3), (60, 7)])
def test_the_side_of_the_last_maps_is_the_one_that_comes_out(size, side):
    assert MnistHighwayConfig(size=size).side == side
    unallocated("highway_mnist16", size=size)(ma.tensor(np.zeros((0, 1, size, size), np.float32)))


# ---------------------------------------------------------------------------------------------- layer by layer
def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def thin_by_hand(model, x):
    """(logits, gates), of a network with ReLU."""
    x = np.maximum(x.reshape(len(x), -1) @ model.first.weight.data + model.first.bias.data, 0)
    gates = []
    for layer in model.layers:
        if not model.config.gates:
            x = np.maximum(x @ layer.weight.data + layer.bias.data, 0)
            continue
        t = sigmoid(x @ layer.W_T.data + layer.b_T.data)
        x = np.maximum(x @ layer.W_H.data + layer.b_H.data, 0) * t + x * (1 - t)
        gates.append(t)
    return x @ model.output.weight.data + model.output.bias.data, gates


@given(SEEDS, st.sampled_from(["highway10", "plain10"]))
def test_a_thin_network_is_its_layers_one_after_another(seed, name):
    model, x = small(name, seed), images(name, seed)
    logits, attention = model(ma.tensor(x), return_attention=True)
    expected, gates = thin_by_hand(model, x)
    np.testing.assert_allclose(logits.data, expected, rtol=1e-9, atol=1e-10)
    assert list(attention) == [f"layers.{i}" for i in range(len(gates))]
    for t, wanted in zip(attention.values(), gates, strict=True):
        np.testing.assert_allclose(t.data, wanted, rtol=1e-9, atol=1e-12)


def convolved(layer, x):
    """ReLU(x * W + b) of a plain layer."""
    weight, bias = layer.conv.weight.data, layer.conv.bias.data
    return np.maximum(ops.conv2d(ma.tensor(x), weight, bias, padding=layer.conv.padding).data, 0)


def stage_by_hand(stage, x):
    x = x if stage.plain is None else convolved(stage.plain, x)
    for layer in stage.layers:
        a_H, a_T = (
            ops.conv2d(ma.tensor(x), W.data, b.data, padding=1).data
            for W, b in ((layer.W_H, layer.b_H), (layer.W_T, layer.b_T))
        )
        t = sigmoid(a_T)
        x = np.maximum(a_H, 0) * t + x * (1 - t)
    return x


def pooled(x, kernel, stride=2):
    """The largest of each window, of what there is of it at the border."""
    starts = [range(0, max(n - kernel + stride, 1), stride) for n in x.shape[2:]]
    rows = [[x[:, :, i : i + kernel, j : j + kernel].max((2, 3)) for j in starts[1]] for i in starts[0]]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def test_the_network_for_mnist_is_its_layers_one_after_another():
    model, x = small("highway_mnist16").eval(), images("highway_mnist16")
    maps = x
    for stage, kernel in zip(model.stages, (3, 3, 2), strict=True):
        maps = pooled(stage_by_hand(stage, maps), kernel)
    expected = maps.reshape(2, -1) @ model.fc.weight.data + model.fc.bias.data
    np.testing.assert_allclose(model(ma.tensor(x)).data, expected, rtol=1e-8, atol=1e-8)


def test_the_network_for_cifar_is_its_layers_one_after_another():
    model, x = small("highway_cifar10").eval(), images("highway_cifar10")
    x = x[:, :, :, :8]
    maps = x
    for i, stage in enumerate(model.stages):
        maps = stage_by_hand(stage, maps if i == 0 else pooled(maps, 2))
    maps = convolved(model.last, maps)
    expected = maps.mean((2, 3)) @ model.classifier.weight.data + model.classifier.bias.data
    logits, attention = model(ma.tensor(x), return_attention=True)
    np.testing.assert_allclose(logits.data, expected, rtol=1e-8, atol=1e-8)
    assert attention["classifier"].shape == (2, 3, 2, 2)
    assert [path for path in attention if path != "classifier"] == [
        f"stages.{i}.layers.{j}" for i, count in enumerate((4, 5, 5)) for j in range(count)
    ]


@pytest.mark.parametrize("name", SMALL)
def test_gradients_of_the_images(name):
    model = small(name).eval()
    check_gradients(lambda x: model(x), images(name)[:, :, :8], method="complex") if name == "highway_cifar10" else (
        check_gradients(lambda x: model(x), images(name, batch=1), method="complex")
    )


@pytest.mark.parametrize("name", SMALL)
def test_float32_stays_float32(name):
    model = small(name, dtype=np.float32)
    logits, attention = model(ma.tensor(images(name, dtype=np.float32)), return_attention=True)
    ma.sum(logits * logits).backward()
    found = [logits, *attention.values(), *(parameter.grad for parameter in model.parameters())]
    assert {array.dtype for array in found} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("scrambled", [False, True], ids=["rows", "scrambled memory"])
def test_a_training_step_is_the_same_everywhere_and_waits_for_nothing(backend, name, scrambled):
    x, labels = images(name, 3, dtype=np.float32), np.array([2, 0])

    def step(make, model):
        optimizer = SGD(model.named_parameters(), 0.01, momentum=0.9, nesterov=True)
        logits, attention = model(make(x), return_attention=True)
        ma.cross_entropy(logits, labels).backward()
        optimizer.step()
        return [logits.data, *(t.data for t in attention.values()), *(p.data for p in model.parameters())]

    expected = step(ma.tensor, small(name, dtype=np.float32))
    there = small(name, dtype=np.float32).to(backend.device)
    with fakecupy.scrambled_layouts() if scrambled else contextlib.nullcontext(), fakecupy.no_sync():
        found = step(backend.tensor, there)
    for result, value in zip(found, expected, strict=True):
        assert result.dtype == np.float32
        np.testing.assert_allclose(asnumpy(result), value, rtol=1e-3, atol=1e-4 * max(1, np.abs(value).max()))


# ---------------------------------------------------------------------------------------------- limits
@given(SEEDS)
def test_with_closed_gates_depth_makes_no_difference(seed):
    deep, shallow = (small("highway10", seed, depth=depth) for depth in (7, 2))
    for layer in deep.layers + shallow.layers:
        layer.b_T.replace_data(np.full(4, -1e4))
    for own, other in zip(
        (*deep.first.parameters(), *deep.output.parameters()),
        (*shallow.first.parameters(), *shallow.output.parameters()),
        strict=True,
    ):
        own.replace_data(other.data)
    x = images("highway10", seed)
    np.testing.assert_array_equal(deep(ma.tensor(x)).data, shallow(ma.tensor(x)).data)


@given(SEEDS)
def test_with_open_gates_it_is_the_plain_network(seed):
    gated, plain = small("highway10", seed), small("plain10", seed)
    plain.load_state_dict(
        plain.state_dict()
        | {f"layers.{i}.weight": layer.W_H.data for i, layer in enumerate(gated.layers)}
        | {f"layers.{i}.bias": layer.b_H.data for i, layer in enumerate(gated.layers)}
        | {name: value for name, value in gated.state_dict().items() if not name.startswith("layers")}
    )
    for layer in gated.layers:
        layer.b_T.replace_data(np.full(4, 1e4))
    x = images("highway10", seed)
    np.testing.assert_array_equal(gated(ma.tensor(x)).data, plain(ma.tensor(x)).data)


def test_the_signal_that_a_deep_network_starts_with_is_that_of_a_shallow_one():
    """With b_T = -5 a hundred layers carry half of it, and what they add is about as large."""
    x = ma.tensor(np.random.default_rng(0).normal(size=(50, 1, 28, 28)).astype(np.float32))
    scales = [np.abs(registry.build(f"highway{d}", np.random.default_rng(0))(x).data).mean() for d in (10, 100)]
    assert 0.1 < scales[1] / scales[0] < 10


@pytest.mark.parametrize("name", ["highway_mnist16", "highway_cifar10"])
def test_dropout_is_in_training_alone(name):
    model, x = small(name), ma.tensor(images(name))
    assert np.abs(model.train()(x).data - model.train()(x).data).max() > 0
    np.testing.assert_array_equal(model.eval()(x).data, model.eval()(x).data)
    rates = [module.rate for module in model.named_modules().values() if hasattr(module, "rate")]
    assert rates == ([0.2, 0.3, 0.4, 0.5] if name == "highway_mnist16" else [0.2])


def test_the_network_for_cifar_drops_pixels_and_means():
    """Dropout comes before the first layer and after the mean of the maps."""
    model, x = small("highway_cifar10").train(), ma.tensor(images("highway_cifar10"))
    seen = []
    model.dropout.forward = lambda x: seen.append(x.shape) or x
    model(x)
    assert seen[0] == x.shape
    assert len(seen[-1]) == 2


# ---------------------------------------------------------------------------------------------- refused
@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (ThinHighwayConfig(), {"depth": 0}, "depth must be a whole number"),
        (ThinHighwayConfig(), {"pixels": 0}, "pixels must be a whole number"),
        (ThinHighwayConfig(), {"activation": "gelu"}, 'activation must be one of "relu", "tanh"'),
        (ThinHighwayConfig(), {"gates": 1}, "gates must be True or False"),
        (MnistHighwayConfig(), {"width": 0}, "width must be a whole number"),
        (MnistHighwayConfig(), {"size": 11}, "side 11 leave the last pool nothing; hint: size=12 at least"),
        (CifarHighwayConfig(), {"widths": (32, 80)}, r"3 values .*, got \(32, 80\); hint"),
        (CifarHighwayConfig(), {"widths": (32, 0, 80)}, r"3 stages, got \(32, 0, 80\); hint"),
        (CifarHighwayConfig(), {"last": 0}, "last must be a whole number"),
    ],
)
def test_impossible_configurations_are_refused(config, settings, message):
    config = replace(config)
    for name, value in settings.items():
        object.__setattr__(config, name, value)  # the tests' type checks would be first to refuse it
    with pytest.raises(ConfigError, match=message):
        config.__post_init__()


@pytest.mark.parametrize(("name", "side"), [("highway10", 27), ("highway_mnist16", 32)])
def test_images_of_another_size_are_refused(name, side):
    with pytest.raises(ShapeError, match=r"the linear layer takes .*; hint: images of the side"):
        unallocated(name)(ma.tensor(np.zeros((0, 1, side, side), np.float32)))


def test_a_thin_network_takes_images_of_any_shape_that_it_is_built_for():
    model = ThinHighway(ThinHighwayConfig(pixels=15, channels=3), np.random.default_rng(0))
    assert model(ma.tensor(np.zeros((2, 3, 5, 3), np.float32))).shape == (2, 10)
