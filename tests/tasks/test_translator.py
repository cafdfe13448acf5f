"""A model with the tokenizers of both languages, and where its data come from."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from small_translation import PAIRS, SMALL, WORDS, aligned, write_pairs

from minattn.autograd import Tensor
from minattn.data import Alignment, ParallelText, load_dates
from minattn.data.text.alignments import AlignedText
from minattn.data.text.tokenization import plain
from minattn.errors import ConfigError, DataError
from minattn.models.sequence import search
from minattn.tasks import driver
from minattn.tasks.config import as_json, from_json, replaced
from minattn.tasks.files import read_json
from minattn.tasks.run_folder import CONFIG, REPORT
from minattn.tasks.translate import translator as translator_module
from minattn.tasks.translate.source import ParallelSource
from minattn.tasks.translate.task import Translation
from minattn.tasks.translate.translator import Translator
from minattn.training import BEST, LOG, Progress, load_checkpoint

TEXT = ParallelText.of(PAIRS)
SIZES = {
    "rnnsearch": ("embedding=6", "hidden=5", "alignment=4", "maxout=6"),
    "rnnencdec": ("embedding=6", "hidden=5", "maxout=6"),
    "luong": ("embedding=6", "hidden=5"),
    "transformer": ("d_model=8", "d_ff=12", "heads=2", "positions=learned"),
}


def translator(model="rnnsearch", *settings, text=TEXT, symbols="words"):
    config = Translation().configure([*SIZES[model], f"symbols={symbols}", *settings], model)
    return Translator.of(config, text)


# ---------------------------------------------------------------------------------------------- translating
@pytest.mark.parametrize("symbols", ["characters", "words", "bpe"])
@pytest.mark.parametrize("model", SIZES)
def test_a_translation_has_a_row_for_each_symbol_and_a_column_for_each_of_the_source(model, symbols):
    made = translator(model, "vocabulary=40", symbols=symbols)
    sentences = ["dos tres", "uno", "seis  dos tres"]
    for sentence, t in zip(sentences, made.translate(sentences, beam=2), strict=True):
        assert t.source == sentence
        assert t.source_symbols == made.source.tokens(sentence)
        assert t.alignment.shape == (len(t.target_symbols), len(t.source_symbols) if made.config.attends else 1)
        if symbols != "bpe":
            assert t.target == {"characters": "", "words": " "}[symbols].join(t.target_symbols)
        assert 0 <= t.probability <= 1


def test_a_length_penalty_may_change_a_translation():
    made = translator("rnnsearch")
    lengths = [len(made.translate(["dos tres"], 4, alpha)[0].target_symbols) for alpha in (0.0, 50.0)]
    assert lengths[0] < lengths[1]


@pytest.mark.parametrize("sentence", ["", "  ", "zero nada"])
def test_a_sentence_that_is_blank_or_unknown_is_refused(sentence):
    with pytest.raises(DataError, match=r"the sentence '.*' (is empty|has nothing that .* have); hint"):
        translator().translate(["dos", sentence])


def test_a_word_that_is_unknown_is_none():
    assert translator().translate(["dos nada"])[0].source_symbols == ["dos", "nada"]


def test_a_sentence_that_is_too_long_is_refused(monkeypatch):
    monkeypatch.setattr(translator_module, "MOST_SYMBOLS", 5)
    made = translator()
    made.translate(["dos " * 5])
    with pytest.raises(DataError, match=r"^the sentence 'dos .* has 6 words, at most 5 expected; hint: divide it$"):
        made.translate(["dos " * 6])
    with pytest.raises(DataError, match=r"^these: the sentence 'dos .* has 6 words, at most 5 expected"):
        made.check(ParallelText.of([("dos " * 6, "deux")]), "these")


def test_a_sentence_has_to_fit_into_learned_positions():
    made = translator("transformer", "max_length=4")
    with pytest.raises(DataError, match=r"has 5 words, at most 4 expected; hint: .*positions=sinusoidal"):
        made.translate(["dos " * 5])
    assert len(made.translate(["dos " * 4])[0].target_symbols) <= 4


def test_data_of_which_nothing_is_known_are_refused():
    made = translator()
    made.check(ParallelText.of([("nada", "x"), ("dos", "deux")]), "these")
    with pytest.raises(DataError, match=r"'nada' has nothing that the sentences trained on have; hint: is it in"):
        made.check(ParallelText.of([("nada", "deux")]), "these")


def test_pairs_that_are_too_long_are_not_trained_on():
    made = translator("rnnsearch", "max_symbols=2", "batch_size=100")
    (batch,) = made.batches(TEXT).iterate(0)
    assert len(batch.source) == 16
    with pytest.raises(ConfigError, match="no pair has at most 1 words a side; hint: a larger max_symbols"):
        translator("rnnsearch", "max_symbols=1").batches(TEXT)


def test_one_vocabulary_may_serve_both_languages():
    made = translator("transformer", "joint=true", "tied=all")
    assert made.source is made.target
    assert made.source.tokens("dos trois") == made.source.symbols(made.source.encode("dos trois"))
    assert len(made.source) == 4 + 2 * len(WORDS)


# ---------------------------------------------------------------------------------------------- alignments
class FromTheEnd:
    """A model that looks at the last word first, and ends at the first; if it is late, after some steps."""

    def __init__(self, words, late=0):
        self.steps = iter(np.roll(np.eye(words)[[*reversed(range(words)), 0]], late, 0))

    def eval(self):
        pass

    def encode(self, source, mask):
        self.batch = len(source)
        return self

    state = None

    def select(self, rows):
        raise NotImplementedError

    def step(self, state, previous, source):
        return state, None, Tensor(np.repeat(next(self.steps)[None], self.batch, 0))


def test_the_alignment_error_rate_is_that_of_the_largest_weights():
    made = translator()
    pairs = [pair for pair in PAIRS if len(pair[0].split()) == 3][:5]
    made.model = FromTheEnd(3)
    found = made.alignment_score(aligned(pairs))
    assert (found.sentences, found.links, found.aer) == (5, 15, 0)
    made.model = FromTheEnd(3)
    assert made.alignment_score(aligned(pairs), moved=1).sure_found == 0
    made.model = FromTheEnd(3, late=1)
    found = made.alignment_score(aligned(pairs))
    assert (found.links, found.sure_found) == (15, 0)


@pytest.mark.parametrize("model", ["rnnsearch", "luong", "transformer"])
def test_the_alignment_with_the_reference_is_the_attention_of_teacher_forcing(model):
    made = translator(model)
    ids = made.source.encode("dos tres seis")[None]
    previous = made.target.encode("six trois", bos=True)[None]
    made.model.eval()
    steps = search.alignment_with(made.model, made.model.encode(ids), previous)
    _, attention = made.model(ids, previous, return_attention=True)
    weights = attention.get("attention")
    weights = attention["decoder.1.cross_attention"].data.mean(1) if weights is None else weights.data
    np.testing.assert_allclose(steps, weights, atol=1e-5)


def test_there_is_no_score_without_attention_or_of_other_symbols():
    text = aligned(PAIRS[:3])
    assert translator("rnnencdec").alignment_score(text) is None
    assert translator("rnnsearch", symbols="characters").alignment_score(text) is None
    characters = AlignedText(("ab",), ("cd",), (Alignment.of([(0, 1)]),), unit="character")
    made = translator("rnnsearch", symbols="characters", text=characters)
    assert made.alignment_score(characters).links == 1  # of the one target character that is marked
    assert translator("rnnsearch", text=characters).alignment_score(characters) is None


def test_dates_are_plain_so_that_their_characters_are_the_symbols():
    pytest.importorskip("babel")
    dates = load_dates(pairs=(200, 20, 200))
    assert all(plain(source) == source for part in dates for source in part.sources)


# ---------------------------------------------------------------------------------------------- data
def test_the_settings_follow_the_data(tmp_path):
    task = Translation()
    dates, files, folder = (ParallelSource(**given) for given in ({}, {"train": "a"}, {"data": str(tmp_path)}))
    found = [task.default("luong", source) for source in (dates, files, folder, ParallelSource(data="bible"))]
    assert [(c.symbols, c.bleu) for c in found] == [
        ("characters", "13a"),
        ("bpe", "13a"),
        ("bpe", "none"),
        ("bpe", "13a"),
    ]


def test_paths_are_absolute_and_two_files_are_two(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = ParallelSource(train="a.en,a.es", dev="dev.tsv", test="b.en,b.es").absolute()
    here = Path.cwd()
    assert source.train == f"{here / 'a.en'},{here / 'a.es'}"
    assert (source.dev, source.test) == (str(here / "dev.tsv"), f"{here / 'b.en'},{here / 'b.es'}")
    assert source.absolute() == source
    assert ParallelSource(data="bible").absolute() == ParallelSource(data="bible")
    assert ParallelSource(data="mine").absolute().data == str(here / "mine")


def test_two_files_are_read_as_the_one_file_that_has_their_lines(tmp_path):
    paths = write_pairs(tmp_path)
    for name, path in paths.items():
        sides = zip(*(line.split("\t") for line in Path(path).read_text().splitlines()), strict=True)
        for side, sentences in zip("ab", sides, strict=True):
            (tmp_path / f"{name}.{side}").write_text("\n".join(sentences))
    two = {name: f"{tmp_path / name}.a,{tmp_path / name}.b" for name in paths}
    assert ParallelSource(**two).load().fingerprints() == ParallelSource(**paths).load().fingerprints()
    only_train = ParallelSource(train=paths["train"]).load()
    assert sum(map(len, only_train)) == 60
    held_out = ParallelSource(train=paths["train"], test=paths["test"]).load()
    assert [len(part) for part in held_out] == [57, 3, 10]


def test_a_folder_of_sentences_aligned_by_hand_is_data(tmp_path):
    gold = aligned(PAIRS[:4])
    for side, sentences in zip("ab", (gold.sources, gold.targets), strict=True):
        (tmp_path / f"test.{side}").write_text("\n".join(sentences))
    keys = [f"{n} {i + 1} {j + 1}" for n, a in enumerate(gold.alignments, 1) for i, j in sorted(a.sure)]
    (tmp_path / "test.key").write_text("\n".join(keys))
    source = ParallelSource(data=str(tmp_path))
    with pytest.raises(DataError, match=r"none to train on; hint: --train FILE --test .*"):
        source.load()
    assert ParallelSource().read(str(tmp_path)) == gold
    for side, sentences in zip("ab", zip(*PAIRS, strict=True), strict=True):
        (tmp_path / f"train.{side}").write_text("\n".join(sentences))
    splits = source.load()
    assert (len(splits.train), len(splits.dev), splits.test) == (76, 4, gold)


@pytest.mark.parametrize("part", ["train", "dev", "test"])
def test_a_folder_of_multi30k_is_data(tmp_path, part):
    from minattn.data.text.multi30k import PARTS, TOKENIZED

    for name in PARTS:
        for side in ("en", "de"):
            (tmp_path / f"{name}{TOKENIZED}.{side}").write_text(f"{name} in {side}\n")
    found = ParallelSource(data=str(tmp_path)).load().parts()
    assert found[part][0] == tuple(f"{dict(zip(found, PARTS, strict=True))[part]} in {side}" for side in ("en", "de"))


# ---------------------------------------------------------------------------------------------- a run
def test_it_learns_to_translate_and_to_align(tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "draw_figures", lambda *_: [])
    source = ParallelSource(**write_pairs(tmp_path))
    settings = ("epochs=60", "lr=0.02", "hidden=32", "embedding=16", "alignment=16")
    config = Translation().configure([*SMALL, *settings], source=source)
    driver.start(Translation(), config, source, tmp_path / "run", make_progress=Progress)
    report = read_json(tmp_path / "run" / REPORT)
    assert report["test"]["chrf"] >= 80
    assert report["test"]["perplexity"] == pytest.approx(
        math.exp(report["test"]["loss"] * 10 / _symbols("test.tsv", tmp_path))
    )
    made = driver.load(tmp_path / "run")
    assert made.translate(["tres seis"])[0].target == "six trois"
    again = driver.evaluate(tmp_path / "run", test=f"{tmp_path / 'dev.tsv'}", beam=1, alpha=0.5)
    assert (again["beam"], again["alpha"], again["pairs"]) == (1, 0.5, 10)
    assert made.alignment_score(aligned(PAIRS)).aer < 20
    found = [json.loads(line).get("dev_chrf") for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    assert report["training"]["dev_chrf"] == max(chrf for chrf in found if chrf is not None)


def _symbols(name, folder):
    return sum(len(line.split("\t")[1].split()) + 1 for line in (folder / name).read_text().splitlines())


def test_the_version_that_dates_depend_on_is_in_the_config(tmp_path, monkeypatch):
    babel = pytest.importorskip("babel")
    monkeypatch.setattr(driver, "draw_figures", lambda *_: [])
    dates = load_dates(pairs=(60, 10, 10))
    monkeypatch.setattr(ParallelSource, "load", lambda *_: dates)
    source = ParallelSource()
    config = Translation().configure([*SIZES["rnnsearch"], "epochs=1", "beam=1"], source=source)
    driver.start(Translation(), config, source, tmp_path / "run", make_progress=Progress)
    assert read_json(tmp_path / "run" / CONFIG)["babel"] == babel.__version__
    report = read_json(tmp_path / "run" / REPORT)["test"]
    assert 0 <= report["aer"] <= 100
    assert "AER" in Translation().summary(report)


def test_tokenizers_are_stored_in_the_checkpoint(tmp_path, monkeypatch):
    pytest.importorskip("tokenizers")
    monkeypatch.setattr(driver, "draw_figures", lambda *_: [])
    source = ParallelSource(**write_pairs(tmp_path))
    config = Translation().configure([*SMALL[1:], "symbols=bpe", "vocabulary=40", "epochs=1"], source=source)
    driver.start(Translation(), config, source, tmp_path / "run", make_progress=Progress)
    meta = load_checkpoint(tmp_path / "run" / BEST)[1]
    made = driver.load(tmp_path / "run")
    assert (made.source.to_json(), made.target.to_json()) == (meta["source"], meta["target"])
    assert made.source.tokens("dos tres") == Translator.of(config, source.load().train).source.tokens("dos tres")


@pytest.mark.parametrize("model", SIZES)
def test_settings_survive_being_stored(model):
    config = replaced(Translation().default(model), {"symbols": "bpe", "joint": True, "network.source_vocab_size": 9})
    assert from_json(Translation().default(model), as_json(config), Path("config.json")) == config
