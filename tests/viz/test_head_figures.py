"""The pictures of heads show every weight they were given, where it belongs."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minattn.errors import ConfigError, MissingDependencyError, ShapeError
from minattn.viz import attention_heads, attention_lines
from minattn.viz.heads import FAINTEST, LINES_A_WORD, faintest_line, head_colors
from minattn.viz.style import INK, MUTED, PALETTE

QUERIES, KEYS = ["[CLS]", "it", "was", "tired"], ["[CLS]", "the", "animal", "was", "[SEP]"]


def softmax(*shape, seed=0):
    scores = np.exp(np.random.default_rng(seed).normal(scale=2, size=shape))
    return scores / scores.sum(-1, keepdims=True)


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def color_of(label):
    return label.get_color()


def texts(figure):
    return [text.get_text() for text in figure.texts]


# ---------------------------------------------------------------------------------------------- heat maps
def test_layers_go_down_and_heads_across():
    weights = softmax(2, 3, 4, 5)
    figure = attention_heads(weights, QUERIES, KEYS)
    *maps, _key = figure.axes
    assert len(maps) == 6
    boxes = [axes.get_window_extent() for axes in maps]
    for axes, box, (layer, head) in zip(maps, boxes, np.ndindex(2, 3), strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), weights[layer, head])
        assert axes.images[0].get_clim() == (0, 1)
        assert box.x0 == pytest.approx(boxes[head].x0)
        assert box.y0 == pytest.approx(boxes[3 * layer].y0)
        assert axes.yaxis_inverted(), "the first query is the top row"
    assert boxes[0].x1 < boxes[1].x0 < boxes[1].x1 < boxes[2].x0
    assert boxes[0].y0 > boxes[3].y1


def test_words_stand_at_the_border_only():
    figure = attention_heads(softmax(2, 3, 4, 5), QUERIES, KEYS)
    for axes, (layer, head) in zip(figure.axes, np.ndindex(2, 3), strict=False):
        assert labels(axes.xaxis) == (KEYS if layer == 0 else [])
        assert labels(axes.yaxis) == (QUERIES if head == 0 else [])
    assert texts(figure) == ["head 1", "layer 1", "head 2", "head 3", "layer 2"]


def test_words_that_are_none_are_paler():
    axes = attention_heads(softmax(1, 1, 4, 5), QUERIES, KEYS).axes[0]
    assert [color_of(label) for label in axes.get_xticklabels()] == [MUTED, INK, INK, INK, MUTED]
    assert [color_of(label) for label in axes.get_yticklabels()] == [MUTED, INK, INK, INK]


@pytest.mark.parametrize("length", [1, 5, 16, 17, 40, 100])
def test_labels_never_touch_and_maps_never_grow_without_bound(length):
    words = [f"word{i}" for i in range(length)]
    figure = attention_heads(softmax(1, 2, length, length), words, words)
    axes = figure.axes[0]
    box = axes.get_window_extent()
    assert max(box.width, box.height) < 2 * figure.dpi
    assert box.width == pytest.approx(box.height)
    shown, places = labels(axes.yaxis), [int(place) for place in axes.get_yticks()]
    assert shown == [words[place] for place in places]
    assert places == list(range(0, length, -(-length // 16)))
    extents = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert not any(one.overlaps(other) for i, one in enumerate(extents) for other in extents[:i])


def key_text(figure):
    return [text.get_text() for text in figure.axes[-1].texts]


@pytest.mark.parametrize("length", [64, 65])
def test_weights_of_long_texts_are_drawn_up_to_the_largest_to_a_word(length):
    words = ["[CLS]", *"a" * (length - 2), "[SEP]"]
    weights = np.full((1, 2, length, length), 0.1 / length)
    weights[0, :, :, 0] = 0.9
    weights[0, 0, 3, 5], weights[0, 1, 4, 6] = 0.02, 0.04
    figure = attention_heads(weights, words, words)
    limits = [axes.images[0].get_clim()[1] for axes in figure.axes[:-1]]
    if length == 64:
        assert limits == [1, 1]
        assert key_text(figure) == ["attention weight 0", "1"]
    else:
        assert limits == [0.02, 0.04]
        assert key_text(figure) == ["attention weight 0", "the map's largest to a word"]
    assert nothing_is_off_the_page(figure)


@pytest.mark.parametrize(("word", "weight"), [("[MASK]", 0.5), ("a", 0.0)])
def test_long_texts_without_words_or_weights_are_drawn_too(word, weight):
    words = [word] * 65
    figure = attention_heads(np.full((1, 1, 65, 65), weight), words, words)
    assert figure.axes[0].images[0].get_clim() == (0, weight or 1)


@pytest.mark.parametrize(("rows", "columns", "block"), [(128, 128, 1), (129, 40, 2), (200, 257, 3)])
def test_no_weight_of_a_very_long_text_is_lost(rows, columns, block):
    weights = np.random.default_rng(0).random((1, 1, rows, columns))
    figure = attention_heads(weights, ["a"] * rows, ["b"] * columns)
    axes = figure.axes[0]
    cells = axes.images[0].get_array()
    assert cells.shape == (-(-rows // block), -(-columns // block))
    for i, j in np.ndindex(cells.shape):
        assert cells[i, j] == weights[0, 0, block * i : block * (i + 1), block * j : block * (j + 1)].max()
    left, right, bottom, top = axes.images[0].get_extent()
    assert (left, right, bottom, top) == (0, block * cells.shape[1], block * cells.shape[0], 0)
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, columns), (rows, 0))
    assert (f"of {block} x {block}" in key_text(figure)[1]) == (block > 1)


def nothing_is_off_the_page(figure):
    figure.canvas.draw()
    page = figure.bbox
    boxes = [axes.get_tightbbox() for axes in figure.axes] + [text.get_window_extent() for text in figure.texts]
    return all(
        page.x0 <= box.x0 < box.x1 <= page.x1 and page.y0 <= box.y0 < box.y1 <= page.y1 for box in boxes if box.width
    )


@pytest.mark.parametrize("title", [None, "a title much longer than the picture is wide, and then some more of it"])
@pytest.mark.parametrize("words", [["a"], ["characteristics", "[SEP]", "."]])
def test_nothing_is_drawn_off_the_page_or_over_another(title, words):
    weights = softmax(2, 2, len(words), len(words))
    heads = attention_heads(weights, words, words, title)
    assert nothing_is_off_the_page(heads)
    drawn = [text.get_window_extent() for text in heads.texts] + [axes.get_tightbbox() for axes in heads.axes]
    overlaps = [(i, j) for i, one in enumerate(drawn) for j, other in enumerate(drawn[:i]) if one.overlaps(other)]
    assert not overlaps
    assert nothing_is_off_the_page(attention_lines(weights[0], words, words, title))


# ---------------------------------------------------------------------------------------------- lines
def lines_of(figure):
    """{(from, to, color): opacity} by the heights of the ends, and those in the order in which they are drawn."""
    (collection,) = figure.axes[0].collections
    ends = [tuple(round(y, 6) for _, y in line) for line in collection.get_segments()]
    return [(*end, tuple(color[:3]), color[3]) for end, color in zip(ends, collection.get_colors(), strict=True)]


def heights(figure, words, align):
    """The height of each word of a column."""
    column = [text for text in figure.axes[0].texts if text.get_ha() == align and text.get_va() == "center_baseline"]
    assert [text.get_text() for text in column] == list(words)
    return [round(text.get_position()[1], 6) for text in column]


@given(st.integers(1, 9), st.integers(0, 1000))
@settings(max_examples=10)
def test_each_weight_is_a_line_as_opaque_as_it_is_large(heads, seed):
    weights = softmax(heads, 4, 5, seed=seed)
    figure = attention_lines(weights, QUERIES, KEYS)
    left, right = heights(figure, QUERIES, "right"), heights(figure, KEYS, "left")
    assert left == sorted(left)
    assert right == sorted(right)
    colors = head_colors(heads)
    faintest = faintest_line(weights, KEYS)
    expected = {
        (left[i], right[j], colors[head]): weights[head, i, j]
        for head, i, j in np.ndindex(weights.shape)
        if weights[head, i, j] >= faintest
    }
    found = lines_of(figure)
    assert {tuple(line): opacity for *line, opacity in found} == pytest.approx(expected)
    to_words = [opacity for _, to, _, opacity in found if to not in (right[0], right[-1])]
    assert [opacity for *_, opacity in found[len(found) - len(to_words) :]] == sorted(to_words), "strongest last"


@pytest.mark.parametrize("length", [5, 24, 76])
def test_the_longer_the_text_and_the_more_heads_the_fewer_faint_lines(length):
    words = ["[CLS]", *(f"word{i}" for i in range(length - 2)), "[SEP]"]
    weights = np.random.default_rng(0).uniform(0, 0.3, (12, length, length))
    figure = attention_lines(weights, words, words, "title")
    right = heights(figure, words, "left")
    to_words = [opacity for _, to, _, opacity in lines_of(figure) if to not in (right[0], right[-1])]
    assert len(to_words) == LINES_A_WORD * length
    assert sorted(to_words) == sorted(np.sort(weights[:, :, 1:-1], axis=None)[-len(to_words) :])
    assert f"lines: weights of {min(to_words):.2f} and more" in [text.get_text() for text in figure.axes[0].texts]
    assert nothing_is_off_the_page(figure)


def test_of_few_lines_only_the_faintest_are_left_out():
    weights = np.array([[[0.049, 0.05, 0.9], [0.1, 0.2, 0.7]]])
    figure = attention_lines(weights, ["a", "b"], ["c", "d", "e"])
    assert sorted(opacity for *_, opacity in lines_of(figure)) == [0.05, 0.1, 0.2, 0.7, 0.9]
    assert not any("lines:" in text.get_text() for text in figure.axes[0].texts)
    assert faintest_line(weights, ["[CLS]"] * 3) == FAINTEST


def test_boxes_are_as_opaque_as_the_strongest_line_to_the_word():
    weights = softmax(3, 4, 5)
    figure = attention_lines(weights, QUERIES, KEYS, names=["7", "8", "9"])
    boxes = figure.axes[0].patches
    right = heights(figure, KEYS, "left")
    for box, (head, j) in zip(boxes, np.ndindex(3, 5), strict=True):
        assert box.get_facecolor() == pytest.approx((*head_colors(3)[head], weights[head, :, j].max()))
        assert box.get_y() + box.get_height() / 2 == pytest.approx(right[j])
    names = [text for text in figure.axes[0].texts if text.get_ha() == "center"]
    assert [name.get_text() for name in names] == ["7", "8", "9"]
    for head, name in enumerate(names):
        assert name.get_color() == head_colors(3)[head]
        box = boxes[5 * head]
        assert name.get_position()[0] == pytest.approx(box.get_x() + box.get_width() / 2)


@given(st.integers(1, 24))
def test_heads_have_different_colors_and_none_is_pale(count):
    colors = head_colors(count)
    assert len(set(colors)) == count
    for red, green, blue in colors:
        assert 0.299 * red + 0.587 * green + 0.114 * blue < 0.7
    if count <= len(PALETTE):
        assert ["#" + "".join(f"{round(255 * part):02x}" for part in color) for color in colors] == list(
            PALETTE[:count]
        )


# ---------------------------------------------------------------------------------------------- refused
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (softmax(3, 4, 5), r"attention_heads.*\(3, 4, 5\), expected \(layers, heads, queries, keys\)"),
        (np.zeros((0, 3, 4, 5)), r"\(0, 3, 4, 5\).*at least one head"),
        (softmax(1, 1, 5, 4), r"\(5, 4\).*\(4, 5\).*transpose"),
        (np.full((1, 1, 4, 5), np.nan), "20 of them not finite"),
        (np.full((1, 1, 4, 5), 2.0), "expected 0 to 1"),
    ],
)
def test_wrong_weights_are_refused(weights, message):
    with pytest.raises(ShapeError, match=message):
        attention_heads(weights, QUERIES, KEYS)
    if weights.size and weights.ndim == 4:
        with pytest.raises(ShapeError, match=message):
            attention_lines(weights[0], QUERIES, KEYS)
    with pytest.raises(ShapeError, match=r"attention_lines.*expected \(heads, queries, keys\)"):
        attention_lines(weights[None], QUERIES, KEYS)


def test_a_name_for_each_head():
    with pytest.raises(ConfigError, match="2 names for 3 heads"):
        attention_lines(softmax(3, 4, 5), QUERIES, KEYS, names=["1", "2"])


@pytest.mark.parametrize("draw", [attention_heads, attention_lines])
def test_without_matplotlib_the_error_says_what_to_install(monkeypatch, draw):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'minattn\[train\]'"):
        draw(softmax(1, 1, 4, 5), QUERIES, KEYS)
