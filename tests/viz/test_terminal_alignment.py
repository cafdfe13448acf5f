"""The heat map in a terminal: right cells with color and without, and never wider than the console."""

import io
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from minattn.errors import MissingDependencyError, ShapeError
from minattn.viz import terminal_alignment

WEIGHTS = np.array([[1, 0, 0], [0.25, 0.5, 0.25], [0, 0.25, 0.75]])


def printed(picture, width=80, **options):
    console = Console(file=io.StringIO(), width=width, **options)
    console.print(picture)
    return console.file.getvalue()


def backgrounds(picture, width=80):
    """For each line, the gray level behind each character, None where there is no color."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system="truecolor", no_color=False)
    return [
        [
            segment.style.bgcolor.get_truecolor() if segment.style and segment.style.bgcolor else None
            for segment in line
            for _ in segment.text
        ]
        for line in console.render_lines(picture, pad=False)
    ]


def test_piped_text():
    text = printed(terminal_alignment(WEIGHTS, "age", ["EY", "JH", "T"]))
    assert text == ("    a  g  e\nEY ███ ·  · \nJH ░░░▒▒▒░░░\n T  · ░░░▓▓▓\n\n   attention weight 0 ·░▒▓█ 1\n")


def test_no_color_gives_characters_and_no_color_codes(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    picture = terminal_alignment(WEIGHTS, "age", ["EY", "JH", "T"])
    in_terminal = printed(picture, force_terminal=True, color_system="truecolor")
    assert in_terminal == printed(picture)
    assert "\x1b[48" not in in_terminal
    assert "█" in in_terminal


def test_ascii_terminal():
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Console(file=file, width=80).print(terminal_alignment(WEIGHTS, "age", ["EY", "JH", "T"]))
    file.seek(0)
    text = file.read()
    assert text.isascii()
    assert "EY @@@ .  . \n" in text


def test_colors_are_grays_of_the_weights():
    lines = backgrounds(terminal_alignment(WEIGHTS, "age", ["EY", "JH", "T"]))
    assert lines[0] == [None] * len(lines[0]), "the letters have no background"
    for line, row in zip(lines[1:4], WEIGHTS, strict=True):
        assert line[:3] == [None] * 3
        for column, weight in enumerate(row):
            cell = line[3 + 3 * column : 6 + 3 * column]
            assert len(set(cell)) == 1
            red, green, blue = cell[0]
            assert red == green == blue
            assert red == pytest.approx(24 + 231 * weight, abs=0.5)


def test_color_mode_needs_no_density_characters(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = printed(terminal_alignment(WEIGHTS, "age", ["EY", "JH", "T"]), force_terminal=True, color_system="truecolor")
    assert "\x1b[48;2;255;255;255m" in text
    assert not set(text) & set("·░▒▓█")


@pytest.mark.parametrize(("letters", "cell"), [(24, 3), (38, 2), (76, 1)])
def test_cells_shrink_so_that_a_word_stays_whole_in_80_columns(letters, cell):
    word = ("abcdefghijklmnopqrstuvwxyz" * 3)[:letters]
    lines = printed(terminal_alignment(np.eye(letters), word, ["AH"] * letters)).splitlines()
    assert lines[0].split() == (list(word) if cell > 1 else [word])
    assert lines[1].startswith("AH " + "█" * cell)
    assert len(lines) == letters + 3
    assert max(map(len, lines)) <= 80


def test_what_does_not_fit_goes_on_below():
    word = "ab" * 50
    lines = printed(terminal_alignment(np.ones((1, 100)), word, ["AH"])).splitlines()
    assert [lines[0].strip(), lines[3].strip()] == [word[:77], word[77:]]
    assert lines[1].count("█") == 77
    assert lines[4].count("█") == 23


words = st.text(st.characters(categories=["L"]), min_size=1, max_size=8)


@given(st.lists(words, min_size=1, max_size=30), st.lists(words, min_size=1, max_size=4), st.integers(40, 120))
@settings(max_examples=60, deadline=None)
def test_every_label_is_there_and_no_line_is_wider_than_the_console(source, target, width):
    picture = terminal_alignment(np.full((len(target), len(source)), 0.5), source, target)
    lines = printed(picture, width).splitlines()
    assert max(map(cell_len, lines)) <= width
    text = "".join(lines)
    assert all(label in text for label in source + target)
    for line in backgrounds(picture, width):
        assert len(line) <= width


def test_special_symbols_keep_their_columns():
    text = printed(terminal_alignment(np.eye(3), ["a", "<eos>", "b"], ["A", "<eos>", "B"]))
    assert text.splitlines()[:4] == [
        "       a <eos>  b",
        "    A ███  ·    · ",
        "<eos>  · ██████ · ",
        "    B  ·   ·   ███",
    ]


def test_wrong_weights_are_refused():
    with pytest.raises(ShapeError, match=r"\(3, 3\).*\(3, 4\)"):
        terminal_alignment(WEIGHTS, "ages", ["EY", "JH", "T"])
    with pytest.raises(ShapeError, match="not finite"):
        terminal_alignment(WEIGHTS * np.nan, "age", ["EY", "JH", "T"])


def test_without_rich_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'minattn\[train\]'"):
        terminal_alignment(WEIGHTS, "age", ["EY", "JH", "T"])
