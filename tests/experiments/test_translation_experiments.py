"""The experiments on translation, with little text: the files they leave; they train nothing twice."""

import pytest
from small_g2p import write_words
from small_translation import PAIRS, aligned, write_pairs

from minattn import viz
from minattn.data import Splits
from minattn.tasks.files import read_json
from minattn.tasks.translate.source import ParallelSource

pytestmark = pytest.mark.usefixtures("no_run_figures")

LADDER, NETWORKS, START = "luong_ladder.py", "translation_models.py", "luong_start.py"
WORDS = ("--set", "symbols=words", "--set", "beam=1")


def rows_of(table):
    """The cells of a table's rows."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


def test_the_ladder_has_a_row_for_each_attention_and_a_spread_over_seeds(call, tmp_path, monkeypatch):
    parts = Splits(*(aligned(PAIRS[start::4]) for start in range(3)))
    monkeypatch.setattr(ParallelSource, "load", lambda *_: parts)
    small = [*WORDS, "--set", "hidden=8", "--set", "embedding=8", "--set", "epochs=1", "--set", "layers=1"]
    arguments = [LADDER, "--out", tmp_path / "ladder", *small]
    first = call(*arguments)
    table = (tmp_path / "ladder" / "ladder.md").read_text(encoding="utf-8")
    assert table in first
    rows = rows_of(table)
    assert [row[0] for row in rows[:4]] == ["none", "none, reversed", "global (location)", "global (location), feed"]
    assert len(rows) == 14
    assert rows[0][5] == "–"  # no attention, no alignment
    assert all(0 <= float(row[5]) <= 100 for row in rows[2:])
    second = call(*arguments, "--main", "--seeds", 2)
    assert second.count("to train for") == 4  # seed 2 of the main rows
    main = rows_of((tmp_path / "ladder" / "ladder_main.md").read_text(encoding="utf-8"))
    assert [row[0] for row in main][2] == "global (general), feed"
    assert all("±" in row[2] for row in main)


def test_the_ladder_of_pronunciations_has_their_scores(call, tmp_path):
    words = write_words(tmp_path)
    small = ["--set", "hidden=8", "--set", "embedding=8", "--set", "beam=1", "--train", words["train"], "--main"]
    table = call(LADDER, "--task", "g2p", "--out", tmp_path / "ladder", *small)
    assert "| perplexity | PER (%) | WER (%) | training (s) |" in table


def test_networks_are_compared_in_equal_time(call, tmp_path, monkeypatch):
    monkeypatch.setattr(viz, "save_figure", lambda _, path: path.touch())
    train = write_pairs(tmp_path)["train"]
    arguments = [NETWORKS, "--train", train, "--out", tmp_path / "out", "--seconds", 0.1, *WORDS]
    folder = tmp_path / "out"
    call(*arguments, "--only", "RNNencdec")
    alone = read_json(folder / "steps.json")
    assert list(alone) == ["RNNencdec"]
    first = call(*arguments)
    assert first.count("to train for") == 4  # the others
    table = (folder / "table.md").read_text(encoding="utf-8")
    assert table in first
    assert "nrefs:1|case:mixed" in table
    steps = read_json(folder / "steps.json")
    assert steps["RNNencdec"] == alone["RNNencdec"]
    assert [row[0] for row in rows_of(table)] == list(steps)
    assert [int(row[2]) for row in rows_of(table)] == list(steps.values())
    lengths = rows_of((folder / "lengths.md").read_text(encoding="utf-8"))
    assert [row[0] for row in lengths] == ["to 10"]
    kept = (folder / "Transformer.txt").read_text(encoding="utf-8").splitlines()
    assert len(kept) == sum(int(row[1]) for row in lengths)
    assert {"lengths.png", "alignments.png"} < {path.name for path in folder.iterdir()}
    again = call(*arguments, "--only", "RNNencdec", "--only", "Transformer", "--lengths", 2)
    assert "to train for" not in again
    assert [row[0] for row in rows_of(again)] == ["RNNencdec", "Transformer"]
    assert [row[0] for row in rows_of((folder / "lengths.md").read_text())] == ["to 2", "to 3"]


def test_attentions_are_compared_with_counting(call, tmp_path, monkeypatch):
    parts = Splits(*(aligned(PAIRS[start::4]) for start in range(3)))
    monkeypatch.setattr(ParallelSource, "load", lambda *_: parts)
    table = call(NETWORKS, "--out", tmp_path / "out", "--seconds", 0.02, "--attentions", *WORDS)
    rows = {row[0]: row for row in rows_of(table)}
    assert "Luong, local-m (general)" in rows
    assert float(rows["RNNsearch"][7]) <= 100
    assert float(rows["both"][3]) <= float(rows["IBM model 1"][3])  # some of its links


def test_starts_are_compared_by_their_first_steps(call, tmp_path):
    train = write_pairs(tmp_path)["train"]
    arguments = [
        START,
        "--train",
        train,
        "--out",
        tmp_path / "out",
        *WORDS,
        "--set",
        "hidden=8",
        "--set",
        "embedding=8",
    ]
    printed = call(*arguments, "--steps", 4)
    table = (tmp_path / "out" / "start.md").read_text(encoding="utf-8")
    assert table in printed
    rows = {row[0]: row[1:] for row in rows_of(table)}
    assert rows["RNNsearch"][1:] == ["–", "–"]
    deviations = {name: float(row[2]) for name, row in rows.items() if name != "RNNsearch"}
    assert deviations["both small"] < deviations["neither"]  # at the start already: the embeddings are a tenth
    assert all(0 < float(row[0]) < 10 for row in rows.values())


def test_a_network_that_is_none(refused, tmp_path):
    refused(NETWORKS, "--out", tmp_path / "out", "--only", "LSTM", says="none of these networks", folder=tmp_path)


@pytest.mark.parametrize("name", [LADDER, NETWORKS, START])
@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("--train", "none.tsv"), "there is no file"), (("--set", "foo=2"), "there is no setting 'foo'")],
)
def test_what_is_wrong_is_one_line(refused, tmp_path, name, arguments, says):
    refused(name, "--out", tmp_path / "out", *arguments, says=says, folder=tmp_path)
