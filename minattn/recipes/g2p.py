"""Grapheme-to-phoneme conversion: RNNsearch learns to pronounce English from CMUdict.

A word's letters are the source, its phonemes the target, and attention shows which letters make which sound.  A run
folder holds `config.json`, `log.jsonl`, the checkpoints `last` and `best`, `report.json` (PER and WER of the best
model on the test words) and two pictures: `curves.png` and `alignments.png`.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from minattn.autograd import Array, Tensor, check_device, no_grad, ops
from minattn.data import (
    LengthBucketedBatches,
    Lexicon,
    PaddedBatch,
    Splits,
    Vocabulary,
    evaluation_batches,
    hold_out,
    load_cmudict,
    read_lexicon,
    source_batches,
    split_lexicon,
)
from minattn.errors import CheckpointError, ConfigError, DataError
from minattn.models.rnnsearch import RNNsearch, RNNsearchConfig
from minattn.models.search import Hypothesis, beam_search
from minattn.recipes.config import read_json, write_json
from minattn.training import (
    BEST,
    LAST,
    LOG,
    Adam,
    Cosine,
    LinearWarmup,
    Outcome,
    Plan,
    Trainer,
    arrays_under,
    load_checkpoint,
)
from minattn.training.metrics import Score, score

CONFIG, REPORT, CURVES, ALIGNMENTS = "config.json", "report.json", "curves.png", "alignments.png"
SHOWN_WORDS = ("attention", "knight", "through", "bookkeeper", "phoenix", "extraordinary")
"""The words of the alignment picture."""


@dataclass(frozen=True)
class G2PConfig:
    """A run's settings.  The defaults reach a useful pronouncer in about ten minutes on two CPU cores."""

    model: Literal["rnnsearch", "rnnencdec"] = "rnnsearch"
    embedding: int = 64  # m
    hidden: int = 128  # n
    alignment: int = 64  # n'
    maxout: int = 64  # l
    readout: Literal["previous", "current"] = "previous"
    dropout: float = 0.0
    batch_size: int = 64
    epochs: int = 6
    lr: float = 3e-3  # the highest; it rises for `warmup` steps and then falls along a cosine to lr / 50
    warmup: int = 200
    max_norm: float = 5.0  # of the gradient
    beam: int = 4  # for the test words; development words are decoded greedily
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "beam"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("lr", "max_norm"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class DataFiles:
    """Where the words come from: lexicon files `WORD<TAB>PH PH PH`, or CMUdict where none is given.

    train alone is split by the hash of the word; with test and no dev, development words are held out of train.
    """

    train: str | None = None
    dev: str | None = None
    test: str | None = None

    def load(self) -> Splits:
        """The lexicons.  Raises DataError for files that cannot be used."""
        if self.train is None:
            if self.dev or self.test:
                raise ConfigError("--dev and --test go with --train; without it CMUdict is used")
            return load_cmudict()
        train = read_lexicon(self.train)
        if self.dev is None and self.test is None:
            return split_lexicon(train)
        if self.test is None:
            raise ConfigError("--dev goes with --test; with --train alone the file is split by the hash of its words")
        test = read_lexicon(self.test)
        if self.dev is not None:
            return Splits(train, read_lexicon(self.dev), test)
        kept, held_out = hold_out(train, n=min(2670, max(1, len(train) // 20)))
        return Splits(kept, held_out, test)


class Pronunciation(NamedTuple):
    """What a model says of a word."""

    word: str
    phonemes: list[str]
    probability: float
    """Of the whole pronunciation, under the model."""
    alignment: np.ndarray
    """(phonemes, letters): how much each phoneme looked at each letter.  RNNencdec: (phonemes, 1)."""


class Pronouncer:
    """A model with its letters and phonemes."""

    def __init__(self, config: G2PConfig, letters: Vocabulary, phonemes: Vocabulary) -> None:
        self.config, self.letters, self.phonemes = config, letters, phonemes
        sizes = RNNsearchConfig(
            source_words=len(letters),
            target_words=len(phonemes),
            embedding=config.embedding,
            hidden=config.hidden,
            alignment=config.alignment,
            maxout=config.maxout,
            biases=True,
            attention=config.model == "rnnsearch",
            readout=config.readout,
            dropout=config.dropout,
            initial="glorot",
        )
        self.model = RNNsearch(sizes, np.random.default_rng(config.seed))

    def encode(self, lexicon: Lexicon) -> list[tuple[np.ndarray, np.ndarray]]:
        """Every (word, pronunciation) as (letter ids, phoneme ids between begin and end)."""
        return [(self.letters.encode(w), self.phonemes.encode(p, begin=True, end=True)) for w, p in lexicon.pairs()]

    @no_grad()
    def pronounce(self, words: Sequence[str], beam: int = 4, batch_size: int = 256) -> list[Pronunciation]:
        """The likeliest pronunciation of each word that beam search finds.

        Raises DataError for a word that is empty or has a letter the model was not trained on.
        """
        self.model.eval()
        sources = [self.letters.encode(_checked(word)) for word in words]
        said: dict[int, Pronunciation] = {}
        for source, mask, indices in source_batches(sources, batch_size):
            read = self.model.encode(source, as_mask(mask))
            longest = 2 * source.shape[1] + 10  # no pronunciation in CMUdict is longer
            found = beam_search(self.model, read, beam, self.phonemes.begin, self.phonemes.end, longest)
            for index, hypotheses in zip(indices, found, strict=True):
                said[index] = self._pronunciation(words[index], hypotheses[0])
        return [said[index] for index in range(len(words))]

    def _pronunciation(self, word: str, best: Hypothesis) -> Pronunciation:
        alignment = best.alignment[: len(best.ids)]
        looked_at = alignment[:, : len(word)] if self.config.model == "rnnsearch" else alignment
        return Pronunciation(word, self.phonemes.decode(best.ids), math.exp(best.log_probability), looked_at)

    def score(self, lexicon: Lexicon, beam: int) -> Score:
        """PER and WER over the words of a lexicon."""
        said = self.pronounce(list(lexicon), beam)
        return score({p.word: p.phonemes for p in said}, lexicon)

    def dev_loss(self, lexicon: Lexicon) -> float:
        """The mean negative log-likelihood of a phoneme (in nats), end symbol counted."""
        total, count = 0.0, 0
        with no_grad():
            for batch in evaluation_batches(self.encode(lexicon), 256):
                tokens = int(batch.target_mask[:, 1:].sum())
                total += self._negative_log_likelihood(self.model, batch).item()
                count += tokens
        return total / count

    def loss(self, model: Any, batch: PaddedBatch) -> Tensor:
        """(1.10): the mean over the batch's words of sum_i -log p(y_i)."""
        return self._negative_log_likelihood(model, batch) / len(batch.source)

    def _negative_log_likelihood(self, model: Any, batch: PaddedBatch) -> Tensor:
        logits, _ = model(batch.source, batch.target[:, :-1], as_mask(batch.source_mask))
        return ops.cross_entropy(logits, batch.target[:, 1:], ignore_index=self.phonemes.pad, reduction="sum")

    def meta(self) -> dict[str, Any]:
        """What a checkpoint says of its model."""
        return {
            "recipe": "g2p",
            "config": dataclasses.asdict(self.config),
            "letters": self.letters.to_list(),
            "phonemes": self.phonemes.to_list(),
        }

    @classmethod
    def load(cls, run: str | Path, device: str = "cpu") -> "Pronouncer":
        """The best model of a run folder, or the last where none was evaluated yet.

        Raises CheckpointError where the folder is no g2p run or its checkpoint is damaged.
        """
        folder = Path(run)
        read_json(folder / CONFIG)
        path = folder / BEST if (folder / BEST).exists() else folder / LAST
        arrays, meta = load_checkpoint(path)
        if meta.get("recipe") != "g2p":
            raise CheckpointError(f"{path} is a checkpoint of {meta.get('recipe', 'something else')}, not of g2p")
        letters, phonemes = (Vocabulary.from_list(meta[name]) for name in ("letters", "phonemes"))
        pronouncer = cls(G2PConfig(**meta["config"]), letters, phonemes)
        pronouncer.model.load_state_dict(arrays_under("model", arrays))
        pronouncer.model.to(check_device(device))
        return pronouncer


def as_mask(mask: Array) -> Array | None:
    """The mask, or None where there is no padding, which is quicker."""
    return None if mask.all() else mask


def _checked(word: str) -> str:
    if not word:
        raise DataError("an empty word cannot be pronounced; give at least one letter")
    return word.lower()


# ---------------------------------------------------------------------------------------------- a run
def train(
    config: G2PConfig, files: DataFiles, folder: str | Path, device: str = "cpu", resume: bool = False
) -> Outcome:
    """Train a pronouncer in `folder`; with `resume`, go on with the run that is there.

    When the budget is spent, the best model is scored on the test words and the pictures are drawn.  After Ctrl-C
    neither is done: resume the run to finish it.
    """
    folder = Path(folder)
    splits = files.load()
    pronouncer = _new_pronouncer(config, splits)
    pronouncer.model.to(check_device(device))
    batches = LengthBucketedBatches(pronouncer.encode(splits.train), config.batch_size, config.seed)
    steps = config.epochs * len(batches)
    warmup = min(config.warmup, max(1, steps // 10))
    trainer = Trainer(
        pronouncer.model,
        Adam(pronouncer.model.named_parameters(), config.lr),
        batches,
        pronouncer.loss,
        folder,
        Plan(epochs=config.epochs, max_norm=config.max_norm, metric="dev_per"),
        schedule=LinearWarmup(Cosine(config.lr, steps, config.lr / 50), warmup),
        evaluate=lambda _: _development(pronouncer, splits.dev),
        meta=pronouncer.meta(),
        tokens=lambda batch: int(batch.target_mask.sum()),
    )
    if resume:
        trainer.resume()
    else:
        if (folder / LAST).exists():
            raise CheckpointError(
                f"{folder} holds a run already; the cure: go on with it by --resume {folder}, or choose another --out"
            )
        settings = {"recipe": "g2p", "config": dataclasses.asdict(config), "files": dataclasses.asdict(files)}
        write_json(folder / CONFIG, settings)
    outcome = trainer.run()
    if not outcome.interrupted:
        finish(folder, splits, device)
    return outcome


def stored_settings(run: str | Path) -> tuple[G2PConfig, DataFiles]:
    """The settings a run was started with.  Raises CheckpointError where the folder is no g2p run."""
    stored = read_json(Path(run) / CONFIG)
    if stored.get("recipe") != "g2p":
        raise CheckpointError(f"{run} is a run of {stored.get('recipe', 'something else')}, not of g2p")
    try:
        return G2PConfig(**stored["config"]), DataFiles(**stored["files"])
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{Path(run) / CONFIG} does not fit this version of minattn: {error}") from error


def evaluate(run: str | Path, device: str = "cpu", test: str | None = None, beam: int | None = None) -> Score:
    """PER and WER of a run's best model on its test words, or on those of the lexicon file `test`."""
    config, files = stored_settings(run)
    pronouncer = Pronouncer.load(run, device)
    lexicon = read_lexicon(test) if test else files.load().test
    return pronouncer.score(lexicon, beam or config.beam)


def finish(folder: Path, splits: Splits, device: str = "cpu") -> Score:
    """Score the best model on the test words and draw the run's pictures."""
    pronouncer = Pronouncer.load(folder, device)
    result = pronouncer.score(splits.test, pronouncer.config.beam)
    rates = {"per": result.per, "wer": result.wer, "beam": pronouncer.config.beam}
    write_json(folder / REPORT, {"test": {**dataclasses.asdict(result), **rates}})
    draw_pictures(folder, pronouncer, splits.test)
    return result


def draw_pictures(folder: Path, pronouncer: Pronouncer, test: Lexicon) -> None:
    """`curves.png` from the run's log, and `alignments.png` of a few words as in the paper's Figure 3."""
    from minattn.viz import Alignment, alignment_grid, learning_curves, read_records, save_figure

    save_figure(learning_curves(read_records(folder / LOG)), folder / CURVES)
    if pronouncer.config.model == "rnnencdec":
        return  # no attention, nothing to see
    known = [word for word in SHOWN_WORDS if all(letter in pronouncer.letters for letter in word)]
    words = known or list(test)[: len(SHOWN_WORDS)]
    said = pronouncer.pronounce(words, pronouncer.config.beam)
    panels = [Alignment(p.alignment, list(p.word), p.phonemes, p.word, p.probability) for p in said if p.phonemes]
    save_figure(alignment_grid(panels), folder / ALIGNMENTS)


def _new_pronouncer(config: G2PConfig, splits: Splits) -> Pronouncer:
    """An untrained model for the letters and phonemes of the training words.

    Raises DataError where development or test words have a letter or phoneme that training words have not.
    """
    letters = Vocabulary.from_sequences(word for word, _ in splits.train.pairs())
    phonemes = Vocabulary.from_sequences(pronunciation for _, pronunciation in splits.train.pairs())
    pronouncer = Pronouncer(config, letters, phonemes)
    for name in ("dev", "test"):
        lexicon = getattr(splits, name)
        if not lexicon:
            raise DataError(f"there are no {name} words; the cure: more words, or a file of them with --{name}")
        try:
            pronouncer.encode(lexicon)
        except DataError as error:
            raise DataError(f"the {name} words do not fit the training words: {error}") from error
    return pronouncer


def _development(pronouncer: Pronouncer, dev: Lexicon) -> dict[str, float]:
    result = pronouncer.score(dev, beam=1)
    return {"dev_loss": pronouncer.dev_loss(dev), "dev_per": result.per, "dev_wer": result.wer}
