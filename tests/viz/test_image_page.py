"""Pages of images: what stands where, and what is refused."""

import numpy as np
import pytest

from minattn.errors import ShapeError
from minattn.viz.image_page import LARGEST, image_page

pytest.importorskip("matplotlib")


def test_every_image_has_its_place_and_every_row_its_name(tmp_path):
    gray = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 1, 4, 3)
    colored = np.full((1, 3, 4, 3), 255, np.uint8)
    figure = image_page([("gray ones", gray), ("a white one", colored)], tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [["gray ones"], ["a white one"]]
    assert [len(axes.images) for axes in figure.axes] == [2, 1]
    for axes, images in zip(figure.axes, (gray, colored), strict=True):
        for i, (drawn, image) in enumerate(zip(axes.images, images, strict=True)):
            for channel in range(3):
                np.testing.assert_array_equal(drawn.get_array()[..., channel], image[channel % len(image)])
            left, right, bottom, top = drawn.get_extent()
            assert i == left < right < i + 1
            assert (right - left) / (bottom - top) == pytest.approx(3 / 4), "as wide and high as the image"


def test_the_largest_page_is_drawn_and_a_long_name_is_cut(tmp_path):
    pixels = np.zeros((LARGEST, 1, 1, 1), np.uint8)
    figure = image_page([("a name that is too long for its column", pixels)], tmp_path / "page.png")
    assert figure.axes[0].texts[0].get_text().endswith("…")
    assert (tmp_path / "page.png").stat().st_size


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [("none", np.zeros((0, 1, 2, 2)))],
        [("flat", np.zeros((2, 2)))],
        [("of two channels", np.zeros((1, 2, 2, 2)))],
        [("too many", np.zeros((LARGEST + 1, 1, 2, 2)))],
        [("one", np.zeros((1, 1, 2, 2)))] * (LARGEST + 1),
    ],
)
def test_what_is_no_page_is_refused(rows):
    with pytest.raises(ShapeError, match=r"a page has rows of images .*, 1 to 128 each"):
        image_page(rows)
