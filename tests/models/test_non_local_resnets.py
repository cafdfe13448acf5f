"""Networks with non-local blocks: published sizes, where the blocks are, images and clips by hand."""

from dataclasses import replace

import numpy as np
import pytest
from residual_by_hand import randomized

import minattn as ma
from minattn.attention.self_attention.non_local import PAIRS
from minattn.errors import ConfigError, ShapeError
from minattn.models import registry
from minattn.models.vision.non_local_resnet import (
    C2D,
    C2D_CONFIGURATIONS,
    CONFIGURATIONS,
    C2DConfig,
    NonLocalResNet,
    NonLocalResNetConfig,
    as_clips,
    as_frames,
    insertion_points,
    pooled_in_time,
)
from minattn.nn.initializers import unallocated
from minattn.testing import check_gradients

CLOSE = {"rtol": 1e-9, "atol": 1e-11}


def unbuilt(name, **changes):
    with unallocated():
        return C2D(replace(C2D_CONFIGURATIONS[name], **changes), np.random.default_rng(0))


def ordinary_parameters(network):
    """Those of convolutions and of the linear layer, which has 400 biases; without batch norm."""
    return sum(p.size for path, p in network.named_parameters().items() if "norm" not in path)


# ---------------------------------------------------------------------------------------------- published sizes
@pytest.mark.parametrize(
    ("name", "all_of_them", "without_batch_norm"),
    [("c2d_resnet50", 24_327_632, 24_274_112 + 400), ("c2d_resnet101", 43_319_760, 43_214_016 + 400)],
)
def test_parameters_of_the_baselines(name, all_of_them, without_batch_norm):
    network = unbuilt(name)
    assert network.count_parameters() == all_of_them
    assert ordinary_parameters(network) == without_batch_norm


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("c2d_resnet50_nl1", 26_429_392),
        ("c2d_resnet50_nl5", 31_686_096),
        ("c2d_resnet50_nl10", 39_044_560),
        ("c2d_resnet101_nl1", 45_421_520),
        ("c2d_resnet101_nl5", 50_678_224),
        ("c2d_resnet101_nl10", 58_036_688),
    ],
)
def test_parameters_with_blocks(name, count):
    """A block has 526,592 parameters in res3, 2,101,760 in res4: weights, biases and batch norm."""
    config = C2D_CONFIGURATIONS[name]
    res3 = sum(stage == 1 for stage, _ in config.insertion_points())
    base = {"resnet50": 24_327_632, "resnet101": 43_319_760}[config.backbone]
    assert unbuilt(name).count_parameters() == count
    assert count == base + res3 * 526_592 + (config.blocks - res3) * 2_101_760


@pytest.mark.parametrize("pair", ["embedded", "dot"])
def test_five_blocks_make_resnet_101_a_sixth_larger(pair):
    """Their weights are 7,340,032; the paper prints 1.2 times the parameters of C2D."""
    plain, five = unbuilt("c2d_resnet101"), unbuilt("c2d_resnet101_nl5", pair=pair)
    weights = sum(p.size for path, p in five.named_parameters().items() if "non_local" in path and ".W_" in path)
    assert weights == 7_340_032
    assert five.count_parameters() / plain.count_parameters() == pytest.approx(1.170, abs=0.001)


def test_resnet_50_with_five_blocks_has_three_quarters_of_resnet_101():
    """The paper prints about 70 % of the parameters."""
    counts = [unbuilt(name).count_parameters() for name in ("c2d_resnet50_nl5", "c2d_resnet101")]
    assert counts[0] / counts[1] == pytest.approx(0.731, abs=0.001)


# ---------------------------------------------------------------------------------------------- where the blocks are
@pytest.mark.parametrize(
    ("count", "blocks", "points"),
    [
        (0, (3, 4, 6, 3), []),
        (1, (3, 4, 6, 3), [(2, 4)]),
        (5, (3, 4, 6, 3), [(1, 1), (1, 3), (2, 1), (2, 3), (2, 5)]),
        (10, (3, 4, 6, 3), [(1, i) for i in range(4)] + [(2, i) for i in range(6)]),
        (1, (3, 4, 23, 3), [(2, 21)]),
        (5, (3, 4, 23, 3), [(1, 1), (1, 3), (2, 6), (2, 13), (2, 20)]),
        (10, (3, 4, 23, 3), [(1, i) for i in range(4)] + [(2, i) for i in (2, 6, 10, 14, 18, 22)]),
        (1, (3, 3, 3), [(1, 1)]),
    ],
)
def test_after_which_residual_blocks_they_stand(count, blocks, points):
    assert insertion_points(count, blocks) == points


@pytest.mark.parametrize(
    ("count", "blocks"), [(2, (3, 4, 6, 3)), (-1, (3, 4, 6, 3)), (10, (3, 4, 5, 3)), (10, (3, 3, 6, 3)), (1, (1, 1, 1))]
)
def test_counts_that_cannot_be_spread_are_refused(count, blocks):
    with pytest.raises(ConfigError, match=r"cannot be spread over stages of .*; hint: one of 0"):
        insertion_points(count, blocks)


@pytest.mark.parametrize(("subsample", "seen"), [("none", 784), ("after", 196), ("before", 196)])
def test_what_a_position_of_a_clip_attends_to(subsample, seen):
    """4x14x14 positions of res4 in a clip of 32x224x224, a quarter of them where they are pooled."""
    network = unbuilt("c2d_resnet50_nl1", subsample=subsample).eval()
    logits, attention = network(ma.tensor(np.zeros((0, 3, 32, 224, 224), np.float32)), return_attention=True)
    assert logits.shape == (0, 400)
    assert {path: weights.shape for path, weights in attention.items()} == {"non_local.0": (0, 784, seen)}


def test_maps_are_those_of_table_1():
    """Frames halve twice before res2 and once after it."""
    network = unbuilt("c2d_resnet50").eval()
    clips = ma.tensor(np.zeros((0, 3, 32, 224, 224), np.float32))
    frames = as_frames(clips[:, :, ::2])
    assert network.backbone.conv1(ma.tensor(np.zeros((0, 3, 224, 224), np.float32))).shape[1:] == (64, 112, 112)
    x, count = pooled_in_time(network.backbone.stem(frames), 16)
    assert (count, x.shape[2:]) == (8, (56, 56))
    for index, (frames_left, shape) in enumerate([(8, (256, 56, 56)), (4, (512, 28, 28)), (4, (1024, 14, 14))]):
        x, _ = network.stage(index, x, count, need_weights=False)
        assert (count, x.shape[1:]) == (frames_left, shape)
        if index == 0:
            x, count = pooled_in_time(x, count)


# ---------------------------------------------------------------------------------------------- by hand
def small(seed=0, kind=NonLocalResNet, **settings):
    config = (C2DConfig if kind is C2D else NonLocalResNetConfig)(**settings)
    return randomized(kind(config, np.random.default_rng(seed)), seed, np.float64).eval()


def test_an_image_goes_through_blocks_of_both_kinds_in_turn():
    network = small(backbone="resnet20", classes=3, pair="dot")
    x = ma.tensor(np.random.default_rng(1).normal(size=(2, 3, 8, 6)))
    maps = network.backbone.stem(x)
    for i, stage in enumerate(network.backbone.stages):
        for j, block in enumerate(stage.blocks):
            maps, _ = block(maps)
            if (i, j) == (1, 1):
                maps, weights = network.non_local[0](maps)
    expected = network.backbone.classifier(ma.ops.mean(maps, (2, 3)))
    logits, attention = network(x, return_attention=True)
    np.testing.assert_allclose(logits.numpy(), expected.numpy(), **CLOSE)
    np.testing.assert_allclose(network(x).numpy(), expected.numpy(), **CLOSE)
    np.testing.assert_allclose(attention["non_local.0"].numpy(), weights.numpy(), **CLOSE)


def test_without_blocks_it_is_the_residual_network():
    network = small(backbone="resnet8", blocks=0, classes=3)
    x = ma.tensor(np.random.default_rng(1).normal(size=(2, 3, 8, 6)))
    np.testing.assert_array_equal(network(x).numpy(), network.backbone(x).numpy())


@pytest.mark.parametrize("pair", PAIRS)
def test_new_blocks_leave_all_answers_as_they_were(pair):
    rng = np.random.default_rng(0)
    network = NonLocalResNet(replace(CONFIGURATIONS["nl_resnet20"], pair=pair), rng).eval()
    x = ma.tensor(rng.normal(size=(2, 3, 12, 12)).astype(np.float32))
    np.testing.assert_array_equal(network(x).numpy(), network.backbone(x).numpy())


def test_new_blocks_leave_all_answers_about_clips_as_they_were():
    plain, blocked = (C2D(C2DConfig(blocks=blocks, classes=3), np.random.default_rng(0)).eval() for blocks in (0, 5))
    x = ma.tensor(np.random.default_rng(1).normal(size=(1, 3, 4, 32, 32)).astype(np.float32))
    np.testing.assert_array_equal(blocked(x).numpy(), plain(x).numpy())


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5])
def test_the_largest_of_three_frames_every_second_time(frames):
    x = np.random.default_rng(0).normal(size=(2, 3, frames, 2, 2))
    pooled, left = pooled_in_time(as_frames(ma.tensor(x)), frames)
    times = range(0, frames, 2)
    expected = np.stack([x[:, :, max(0, t - 1) : t + 2].max(axis=2) for t in times], axis=2)
    assert left == len(times)
    np.testing.assert_array_equal(as_clips(pooled, left).numpy(), expected)


def test_clips_become_frames_and_clips_again():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 6))
    frames = as_frames(ma.tensor(x))
    np.testing.assert_array_equal(frames.numpy(), x.swapaxes(1, 2).reshape(8, 3, 5, 6))
    np.testing.assert_array_equal(as_clips(frames, 4).numpy(), x)


@pytest.mark.parametrize("extent", ["spacetime", "space", "time"])
def test_frames_of_a_clip_meet_where_they_are_pooled_and_in_non_local_blocks(extent):
    """Of 9 frames every second is seen; changing one of the others changes nothing."""
    subsample = "none" if extent == "time" else "after"
    network = small(kind=C2D, blocks=1, classes=3, extent=extent, subsample=subsample)
    x = np.random.default_rng(1).normal(size=(1, 3, 9, 32, 32))
    logits = network(ma.tensor(x)).numpy()
    unseen, seen = x.copy(), x.copy()
    unseen[:, :, 1::2] += 1
    seen[:, :, 8] += 1
    np.testing.assert_array_equal(network(ma.tensor(unseen)).numpy(), logits)
    assert not np.allclose(network(ma.tensor(seen)).numpy(), logits)


def test_a_still_clip_without_blocks_is_the_image():
    network = small(kind=C2D, blocks=0, classes=3)
    image = np.random.default_rng(1).normal(size=(1, 3, 32, 32))
    clip = np.broadcast_to(image[:, :, None], (1, 3, 8, 32, 32))
    np.testing.assert_allclose(network(ma.tensor(clip)).numpy(), network.backbone(ma.tensor(image)).numpy(), **CLOSE)


def test_clips_are_classified_with_dropout_in_training():
    network = small(kind=C2D, blocks=0, classes=3).eval()
    x = ma.tensor(np.random.default_rng(1).normal(size=(1, 3, 2, 32, 32)))
    same = network(x).numpy()
    np.testing.assert_array_equal(network(x).numpy(), same)
    network.dropout.train()
    assert not np.allclose(network(x).numpy(), same)


def test_gradients_through_a_network():
    network = small(backbone="resnet20", classes=2, pair="embedded")
    x = np.random.default_rng(1).normal(size=(1, 3, 4, 4))
    check_gradients(network, x, parameters=network.non_local[0].named_parameters())


# ---------------------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "vgg16"}, "no backbone 'vgg16'; hint: one of resnet18"),
        ({"backbone": "resnet20"}, "C2D is a ResNet for 224x224, got 'resnet20'"),
        ({"blocks": 3}, r"3 non-local blocks cannot be spread over stages of \(3, 4, 6, 3\); hint: one of 0, 1, 5, 10"),
        ({"blocks": True}, "blocks must be a whole number, got True"),
        ({"extent": "time", "blocks": 1}, "cannot be pooled where each attends to itself alone; hint: subsample=none"),
        ({"classes": 0}, "classes must be a whole number"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(C2D_CONFIGURATIONS["c2d_resnet50"], **changes)


def test_a_clip_without_frames_is_refused():
    network = unbuilt("c2d_resnet50")
    with pytest.raises(ShapeError, match="a frame at least; hint: an image is a clip of one"):
        network(ma.tensor(np.zeros((1, 3, 0, 32, 32), np.float32)))


def test_names_are_entered_for_images():
    assert [name for name, entry in registry.ENTRIES.items() if entry.network is NonLocalResNet] == list(CONFIGURATIONS)
