"""Accuracy against length: the lines, their intervals, the counts below."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from minattn.errors import DataError, MissingDependencyError
from minattn.viz import accuracy_by_length
from minattn.viz.lengths import wilson_interval

RESULTS = {
    "additive attention": [(3, 0.9, 100), (10, 0.8, 50), (5, 0.85, 1200)],
    "no attention": [(3, 0.9, 100), (5, 0.8, 1200), (10, 0.2, 50), (12, float("nan"), 0)],
}


def test_one_line_a_model_in_percent_sorted_by_length():
    axes, _ = accuracy_by_length(RESULTS, title="Words right").axes
    drawn = {line.get_label(): line.get_data() for line in axes.lines}
    assert set(drawn) == set(RESULTS)
    np.testing.assert_allclose(drawn["additive attention"], ([3, 5, 10], [90, 85, 80]))
    np.testing.assert_allclose(drawn["no attention"], ([3, 5, 10], [90, 80, 20]), err_msg="no words, no point")
    assert axes.get_ylabel() == "words right (%)"
    assert axes.get_title(loc="left") == "Words right"


def test_lines_differ_in_color_and_marker_and_carry_their_names():
    figure = accuracy_by_length(RESULTS)
    axes, _ = figure.axes
    first, second = axes.lines
    assert first.get_color() != second.get_color()
    assert first.get_marker() != second.get_marker()
    assert {text.get_text(): text.get_color() for text in axes.texts} == {
        line.get_label(): line.get_color() for line in axes.lines
    }
    figure.canvas.draw()
    upper, lower = (text.get_window_extent() for text in sorted(axes.texts, key=lambda text: text.get_text()))
    assert upper.y0 > lower.y1, "the name of the better line stands higher"
    assert max(upper.x1, lower.x1) <= figure.bbox.x1


def test_names_of_lines_with_the_same_end_do_not_overlap():
    figure = accuracy_by_length({name: [(3, 0.5, 10), (4, 0.6, 10)] for name in ("one", "two", "three", "four")})
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 4
    assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[:i])


def test_band_is_the_binomial_interval():
    axes, _ = accuracy_by_length({"model": [(3, 0.9, 100), (5, 0.5, 10)]}).axes
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    for length, right, count in ((3, 90, 100), (5, 5, 10)):
        interval = binomtest(right, count).proportion_ci(method="wilson")
        heights = corners[corners[:, 0] == length, 1]
        np.testing.assert_allclose([heights.min(), heights.max()], [100 * interval.low, 100 * interval.high], rtol=1e-5)


@given(st.integers(1, 10_000), st.data())
def test_interval_agrees_with_scipy(count, data):
    right = data.draw(st.integers(0, count))
    expected = binomtest(right, count).proportion_ci(method="wilson")
    low, high = wilson_interval(np.array([right / count]), np.array([count]))
    np.testing.assert_allclose([low[0], high[0]], [expected.low, expected.high], atol=1e-6)


def test_counts_stand_below():
    _, below = accuracy_by_length(RESULTS).axes
    assert {bar.get_x() + bar.get_width() / 2: bar.get_height() for bar in below.patches} == {3: 100, 5: 1200, 10: 50}
    assert [label.get_text() for label in below.get_yticklabels()] == ["1,200 words"]
    assert below.get_xlabel() == "word length (letters)"


def test_other_things_than_words():
    _, below = accuracy_by_length(RESULTS, length_label="sentence length (words)", counted="sentences").axes
    assert [label.get_text() for label in below.get_yticklabels()] == ["1,200 sentences"]
    assert below.get_xlabel() == "sentence length (words)"


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({}, "no model given"),
        ({"model": []}, "'model' has no length with a count above 0"),
        ({"model": [(3, 0.5, 0)]}, "'model' has no length with a count above 0"),
        ({"model": [(3, 0.5, 4), (3, 0.6, 4)]}, "two points of the same length"),
        ({"model": [(3, 85.0, 4)]}, "outside 0 to 1; pass fractions"),
        ({"model": [(3, float("nan"), 4)]}, "outside 0 to 1"),
        ({str(i): [(3, 0.5, 4)] for i in range(8)}, "8 models, but there are colors for 7"),
    ],
)
def test_wrong_results_are_refused(results, message):
    with pytest.raises(DataError, match=message):
        accuracy_by_length(results)


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'minattn\[train\]'"):
        accuracy_by_length(RESULTS)
