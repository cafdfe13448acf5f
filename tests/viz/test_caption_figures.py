"""The figure of captions: an image for every word, lit where the word was looked for."""

import numpy as np
import pytest

from minattn.errors import DataError, ShapeError
from minattn.viz.captions import WORDS, CaptionRow, draw_captions
from minattn.viz.maps import RIGHT, WRONG

pytest.importorskip("matplotlib")


def a_row(words, correct=None, name="", seed=0):
    rng = np.random.default_rng(seed)
    words = words.split()
    return CaptionRow(
        rng.random((1, 16, 16)), words, rng.dirichlet(np.ones(16), len(words)).reshape(-1, 4, 4), correct, name
    )


def texts(figure):
    return [(text.get_text(), text.get_color()) for text in figure.texts]


def test_each_word_has_an_image_and_stands_above_it():
    row = a_row("a bag above a boot")
    figure = draw_captions([row])
    assert len(figure.axes) == 6
    assert [text for text, _ in texts(figure)[1:]] == row.words
    locations = [text.get_position()[0] for text in figure.texts[1:]]
    middles = [axes.get_position().x0 + axes.get_position().width / 2 for axes in figure.axes[1:]]
    np.testing.assert_allclose(locations, middles)


def test_an_image_is_lightest_where_the_weight_is_largest():
    weights = np.zeros((2, 4, 4))
    weights[0, 0, 0] = weights[1, 3, 2] = 1
    figure = draw_captions([CaptionRow(np.full((3, 16, 16), 0.5), ["a", "bag"], weights)])
    for axes, (row, column) in zip(figure.axes[1:], ((0, 0), (3, 2)), strict=True):
        picture = axes.images[0].get_array().sum(-1)
        side = picture.shape[0] // 4
        means = picture.reshape(4, side, 4, side).mean((1, 3))
        assert np.unravel_index(means.argmax(), means.shape) == (row, column)


def test_right_and_wrong_captions_differ_in_color():
    figure = draw_captions([a_row("a bag", ["a bag"], "soft"), a_row("a bag", ["a boot", "shoes"])])
    said = texts(figure)
    assert said[0][0] == "soft:  "
    assert ("a bag", RIGHT) in said
    assert ("a bag", WRONG) in said
    assert any(text == "   correct: a boot" for text, _ in said)


def test_long_captions_take_several_lines_and_nothing_leaves_the_page():
    figure = draw_captions([a_row(" ".join(["word"] * (WORDS + 2))), a_row("a bag", ["some words " * 12])])
    assert len(figure.axes) == 1 + WORDS + 2 + 3
    box = figure.bbox
    for text in figure.texts:
        extent = text.get_window_extent()
        assert box.x0 <= extent.x0 < extent.x1 <= box.x1, text.get_text()
        assert box.y0 <= extent.y0 < extent.y1 <= box.y1, text.get_text()
    for axes in figure.axes:
        position = axes.get_position()
        assert 0 <= position.x0 < position.x1 <= 1
        assert 0 <= position.y0 < position.y1 <= 1


def test_it_is_saved(tmp_path):
    draw_captions([a_row("a bag")], tmp_path / "captions.png")
    assert (tmp_path / "captions.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_drawn_is_refused():
    row = a_row("a bag")
    with pytest.raises(DataError, match="no caption has a word"):
        draw_captions([row._replace(words=[], weights=np.zeros((0, 4, 4)))])
    with pytest.raises(ShapeError, match=r"weights of shape \(2, 4, 4\) for 1 words"):
        draw_captions([row._replace(words=["a"])])
