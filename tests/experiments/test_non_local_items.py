"""The experiment on non-local blocks: its canvases, its network, what it trains and leaves, and what it refuses."""

import itertools
import json

import numpy as np
import pytest
from canvases import BEST_SUM, BEST_SUM_BY_SIDE, FRAMES, SPEEDS, fastest, path, same, small
from clip_network import (
    LARGER_RECEPTIVE_FIELD,
    RECEPTIVE_FIELD,
    ClipNetwork,
    ClipNetworkConfig,
    multiply_adds,
    with_coordinates,
)

import minattn as ma
from minattn.autograd import observe
from minattn.autograd.observers import Observer
from minattn.data.images.dataset import Images
from minattn.errors import ConfigError, DataError
from minattn.models.summary import count_macs

NAME = "non_local.py"


def solid_items(classes=4, each=3, side=6):
    """Items of one brightness each, by which they are known: class k has k + 1, k + 1 + classes, and so on."""
    labels = np.tile(np.arange(classes), each)
    brightness = np.arange(classes * each) + 1
    pixels = np.broadcast_to(brightness[:, None, None, None], (classes * each, 1, side, side)).astype(np.uint8)
    return Images(pixels, labels.astype(np.int64))


def seen(frame):
    """{brightness: (top, left, rows, columns)} of the items on a canvas."""
    found = {}
    for value in np.unique(frame[frame > 0]):
        rows, columns = np.nonzero(frame == value)
        found[int(value)] = rows.min(), columns.min(), np.ptp(rows) + 1, np.ptp(columns) + 1
    return found


# ---------------------------------------------------------------------------------------------- pictures
def test_half_of_the_pairs_are_of_one_class_and_no_receptive_field_holds_both_items():
    classes, reach, canvas = 4, 15, 32
    pictures = same(solid_items(classes), 200, canvas, reach, np.random.default_rng(0))
    assert pictures.labels.sum() == 100
    for picture, is_same in zip(pictures.pixels[:, 0], pictures.labels, strict=True):
        items = seen(picture)
        assert len(items) == 2, "two items, and never one of them twice"
        (one, other), (a, b) = items, items.values()
        assert a[2:] == b[2:] == (6, 6)
        assert ((one - 1) % classes == (other - 1) % classes) == bool(is_same)
        for top in range(canvas - reach + 1):
            for left in range(canvas - reach + 1):
                window = picture[top : top + reach, left : left + reach]
                assert len(np.unique(window[window > 0])) < 2


@pytest.mark.parametrize("by_side", [False, True])
def test_how_often_a_sum_of_two_scores_can_be_right(by_side):
    """Of three classes all scores from -2 to 2 are tried; the best have the form that gives the bounds for ten."""
    best = 0.0
    for s in itertools.product(range(-2, 3), repeat=3):
        for t in itertools.product(range(-2, 3), repeat=3) if by_side else [s]:
            best = max(best, right(np.array(s) + 0.25, np.array(t) + 0.25))
    classes = np.arange(3)
    apart = np.where(classes < 2, 1, -9)
    assert best == pytest.approx(right(classes, 0.5 - classes) if by_side else right(apart, apart))
    classes = np.arange(10)
    apart = np.where(classes < 5, 1, -9)
    assert right(apart, apart) == pytest.approx(BEST_SUM)
    assert right(classes, 0.5 - classes) == pytest.approx(BEST_SUM_BY_SIDE)


def right(s, t):
    """The share of pairs, half of them of one class, for which s(one) + t(other) > 0 tells whether they are."""
    says_same = np.add.outer(s, t) > 0
    is_same = np.eye(len(s), dtype=bool)
    return (says_same[is_same].mean() + (~says_same[~is_same]).mean()) / 2


def test_a_canvas_without_room_for_pairs_is_refused():
    with pytest.raises(ConfigError, match=r"two items of 6 pixels, 14 between them, do not fit on 25; hint: .* 26"):
        same(solid_items(), 2, 25, 15, np.random.default_rng(0))
    with pytest.raises(DataError, match="a class has one item"):
        same(solid_items(each=1), 2, 32, 15, np.random.default_rng(0))


def test_items_of_one_class_are_refused():
    items, rng = solid_items(classes=1), np.random.default_rng(0)
    for make in (lambda: same(items, 2, 32, 15, rng), lambda: fastest(items, 2, 32, rng)):
        with pytest.raises(DataError, match="the 3 items are all of one class, and two classes are needed; hint"):
            make()


# ---------------------------------------------------------------------------------------------- clips
def test_the_label_of_a_clip_is_the_class_of_the_faster_item():
    classes, canvas = 4, 60  # with so much room that most do not turn back
    clips = fastest(solid_items(classes), 100, canvas, np.random.default_rng(0))
    assert clips.pixels.shape == (100, FRAMES, canvas, canvas)
    assert not np.delete(clips.pixels, [0, 3, 6], axis=1).any(), "every third frame is lit"
    for clip, label in zip(clips.pixels, clips.labels, strict=True):
        frames = [seen(frame) for frame in clip[::3]]
        one, other = frames[0]
        assert all(frame[name][2:] == (6, 6) for frame in frames for name in (one, other)), "they are seen whole"
        way = {name: np.array([frame[name][:2] for frame in frames]) for name in (one, other)}
        moved = {name: np.abs(np.diff(corners, axis=0)).sum(axis=1).max() for name, corners in way.items()}
        assert {moved[one], moved[other]} <= {3 * speed for speed in SPEEDS}
        assert moved[one] != moved[other]
        assert (max((one, other), key=moved.__getitem__) - 1) % classes == label
        assert (one - 1) % classes != (other - 1) % classes


@pytest.mark.parametrize("speed", SPEEDS)
def test_an_item_turns_back_at_the_edges_and_is_anywhere_as_often(speed):
    rng, room = np.random.default_rng(0), 10
    ways = np.stack([path(room, speed, rng) for _ in range(5000)])
    for before, after in itertools.pairwise(ways.T):
        reached = [before + speed, before - speed]
        turned = [2 * room - before - speed, speed - before]
        assert np.any([after == each for each in reached + turned], axis=0).all()
    for positions in ways.T:
        share = np.bincount(positions, minlength=room + 1) / len(ways)
        np.testing.assert_allclose(share[1:-1], 1 / room, atol=0.02)
        np.testing.assert_allclose(share[[0, -1]], 1 / (2 * room), atol=0.02)


def test_clips_without_room_are_refused():
    with pytest.raises(ConfigError, match="two items of 6 pixels do not move on 11; hint: a canvas of 12 or more"):
        fastest(solid_items(), 2, 11, np.random.default_rng(0))


def test_items_are_small_gray_and_square():
    pixels = np.arange(2 * 28 * 28).reshape(2, 1, 28, 28).astype(np.uint8)
    halves = small(Images(pixels, np.zeros(2, np.int64)))
    assert halves.shape == (1, 14, 14)
    assert halves.pixels[0, 0, 0, 0] == round(pixels[0, 0, :2, :2].mean())
    with pytest.raises(DataError, match="items are gray and square, got 4 x 4, RGB"):
        small(Images(np.zeros((1, 3, 4, 4), np.uint8), np.zeros(1, np.int64)))


# ---------------------------------------------------------------------------------------------- the network
@pytest.mark.parametrize(("extra", "receptive_field"), [(False, RECEPTIVE_FIELD), (True, LARGER_RECEPTIVE_FIELD)])
def test_the_receptive_field_of_a_position(extra, receptive_field):
    """Without a non-local block a position of the feature maps depends on so many pixels alone; with one, on all."""
    side, middle = 64, 8
    x = ma.tensor(np.random.default_rng(0).normal(size=(1, 1, side, side)), requires_grad=True)
    network = of(extra=extra)
    at_position(network, x, middle).backward()
    rows, columns = np.nonzero(x.grad[0, 0])
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (receptive_field, receptive_field)
    blocked = of(extra=extra, pair="dot")
    blocked.non_local.norm.weight.replace_data(blocked.non_local.norm.weight.data + 1)
    x.grad = None
    at_position(blocked, x, middle).backward()
    assert (x.grad != 0).mean() > 0.99


def of(**settings):
    return ClipNetwork(ClipNetworkConfig(**settings), np.random.default_rng(0)).eval()


def at_position(network, x, index):
    """The sum over channels at a position of the feature maps that the last mean is of."""

    class Maps(Observer):
        last = None

        def on_forward(self, name, inputs, output):
            if name == "add_relu":
                self.last = output

    maps = Maps()
    with observe(maps):
        network(x)
    return ma.ops.sum(maps.last[:, :, index, index])


@pytest.mark.parametrize(
    "settings", [{}, {"extra": True}, {"coordinates": True}, {"pair": "embedded"}, {"pair": "gaussian"}]
)
def test_multiply_adds_of_a_picture(settings):
    """Those of convolutions and linear layers are as the library counts them; sums over pairs it does not count."""
    config = ClipNetworkConfig(**settings)
    positions, width = 16 * 16, config.width
    pairs = {"embedded": 2 * width, "gaussian": 3 * width}.get(config.pair, 0) * positions**2
    assert multiply_adds(config, 64) - pairs == count_macs(of(**settings), (1, 64, 64))


def test_coordinates_are_three_more_channels_beside_the_gray_values():
    clips = np.random.default_rng(0).normal(size=(2, 1, 3, 5, 2)).astype(np.float32)
    given = with_coordinates(ma.tensor(clips)).numpy()
    assert given.shape == (2, 4, 3, 5, 2)
    assert given.dtype == np.float32
    np.testing.assert_array_equal(given[:, :1], clips)
    for n, t, y, x in np.ndindex(2, 3, 5, 2):
        np.testing.assert_allclose(given[n, 1:, t, y, x], [t - 1, y / 2 - 1, 2 * x - 1])
    network = of(channels=3, coordinates=True)
    taken = []
    stem = network.stem
    network.stem = lambda frames: taken.append(frames.numpy()) or stem(frames)
    network(ma.tensor(clips[:, 0]))
    np.testing.assert_array_equal(taken[0], given.swapaxes(1, 2).reshape(6, 4, 5, 2))


@pytest.mark.parametrize(("extent", "shape"), [("spacetime", (2, 256, 256)), ("time", (128, 4, 4))])
def test_clips_are_seen_at_every_second_frame(extent, shape):
    network = of(channels=8, classes=3, pair="embedded", extent=extent)
    clips = ma.tensor(np.random.default_rng(0).normal(size=(2, 8, 32, 32)).astype(np.float32))
    logits, attention = network(clips, return_attention=True)
    assert logits.shape == (2, 3)
    assert attention["non_local"].shape == shape


# ---------------------------------------------------------------------------------------------- the script
FEW = (
    *("--data", "digits", "--examples", "24", "--test", "10"),
    *("--epochs", "1", "--seeds", "1", "--set", "batch_size=12"),
)


@pytest.mark.parametrize(
    ("question", "rows", "first"),
    [("same", ["alone", "embedded"], "the network alone"), ("fastest", ["alone", "spacetime"], "C2D")],
)
def test_rows_are_trained_once_and_tabulated_with_what_a_position_attends_to(
    call, few_digits, tmp_path, question, rows, first
):
    out = tmp_path / "out"
    call(NAME, question, *FEW, "--out", out, "--rows", rows[0])
    assert not (out / f"{question}.png").exists()
    call(NAME, question, *FEW, "--out", out, "--rows", rows[1])
    results = json.loads((out / f"{question}.json").read_text())["results"]
    assert [(result["row"], result["seed"]) for result in results] == [(row, 1) for row in rows]
    assert f"| {first} | {results[0]['accuracy']:.2f} |" in (out / f"{question}.md").read_text()
    assert (out / f"{question}.png").stat().st_size


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["same", "--rows", "time"], "there is no row 'time'; hint: one of alone, deeper"),
        (["fastest", "--set", "pair=dot"], "the rows differ in"),
        (["same", "--canvas", "20"], "do not fit on 20"),
        (["same", "--canvas", "62"], "--canvas must be a multiple of 4"),
        (["same", "--canvas", "0"], "do not fit on 0"),
        (["fastest", "--canvas", "-4"], "do not move on -4"),
        (["same", "--examples", "0"], "--examples must be at least 1, got 0"),
        (["fastest", "--test", "-1"], "--test must be at least 1, got -1"),
        (["same", "--rows", "alone", "--only-seed", "2"], "there is no network to tabulate"),
    ],
)
def test_what_it_refuses(call, few_digits, tmp_path, arguments, says):
    with pytest.raises(SystemExit, match=says):
        call(NAME, arguments[0], *FEW, "--out", tmp_path / "out", *arguments[1:])
