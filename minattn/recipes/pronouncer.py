"""A model with its letters and phonemes: what the g2p recipe trains, scores and asks for pronunciations."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from minattn.autograd import Array, Tensor, check_device, no_grad, ops
from minattn.data import Lexicon, PaddedBatch, Vocabulary, evaluation_batches, source_batches
from minattn.errors import CheckpointError, ConfigError, DataError
from minattn.models.rnnsearch import RNNsearch, RNNsearchConfig
from minattn.models.search import Hypothesis, beam_search
from minattn.recipes.config import from_stored
from minattn.recipes.folder import CONFIG, read_run
from minattn.recipes.threads import blas_threads
from minattn.training import BEST, LAST, arrays_under, load_checkpoint
from minattn.training.metrics import Score, score

RECIPE = "g2p"

Told = Callable[[int, int], None]
"""What wants to know that so many words of so many are done."""


def tell_nobody(done: int, total: int) -> None:
    """Takes note of nothing."""


@dataclass(frozen=True)
class G2PConfig:
    """A run's settings.  The defaults reach a useful pronouncer in ten minutes on one CPU core."""

    model: Literal["rnnsearch", "rnnencdec"] = "rnnsearch"
    embedding: int = 64  # m
    hidden: int = 128  # n
    alignment: int = 64  # n'
    maxout: int = 64  # l
    readout: Literal["previous", "current"] = "current"
    dropout: float = 0.0
    batch_size: int = 64
    epochs: int = 6
    lr: float = 3e-3  # the highest; it rises for `warmup` steps and then falls along a cosine to lr / 50
    warmup: int = 200
    max_norm: float = 5.0  # of the gradient
    beam: int = 4  # for the test words; development words are decoded greedily
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "warmup", "beam"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("lr", "max_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be a finite number above 0, got {getattr(self, name)}")
        if self.seed < 0:
            raise ConfigError(f"seed must be at least 0, got {self.seed}")
        self.network(1, 1)  # refuses what it cannot be built with

    def network(self, letters: int, phonemes: int) -> RNNsearchConfig:
        """The network for vocabularies of these sizes."""
        return RNNsearchConfig(
            source_words=letters,
            target_words=phonemes,
            embedding=self.embedding,
            hidden=self.hidden,
            alignment=self.alignment,
            maxout=self.maxout,
            biases=True,
            attention=self.model == "rnnsearch",
            readout=self.readout,
            dropout=self.dropout,
            initial="glorot",
        )


class Pronunciation(NamedTuple):
    """What a model says of a word."""

    word: str
    """In lower case, as the model reads it."""
    phonemes: list[str]
    probability: float
    """Of the whole pronunciation, under the model."""
    alignment: np.ndarray
    """(phonemes, letters): how much each phoneme looked at each letter.  RNNencdec: (phonemes, 1)."""


class Pronouncer:
    """A model with its letters and phonemes."""

    def __init__(self, config: G2PConfig, letters: Vocabulary, phonemes: Vocabulary) -> None:
        self.config, self.letters, self.phonemes = config, letters, phonemes
        self.model = RNNsearch(config.network(len(letters), len(phonemes)), np.random.default_rng(config.seed))

    @classmethod
    def of(cls, config: G2PConfig, train: Lexicon) -> Self:
        """An untrained one for the letters and phonemes of the training words."""
        letters = Vocabulary.from_sequences(word for word, _ in train.pairs())
        phonemes = Vocabulary.from_sequences(pronunciation for _, pronunciation in train.pairs())
        return cls(config, letters, phonemes)

    # ------------------------------------------------------------------------------------------ pronouncing
    @blas_threads()
    @no_grad()
    def pronounce(
        self, words: Sequence[str], beam: int = 4, batch_size: int = 256, told: Told = tell_nobody
    ) -> list[Pronunciation]:
        """The likeliest pronunciation of each word that beam search finds; `told` hears how many words are done.

        Raises DataError for a word that is empty or has a letter the model was not trained on.
        """
        self.model.eval()
        words = [word.lower() for word in words]
        sources = [self._letter_ids(word) for word in words]
        said: dict[int, Pronunciation] = {}
        for source, mask, indices in source_batches(sources, batch_size):
            read = self.model.encode(source, as_mask(mask))
            longest = 2 * source.shape[1] + 10  # no pronunciation in CMUdict is longer
            found = beam_search(self.model, read, beam, self.phonemes.begin, self.phonemes.end, longest)
            for index, hypotheses in zip(indices, found, strict=True):
                said[index] = self._pronunciation(words[index], hypotheses[0])
            told(len(said), len(words))
        return [said[index] for index in range(len(words))]

    def _letter_ids(self, word: str) -> np.ndarray:
        if not word:
            raise DataError("an empty word cannot be pronounced; the cure: give at least one letter")
        for letter in word:
            if letter not in self.letters:
                known = " ".join(sorted(symbol for symbol in self.letters.to_list() if symbol in self.letters))
                raise DataError(
                    f"the word {word!r} has {letter!r}, which no training word has; the cure: spell it with {known}"
                )
        return self.letters.encode(word)

    def _pronunciation(self, word: str, best: Hypothesis) -> Pronunciation:
        # Padding and begin, which a model says that has learned little, are no phonemes.
        alignment = best.alignment[[i for i, symbol in enumerate(best.ids) if symbol > self.phonemes.end]]
        looked_at = alignment[:, : len(word)] if self.config.model == "rnnsearch" else alignment
        return Pronunciation(word, self.phonemes.decode(best.ids), math.exp(best.log_probability), looked_at)

    # ------------------------------------------------------------------------------------------ measuring
    def check_fits(self, lexicon: Lexicon, name: str) -> None:
        """Raise DataError where `lexicon`, called `name`, has letters or phonemes that the training words have not."""
        for word, pronunciation in lexicon.pairs():
            for what, symbols, known in (("letter", word, self.letters), ("phoneme", pronunciation, self.phonemes)):
                for symbol in symbols:
                    if symbol not in known:
                        raise DataError(
                            f"{name}: the word {word!r} has the {what} {symbol!r}, which no training word has; "
                            "the cure: leave the word out, or train on words that have it"
                        )

    def score(self, lexicon: Lexicon, beam: int, told: Told = tell_nobody) -> Score:
        """PER and WER over the words of a lexicon."""
        said = self.pronounce(list(lexicon), beam, told=told)
        return score({p.word: p.phonemes for p in said}, lexicon)

    def encode(self, lexicon: Lexicon) -> list[tuple[np.ndarray, np.ndarray]]:
        """Every (word, pronunciation) as (letter ids, phoneme ids between begin and end)."""
        return [(self.letters.encode(w), self.phonemes.encode(p, begin=True, end=True)) for w, p in lexicon.pairs()]

    def loss(self, model: Any, batch: PaddedBatch) -> Tensor:
        """(1.10): the mean over the batch's pronunciations of sum_i -log p(y_i), in nats."""
        return self._negative_log_likelihood(model, batch) / len(batch.source)

    @no_grad()
    def mean_loss(self, lexicon: Lexicon) -> float:
        """The loss over all pronunciations of a lexicon."""
        pairs = self.encode(lexicon)
        batches = evaluation_batches(pairs, 256)
        return math.fsum(self._negative_log_likelihood(self.model, batch).item() for batch in batches) / len(pairs)

    def _negative_log_likelihood(self, model: Any, batch: PaddedBatch) -> Tensor:
        logits, _ = model(batch.source, batch.target[:, :-1], as_mask(batch.source_mask))
        return ops.cross_entropy(logits, batch.target[:, 1:], ignore_index=self.phonemes.pad, reduction="sum")

    # ------------------------------------------------------------------------------------------ checkpoints
    def meta(self) -> dict[str, Any]:
        """What a checkpoint says of its model."""
        return {
            "recipe": RECIPE,
            "config": dataclasses.asdict(self.config),
            "letters": self.letters.to_list(),
            "phonemes": self.phonemes.to_list(),
        }

    @classmethod
    def load(cls, run: str | Path, device: str = "cpu") -> Self:
        """The best model of a run folder, or the last where none was evaluated yet.

        Raises CheckpointError where the folder is no g2p run, or its checkpoint is missing, damaged or another run's.
        """
        check_device(device)
        folder = Path(run)
        config = from_stored(G2PConfig, read_run(folder, RECIPE).get("config"), folder / CONFIG)
        path = folder / BEST if (folder / BEST).exists() else folder / LAST
        if not path.exists():
            raise CheckpointError(f"{folder} has no checkpoint yet; the cure: minattn train {RECIPE} --resume {folder}")
        arrays, meta = load_checkpoint(path)
        if (meta.get("recipe"), meta.get("config")) != (RECIPE, dataclasses.asdict(config)):
            raise CheckpointError(
                f"{path} belongs to another run: its settings are not those of {folder / CONFIG}; "
                "the cure: put the run's own checkpoint back"
            )
        letters, phonemes = (Vocabulary.from_list(meta[name]) for name in ("letters", "phonemes"))
        pronouncer = cls(config, letters, phonemes)
        pronouncer.model.load_state_dict(arrays_under("model", arrays))
        pronouncer.model.to(device)
        return pronouncer


def as_mask(mask: Array) -> Array | None:
    """The mask, or None where there is no padding, which is quicker."""
    return None if mask.all() else mask
