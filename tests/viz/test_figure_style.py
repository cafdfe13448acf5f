"""The helpers that all figures share."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from minattn.viz import save_figure
from minattn.viz.style import axes_at, missing_glyphs, spread_apart, styled_figure, text_width

positions = st.lists(st.floats(-100, 100), max_size=8).map(sorted)


@given(positions, st.floats(0.01, 20))
def test_spread_positions_keep_their_order_and_distance(given_positions, gap):
    spread = spread_apart(given_positions, gap)
    assert len(spread) == len(given_positions)
    assert all(b - a >= gap - 1e-9 for a, b in pairwise(spread))


@given(positions)
def test_positions_that_are_apart_stay(given_positions):
    apart = [position + 10 * i for i, position in enumerate(given_positions)]
    assert all(abs(a - b) < 1e-9 for a, b in zip(spread_apart(apart, 9.5), apart, strict=True))


def test_a_crowd_is_centred_on_its_mean():
    assert spread_apart([1.0, 1.0, 1.0], 2.0) == [-1.0, 1.0, 3.0]
    assert spread_apart([0.0, 0.5, 10.0], 1.0) == [-0.25, 0.75, 10.0]


def test_measured_text_is_as_wide_as_drawn_text():
    with styled_figure(4.0, 1.0) as figure:
        text = figure.text(0, 0.5, "transformation")
    drawn = text.get_window_extent().width / figure.dpi
    assert abs(text_width("transformation") - drawn) < 0.03
    assert text_width("transformation", weight="bold") > text_width("transformation")


def test_characters_that_the_font_has_not_are_told_and_drawn_without_a_warning(tmp_path):
    text = "a漢 é字🎉\n漢"
    assert missing_glyphs(text) == "漢字🎉"
    assert missing_glyphs("kn\u00efght \u0259") == ""
    assert text_width("漢") > 0
    with styled_figure(4.0, 1.0) as figure:
        figure.text(0, 0.5, text)
    for suffix in (".png", ".svg", ".pdf"):
        save_figure(figure, tmp_path / f"boxes{suffix}")


def test_axes_stand_where_they_are_put_in_inches_from_the_top_left():
    with styled_figure(4.0, 3.0) as figure:
        axes = axes_at(figure, 1.0, 0.5, 2.0, 1.0)
    box = axes.get_window_extent()
    assert [round(value / figure.dpi, 6) for value in (box.x0, box.y0, box.x1, box.y1)] == [1, 1.5, 3, 2.5]
