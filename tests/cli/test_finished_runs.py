"""What can be done with a run that was trained: evaluate it, ask it for words, and try to resume it."""

import json
import os
import re
import sys
from pathlib import Path

import fakecupy
import numpy as np
import pytest
from small_g2p import SMALL, STEPS, lines, train_arguments

from minattn.tasks.files import read_json, write_json
from minattn.tasks.run_folder import CONFIG, REPORT
from minattn.training import BEST, LAST, LOG, load_checkpoint, save_checkpoint

RUN_FILES = ["alignments.png", BEST, "config.json", "curves.png", LAST, "log.jsonl", "report.json"]
SCORE = re.compile(r"PER (\d+\.\d\d) %, WER (\d+\.\d\d) % over (\d+) words \(beam (\d+)\)")


def test_a_run_leaves_its_seven_files(finished_run):
    assert sorted(path.name for path in finished_run.iterdir()) == RUN_FILES
    for picture in ("curves.png", "alignments.png"):
        assert (finished_run / picture).read_bytes().startswith(b"\x89PNG")
    assert len((finished_run / LOG).read_text().splitlines()) >= 2


def test_its_settings_say_what_it_was_asked_for(finished_run):
    stored = read_json(finished_run / CONFIG)
    assert stored["task"] == "g2p"
    config = stored["config"]
    assert {f"{key}={value}" for key, value in (config | config["network"]).items()} >= set(SMALL)
    assert stored["source"] == {name: str(finished_run.parent / f"{name}.tsv") for name in ("train", "dev", "test")}
    assert all(re.fullmatch("[0-9a-f]{64}", stored["data"][name]) for name in ("train", "dev", "test"))


# ---------------------------------------------------------------------------------------------- evaluate
def test_evaluate_gives_the_number_of_the_report(minattn, finished_run):
    result = minattn("evaluate", finished_run)
    report = read_json(finished_run / REPORT)["test"]
    assert (result.status, result.err) == (0, "")
    assert SCORE.fullmatch(result.out.strip()).groups() == (
        f"{report['per']:.2f}",
        f"{report['wer']:.2f}",
        str(report["words"]),
        str(report["beam"]),
    )


def test_evaluate_scores_another_file_with_another_beam(minattn, a_run):
    Path("two.tsv").write_text(lines(["abc", "dec"]))
    result = minattn("evaluate", a_run, "--test", "two.tsv", "--beam", 1)
    assert SCORE.fullmatch(result.out.strip()).groups()[2:] == ("2", "1")


def test_evaluate_needs_no_words_but_the_test_words(minattn, a_run):
    change_config(a_run, source={name: str(Path(f"{name}.tsv").absolute()) for name in ("train", "dev", "test")})
    Path("train.tsv").unlink()
    Path("dev.tsv").unlink()
    assert minattn("evaluate", a_run).status == 0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", ["other.tsv holds no words"]),
        ("abc A B C\n", ["other.tsv, line 1", "no tab"]),
        ("abz\tA B C\n", ["other.tsv: the word 'abz' has the letter 'z'"]),
        ("abc\tA B S\n", ["other.tsv: the word 'abc' has the phoneme 'S'"]),
    ],
)
def test_evaluate_refuses_other_files(refused, a_run, content, says):
    Path("other.tsv").write_text(content)
    refused("evaluate", a_run, "--test", "other.tsv", says=says, folder=a_run.parent)


def test_evaluate_refuses_test_words_that_have_changed(refused, a_run):
    stored = read_json(a_run / CONFIG)
    stored["source"]["test"] = str(Path("dev.tsv").absolute())
    write_json(a_run / CONFIG, stored)
    refused("evaluate", a_run, says=["changed since the run was started", "--test"], folder=a_run.parent)


# ---------------------------------------------------------------------------------------------- predict
def test_predict_prints_pronunciation_probability_and_alignment(minattn, finished_run):
    result = minattn("predict", finished_run, "Bad", "ace")
    assert (result.status, result.err) == (0, "")
    first, second = result.out.split("\nace  ")
    for said in (first, f"ace  {second}"):
        pronunciation, letters, *rows = said.splitlines()
        phonemes = re.fullmatch(r"\w+  (.+)  \(probability (?:0\.\d{3}|below 0\.001)\)", pronunciation)[1].split()
        assert "".join(letters.split()) == pronunciation.split()[0]
        assert [row.split()[0] for row in rows[: len(phonemes)]] == phonemes
    assert first.startswith("bad  ")
    assert "\x1b" not in result.out


def test_predict_draws_the_alignments(minattn, finished_run, tmp_path):
    for suffix, start in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        path = tmp_path / f"picture{suffix}"
        assert str(path) in minattn("predict", finished_run, "bad", "--plot", path).out
        assert path.read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("", "an empty word cannot be pronounced"),
        ("a1", "the word 'a1' has '1', which no training word has; hint: spell it with a b c d e"),
        ("cafe\u0301", "has 'f'"),
        ("dé", "has 'é'"),
        ("a b", "the word 'a b' has ' '"),
        ("İ", "has 'i'"),
    ],
)
def test_predict_refuses_words(refused, finished_run, word, says):
    refused("predict", finished_run, "bad", word, says=[says], folder=finished_run.parent)


def test_predict_without_words(refused, finished_run):
    refused("predict", finished_run, says=["Missing argument", "WORD"], folder=finished_run.parent)


@pytest.mark.parametrize(
    ("plot", "says"),
    [
        ("picture.gif", "its name must end in .png, .svg, .pdf"),
        ("picture", "its name must end in .png, .svg, .pdf"),
        ("nowhere/picture.png", "there is no folder nowhere; create it first"),
    ],
)
def test_a_plot_that_cannot_be_drawn_is_refused_before_the_work(refused, a_run, plot, says):
    result = refused("predict", a_run, "bad", "--plot", plot, says=[says], folder=a_run.parent)
    assert result.out == ""


def test_a_plot_without_matplotlib_is_refused_before_the_work(refused, a_run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    says = ["matplotlib", "pip install 'minattn[train]'"]
    result = refused("predict", a_run, "bad", "--plot", "p.png", says=says, folder=a_run.parent)
    assert result.out == ""


def test_a_disk_too_full_for_the_plot(refused, a_run, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    says = ["p.png", "No space left on device"]
    refused("predict", a_run, "bad", "--plot", "p.png", says=says, folder=a_run.parent)


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_beam_of_nothing_is_refused(refused, finished_run, command):
    refused(command, finished_run, *["bad"] * (command == "predict"), "--beam", 0, says=["--beam"], folder=finished_run)


def test_a_word_of_thousands_of_letters_is_refused(refused, finished_run):
    says = ["has 5000 letters, at most 200 expected; hint: divide the word"]
    refused("predict", finished_run, "b" * 5000, says=says, folder=finished_run)


# ---------------------------------------------------------------------------------------------- damaged runs
def change_config(run, **changes):
    stored = read_json(run / CONFIG)
    write_json(run / CONFIG, {**stored, **changes})


def change_setting(run, **changes):
    change_config(run, config={**read_json(run / CONFIG)["config"], **changes})


def change_network(run, **changes):
    change_setting(run, network={**read_json(run / CONFIG)["config"]["network"], **changes})


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def of_another_model(path):
    """Make `path` a checkpoint of a run with another seed: all shapes fit, but it is not this run's."""
    arrays, meta = load_checkpoint(path)
    save_checkpoint(path, arrays, {**meta, "config": {**meta["config"], "seed": 9}})


def no_checkpoint_at_all(path):
    path.write_bytes(b"not safetensors")


DAMAGED_CONFIG = [
    (lambda run: (run / CONFIG).unlink(), "is not a run's folder: it has no config.json"),
    (lambda run: cut(run / CONFIG), "config.json is damaged"),
    (lambda run: change_config(run, task="g2b"), "is a run of g2b, not of g2p"),
    (lambda run: change_config(run, format=1, minattn="0.0.1"), "was made by minattn 0.0.1, in format 1"),
    (lambda run: change_setting(run, attention=True), "it has 'attention', which is none of them"),
    (lambda run: change_network(run, hidden="6"), 'network.hidden is "6" and must be a whole number'),
    (lambda run: change_config(run, config={}), "there is no model 'None'; hint: one of rnnsearch, rnnencdec"),
]
DAMAGED_CHECKPOINTS = [(cut, "is cut off"), (no_checkpoint_at_all, "cannot be read"), (of_another_model, "another run")]
COMMANDS = {"train": ["train", "g2p", "--resume"], "evaluate": ["evaluate"], "predict": ["predict"]}


def command_on(run, command):
    return [*COMMANDS[command], run, *["bad"] * (command == "predict")]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("damage", "says"), DAMAGED_CONFIG)
def test_a_run_with_damaged_settings_is_refused(refused, a_run, command, damage, says):
    damage(a_run)
    says = says if command == "train" else says.replace("is a run of g2b, not of g2p", "there is no task 'g2b'")
    refused(*command_on(a_run, command), says=[says, "hint"], folder=a_run.parent)


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_run_is_refused(refused, words, tmp_path, command):
    for path, says in (("nowhere", "does not exist"), ("dev.tsv", "is a file"), (".", "it has no config.json")):
        refused(
            *command_on(path, command),
            says=[path, says, "hint: a folder that `minattn train ", "` made"],
            folder=tmp_path,
        )


@pytest.mark.parametrize("command", ["evaluate", "predict"])
@pytest.mark.parametrize(("damage", "says"), DAMAGED_CHECKPOINTS)
def test_a_run_with_a_damaged_best_model_is_refused(refused, a_run, command, damage, says):
    (a_run / REPORT).unlink()
    damage(a_run / BEST)
    refused(*command_on(a_run, command), says=[BEST, says, "hint"], folder=a_run.parent)


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_run_without_a_checkpoint_is_refused(refused, a_run, command):
    (a_run / BEST).unlink()
    (a_run / LAST).unlink()
    says = ["has no checkpoint", f"minattn train g2p --resume {a_run}"]
    refused(*command_on(a_run, command), says=says, folder=a_run.parent)


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_run_that_is_not_finished_says_so(minattn, a_run, command):
    (a_run / REPORT).unlink()
    result = minattn(*command_on(a_run, command))
    assert (result.status, result.err) == (0, "note: this run is not finished; this is its best model so far\n")
    (a_run / BEST).unlink()
    result = minattn(*command_on(a_run, command))
    assert result.status == 0
    assert "no model of it was evaluated yet" in result.err


# ---------------------------------------------------------------------------------------------- resume
def test_resuming_a_finished_run_says_that_it_is_finished(minattn, a_run):
    before = {path: path.read_bytes() for path in a_run.iterdir()}
    result = minattn("train", "g2p", "--resume", a_run)
    assert (result.status, result.err) == (0, "")
    assert f"{a_run} is finished" in result.out
    assert SCORE.search(result.out)
    assert {path: path.read_bytes() for path in a_run.iterdir()} == before


@pytest.mark.parametrize(
    "extra", [["--out", "x"], ["--seed", 1], ["--set", "epochs=3"], ["--train", "train.tsv"], ["--test", "test.tsv"]]
)
def test_resume_goes_with_no_other_choice(refused, a_run, extra):
    says = [f"{extra[0]} cannot be given", "as it was started"]
    refused("train", "g2p", "--resume", a_run, *extra, says=says, folder=a_run.parent)


@pytest.mark.parametrize(("damage", "says"), [*DAMAGED_CHECKPOINTS, (Path.unlink, "there is no checkpoint")])
def test_resume_refuses_a_checkpoint_that_is_not_the_runs(refused, unfinished, damage, says):
    damage(unfinished / LAST)
    refused("train", "g2p", "--resume", unfinished, says=[LAST, says, "hint"], folder=unfinished.parent)


@pytest.fixture
def unfinished(a_run):
    """A run that was trained but not scored, with its words beside it."""
    (a_run / REPORT).unlink()
    change_config(a_run, source={name: str(Path(f"{name}.tsv").absolute()) for name in ("train", "dev", "test")})
    return a_run


@pytest.mark.parametrize("name", ["train", "dev", "test"])
def test_resume_refuses_words_that_have_changed(refused, unfinished, name):
    with Path(f"{name}.tsv").open("a") as file:
        file.write(lines(["abab"]))
    says = [f"the {name} words of", "changed since the run was started", "hint"]
    refused("train", "g2p", "--resume", unfinished, says=says, folder=unfinished.parent)


def test_resume_refuses_words_that_are_gone(refused, unfinished):
    Path("dev.tsv").unlink()
    says = ["there is no file", "dev.tsv"]
    refused("train", "g2p", "--resume", unfinished, says=says, folder=unfinished.parent)


def test_resume_finishes_a_run_that_was_trained_but_not_scored(minattn, unfinished, finished_run):
    (unfinished / "curves.png").unlink()
    result = minattn("train", "g2p", "--resume", unfinished)
    assert (result.status, result.err) == (0, "")
    assert read_json(unfinished / REPORT)["test"] == read_json(finished_run / REPORT)["test"]
    assert sorted(path.name for path in unfinished.iterdir()) == RUN_FILES


def test_resume_begins_a_run_that_was_killed_before_its_first_checkpoint(minattn, unfinished, finished_run):
    for path in unfinished.iterdir():
        if path.name != CONFIG:
            path.unlink()
    (unfinished / LOG).touch()
    assert minattn("train", "g2p", "--resume", unfinished).status == 0
    arrays, _ = load_checkpoint(unfinished / LAST)
    expected, _ = load_checkpoint(finished_run / LAST)
    assert arrays.keys() == expected.keys()
    assert all(np.array_equal(arrays[name], expected[name]) for name in arrays)


def test_a_log_line_is_json(finished_run):
    records = [json.loads(line) for line in (finished_run / LOG).read_text().splitlines()]
    assert records[-1]["step"] == STEPS
    assert {"dev_loss", "dev_per", "dev_wer"} <= records[-1].keys()


# ---------------------------------------------------------------------------------------------- other runs
def test_a_run_without_attention(minattn, words):
    assert minattn(*train_arguments("run", "model=rnnencdec")).status == 0
    assert sorted(path.name for path in Path("run").iterdir()) == [n for n in RUN_FILES if n != "alignments.png"]
    result = minattn("predict", "run", "bad")
    assert re.fullmatch(r"bad  .+  \(probability .+\)\n", result.out)
    result = minattn("predict", "run", "bad", "--plot", "p.png")
    assert result.status == 1
    assert result.err == "error: this run's model has no attention to plot; hint: a run with another model\n"


def test_a_run_on_another_device(minattn, words, finished_run):
    """On a strict stand-in for CuPy, which computes with NumPy: the same run, to rounding."""
    with fakecupy.installed():
        result = minattn(*train_arguments("run"), "--device", "cuda")
        assert (result.status, result.err) == (0, "")
        assert minattn("evaluate", "run", "--device", "cuda:0").status == 0
    arrays, _ = load_checkpoint(Path("run") / LAST)
    expected, _ = load_checkpoint(finished_run / LAST)
    for name, array in arrays.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-2, atol=1e-3, err_msg=name)


def test_the_seed_decides(minattn, words, finished_run):
    assert minattn(*train_arguments("run", "epochs=1"), "--seed", 2).status == 0
    assert read_json(Path("run") / CONFIG)["config"]["seed"] == 2
    assert not np.array_equal(
        load_checkpoint(Path("run") / LAST)[0]["model/decoder.W_o"],
        load_checkpoint(finished_run / LAST)[0]["model/decoder.W_o"],
    )
