"""The heat map of attention weights shows the labels it was given and grays that are the weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minattn.errors import ConfigError, MinattnError, MissingDependencyError, ShapeError
from minattn.viz import Alignment, alignment_figure, alignment_grid

KNIGHT = np.array([[0.3, 0.6, 0.1, 0, 0, 0], [0, 0.05, 0.6, 0.3, 0.05, 0], [0, 0, 0, 0, 0.1, 0.9]], dtype=np.float32)
WORD, PHONEMES = "knight", ["N", "AY", "T"]


def heat_maps(figure):
    """The axes of the panels; the last axes are the key."""
    return figure.axes[:-1]


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def shown(axes):
    return np.asarray(axes.collections[0].get_array())


def gray_at(figure, axes, column, row):
    """The red, green and blue, 0 to 1, of the pixel in the middle of a cell."""
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())
    x, y = axes.transData.transform((column + 0.5, row + 0.5))
    return pixels[pixels.shape[0] - 1 - int(y), int(x), :3] / 255


def test_source_stands_on_top_and_one_row_for_each_output():
    (axes,) = heat_maps(alignment_figure(KNIGHT, WORD, PHONEMES))
    assert labels(axes.xaxis) == list("knight")
    assert labels(axes.yaxis) == PHONEMES
    assert axes.xaxis.get_ticks_position() == "top"
    first, last = (axes.transData.transform((0.5, row + 0.5))[1] for row in (0, 2))
    assert first > last, "the first phoneme is the top row"


def test_values_are_shown_as_given_from_black_to_white():
    (axes,) = heat_maps(alignment_figure(KNIGHT, WORD, PHONEMES))
    np.testing.assert_array_equal(shown(axes), KNIGHT)
    assert axes.collections[0].get_clim() == (0, 1)


def test_each_pixel_is_the_gray_of_its_weight():
    figure = alignment_figure(KNIGHT, WORD, PHONEMES)
    (axes,) = heat_maps(figure)
    for row, column in np.ndindex(KNIGHT.shape):
        np.testing.assert_allclose(gray_at(figure, axes, column, row), KNIGHT[row, column], atol=1 / 128)


@given(st.data())
@settings(max_examples=8, deadline=None)
def test_cells_are_square_and_equal_in_every_panel(data):
    shapes = data.draw(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=4))
    examples = [
        (data.draw(arrays(np.float32, shape, elements=st.floats(0, 1, width=32))), "x" * shape[1], ["AH"] * shape[0])
        for shape in shapes
    ]
    figure = alignment_grid(examples, columns=data.draw(st.integers(1, 3)))
    for axes, (rows, columns) in zip(heat_maps(figure), shapes, strict=True):
        box = axes.get_window_extent()
        np.testing.assert_allclose([box.width / columns, box.height / rows], 24, rtol=1e-6)


def test_title_and_probability():
    (axes,) = heat_maps(alignment_figure(KNIGHT, WORD, PHONEMES, title="costs $5 or $6", probability=0.931))
    assert "costs $5 or $6" in texts(axes)
    assert "p = 0.93" in texts(axes)
    (axes,) = heat_maps(alignment_figure(KNIGHT, WORD, PHONEMES, probability=0.002))
    assert "p < 0.01" in texts(axes)
    (axes,) = heat_maps(alignment_figure(KNIGHT, WORD, PHONEMES))
    assert not any(texts(axes))


def test_key_says_what_the_grays_mean():
    key = alignment_figure(KNIGHT, WORD, PHONEMES).axes[-1]
    assert texts(key) == ["attention weight 0", "1"]
    assert shown(key)[0, 0] == 0
    assert shown(key)[0, -1] == 1


def test_only_the_long_symbol_among_letters_is_turned_but_every_word_among_words():
    (axes,) = heat_maps(alignment_figure(np.eye(3), ["a", "b", "<eos>"], PHONEMES))
    assert [label.get_rotation() for label in axes.get_xticklabels()] == [0, 0, 90]
    (axes,) = heat_maps(alignment_figure(np.eye(3), ["was", "signed", "in"], PHONEMES))
    assert [label.get_rotation() for label in axes.get_xticklabels()] == [90, 90, 90]


def test_nothing_is_drawn_off_the_page():
    words = ["The", "agreement", "on", "the", "European", "Economic", "Area"]
    example = Alignment(np.eye(7), words, ["characteristics"] * 7, "a long title " * 5, 0.5)
    figure = alignment_grid([example, (KNIGHT, WORD, PHONEMES), (KNIGHT, WORD, PHONEMES, "knight")], columns=2)
    figure.canvas.draw()
    page = figure.bbox
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert page.x0 <= box.x0 < box.x1 <= page.x1
        assert page.y0 <= box.y0 < box.y1 <= page.y1


def test_panels_of_a_grid_do_not_overlap():
    examples = [(KNIGHT, WORD, PHONEMES, "a title much wider than its panel", 0.5)] * 5
    figure = alignment_grid(examples, columns=2)
    figure.canvas.draw()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_grid_is_in_reading_order():
    figure = alignment_grid([(np.eye(2), "ab", ["A", "B"], str(i)) for i in range(5)], columns=2)
    boxes = [axes.get_position() for axes in heat_maps(figure)]
    assert [texts(axes)[0] for axes in heat_maps(figure)] == list("01234")
    assert boxes[0].y0 == boxes[1].y0 > boxes[2].y0 == boxes[3].y0 > boxes[4].y0
    assert boxes[0].x0 == boxes[2].x0 == boxes[4].x0 < boxes[1].x0 == boxes[3].x0


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (KNIGHT[:2], r"\(2, 6\).*\(3, 6\).*3 target and 6 source"),
        (KNIGHT.T, r"\(6, 3\).*\(3, 6\).*transpose"),
        (KNIGHT[None], r"\(1, 3, 6\).*\(3, 6\)"),
        (np.where(KNIGHT > 0.8, np.nan, KNIGHT), r"\(3, 6\).*1 of them not finite"),
        (np.where(KNIGHT == 0, -np.inf, KNIGHT), "9 of them not finite"),
        (7 * KNIGHT, "0 to 6.3, expected 0 to 1"),
        (KNIGHT - 1, "-1 to -0.1, expected 0 to 1"),
        (KNIGHT.astype(str), "expected real numbers"),
        (KNIGHT.astype(complex), "expected real numbers"),
    ],
)
def test_wrong_weights_are_refused(weights, message):
    with pytest.raises(ShapeError, match=message):
        alignment_figure(weights, WORD, PHONEMES)


def test_nothing_to_draw_is_refused():
    with pytest.raises(ShapeError, match="nothing to draw"):
        alignment_figure(np.zeros((0, 6)), WORD, [])
    with pytest.raises(ConfigError, match="no example"):
        alignment_grid([])


def test_wrong_settings_are_refused():
    with pytest.raises(ConfigError, match="columns = 0"):
        alignment_grid([(KNIGHT, WORD, PHONEMES)], columns=0)
    for probability in (93.0, -0.1, float("nan")):
        with pytest.raises(ConfigError, match="probability"):
            alignment_figure(KNIGHT, WORD, PHONEMES, probability=probability)


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'minattn\[train\]'") as caught:
        alignment_figure(KNIGHT, WORD, PHONEMES)
    assert isinstance(caught.value, MinattnError)
