"""The example of accuracy by word length, on a small lexicon: it leaves what it says, and trains nothing twice."""

import runpy
import sys
from pathlib import Path

import pytest
from small_g2p import write_words

EXAMPLE = Path(__file__).parents[2] / "examples" / "rnnsearch_length.py"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    words = write_words(tmp_path)

    def call(*arguments):
        small = ["--set", "hidden=8", "--set", "embedding=8", "--set", "alignment=8", "--set", "maxout=8"]
        train = ["--train", words["train"], "--out", str(tmp_path / "length"), "--epochs", "1"]
        monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *train, *small, *arguments])
        runpy.run_path(str(EXAMPLE), run_name="__main__")
        return capsys.readouterr().out

    return call


def test_it_leaves_a_table_and_a_figure_and_trains_once(run, tmp_path):
    first = run()
    folder = tmp_path / "length"
    table = (folder / "length.md").read_text(encoding="utf-8")
    assert table in first
    assert table.startswith("| letters | words | RNNencdec accuracy | RNNsearch accuracy | RNNencdec PER |")
    assert all(line.count("|") == 7 for line in table.splitlines())
    assert (folder / "length.png").stat().st_size > 1000
    assert "to train for" in first
    second = run()
    assert "to train for" not in second
    assert table in second


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("--train", "none.tsv"), "there is no file none.tsv"), (("--set", "foo=2"), "there is no setting 'foo'")],
)
def test_what_is_wrong_is_one_line(run, tmp_path, arguments, says):
    before = set(tmp_path.iterdir())
    with pytest.raises(SystemExit, match=f"^error: {says}"):
        run(*arguments)
    assert set(tmp_path.iterdir()) == before
