"""The experiment on accuracy by word length, with a small lexicon: the files it leaves; it trains nothing twice."""

import pytest
from small_g2p import write_words


@pytest.fixture
def run(call, tmp_path):
    words = write_words(tmp_path)
    train = ["--train", words["train"], "--out", tmp_path / "length", "--epochs", 1]
    small = ["--set", "hidden=8", "--set", "embedding=8", "--set", "alignment=8", "--set", "maxout=8"]
    return lambda *arguments: call("rnnsearch_length.py", *train, *small, *arguments)


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
