"""The lm task: its texts, its score, and what it writes."""

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
from minattn.errors import ConfigError, DataError
from minattn.tasks import driver
from minattn.tasks.files import read_json
from minattn.tasks.lm import task as lm
from minattn.tasks.lm.baselines import baselines, bigram_bits, gzip_bits, lzma_bits, unigram_bits
from minattn.tasks.lm.character_model import CharacterModel
from minattn.tasks.lm.task import SAMPLES, LanguageModeling, TextFiles, add_sample
from minattn.tasks.run_folder import REPORT
from minattn.training import LOG, Progress

TASK = LanguageModeling()
CONFIG = TASK.configure(SMALL)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return TextFiles(write_text(tmp_path))


@pytest.fixture(scope="module")
def model():
    return CharacterModel.of(CONFIG, Alphabet(some_text()), "the")


# ---------------------------------------------------------------------------------------------- texts
def test_one_file_is_cut_and_given_ones_are_taken(files):
    text = some_text()
    assert "".join(files.load()) == text
    Path("test.txt").write_text("a dog eats")
    train, dev, test = TextFiles("text.txt", test="test.txt").load()
    assert (train + dev, test) == (text, "a dog eats")
    assert 0 < len(dev) < len(train)
    Path("dev.txt").write_text("the cat")
    assert tuple(TextFiles("text.txt", "dev.txt", "test.txt").load()) == (text, "the cat", "a dog eats")


def test_without_files_it_is_the_documentation_strings(monkeypatch):
    monkeypatch.setattr(lm, "load_docstrings", lambda: Splits("one", "two", "three"))
    assert "documentation strings of Python 3." in TextFiles().name("test")
    assert tuple(TextFiles().load()) == ("one", "two", "three")


@pytest.mark.parametrize("given", [(None, "d", None), (None, None, "t"), (None, "d", "t"), ("t", "d", None)])
def test_files_that_do_not_go_together_are_refused(given):
    with pytest.raises(ConfigError, match="--dev"):
        TextFiles(*given)


@pytest.mark.parametrize(
    "setting", ["steps=0", "lr=nan", "beta2=1", "seed=-1", "heads=0", "dropout=1", "temperature=0"]
)
def test_settings_that_make_no_sense_are_refused(setting):
    with pytest.raises(ConfigError, match=setting.partition("=")[0]):
        TASK.configure([setting])


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


def test_a_memory_learns_to_write_too(tmp_path):
    """A few seconds.  What follows a letter within a word is certain, and three words may come next, or four."""
    config = TASK.configure(
        ["model=memory", "size=16", "memory=8", "context=16", "batch_size=8", "steps=150", "lr=0.05", "sample=12"]
    )
    driver.start(TASK, config, TextFiles(write_text(tmp_path)), tmp_path / "run", make_progress=Progress)
    bits = driver.evaluate(tmp_path / "run")["bits_per_character"]
    ids = np.unique(list(some_text()), return_inverse=True)[1]
    assert bits < 0.6 * bigram_bits(ids, ids, len(set(some_text())))
    model = driver.load(tmp_path / "run")
    assert model.model.config.memory == 8
    assert len("".join(model.write("the", 20))) == 20


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
    config = TASK.configure([*SMALL, f"positions={positions}"])
    model = CharacterModel.of(config, Alphabet(some_text()), "the")
    assert (model.config.network.vocab_size, model.config.network.max_length) == (len(model.alphabet), CONFIG.context)
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


# ---------------------------------------------------------------------------------------------- a run
class Noted(Progress):
    """Keeps the notes."""

    def __init__(self):
        self.notes = []

    def note(self, line):
        self.notes.append(line)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folder of a finished run, and what was noted of it."""
    folder, progress = tmp_path_factory.mktemp("straight"), Noted()
    driver.start(TASK, CONFIG, TextFiles(write_text(folder)), folder / "run", make_progress=lambda: progress)
    return folder / "run", progress.notes


def test_a_run_tells_prints_and_keeps_its_samples(straight):
    folder, notes = straight
    samples = (folder / SAMPLES).read_text()
    assert re.findall(r"^step (\d+), \d\.\d{3} bits per character on the dev text$", samples, re.MULTILINE) == [
        *("3", "6", "9", "10")
    ]
    printed = [note for note in notes if note.startswith("    ")]
    assert len(printed) == 4
    assert all(f"\n\n{sample}\n\n" in samples for sample in printed)
    prompt = driver.load(folder).prompt
    assert all(sample.startswith(f"    {prompt}") for sample in printed)


def test_its_report_stands_beside_what_it_was_computed_from(straight):
    folder, _ = straight
    report = read_json(folder / REPORT)
    texts = TextFiles(str(folder.parent / "text.txt")).load()
    model = driver.load(folder)
    train, test = model.alphabet.encode(texts.train), model.alphabet.encode(texts.test)
    assert report["test"]["characters"] == len(texts.test) - 1
    assert report["test"]["bits_per_character"] == pytest.approx(model.mean_loss(test) / math.log(2))
    assert report["baselines"] == baselines(train, test, len(model.alphabet), (texts.train, texts.test))
    assert report["training"]["steps"] == CONFIG.steps
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert len((folder / LOG).read_text().splitlines()) >= 4


def test_training_teaches_it_something(straight, model):
    ids = model.alphabet.encode(some_text())
    assert driver.load(straight[0]).mean_loss(ids) < 0.9 * model.mean_loss(ids)


def test_a_text_with_other_characters_is_named(model):
    model.check("a dog", "these")
    with pytest.raises(DataError, match="these: the model does not know 'ü'"):
        model.check("a düg", "these")
