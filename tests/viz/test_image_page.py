"""Pages of images: what stands where, and what is refused."""

import numpy as np
import pytest

from minattn.errors import ShapeError
from minattn.viz.image_page import image_page

pytest.importorskip("matplotlib")


def test_every_image_has_its_place_and_every_row_its_name(tmp_path):
    gray = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 1, 4, 3)
    colored = np.full((1, 3, 4, 3), 255, np.uint8)
    figure = image_page([("gray ones", gray), ("a white one", colored)], tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size
    shown = [len(axes.images) for axes in figure.axes]
    assert shown == [1, 1, 1, 0]
    assert [axes.get_ylabel() for axes in figure.axes] == ["gray ones", "", "a white one", ""]
    np.testing.assert_allclose(figure.axes[2].images[0].get_array(), 1)
    assert figure.axes[1].images[0].get_array().max() == pytest.approx(23 / 255)


@pytest.mark.parametrize("rows", [[], [("none", np.zeros((0, 1, 2, 2)))], [("flat", np.zeros((2, 2)))]])
def test_what_is_no_page_is_refused(rows):
    with pytest.raises(ShapeError, match="a page has rows of images"):
        image_page(rows)
