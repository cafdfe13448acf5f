"""The page of maps over images shows every map where it belongs, right predictions above and wrong ones below."""

import sys

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minattn.errors import ConfigError, DataError, MissingDependencyError, ShapeError
from minattn.viz import attention_maps
from minattn.viz.maps import COLORS, DOTS, WRONG, WRONG_NOTE, laid_over, shown
from minattn.viz.style import INK, MUTED

CLASSES = ["Shirt", "Coat", "a class whose name is much too long for a cell"]
LABELS = np.array([0, 1, 2, 0, 1])
ANSWERS = np.array([0, 2, 2, 1, 1])  # right, wrong, right, wrong, right


def page(labels=LABELS, answers=ANSWERS, images=None, panels=2, **more):
    rng = np.random.default_rng(0)
    images = rng.random((len(labels), 8, 8)) if images is None else images
    of_the_answer, of_the_truth = rng.random((2, len(labels), 3, 3))
    of_the_truth = np.where((labels == answers)[:, None, None], of_the_answer, of_the_truth)
    rows = [("of the answer", of_the_answer), ("of the truth", of_the_truth)][:panels]
    return attention_maps(images, rows, labels, answers, CLASSES, **more), images, rows


def texts(figure):
    return [text.get_text() for text in figure.texts]


def drawn(figure):
    """Every image with its place, (top, left, image), in reading order; without the colorbar."""
    *cells, _key = figure.axes
    found = [(round(1 - axes.get_position().y1, 4), round(axes.get_position().x0, 4), axes) for axes in cells]
    return [(y, x, axes.images[0].get_array()) for y, x, axes in sorted(found, key=lambda cell: cell[:2])]


# ---------------------------------------------------------------------------------------------- the images
def test_right_predictions_above_wrong_ones_below_with_every_map_under_its_image():
    figure, images, (answer, truth) = page()
    cells = drawn(figure)
    rows = sorted({y for y, _, _ in cells})
    assert [sum(y == row for y, _, _ in cells) for row in rows] == [3, 3, 2, 2, 2]
    right, wrong = np.array([0, 2, 4]), np.array([1, 3])
    images = images[:, None]
    expected = [
        *shown(images[right]),
        *laid_over(images[right], answer[1][right]),
        *shown(images[wrong]),
        *laid_over(images[wrong], answer[1][wrong]),
        *laid_over(images[wrong], truth[1][wrong]),
    ]
    for (_, _, picture), value in zip(cells, expected, strict=True):
        np.testing.assert_array_equal(picture, value)
    columns = sorted({x for _, x, _ in cells})
    for row in rows:
        assert [x for y, x, _ in cells if y == row] == columns[: len([1 for y, _, _ in cells if y == row])]


def test_the_names_of_the_answer_and_of_the_class():
    figure, _, _ = page()
    names = [(t.get_text(), t.get_color()) for t in figure.texts if t.get_ha() == "center"]
    cut = next(text for text, _ in names if text.endswith("…"))
    assert CLASSES[2].startswith(cut[:-1])
    assert names == [("Shirt", INK), (cut, INK), ("Coat", INK)] + [
        ("is Coat", MUTED),
        (cut, WRONG),
        ("is Shirt", MUTED),
        ("Coat", WRONG),
    ]
    found = texts(figure)
    assert found.index("right predictions") < found.index("wrong predictions") < found.index(WRONG_NOTE)
    assert [text for text in found if text.startswith("of the")] == ["of the answer", "of the answer", "of the truth"]


@pytest.mark.parametrize(
    ("answers", "heading"), [(LABELS, "right predictions"), ((LABELS + 1) % 3, "wrong predictions")]
)
def test_a_block_without_images_is_left_out(answers, heading):
    figure, _, _ = page(answers=answers)
    assert [text for text in texts(figure) if text.endswith("predictions")] == [heading]


def test_no_more_columns_than_asked_for_and_their_share_is_said():
    figure, _, _ = page(columns=2)
    assert [text for text in texts(figure) if "predictions" in text] == [
        "right predictions, 2 of 3",
        "wrong predictions",
    ]
    assert len({x for _, x, _ in drawn(figure)}) == 2


def test_images_alone_make_a_page_too():
    figure, images, _ = page(panels=0)
    assert len(drawn(figure)) == len(images)


# ---------------------------------------------------------------------------------------------- the overlay
@given(st.integers(0, 1000), st.integers(1, 3), st.integers(2, 9), st.integers(1, 5))
@settings(max_examples=5)
def test_each_map_goes_from_the_darkest_to_the_lightest_color(seed, count, side, map_side):
    rng = np.random.default_rng(seed)
    images = rng.random((count, 3, side, side))
    maps = 5 * rng.normal(size=(count, map_side, map_side))
    pictures = laid_over(images, maps)
    assert pictures.shape == shown(images).shape
    assert pictures.shape[1] >= DOTS
    assert (pictures >= 0).all()
    assert (pictures <= 1).all()
    np.testing.assert_allclose(laid_over(images, 3 * maps + 2), pictures, atol=0.02)  # the colors are 256
    black = laid_over(0 * images, maps)  # only the maps are seen
    if map_side > 1:
        lightness = black.sum(-1)
        assert lightness.reshape(count, -1).min(1) == pytest.approx(0.4 * sum(matplotlib.colormaps[COLORS](0)[:3]))
        assert lightness.reshape(count, -1).max(1) == pytest.approx(0.7 * sum(matplotlib.colormaps[COLORS](1.0)[:3]))


def test_the_brighter_image_is_seen_through_the_map():
    images, maps = np.zeros((1, 1, 4, 4)), np.ones((1, 2, 2)) * [[[0, 1], [0, 1]]]
    images[:, :, :2] = 1
    picture = laid_over(images, maps)[0]
    rows = len(picture)
    top, bottom = picture[: rows // 2], picture[rows // 2 :]
    np.testing.assert_allclose(top[:, 0] - bottom[:, 0], 0.6)
    np.testing.assert_allclose(top[:, -1] - bottom[:, -1], 0.3)


@pytest.mark.parametrize("shape", [(5, 8, 8), (5, 1, 8, 8)])
def test_gray_images_with_or_without_an_axis_for_colors(shape):
    one, _, _ = page(images=np.random.default_rng(1).random(shape))
    assert len(one.axes) == 13
    gray = np.random.default_rng(1).random((2, 1, 8, 8))
    np.testing.assert_array_equal(shown(np.repeat(gray, 3, 1)), shown(gray))


def test_large_images_keep_their_dots():
    images = np.random.default_rng(0).random((1, 3, 200, 170))
    np.testing.assert_array_equal(shown(images), images.transpose(0, 2, 3, 1))
    assert laid_over(images, np.eye(7)[None]).shape == (1, 200, 170, 3)


# ---------------------------------------------------------------------------------------------- the page
@pytest.mark.parametrize("title", [None, "a title much longer than the picture is wide, and then some more of it"])
@pytest.mark.parametrize("count", [1, 5])
def test_nothing_is_off_the_page_or_over_another(title, count):
    figure, _, _ = page(LABELS[-count:], (LABELS[-count:] + (count == 1)) % 3, title=title)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.texts] + [axes.get_window_extent() for axes in figure.axes]
    bounds = figure.bbox
    assert all(
        bounds.x0 <= box.x0 and box.x1 <= bounds.x1 and bounds.y0 <= box.y0 and box.y1 <= bounds.y1 for box in boxes
    )
    assert not [1 for i, one in enumerate(boxes) for other in boxes[:i] if one.overlaps(other)]


def test_the_page_is_saved_where_it_is_asked_for(tmp_path):
    figure, _, _ = page(path=tmp_path / "maps.png")
    assert (tmp_path / "maps.png").read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in tmp_path.iterdir()] == ["maps.png"]
    with pytest.raises(ConfigError, match=r"maps\.txt"):
        page(path=tmp_path / "maps.txt")
    assert figure.axes


# ---------------------------------------------------------------------------------------------- refused
IMAGES, MAPS = np.zeros((5, 8, 8)), np.zeros((5, 3, 3))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"images": np.zeros((5, 2, 8, 8))}, ShapeError, r"\(5, 2, 8, 8\), expected \(n, height, width\) or"),
        ({"images": np.zeros((0, 8, 8))}, ShapeError, r"\(0, 8, 8\)"),
        ({"images": IMAGES + 255}, DataError, "in 255 to 255, expected 0 to 1; hint: images as they were"),
        ({"images": IMAGES - 0.1}, DataError, "in -0.1 to -0.1"),
        ({"images": IMAGES * np.nan}, DataError, "nan"),
        ({"panels": [("m", MAPS[:4])]}, ShapeError, r"maps 'm' have shape \(4, 3, 3\), expected \(5, height, width\)"),
        ({"panels": [("m", MAPS[0])]}, ShapeError, r"\(3, 3\)"),
        ({"panels": [("m", MAPS + np.inf)]}, DataError, "45 numbers in the maps 'm'"),
        ({"labels": LABELS[:3]}, ShapeError, r"labels are int64 \(3,\), expected 5 whole numbers"),
        ({"predictions": ANSWERS * 1.0}, ShapeError, r"predictions are float64 \(5,\)"),
        ({"predictions": ANSWERS + 1}, DataError, "predictions from 1 to 3, but there are names for 3 classes"),
        ({"labels": LABELS - 1}, DataError, "labels from -1 to 1"),
        ({"columns": 0}, ConfigError, "0 columns"),
    ],
)
def test_what_does_not_fit_is_refused(changes, error, message):
    arguments = {
        "images": IMAGES,
        "panels": [("m", MAPS)],
        "labels": LABELS,
        "predictions": ANSWERS,
        "classes": CLASSES,
    }
    with pytest.raises(error, match=message):
        attention_maps(**arguments | changes)


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'minattn\[train\]'"):
        attention_maps(IMAGES, [("m", MAPS)], LABELS, ANSWERS, CLASSES)
