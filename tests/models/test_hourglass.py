"""The stacked hourglass: published sizes, the network by hand, the identities of an hourglass, and its loss."""

import inspect

import fakecupy
import numpy as np
import pytest
import residual_by_hand as by_hand
from hypothesis import given
from hypothesis import strategies as st
from images_by_hand import max_pool, relu

import minattn as ma
from minattn.autograd import asnumpy, ops
from minattn.errors import ConfigError, ShapeError
from minattn.models import HourglassConfig, StackedHourglass, count_macs
from minattn.models.pose.hourglass import CONFIGURATIONS, Hourglass, Residual, heat_map_loss
from minattn.models.summary import count_parameters
from minattn.nn import initializers
from minattn.testing import check_gradients

SEEDS = st.integers(0, 2**32 - 1)
SMALL = HourglassConfig(2, joints=3, features=8, order=2, channels=1)


def unbuilt(config):
    with initializers.unallocated():
        return StackedHourglass(config, np.random.default_rng(0))


def small(seed=0, dtype=np.float64, config=SMALL):
    return by_hand.randomized(StackedHourglass(config, np.random.default_rng(seed)), seed, dtype)


def images(seed=0, shape=(2, 1, 16, 32), dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


# ---------------------------------------------------------------------------------------------- published sizes
@pytest.mark.parametrize(
    ("stacks", "divided", "total", "macs"),
    [
        (1, (3_400_896, 8_912, 16_640), 3_426_448, 5_150_343_168),
        (2, (6_522_048, 16_864, 31_488), 6_570_400, 8_334_606_336),
        (4, (12_764_352, 32_768, 61_184), 12_858_304, 14_703_132_672),
        (8, (25_248_960, 64_576, 120_576), 25_434_112, 27_440_185_344),
    ],
)
def test_parameters_and_macs(stacks, divided, total, macs):
    network = unbuilt(CONFIGURATIONS[f"hourglass{stacks}"])
    assert count_parameters(network) == divided
    assert network.count_parameters() == total
    assert count_macs(network, (3, 256, 256)) == macs


def test_parameters_for_the_joints_of_flic_and_of_a_residual_module():
    assert unbuilt(HourglassConfig(8, joints=11)).count_parameters() == 25_414_872
    with initializers.unallocated():
        assert Residual(256, 256, np.random.default_rng(0)).count_parameters() == 214_528


@pytest.mark.parametrize(("stacks", "total", "macs"), [(1, 103_096, 12_921_600), (2, 195_032, 20_215_296)])
def test_the_small_networks_for_images_of_64_pixels(stacks, total, macs):
    network = unbuilt(CONFIGURATIONS[f"small_hourglass{stacks}"])
    assert network.count_parameters() == total
    assert count_macs(network, (3, 64, 64)) == macs


def test_heat_maps_are_near_zero_at_first():
    model = StackedHourglass(SMALL, np.random.default_rng(0))
    assert np.abs(model(ma.tensor(images(dtype=np.float32))).data).max() < 0.3


def test_an_hourglass_has_thirteen_residual_modules():
    with initializers.unallocated():
        modules = Hourglass(4, 256, np.random.default_rng(0)).named_modules()
    assert sum(isinstance(module, Residual) for _, module in modules) == 13


def test_the_maps_are_a_quarter_of_the_images():
    maps, attention = unbuilt(HourglassConfig(2)).eval()(
        ma.tensor(np.zeros((0, 3, 256, 192), np.float32)), return_attention=True
    )
    assert maps.shape == (0, 2, 16, 64, 48)
    assert {path: m.shape for path, m in attention.items()} == dict.fromkeys(("stacks.0", "stacks.1"), (0, 16, 64, 48))


# ---------------------------------------------------------------------------------------------- by hand
def norm_conv(layer, x, training):
    return by_hand.conv(layer.conv, relu(by_hand.batch_norm(layer.norm, x, training)))


def residual_by_hand(module, x, training):
    y = x
    for layer in (module.first, module.middle, module.last):
        y = norm_conv(layer, y, training)
    return y + (x if module.shortcut is None else by_hand.conv(module.shortcut, x))


def hourglass_by_hand(module, x, training):
    low = residual_by_hand(module.down, max_pool(x, 2, 2), training)
    inner = residual_by_hand if isinstance(module.inner, Residual) else hourglass_by_hand
    low = residual_by_hand(module.up, inner(module.inner, low, training), training)
    return residual_by_hand(module.beside, x, training) + low.repeat(2, axis=2).repeat(2, axis=3)


def network_by_hand(model, x, training):
    first, second, third = model.front
    x = by_hand.conv_norm(model.conv1, x, training, True)
    x = max_pool(residual_by_hand(first, x, training), 2, 2)
    x = residual_by_hand(third, residual_by_hand(second, x, training), training)
    maps = []
    for i, stack in enumerate(model.stacks):
        h = residual_by_hand(stack.after, hourglass_by_hand(stack.hourglass, x, training), training)
        h = by_hand.conv_norm(stack.linear, h, training, True)
        maps.append(by_hand.conv(stack.maps, h))
        if i + 1 < len(model.stacks):
            x = x + by_hand.conv(stack.features_back, h) + by_hand.conv(stack.maps_back, maps[-1])
    return np.stack(maps, 1)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_the_papers(training):
    model, x = small().train(training), images()
    maps, attention = model(ma.tensor(x), return_attention=True)
    expected = network_by_hand(model, x, training)
    np.testing.assert_allclose(maps.data, expected, rtol=1e-6, atol=1e-7 * np.abs(expected).max())
    for i, m in enumerate(attention.values()):
        np.testing.assert_array_equal(m.data, maps.data[:, i])
    np.testing.assert_array_equal(model(ma.tensor(x)).data.shape, maps.shape)


def test_the_last_stack_gives_nothing_on():
    model = small()
    assert model.stacks[-1].features_back is None
    assert model.stacks[-1].maps_back is None
    assert model.stacks[0].maps_back.weight.shape == (8, 3, 1, 1)


def test_gradients_of_an_hourglass():
    module = by_hand.randomized(Hourglass(1, 4, np.random.default_rng(0)), 2).eval()
    check_gradients(lambda x: module(x), images(shape=(1, 4, 2, 4)), method="complex")


# ---------------------------------------------------------------------------------------------- identities
def of_identities(order, features, seed=0):
    """An hourglass whose residual modules change nothing: their last convolutions are zero."""
    module = by_hand.randomized(Hourglass(order, features, np.random.default_rng(seed)), seed)
    for inner in module.named_modules().values():
        if isinstance(inner, Residual):
            for parameter in inner.last.conv.parameters():
                parameter.replace_data(np.zeros(parameter.shape))
    return module


@given(st.integers(1, 3), st.floats(-3, 3))
def test_with_identities_an_hourglass_of_order_n_multiplies_constants_by_n_plus_one(order, value):
    x = np.full((1, 4, 8, 16), value)
    np.testing.assert_allclose(of_identities(order, 4)(ma.tensor(x)).data, (order + 1) * x, rtol=1e-12, atol=1e-12)


@given(SEEDS)
def test_with_identities_it_is_the_sum_of_what_is_seen_from_ever_farther(seed):
    """x + up(pool(x) + up(pool(pool(x)))) for n = 2, where the lowest maps are added once."""
    x = images(seed, (1, 4, 8, 4))
    half = max_pool(x, 2, 2)
    quarter = max_pool(half, 2, 2)
    up = half + quarter.repeat(2, 2).repeat(2, 3)
    expected = x + up.repeat(2, 2).repeat(2, 3)
    np.testing.assert_allclose(of_identities(2, 4)(ma.tensor(x)).data, expected, rtol=1e-12)


@given(SEEDS, st.integers(0, 3), st.integers(0, 1))
def test_with_identities_shifts_by_multiples_of_two_to_n_go_through(seed, down, right):
    module, x = of_identities(2, 4), images(seed, (1, 4, 16, 8))
    shifted = np.roll(x, (4 * down, 4 * right), (2, 3))
    expected = np.roll(module(ma.tensor(x)).data, (4 * down, 4 * right), (2, 3))
    np.testing.assert_array_equal(module(ma.tensor(shifted)).data, expected)


@given(SEEDS)
def test_pooling_what_was_enlarged_gives_it_back(seed):
    z = images(seed, (2, 3, 3, 5))
    enlarged = ops.resize_nearest(ma.tensor(z), (6, 10))
    np.testing.assert_array_equal(ops.max_pool2d(enlarged, 2).data, z)


# ---------------------------------------------------------------------------------------------- the loss
@given(SEEDS, st.integers(1, 3))
def test_the_loss_adds_up_the_stacks(seed, stacks):
    rng = np.random.default_rng(seed)
    maps, targets = rng.normal(size=(2, stacks, 3, 4, 5)), rng.normal(size=(2, 3, 4, 5))
    each = [
        sum((maps[n, s, j, y, x] - targets[n, j, y, x]) ** 2 for n, j, y, x in np.ndindex(targets.shape)) / targets.size
        for s in range(stacks)
    ]
    assert heat_map_loss(ma.tensor(maps), ma.tensor(targets)).item() == pytest.approx(sum(each))
    assert heat_map_loss(ma.tensor(maps), ma.tensor(targets), intermediate=False).item() == pytest.approx(each[-1])


@given(SEEDS)
def test_a_joint_without_a_label_costs_nothing_whatever_its_target(seed):
    rng = np.random.default_rng(seed)
    maps, targets, labeled = rng.normal(size=(2, 3, 4, 2, 5)), rng.normal(size=(2, 4, 2, 5)), rng.random((2, 4)) < 0.6
    each = [
        (maps[n, s, j, y, x] - targets[n, j, y, x]) ** 2 * labeled[n, j] for n, s, j, y, x in np.ndindex(maps.shape)
    ]
    found = ma.tensor(maps, requires_grad=True)
    unknown = np.where(labeled[:, :, None, None], targets, np.nan)
    loss = heat_map_loss(found, ma.tensor(unknown), labeled=labeled)
    assert loss.item() == pytest.approx(sum(each) / targets.size)
    loss.backward()
    assert (found.grad != 0).any((1, 3, 4)).tolist() == labeled.tolist()
    everything = np.ones_like(labeled)
    alone = heat_map_loss(ma.tensor(maps), ma.tensor(targets))
    assert heat_map_loss(ma.tensor(maps), ma.tensor(targets), labeled=everything).item() == alone.item()


def test_the_loss_of_no_images_is_0():
    assert heat_map_loss(ma.tensor(np.zeros((0, 2, 3, 4, 4))), ma.tensor(np.zeros((0, 3, 4, 4)))).item() == 0


def test_of_one_stack_intermediate_supervision_is_ordinary_training():
    rng = np.random.default_rng(0)
    maps, targets = ma.tensor(rng.normal(size=(2, 1, 3, 4, 5))), ma.tensor(rng.normal(size=(2, 3, 4, 5)))
    assert heat_map_loss(maps, targets).item() == heat_map_loss(maps, targets, intermediate=False).item()


# ---------------------------------------------------------------------------------------------- refused
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stacks": 0}, "stacks must be a whole number"),
        ({"joints": 0}, "joints must be a whole number"),
        ({"order": 0}, "order must be a whole number"),
        ({"features": 6}, "features must be a multiple of 4, got 6; hint"),
        ({"size": 0}, "size must be a whole number"),
        ({"size": 224}, "of order 4 do not take images of 224 x 224; hint: a size that is a multiple of 64"),
    ],
)
def test_impossible_configurations_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        HourglassConfig(**settings)


@pytest.mark.parametrize("shape", [(0, 3, 256, 250), (0, 3, 60, 64)])
def test_images_that_do_not_halve_are_refused(shape):
    with pytest.raises(ShapeError, match=r"order 4 does not take images of .*; hint: sides that are multiples of 64"):
        unbuilt(HourglassConfig(1)).eval()(ma.tensor(np.zeros(shape, np.float32)))


def test_odd_maps_are_refused():
    module = Hourglass(2, 4, np.random.default_rng(0))
    with pytest.raises(ShapeError, match="cannot halve maps of 3x4; hint: sides that are a multiple of 2"):
        module(ma.tensor(np.zeros((1, 4, 6, 8), np.float32)))


def test_targets_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match=r"need targets of shape \(2, 3, 4, 5\), got \(2, 1, 4, 5\); hint"):
        inspect.unwrap(heat_map_loss)(ma.tensor(np.zeros((2, 2, 3, 4, 5))), ma.tensor(np.zeros((2, 1, 4, 5))))
    maps, targets = ma.tensor(np.zeros((2, 2, 3, 4, 5))), ma.tensor(np.zeros((2, 3, 4, 5)))
    with pytest.raises(ShapeError, match=r"maps of 3 joints of 2 images have labels of shape \(2, 2\); hint"):
        inspect.unwrap(heat_map_loss)(maps, targets, labeled=np.ones((2, 2), bool))


# ---------------------------------------------------------------------------------------------- devices
def test_the_same_numbers_everywhere_and_no_waiting(backend):
    x, targets = images(dtype=np.float32), np.zeros((2, 3, 4, 8), np.float32)

    def results(make, model):
        maps = model(make(x))
        heat_map_loss(maps, make(targets), labeled=np.array([[True, False, True], [False, True, True]])).backward()
        return [maps.data, *(p.grad for p in model.parameters())]

    expected = results(ma.tensor, small(dtype=np.float32))
    there = small(dtype=np.float32).to(backend.device)
    with fakecupy.no_sync():
        found = results(backend.tensor, there)
    for result, value in zip(found, expected, strict=True):
        assert result.dtype == np.float32
        np.testing.assert_allclose(asnumpy(result), value, rtol=5e-3, atol=1e-3 * max(1, np.abs(value).max()))


def test_the_loss_of_no_images_is_nothing():
    maps = ma.Tensor(np.zeros((0, 2, 3, 4, 4), np.float32), requires_grad=True)
    loss = heat_map_loss(maps, ma.Tensor(np.zeros((0, 3, 4, 4), np.float32)))
    loss.backward()
    assert loss.item() == 0
    assert maps.grad.shape == maps.shape


@pytest.mark.parametrize(("order", "says"), [(0, "a whole number of at least 1"), (10**12, "at most 1,000,000,000")])
def test_absurd_orders_are_refused(order, says):
    with pytest.raises(ConfigError, match=f"order must be {says}"):
        HourglassConfig(order=order)
