"""`minattn train lm` and `minattn generate`, from a text file to what the model writes."""

import json
import re
from pathlib import Path

import fakecupy
import pytest
from small_language import train_arguments, write_text

from minattn.data import Splits
from minattn.tasks.files import read_json
from minattn.tasks.lm import task as lm
from minattn.tasks.run_folder import CONFIG, REPORT

RUN_FILES = ["best.safetensors", "config.json", "curves.png", "last.safetensors", "log.jsonl", "report.json"]


@pytest.fixture(scope="module")
def language_run(finished):
    """A finished run; not to be written to."""
    return finished(write_text, train_arguments)


@pytest.fixture
def text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_text(tmp_path)


def test_a_run_from_its_start_to_a_text_of_its_own(minattn, text):
    result = minattn(*train_arguments("run"))
    assert (result.status, result.err) == (0, "")
    assert sorted(path.name for path in Path("run").iterdir()) == [*RUN_FILES, "samples.txt"]
    report = read_json(Path("run", REPORT))
    characters = report["test"]["characters"]
    score = f"{report['test']['bits_per_character']:.3f} bits per character over {characters} characters"
    assert f"test:       {score}\n" in result.out
    assert f"lzma after train {report['baselines']['lzma_after_train']:.2f}" in result.out
    assert result.out.endswith("now try:    minattn generate run\n")
    assert minattn("evaluate", "run").out == f"{score}\n"
    Path("other.txt").write_text("a dog eats")
    assert minattn("evaluate", "run", "--test", "other.txt").out.endswith(" over 9 characters\n")
    samples = [line for line in Path("run", "samples.txt").read_text().splitlines() if line.startswith("    ")]
    assert all(sample in result.out for sample in samples)
    written = minattn("generate", "run", "--length", "20")
    assert (written.status, written.err) == (0, "")


def test_generate_writes_on_from_the_prompt_by_its_options(minattn, language_run):
    def written(*options):
        result = minattn("generate", language_run, "a dog", "--length", 30, *options)
        assert (result.status, result.err) == (0, "")
        assert result.out.startswith("a dog")
        assert len(result.out) == len("a dog") + 30 + 1
        return result.out

    assert written() == written()
    assert written("--seed", 2) != written("--seed", 3)
    assert written("--top-k", 1, "--seed", 2) == written("--top-k", 1, "--seed", 3)
    assert written("--temperature", 0.001, "--seed", 2) == written("--top-k", 1)


def test_without_a_prompt_it_goes_on_from_that_of_its_samples(minattn, language_run):
    written = minattn("generate", language_run, "--length", 0).out
    prompt = re.search(r"    (.*)", (language_run / "samples.txt").read_text())[1]
    assert written.rstrip("\n")
    assert prompt.startswith(written.rstrip("\n"))


def test_on_a_gpu(minattn, text):
    with fakecupy.installed():
        assert minattn(*train_arguments("run"), "--device", "cuda").status == 0
        result = minattn("generate", "run", "a", "--length", 12, "--device", "cuda")
        assert (result.status, len(result.out)) == (0, 14)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a bug {€}"], ["does not know", "'b'", "'{'", "'€'", "hint"]),
        ([""], ["nothing to go on from", "a prompt"]),
        (["a", "--temperature", "0"], ["temperature must be a number above 0, 1e30 at most, got 0.0"]),
        (["a", "--temperature", "-1"], ["temperature must be a number above 0, 1e30 at most, got -1.0"]),
        (["a", "--temperature", "nan"], ["temperature must be a number above 0, 1e30 at most, got nan"]),
        (["a", "--top-k", "0"], ["--top-k"]),
        (["a", "--length", "-1"], ["--length"]),
        (["a", "--seed", "-1"], ["--seed"]),
        (["a", "--device", "tpu"], ["unknown device 'tpu'"]),
    ],
)
def test_what_cannot_be_written(refused, language_run, arguments, says):
    refused("generate", language_run, *arguments, says=says, folder=language_run)


def test_a_folder_that_is_no_language_run(refused, finished_run, tmp_path):
    says = ["is a run of g2p; hint: minattn predict "]
    refused("generate", finished_run, "a", says=says, folder=finished_run)
    refused("generate", tmp_path / "none", "a", says=["does not exist", "minattn train TASK"], folder=tmp_path)


def test_a_language_run_is_no_pronouncer(refused, language_run):
    says = ["is a run of lm; hint: minattn generate "]
    refused("predict", language_run, "dog", says=says, folder=language_run)
    says = ["is a run of lm, not of g2p"]
    refused("train", "g2p", "--resume", language_run, says=says, folder=language_run)


def test_a_run_that_is_not_finished_writes_and_says_so(minattn, text):
    assert minattn(*train_arguments("run")).status == 0
    Path("run", REPORT).unlink()
    result = minattn("generate", "run", "a", "--length", "3")
    assert (result.status, result.err) == (0, "note: this run is not finished; this is its best model so far\n")


def test_a_finished_run_has_nothing_to_go_on_with(minattn, language_run):
    result = minattn("train", "lm", "--resume", language_run)
    assert result.status == 0
    assert "is finished" in result.out
    assert result.out.endswith("to train longer:  minattn train lm --out ANOTHER_FOLDER --set steps=N\n")


def test_ctrl_c_says_how_to_go_on_and_it_does(minattn, text, monkeypatch):
    monkeypatch.setattr(lm, "add_sample", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    result = minattn(*train_arguments("run"))
    assert result.status == 130
    assert result.out.endswith("To resume:\n  minattn train lm --resume run\n")
    monkeypatch.undo()
    monkeypatch.chdir(Path(text).parent)
    assert minattn("train", "lm", "--resume", "run").status == 0
    assert read_json(Path("run", REPORT))["training"]["steps"] == 10


# ---------------------------------------------------------------------------------------------- refused training
OUT = ("--out", "deep/run", "--train=text.txt")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([*OUT, "--model", "lstm"], ["there is no model 'lstm'; hint: one of transformer, memory"]),
        ([*OUT, "--model", "memory", "--set", "heads=5"], ["no setting 'heads'", "hint"]),
        ([*OUT, "--data", "text.txt"], ["No such option: --data"]),
        ([*OUT, "--set", "epochs=3"], ["no setting 'epochs'", "steps"]),
        ([*OUT, "--set", "heads=5"], ["heads"]),
        ([*OUT, "--set", "context=800"], ["windows of 800 need at least 1,600", "hint"]),
        ([*OUT, "--seed", "-1"], ["seed must be at least 0, got -1"]),
        ([*OUT, "--dev", "text.txt"], ["--dev goes with --test"]),
        (["--dev", "text.txt"], ["--dev and --test go with --train", "documentation strings of Python"]),
        (["--out", "run", "--train=none.txt"], ["there is no file"]),
        (["--out", "run", "--train=."], ["is a directory"]),
        (
            [*OUT, "--test=empty.txt"],
            ["there are no test characters in", "empty.txt, at least 2 expected", "hint"],
        ),
        (
            ["--out", "run", "--train=empty.txt"],
            ["there are no train characters in", "empty.txt, at least 2 expected", "hint"],
        ),
        (["--out", "run", "--train=latin.txt"], ["latin.txt, line 2: the line is not UTF-8"]),
        (["--resume", "run", "--train", "x"], ["--resume continues the run as it was started, so --train cannot"]),
        (["--resume", "none"], ["none does not exist", "minattn train lm"]),
    ],
)
def test_what_cannot_be_trained(refused, text, tmp_path, arguments, says):
    Path("empty.txt").touch()
    Path("latin.txt").write_bytes(b"one\ncaf\xe9\n")
    refused("train", "lm", *arguments, says=says, folder=tmp_path)


def test_models_of_g2p_by_name(refused, minattn, words, tmp_path):
    files = ("--train=train.tsv", "--dev=dev.tsv", "--test=test.tsv")
    for name, hint in (("lstm", "one of rnnsearch, rnnencdec, luong, transformer"), ("transfomer", "transformer")):
        says = [f"there is no model '{name}'; hint: {hint}"]
        refused("train", "g2p", "--out", "run", *files, "--model", name, says=says, folder=tmp_path)
    sizes = ("layers=1", "d_model=8", "d_ff=8", "heads=2", "epochs=1", "batch_size=64")
    result = minattn("train", "g2p", "--out", "run", *files, "--model=transformer", *(f"--set={s}" for s in sizes))
    assert (result.status, result.err) == (0, "")
    assert read_json(Path("run", CONFIG))["config"]["model"] == "transformer"


def test_a_python_whose_text_is_another_cannot_go_on(minattn, refused, text, tmp_path, monkeypatch):
    assert minattn(*train_arguments("run")).status == 0
    Path("run", REPORT).unlink()
    stored = read_json(Path("run", CONFIG))
    stored["source"] = {"train": None, "dev": None, "test": None}
    Path("run", CONFIG).write_text(json.dumps(stored))
    monkeypatch.setattr(lm, "load_docstrings", lambda: Splits("abc" * 40, "abc", "abc"))
    says = ["the train characters of the documentation strings of Python 3.", "the Python it was started with"]
    refused("train", "lm", "--resume", "run", says=says, folder=tmp_path)
