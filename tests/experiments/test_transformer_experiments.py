"""The experiments on the Transformer with a small lexicon: the files they leave; they train nothing twice."""

import json
import runpy
from pathlib import Path

import pytest
from small_g2p import SMALL_TRANSFORMER, WORDS, lines, write_words

from minattn.tasks import driver
from minattn.tasks.g2p.task import G2P, LexiconFiles
from minattn.tasks.run_folder import CURVES, REPORT
from minattn.training import Progress

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
KINDS = ("encoder", "decoder", "across")


# ---------------------------------------------------------------------------------------------- every head
@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of the Transformer and one of RNNencdec."""
    folder = tmp_path_factory.mktemp("runs")
    files = LexiconFiles(**write_words(folder))
    transformer = G2P().configure([*SMALL_TRANSFORMER, "epochs=2"])
    other = G2P().configure(["model=rnnencdec", "hidden=4", "embedding=4", "epochs=1"])
    with pytest.MonkeyPatch.context() as figures:
        figures.setattr(driver, "draw_figures", lambda *_: [])
        for name, config in (("transformer", transformer), ("other", other)):
            driver.start(G2P(), config, files, folder / name, make_progress=Progress)
    return folder


def test_every_head_is_drawn(runs, call, tmp_path):
    output = call("transformer_heads.py", runs / "transformer", "Bad", "--out", tmp_path / "heads")
    assert output.startswith("bad  ")
    names = {f"{kind}{layer}.png" for kind in KINDS for layer in ("", "-layer-1", "-layer-2")}
    assert {path.name for path in (tmp_path / "heads").iterdir()} == names
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (tmp_path / "heads").iterdir())


def test_the_weights_are_those_of_the_pronunciation(runs):
    """Row i across is the attention of phoneme i over the letters, of which predict shows the mean over the heads."""
    pronouncer = driver.load(runs / "transformer")
    example = runpy.run_path(str(EXPERIMENTS / "transformer_heads.py"))
    (prediction,) = pronouncer.pronounce(["deca"], beam=1)
    weights = example["attention_of"](pronouncer, prediction.word, prediction.phonemes)
    n, letters = len(prediction.phonemes), len(prediction.word)
    assert [weights[kind].shape for kind in KINDS] == [
        (2, 2, letters, letters),
        (2, 2, n + 1, n + 1),
        (2, 2, n + 1, letters),
    ]
    assert weights["across"][-1].mean(0)[:n] == pytest.approx(prediction.alignment, abs=1e-5)
    assert not weights["decoder"][:, :, 0, 1:].any()


@pytest.mark.parametrize(
    ("run", "word", "says"),
    [
        ("none", "bad", "none does not exist; hint"),
        ("other", "bad", "is a run of rnnencdec; hint: one of model=transformer"),
        ("transformer", "döß", "the word 'döß' has 'ö', which no training word has; hint"),
        ("transformer", "", "an empty word cannot be pronounced; hint"),
        ("transformer", "../../bad", "no folder can be called '../../bad'; hint: name one by --out"),
        ("transformer", "..", "no folder can be called '..'; hint"),
        ("transformer", "/bad", "no folder can be called '/bad'; hint"),
    ],
)
def test_what_has_no_heads_to_draw(runs, refused, run, word, says):
    refused("transformer_heads.py", runs / run, word, says=says, folder=runs)


def test_a_file_in_the_place_of_the_pictures(runs, refused, tmp_path):
    (tmp_path / "file").touch()
    says = "file is a file, not a folder; hint"
    refused("transformer_heads.py", runs / "transformer", "bad", "--out", tmp_path / "file", says=says, folder=tmp_path)


# ---------------------------------------------------------------------------------------------- Table 3
SMALL = ("--epochs", 1, "--set", "d_model=16", "--set", "d_ff=8", "--set", "layers=1", "--set", "batch_size=128")


def test_the_table_has_the_papers_numbers_beside_ours_and_trains_nothing_twice(call, tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "draw_figures", lambda *arguments: (arguments[-1] / CURVES).touch() or [])
    words, out = tmp_path / "all.tsv", tmp_path / "out"
    words.write_text(lines(WORDS), encoding="utf-8")
    arguments = ("transformer_table3.py", "--train", words, "--out", out, *SMALL)
    first = call(*arguments)
    assert first.count("to train for") == 5
    markdown = (out / "table3.md").read_text(encoding="utf-8")
    assert markdown in first
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in markdown.splitlines()[2:]]
    paper = [("5.29", "24.90"), ("5.00", "25.50"), ("4.92", "25.80"), ("4.91", "25.80"), ("4.92", "25.70")]
    assert [tuple(row[1:3]) for row in rows] == paper
    stored = json.loads((out / "table3.json").read_text())["rows"]
    networks = [row["settings"]["network"] for row in stored]
    assert [(network["heads"], network["positions"]) for network in networks] == [
        *((heads, "sinusoidal") for heads in (1, 4, 8, 16)),
        (8, "learned"),
    ]
    parameters = [row["parameters"] for row in stored]
    assert len(set(parameters[:4])) == 1  # as in the paper
    assert parameters[4] == parameters[0] + 2 * 64 * 16
    assert (out / "table3.png").stat().st_size > 1000

    (out / "A-4-heads" / REPORT).unlink()
    (out / "A-4-heads" / CURVES).unlink()
    assert call(*arguments).count("to train for") == 1
    assert (out / "A-4-heads" / CURVES).exists()
    with pytest.raises(SystemExit, match="A-1-head was trained with other settings or data; hint: another --out"):
        call(*arguments, "--set", "lr=0.1")


def test_fewer_words_are_words_of_the_lexicon_that_fit_together(tmp_path):
    train = [*WORDS, "a"]
    for name, words in (("train", train[5:]), ("dev", [*train[:3], "xx"]), ("test", train[3:5])):
        (tmp_path / f"{name}.tsv").write_text(lines(words), encoding="utf-8")
    files = LexiconFiles(*(str(tmp_path / f"{name}.tsv") for name in ("train", "dev", "test")))
    example = runpy.run_path(str(EXPERIMENTS / "transformer_table3.py"))
    fewer = example["fewer_words"](files, 100, tmp_path / "fewer").load()
    assert [len(fewer.train), list(fewer.dev), list(fewer.test)] == [100, train[:3], train[3:5]]
    assert set(fewer.train) < set(train)
    few = example["fewer_words"](files, 10, tmp_path / "few").load()
    assert (len(few.train), list(few.dev), list(few.test)) == (10, train[:1], train[3:4])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--train", "none.tsv"], "there is no file none.tsv"),
        (["--set", "foo=2"], "there is no setting 'foo'; hint: one of "),
        (["--set", "d_model=18"], "heads must divide d_model = 18"),
        (["--set", "heads=2"], "the rows differ in heads, so --set heads=2 cannot be given; hint"),
        (["--set", "positions=learned"], "the rows differ in positions, so --set positions=learned cannot be given"),
        (["--words", "0"], "--words must be at least 1, got 0"),
        (["--words", "-3"], "--words must be at least 1, got -3"),
        (["--words", "1"], "words are left beside 1 to train on; hint: more --words"),
        (["--epochs", "0"], "epochs must be at least 1, got 0"),
        (["--out", "words.tsv"], "words.tsv is a file, not a folder; hint"),
    ],
)
def test_what_the_table_cannot_be_made_of(refused, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    Path("words.tsv").write_text(lines(WORDS), encoding="utf-8")
    refused("transformer_table3.py", "--train", "words.tsv", "--out", "out", *arguments, says=says, folder=tmp_path)
