"""What can be done on the command line with runs of translation, and what is refused before the work."""

import gzip
import re
import sys
from pathlib import Path

import pytest
from small_g2p import train_arguments as g2p_arguments
from small_g2p import write_words
from small_translation import PAIRS, SMALL, lines, train_arguments, write_pairs

from minattn.data.text import bible, parallel
from minattn.tasks.files import read_json
from minattn.tasks.run_folder import REPORT
from minattn.tasks.sequences.answers import ALIGNMENTS
from minattn.tasks.translate.translator import Translator

FILES = ("--train=train.tsv", "--dev=dev.tsv", "--test=test.tsv")


@pytest.fixture(scope="module")
def translation_run(finished):
    """A finished run of translation; not to be written to."""
    return finished(write_pairs, lambda folder: train_arguments(folder, "alpha=0.5", "epochs=12"))


@pytest.fixture(scope="module")
def run_without_attention(finished):
    """One of RNNencdec; not to be written to."""
    small = ("model=rnnencdec", "epochs=1", *(setting for setting in SMALL if not setting.startswith(("al", "ep"))))
    return finished(write_pairs, lambda folder: train_arguments(folder, small=small))


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    """Small parallel text in the folder that the test works in: paths by name."""
    monkeypatch.chdir(tmp_path)
    return write_pairs(tmp_path)


# ---------------------------------------------------------------------------------------------- finished runs
def test_it_says_what_it_reached_and_draws_where_it_looks(minattn, translation_run):
    report = read_json(translation_run / REPORT)
    assert (translation_run / ALIGNMENTS).read_bytes().startswith(b"\x89PNG")
    result = minattn("train", "translate", "--resume", translation_run)
    assert "is finished" in result.out
    for part in (
        f"BLEU {report['test']['bleu']:.2f}",
        "over 10 pairs (perplexity",
        "nrefs:1|case:mixed",
        "'A SENTENCE'",
    ):
        assert part in result.out


def test_evaluate_gives_the_number_of_the_report(minattn, translation_run):
    report = read_json(translation_run / REPORT)["test"]
    result = minattn("evaluate", translation_run)
    assert (result.status, result.err) == (0, "")
    numbers = f"chrF {report['chrf']:.2f}, BLEU {report['bleu']:.2f}, exact {report['exact']:.2f} % over 10 pairs ("
    assert result.out.startswith(numbers)
    other = minattn("evaluate", translation_run, "--test", translation_run.parent / "dev.tsv", "--beam=2", "--alpha=0")
    assert "beam 2" in other.out


def test_predict_shows_and_draws_translations(minattn, translation_run, tmp_path):
    result = minattn("predict", translation_run, "dos tres uno", "seis", "--plot", tmp_path / "a.png")
    assert (result.status, result.err) == (0, "")
    translation = re.match(r"(.+)  \(probability (?:0\.\d{3}|below 0\.001)\)\n +dos +tres +uno\n", result.out)
    rows = result.out.splitlines()[2:]
    assert [row.split()[0] for row in rows[: len(translation[1].split())]] == translation[1].split()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_without_attention_there_is_nothing_to_plot(minattn, refused, run_without_attention, tmp_path):
    assert minattn("predict", run_without_attention, "dos").status == 0
    assert not (run_without_attention / ALIGNMENTS).exists()
    says = ["has no attention to plot; hint"]
    refused("predict", run_without_attention, "dos", "--plot", tmp_path / "a.png", says=says, folder=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nada"], ["the sentence 'nada' has nothing that", "hint"]),
        ([" "], ["the sentence ' ' is empty", "hint"]),
        (["dos " * 1001], ["has 1,001 words, at most 1,000 expected", "hint"]),
        (["dos", "--alpha=-1"], ["--alpha must be from 0 to 100, got -1.0"]),
        (["dos", "--plot=a.txt"], ["a.txt", ".png"]),
    ],
)
def test_predictions_that_are_refused(refused, translation_run, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    refused("predict", translation_run, *arguments, says=says, folder=tmp_path)


def test_a_run_of_another_task(refused, finished):
    run = finished(write_words, lambda folder: g2p_arguments(folder, "epochs=1"))
    refused("train", "translate", "--resume", run, says=["is a run of g2p, not of translate"], folder=run)


# ---------------------------------------------------------------------------------------------- refused before the work
@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", ["bad.tsv holds no pairs", "SOURCE<TAB>TARGET"]),
        ("dos\tdeux\n\ntres\ttrois\n", ["bad.tsv, line 2, is empty", "hint"]),
        ("dos\tdeux\ttwo\n", ["bad.tsv, line 1, has 2 tabs", "'dos\\tdeux\\ttwo'", "hint"]),
        ("dos deux\n", ["bad.tsv, line 1, has no tabs", "hint"]),
        ("dos\t\n", ["bad.tsv, line 1, has no target", "hint"]),
        ("\tdeux\n", ["bad.tsv, line 1, has no source", "hint"]),
        ("dos\tdeux\n".encode("utf-16"), ["bad.tsv, line 1, is no UTF-8 text", "iconv -f UTF-16"]),
        (b"ma\xf1ana\tdemain\n", ["bad.tsv, line 1, is no UTF-8 text", "iconv -f ISO-8859-1"]),
        (b"\x1f\x8b cut", ["bad.tsv is damaged or cut off", "hint"]),
    ],
)
@pytest.mark.parametrize("which", ["train", "dev", "test"])
def test_files_that_cannot_be_used(refused, pairs, tmp_path, which, content, says):
    Path("bad.tsv").write_bytes(content if isinstance(content, bytes) else content.encode())
    files = [f"--{name}={'bad' if name == which else name}.tsv" for name in pairs]
    refused("train", "translate", "--out=run", *files, says=says, folder=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--train=a,b,c"], ["'a,b,c' names no parallel text", "hint"]),
        (["--train=none.tsv"], ["there is no file", "none.tsv", "hint"]),
        (["--train=long.a,long.b"], ["long.a has 2 lines and", "long.b has 1", "hint"]),
        (["--train=train.tsv", "--data=dates"], ["--data dates and --train train.tsv", "hint: give one"]),
        (["--data=bibel"], ["there is no data set or folder 'bibel'; hint: bible, or a folder"]),
        (["--data=train.tsv"], ["train.tsv is no folder; hint: --train "]),
        (["--data=empty"], ["empty has no sentences aligned by hand", "hint"]),
        (["--dev=dev.tsv", "--test=test.tsv"], ["--dev and --test go with --train", "dates"]),
        (["--train=few.tsv"], ["4 pairs are too few to be divided", "hint"]),
        ([*FILES, "--set=symbols=syllables"], ["symbols must be one of characters, words, bpe"]),
        ([*FILES, "--set=vocabulary=5"], ["5 pieces were asked for", "hint"]),
        ([*FILES, "--set=max_symbols=1", "--set=symbols=words"], ["no pair has at most 1 words", "larger max_symbols"]),
        ([*FILES, "--set=joint=false", "--model=transformer", "--set=tied=all"], ['tied="all" needs one vocabulary']),
        ([*FILES, "--model=luong", "--set=attention=none"], ["no vector to feed; hint"]),
    ],
)
def test_arguments_that_do_not_fit(refused, pairs, tmp_path, arguments, says):
    Path("long.a").write_text("dos\ntres\n")
    Path("long.b").write_text("deux\n")
    Path("few.tsv").write_text(lines(PAIRS[:4]))
    Path("empty").mkdir()
    refused("train", "translate", "--out=run", *arguments, says=says, folder=tmp_path)


def test_text_that_is_too_large_for_memory(refused, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "MOST_BYTES", 500)
    size = Path(pairs["train"]).stat().st_size
    says = [f"has {size:,} bytes", "at most 500", "hint"]
    refused("train", "translate", "--out=run", *FILES, says=says, folder=tmp_path)
    Path("train.tsv").write_bytes(gzip.compress(Path("train.tsv").read_bytes()))
    refused("train", "translate", "--out=run", *FILES, says=["more than 500 bytes"], folder=tmp_path)


def test_a_sentence_longer_than_the_limit(refused, pairs, tmp_path):
    with Path("test.tsv").open("a") as file:
        file.write("dos " * 1001 + "\tdeux\n")
    says = ["the test pairs of", "test.tsv: the sentence", "has 1,001 words, at most 1,000 expected", "hint"]
    refused(*train_arguments("run"), says=says, folder=tmp_path)


def test_a_bible_that_is_not_installed_names_its_packages(refused, pairs, tmp_path, monkeypatch):
    monkeypatch.setenv(bible.VARIABLE, str(tmp_path / "nowhere"))
    says = ["nowhere", "hint: apt install sword-text-kjv"]
    refused("train", "translate", "--out=run", "--data=bible", says=says, folder=tmp_path)


@pytest.mark.parametrize(
    ("library", "arguments"), [("babel", []), ("tokenizers", FILES), ("sacrebleu", [*FILES, "--set=symbols=words"])]
)
def test_a_library_of_the_extra_that_is_missing(refused, pairs, tmp_path, monkeypatch, library, arguments):
    monkeypatch.setitem(sys.modules, library, None)
    says = [library, "not installed: pip install 'minattn[translate]'"]
    refused("train", "translate", "--out=run", *arguments, says=says, folder=tmp_path)


def test_stopped_by_ctrl_c_it_goes_on(minattn, pairs, tmp_path, monkeypatch):
    loss, calls = Translator.loss, iter(range(100))

    def stop(self, *arguments):
        if next(calls) == 5:
            raise KeyboardInterrupt
        return loss(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Translator, "loss", stop)
        assert minattn(*train_arguments("run")).status == 130
    result = minattn("train", "translate", "--resume", "run")
    assert result.status == 0
    assert "BLEU" in result.out
