"""The lm recipe: its texts, its score, what it writes, and that a stopped run ends as if it had not been."""

import math
import re
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_language import SMALL, some_text, write_text

from minattn.autograd import no_grad
from minattn.data import Alphabet, Splits, TextWindows
from minattn.errors import CheckpointError, ConfigError, DataError
from minattn.tasks.config import read_json
from minattn.tasks.lm import task as language
from minattn.tasks.lm.baselines import baselines, bigram_bits, gzip_bits, lzma_bits, unigram_bits
from minattn.tasks.lm.character_model import CharacterModel, LanguageConfig
from minattn.tasks.lm.task import DataFiles, add_sample
from minattn.tasks.run_folder import REPORT, SAMPLES
from minattn.training import BEST, LAST, LOG, Progress, load_checkpoint

CONFIG = LanguageConfig(**SMALL)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return DataFiles(write_text(tmp_path))


@pytest.fixture(scope="module")
def model():
    return CharacterModel(CONFIG, Alphabet(some_text()), "the")


# ---------------------------------------------------------------------------------------------- texts
def test_one_file_is_cut_and_given_ones_are_taken(files):
    text = some_text()
    assert "".join(files.load()) == text
    Path("test.txt").write_text("a dog eats")
    train, dev, test = DataFiles("text.txt", test="test.txt").load()
    assert (train + dev, test) == (text, "a dog eats")
    assert 0 < len(dev) < len(train)
    Path("dev.txt").write_text("the cat")
    assert tuple(DataFiles("text.txt", "dev.txt", "test.txt").load()) == (text, "the cat", "a dog eats")


def test_without_files_it_is_the_documentation_strings(monkeypatch):
    monkeypatch.setattr(language, "load_docstrings", lambda: Splits("one", "two", "three"))
    assert "documentation strings of Python 3." in DataFiles().source("test")
    assert tuple(DataFiles().load()) == ("one", "two", "three")


@pytest.mark.parametrize("given", [(None, "d", None), (None, None, "t"), (None, "d", "t"), ("t", "d", None)])
def test_files_that_do_not_go_together_are_refused(given):
    with pytest.raises(ConfigError, match="--dev"):
        DataFiles(*given)


@pytest.mark.parametrize(
    "setting", ["steps=0", "lr=nan", "beta2=1", "seed=-1", "heads=0", "dropout=1", "temperature=0"]
)
def test_settings_that_make_no_sense_are_refused(setting):
    with pytest.raises(ConfigError, match=setting.partition("=")[0]):
        language.config_from([setting])


# ---------------------------------------------------------------------------------------------- the score
@given(st.integers(2, 40))
@settings(max_examples=10)
def test_bits_per_character_are_those_of_each_character_by_its_window(model, length):
    ids = model.alphabet.encode(some_text()[3 : 3 + length])
    window = CONFIG.context
    nats = []
    for place in range(1, length):
        first = (place - 1) // window * window
        with no_grad():
            logits = model.model(ids[None, first:place]).data[0, -1].astype(np.float64)
        p = np.exp(logits - logits.max())
        nats.append(-math.log(p[ids[place]] / p.sum()))
    assert model.mean_loss(ids) == pytest.approx(sum(nats) / (length - 1), rel=1e-4)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.lists(st.integers(0, 4), min_size=2, max_size=10))
def test_counting_baselines_by_hand(train, test):
    single, pairs = Counter(train), Counter(pairwise(train))
    p = {c: (single[c] + 1) / (len(train) + 5) for c in range(5)}
    after = Counter(train[:-1])
    unigram = [-math.log2(p[c]) for c in test[1:]]
    bigram = [-math.log2((pairs[b, c] + p[c]) / (after[b] + 1)) for b, c in pairwise(test)]
    train, test = np.array(train), np.array(test)
    assert unigram_bits(train, test, 5) == pytest.approx(sum(unigram) / len(unigram))
    assert bigram_bits(train, test, 5) == pytest.approx(sum(bigram) / len(bigram))
    for first in range(5):  # and they are probabilities
        following = [np.array([first, c]) for c in range(5)]
        assert sum(2 ** -unigram_bits(train, t, 5) for t in following) == pytest.approx(1)
        assert sum(2 ** -bigram_bits(train, t, 5) for t in following) == pytest.approx(1)


def test_compression_baselines():
    rng = np.random.default_rng(0)
    noise = "".join(map(chr, rng.integers(32, 96, 20_000)))  # 6 bits each
    assert 6 <= gzip_bits(noise) < 7
    assert lzma_bits("", noise) == pytest.approx(6, rel=0.1)
    assert lzma_bits(noise, noise) < 0.1  # it has seen it
    assert lzma_bits(noise, noise[::-1]) > 5.9


# ---------------------------------------------------------------------------------------------- writing
def test_what_it_writes_comes_one_by_one_and_is_what_the_model_generates(model):
    ids = model.model.generate(model.alphabet.encode("a"), 7, np.random.default_rng(3), 0.9, 4)
    assert "".join(model.write("a", 7, 0.9, 4, seed=3)) == model.alphabet.decode(ids)
    assert list(islice(model.write("a", 10**9, 0.9, 4, seed=3), 5)) == list(model.alphabet.decode(ids[:5]))


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_it_never_looks_further_back_than_it_was_trained_to(positions):
    model = CharacterModel(LanguageConfig(**{**SMALL, "positions": positions}), Alphabet(some_text()), "the")
    text = model.alphabet.encode("a dog ea").tolist()  # as many as the context has
    seen = text[:]
    for _ in range(12):
        seen = seen if len(seen) <= CONFIG.context else seen[-CONFIG.context // 2 :]
        with no_grad():
            logits = model.model(np.array([seen])).data[0, -1]
        seen.append(int(logits.argmax()))
        text.append(seen[-1])
    assert "a dog ea" + "".join(model.write("a dog ea", 12, top_k=1)) == model.alphabet.decode(text)


def test_the_likeliest_alone_is_one_text_whatever_the_seed(model):
    assert len({"".join(model.write("a", 20, top_k=1, seed=seed)) for seed in range(3)}) == 1
    assert len({"".join(model.write("a", 20, seed=seed)) for seed in range(3)}) == 3


def test_writing_leaves_gradients_on_for_others(model):
    next(model.write("a", 3))
    assert model.loss(model.model, next(iter(windows(model)))).requires_grad


def windows(model):
    return TextWindows(model.alphabet.encode(some_text()), CONFIG.context, 2, 1).iterate(0)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (("",), DataError, "nothing to go on from; hint: a prompt"),
        (("a büg",), DataError, "does not know 'b' 'ü'"),
        (("a", 0.0), ConfigError, "temperature must be a finite number above 0, got 0"),
        (("a", math.inf), ConfigError, "temperature must be"),
        (("a", 1.0, 0), ConfigError, "top_k must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_written_is_told_before_the_first_character(model, arguments, error, says):
    prompt, *rest = arguments
    with pytest.raises(error, match=says):
        model.write(prompt, 5, *rest)


# ---------------------------------------------------------------------------------------------- samples
def test_a_sample_takes_the_place_of_those_that_a_stopped_run_has_left(tmp_path):
    path = tmp_path / SAMPLES
    add_sample(path, 3, "step 3, good", "one\n\nstep 2,000, a line of the model's\rstep 9")
    first = path.read_bytes().decode()
    assert first == "step 3, good\n\n    one\n    \n    step 2,000, a line of the model's\rstep 9\n\n"
    add_sample(path, 6, "step 6, better", "two")
    second = path.read_bytes().decode()
    assert second == first + "step 6, better\n\n    two\n\n"
    add_sample(path, 1_009, "step 1,009, late", "three")
    add_sample(path, 6, "step 6, better", "two")
    assert path.read_bytes().decode() == second
    add_sample(path, 6, "step 6, better", "two")
    assert path.read_bytes().decode() == second


# ---------------------------------------------------------------------------------------------- stopped runs
class Killed(BaseException):
    """Ends a run without another word, as SIGKILL does."""


class Told(Progress):
    """Keeps the notes, and stops the run at one of its moments: step k, or the k-th note that begins with a word."""

    def __init__(self, step=None, note=None, k=1):
        self.notes, self.steps = [], 0
        self.step, self.word, self.left = step, note, k

    def advance(self, fraction):
        self.steps += 1
        if self.steps == self.step:
            raise Killed

    def note(self, line):
        self.notes.append(line)
        if self.word and line.startswith(self.word):
            self.left -= 1
            if not self.left:
                raise Killed


def trained(files, folder, progress=None):
    language.train(CONFIG, files, folder, make_progress=lambda: progress or Told())


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run that nothing stopped."""
    folder = tmp_path_factory.mktemp("straight")
    trained(DataFiles(write_text(folder)), folder / "run")
    return folder / "run"


@pytest.mark.parametrize(
    "killed",
    [
        Told(step=2),  # before the first evaluation
        Told(step=5),  # between two
        Told(note="    ", k=2),  # the sample is written, the evaluation is not
        Told(note="step 6", k=1),  # the best model is not written
        Told(note="    ", k=4),  # in the evaluation at the end, which the last checkpoint does not know of
        Told(note="measuring", k=1),
    ],
)
def test_a_stopped_run_ends_as_if_it_had_not_been(files, straight, killed):
    with pytest.raises(Killed):
        trained(files, "run", killed)
    assert not Path("run", REPORT).exists()
    language.resume("run", make_progress=Told)
    for name in (LAST, BEST):
        arrays, expected = load_checkpoint(Path("run", name))[0], load_checkpoint(straight / name)[0]
        assert {key: array.tobytes() for key, array in arrays.items()} == {
            key: array.tobytes() for key, array in expected.items()
        }
    assert Path("run", SAMPLES).read_text() == (straight / SAMPLES).read_text()
    reports = [read_json(folder / REPORT) for folder in (Path("run"), straight)]
    for report in reports:
        del report["training"]["seconds"]
    assert reports[0] == reports[1]


def test_a_run_tells_prints_and_keeps_its_samples(files):
    progress = Told()
    trained(files, "run", progress)
    samples = Path("run", SAMPLES).read_text()
    assert re.findall(r"^step (\d+), \d\.\d{3} bits per character on the dev text$", samples, re.MULTILINE) == [
        *("3", "6", "9", "10")
    ]
    printed = [note for note in progress.notes if note.startswith("    ")]
    assert len(printed) == 4
    assert all(f"\n\n{sample}\n\n" in samples for sample in printed)
    prompt = CharacterModel.load("run").prompt
    assert all(sample.startswith(f"    {prompt}") for sample in printed)


def test_its_report_stands_beside_what_it_was_computed_from(straight):
    report = read_json(straight / REPORT)
    texts = DataFiles(str(straight.parent / "text.txt")).load()
    model = CharacterModel.load(straight)
    train, test = model.alphabet.encode(texts.train), model.alphabet.encode(texts.test)
    assert report["test"]["characters"] == len(texts.test) - 1
    assert report["test"]["bits_per_character"] == pytest.approx(model.mean_loss(test) / math.log(2))
    assert report["baselines"] == baselines(train, test, len(model.alphabet), (texts.train, texts.test))
    assert report["training"]["steps"] == CONFIG.steps
    assert (straight / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert len((straight / LOG).read_text().splitlines()) >= 4


def test_training_teaches_it_something(straight, model):
    ids = model.alphabet.encode(some_text())
    assert CharacterModel.load(straight).mean_loss(ids) < 0.9 * model.mean_loss(ids)


def test_a_text_that_has_changed_is_not_gone_on_with(files):
    with pytest.raises(Killed):
        trained(files, "run", Told(step=5))
    Path("text.txt").write_text(some_text() + "!")
    with pytest.raises(DataError, match=r"train text of .*text\.txt changed since the run was started; hint"):
        language.resume("run", make_progress=Told)


def test_a_checkpoint_of_another_run_is_told(files, tmp_path):
    for name, seed in (("one", 1), ("other", 2)):
        with pytest.raises(Killed):
            language.train(LanguageConfig(**{**SMALL, "seed": seed}), files, name, make_progress=lambda: Told(step=5))
    Path("other", LAST).replace(Path("one", LAST))
    with pytest.raises(CheckpointError, match="belongs to another run: it differs in config;"):
        language.resume("one", make_progress=Told)
    Path("one", BEST).unlink()
    with pytest.raises(CheckpointError, match="belongs to another run: its settings"):
        CharacterModel.load("one")
