"""What can be done on the command line with a g2p run of the Transformer."""

import re
from pathlib import Path

import pytest
from small_g2p import SMALL_TRANSFORMER, train_arguments, write_words

from minattn.tasks.files import read_json
from minattn.tasks.run_folder import CONFIG, REPORT
from minattn.tasks.sequences.answers import ALIGNMENTS


@pytest.fixture(scope="module")
def transformer_run(finished):
    """A finished run of the Transformer; not to be written to."""
    return finished(write_words, lambda folder: train_arguments(folder, "alpha=0.5", small=SMALL_TRANSFORMER))


def test_it_keeps_its_settings_and_draws_where_it_looks(transformer_run):
    stored = read_json(transformer_run / CONFIG)["config"]
    settings = stored | stored["network"]
    assert {f"{key}={value}" for key, value in settings.items()} >= {*SMALL_TRANSFORMER, "alpha=0.5"}
    assert (transformer_run / ALIGNMENTS).read_bytes().startswith(b"\x89PNG")


def test_evaluate_gives_the_number_of_the_report(minattn, transformer_run):
    report = read_json(transformer_run / REPORT)["test"]
    result = minattn("evaluate", transformer_run)
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith(f"PER {report['per']:.2f} %, WER {report['wer']:.2f} % over {report['words']} words")


def test_predict_shows_and_draws_the_alignment(minattn, transformer_run, tmp_path):
    result = minattn("predict", transformer_run, "Bad", "--plot", tmp_path / "bad.png")
    assert (result.status, result.err) == (0, "")
    said = re.match(r"bad  (.+)  \(probability (?:0\.\d{3}|below 0\.001)\)\n +b +a +d\n", result.out)
    rows = result.out.splitlines()[2:]
    assert [row.split()[0] for row in rows[: len(said[1].split())]] == said[1].split()
    assert (tmp_path / "bad.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("setting", ["hidden=8", "readout=current"])
def test_settings_of_rnnsearch_are_refused(refused, words, tmp_path, setting):
    says = [f"there is no setting {setting.split('=')[0]!r}", "d_model", "heads", "epochs"]
    refused(*train_arguments("run", setting, small=SMALL_TRANSFORMER), says=says, folder=tmp_path)


def test_settings_of_the_transformer_are_refused_without_it(refused, words, tmp_path):
    refused(
        *train_arguments("run", "heads=2"), says=["no setting 'heads'; hint: threads, or another that"], folder=tmp_path
    )


def test_words_longer_than_the_learned_positions_are_refused_before_the_work(refused, words, tmp_path):
    with Path(words["train"]).open("a", encoding="utf-8") as file:
        file.write("a" * 65 + "\tA\n")
    says = ["the train words of", "has 65 letters, and this model learned 64 positions", "hint"]
    arguments = train_arguments(tmp_path / "run", "positions=learned", small=SMALL_TRANSFORMER)
    refused(*arguments, says=says, folder=tmp_path)
