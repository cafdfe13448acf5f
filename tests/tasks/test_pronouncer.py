"""A model with its letters and phonemes."""

import dataclasses
import math

import numpy as np
import pytest
from scipy.special import log_softmax

from minattn.data import LengthBucketedBatches, Lexicon, evaluation_batches
from minattn.errors import ConfigError, DataError, DeviceError
from minattn.models.sequence.search import Hypothesis
from minattn.tasks import driver
from minattn.tasks.config import as_json, replaced
from minattn.tasks.files import write_json
from minattn.tasks.g2p.pronouncer import Pronouncer
from minattn.tasks.g2p.task import G2P, LexiconFiles
from minattn.tasks.run_folder import CONFIG, FORMAT
from minattn.training import BEST, LAST, save_checkpoint

LEXICON = Lexicon([(word, word.upper()) for word in ("ab", "bc", "abc", "cab", "cabbac")] + [("ab", "BA")])
RNNSEARCH = G2P().configure(["embedding=5", "hidden=4", "alignment=3", "maxout=6"])
RNNENCDEC = G2P().configure(["embedding=5", "hidden=4", "maxout=6"], "rnnencdec")
TRANSFORMER = G2P().configure(["layers=2", "d_model=8", "d_ff=12", "heads=2"], "transformer")
LEARNED = replaced(TRANSFORMER, {"network.positions": "learned"})

every_model = pytest.mark.parametrize(
    "config", [RNNSEARCH, TRANSFORMER, LEARNED], ids=["rnnsearch", "sines", "learned"]
)


def pronouncer(config=RNNSEARCH, **settings):
    return Pronouncer.of(replaced(config, settings), LEXICON)


@every_model
def test_pronunciations_come_in_the_order_of_the_words_and_padding_changes_nothing(config):
    words = ["cab", "a", "cabbac", "cab"]
    said = pronouncer(config).pronounce(words, batch_size=3)
    assert [p.word for p in said] == words
    alone = [pronouncer(config).pronounce([word])[0] for word in words]
    for one, other in zip(said, alone, strict=True):
        assert one.phonemes == other.phonemes
        assert one.probability == pytest.approx(other.probability, rel=1e-4)
        np.testing.assert_allclose(one.alignment, other.alignment, atol=1e-5)


@every_model
def test_a_pronunciation_is_never_longer_than_its_limit_and_has_a_row_for_each_phoneme(config):
    for p in pronouncer(config).pronounce(["a", "abc", "cabbac"], beam=2):
        assert len(p.phonemes) <= 2 * 6 + 10
        assert p.alignment.shape == (len(p.phonemes), len(p.word))
        assert np.allclose(p.alignment.sum(1), 1, atol=1e-5)
        assert 0 <= p.probability <= 1


def test_the_end_symbol_has_a_probability_but_no_row():
    model = pronouncer()
    a, b = model.phonemes.encode(["A", "B"])
    p = model._pronunciation("ab", Hypothesis([a, b], math.log(0.25), np.eye(3, 5), finished=True, score=0.0))
    assert (p.phonemes, p.probability) == (["A", "B"], pytest.approx(0.25))
    assert p.alignment.tolist() == [[1, 0], [0, 1]]


def test_symbols_that_are_no_phonemes_have_no_row():
    model = pronouncer()
    (a,) = model.phonemes.encode(["A"])
    ids = [model.phonemes.bos, a, model.phonemes.pad]
    p = model._pronunciation("abc", Hypothesis(ids, -1.0, np.eye(3), finished=False, score=0.0))
    assert p.phonemes == ["A"]
    assert p.alignment.tolist() == [[0, 1, 0]]
    nothing = model._pronunciation("ab", Hypothesis([], -1.0, np.eye(1, 2), finished=True, score=0.0))
    assert (nothing.phonemes, nothing.alignment.shape) == ([], (0, 2))


def test_without_attention_there_is_one_column():
    for p in pronouncer(RNNENCDEC).pronounce(["abc"]):
        assert p.alignment.shape == (len(p.phonemes), 1)


def test_the_alignment_of_a_transformer_is_the_mean_over_the_heads_of_its_last_layer():
    model = pronouncer(TRANSFORMER)
    said = next(p for p in model.pronounce(["cabbac", "abc", "bc", "ab"], beam=1) if len(p.phonemes) > 2)
    previous = [model.phonemes.bos, *model.phonemes.encode(said.phonemes)][:-1]
    _, attention = model.model(model.letters.encode(said.word)[None], np.array([previous]), return_attention=True)
    last = f"decoder.{model.config.network.layers - 1}.cross_attention"
    np.testing.assert_allclose(said.alignment, attention[last].data[0].mean(0), atol=1e-5)


def test_a_length_penalty_may_change_what_is_said():
    says = {alpha: pronouncer(TRANSFORMER, alpha=alpha).pronounce(["cab"], beam=4)[0] for alpha in (0.0, 50.0)}
    assert len(says[50.0].phonemes) > len(says[0.0].phonemes)


def test_nothing_is_said_beyond_the_learned_positions():
    model = pronouncer(LEARNED, alpha=50.0)  # the longer the better
    said = model.pronounce(["ab" * 30], beam=2)[0]
    assert LEARNED.longest < 2 * 60 + 10
    assert len(said.phonemes) <= LEARNED.longest


def test_words_that_have_no_learned_position_are_refused():
    long = "ab" * (LEARNED.longest // 2)
    model = pronouncer(LEARNED)
    assert model.pronounce([long], beam=1)[0].word == long
    with pytest.raises(DataError, match=r"has 65 letters, and this model learned 64 positions; hint"):
        model.pronounce([long + "c"])
    model.check(Lexicon([(long, long[1:].upper())]), "these")
    with pytest.raises(DataError, match=r"^these: the word '(ab)+c' has 65 letters"):
        model.check(Lexicon([(long + "c", "A")]), "these")
    with pytest.raises(DataError, match=r"^these: the word 'a' has 64 phonemes, and"):
        model.check(Lexicon([("a", long.upper())]), "these")
    assert pronouncer(TRANSFORMER).pronounce([long + "c"], beam=1)[0].word == long + "c"


def test_upper_case_is_read_as_lower_case():
    assert pronouncer().pronounce(["CaB"])[0].phonemes == pronouncer().pronounce(["cab"])[0].phonemes


def test_how_far_it_is_is_told_after_each_batch():
    counts = []
    pronouncer().pronounce(["ab", "bc", "abc"], batch_size=2, on_progress=lambda *count: counts.append(count))
    assert counts == [(2, 3), (3, 3)]


@pytest.mark.parametrize(("word", "says"), [("", "an empty word"), ("abd", "'abd' has 'd', which no .* with a b c$")])
def test_a_word_that_cannot_be_read_is_refused(word, says):
    with pytest.raises(DataError, match=says):
        pronouncer().pronounce(["ab", word])


@pytest.mark.parametrize(("word", "said", "says"), [("ad", "A", "letter 'd'"), ("aa", "AD", "phoneme 'D'")])
def test_words_that_do_not_fit_are_named(word, said, says):
    pronouncer().check(LEXICON, "these")
    with pytest.raises(DataError, match=f"^these: the word '{word}' has the {says}, which no training word has"):
        pronouncer().check(Lexicon([("ab", "AB"), (word, said)]), "these")


@every_model
def test_the_mean_loss_is_the_loss_of_all_as_one_batch_without_smoothing(config):
    model = pronouncer(config)
    (batch,) = evaluation_batches(model.encode(LEXICON), 100)
    model.model.eval()
    logits = model.model(batch.source, batch.target[:, :-1], batch.source_mask)
    loss = -log_softmax(logits.data, axis=-1)
    of_targets = np.take_along_axis(loss, batch.target[:, 1:, None], 2)[..., 0]
    counted = batch.target_mask[:, 1:]
    assert model.mean_loss(LEXICON) == pytest.approx(of_targets[counted].sum() / 6, rel=1e-5)
    assert model.perplexity(LEXICON) == pytest.approx(math.exp(of_targets[counted].mean()), rel=1e-5)
    of_all = loss.mean(-1)[counted]
    eps = config.label_smoothing
    smoothed = (1 - eps) * of_targets[counted] + eps * of_all
    assert model.loss(model.model, batch).item() == pytest.approx(smoothed.sum() / 6, rel=1e-5)


@every_model
def test_nothing_is_dropped_from_the_mean_loss(config):
    model = pronouncer(config, **{"network.dropout": 0.5})
    assert model.model.training
    assert model.mean_loss(LEXICON) == model.mean_loss(LEXICON)


@every_model
def test_the_mean_loss_counts_every_pronunciation_once_whatever_the_batches(config):
    model = pronouncer(config, **{"label_smoothing": 0.0} if config.label_smoothing else {})
    model.model.eval()
    batches = LengthBucketedBatches(model.encode(LEXICON), 4, seed=1).iterate(0)
    total = sum(model.loss(model.model, batch).item() * len(batch.source) for batch in batches)
    assert model.mean_loss(LEXICON) == pytest.approx(total / 6, rel=1e-5)


def test_an_untrained_rnnsearch_guesses_nearly_evenly():
    symbols = math.log(len(pronouncer().phonemes))  # nats a symbol; the end symbol is one too
    lengths = [len(p) + 1 for _, p in LEXICON.pairs()]
    assert pronouncer().mean_loss(LEXICON) == pytest.approx(symbols * sum(lengths) / len(lengths), rel=0.2)


# ---------------------------------------------------------------------------------------------- a run's model
@pytest.fixture(params=[RNNSEARCH, TRANSFORMER], ids=["rnnsearch", "transformer"])
def config(request):
    return request.param


@pytest.fixture
def run(tmp_path, config):
    """A run's folder with two checkpoints, of the seed 1 (last) and of parameters that are all 0 (best)."""
    model = pronouncer(config)
    arrays = {f"model/{name}": array for name, array in model.model.state_dict().items()}
    meta = {**driver.checkpoint_meta(G2P(), model.config), **model.meta()}
    content = {"source": dataclasses.asdict(LexiconFiles()), "data": dict.fromkeys(("train", "dev", "test"), "")}
    write_json(tmp_path / CONFIG, {"format": FORMAT, "task": "g2p", "config": as_json(model.config), **content})
    save_checkpoint(tmp_path / LAST, arrays, meta)
    save_checkpoint(tmp_path / BEST, {name: 0 * array for name, array in arrays.items()}, meta)
    return tmp_path


def test_the_best_model_is_loaded_and_else_the_last(run, config):
    fresh = pronouncer(config)
    assert all(not array.any() for array in driver.load(run).model.state_dict().values())
    (run / BEST).unlink()
    loaded = driver.load(run)
    assert loaded.model.state_dict().keys() == fresh.model.state_dict().keys()
    assert loaded.pronounce(["cab"])[0].probability == fresh.pronounce(["cab"])[0].probability
    assert (loaded.config, loaded.letters, loaded.phonemes) == (fresh.config, fresh.letters, fresh.phonemes)


def test_a_device_that_is_none_is_refused_before_the_folder_is_read(tmp_path):
    with pytest.raises(DeviceError, match="unknown device 'tpu'"):
        driver.load(tmp_path / "nowhere", "tpu")


def test_the_configuration_has_the_sizes_of_the_vocabularies(config):
    model = pronouncer(config)
    network = model.config.network
    assert (network.source_vocab_size, network.target_vocab_size) == (len(model.letters), len(model.phonemes))
    with pytest.raises(ConfigError, match="the network is for"):
        Pronouncer(config, model.letters, model.phonemes)
