"""A model with its letters and phonemes: trained, scored and asked for pronunciations."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np

from minattn.autograd import Array, Tensor, no_grad, ops
from minattn.data import LengthBucketedBatches, Lexicon, PaddedBatch, Vocabulary, evaluation_batches, source_batches
from minattn.errors import ConfigError, DataError
from minattn.models.sequence.search import Hypothesis, beam_search
from minattn.tasks.g2p.error_rates import Score, score
from minattn.tasks.g2p.settings import G2PConfig
from minattn.tasks.task import OnProgress, ignore_progress
from minattn.tasks.threads import blas_threads


class Pronunciation(NamedTuple):
    """The prediction for a word."""

    word: str
    """In lower case, as the model reads it."""
    phonemes: list[str]
    probability: float
    """Of the whole pronunciation, under the model."""
    alignment: np.ndarray
    """(phonemes, letters): how much each phoneme looked at each letter.  RNNencdec: (phonemes, 1)."""


class Pronouncer:
    """A model with its letters and phonemes.

    Raises ConfigError where the configuration is one for vocabularies of other sizes.
    """

    def __init__(self, config: G2PConfig, letters: Vocabulary, phonemes: Vocabulary) -> None:
        sizes = (config.network.source_vocab_size, config.network.target_vocab_size)
        if sizes != (len(letters), len(phonemes)):
            raise ConfigError(f"the network is for {sizes} symbols, and there are {(len(letters), len(phonemes))}")
        self.config, self.letters, self.phonemes = config, letters, phonemes
        self.model = config.build()

    @classmethod
    def of(cls, config: G2PConfig, train: Lexicon) -> Self:
        """An untrained one for the letters and phonemes of the training words."""
        letters = Vocabulary.from_sequences(word for word, _ in train.pairs())
        phonemes = Vocabulary.from_sequences(pronunciation for _, pronunciation in train.pairs())
        network = replace(config.network, source_vocab_size=len(letters), target_vocab_size=len(phonemes))
        return cls(replace(config, network=network), letters, phonemes)

    # ------------------------------------------------------------------------------------------ pronouncing
    @blas_threads()
    @no_grad()
    def pronounce(
        self, words: Sequence[str], beam: int = 4, batch_size: int = 256, on_progress: OnProgress = ignore_progress
    ) -> list[Pronunciation]:
        """The likeliest pronunciation of each word that beam search finds; `on_progress` counts the words.

        Raises DataError for a word that is empty, too long, or has a letter the model was not trained on.
        """
        self.model.eval()
        words = [word.lower() for word in words]
        sources = [self._letter_ids(word) for word in words]
        predictions: dict[int, Pronunciation] = {}
        for source, mask, indices in source_batches(sources, batch_size):
            read = self.model.encode(source, as_mask(mask))
            steps = 2 * source.shape[1] + 10  # no pronunciation in CMUdict is longer
            steps = min(steps, self.config.longest or steps)
            bos, eos = self.phonemes.bos, self.phonemes.eos
            found = beam_search(self.model, read, beam, bos, eos, steps, self.config.alpha)
            for index, hypotheses in zip(indices, found, strict=True):
                predictions[index] = self._pronunciation(words[index], hypotheses[0])
            on_progress(len(predictions), len(words))
        return [predictions[index] for index in range(len(words))]

    def _letter_ids(self, word: str) -> np.ndarray:
        if not word:
            raise DataError("an empty word cannot be pronounced; hint: give at least one letter")
        for letter in word:
            if letter not in self.letters:
                known = " ".join(sorted(symbol for symbol in self.letters.to_list() if symbol in self.letters))
                raise DataError(
                    f"the word {word!r} has {letter!r}, which no training word has; hint: spell it with {known}"
                )
        self._check_length(len(word), f"the word {word!r} has {len(word)} letters")
        return self.letters.encode(word)

    def _check_length(self, symbols: int, what: str) -> None:
        if self.config.longest is not None and symbols > self.config.longest:
            raise DataError(
                f"{what}, and this model learned {self.config.longest} positions; "
                "hint: leave the word out, or train with positions=sinusoidal"
            )

    def _pronunciation(self, word: str, best: Hypothesis) -> Pronunciation:
        # Padding and BOS, which a model says that has learned little, are no phonemes.
        alignment = best.alignment[[i for i, symbol in enumerate(best.ids) if symbol > self.phonemes.eos]]
        looked_at = alignment[:, : len(word)] if self.config.attends else alignment
        return Pronunciation(word, self.phonemes.decode(best.ids), math.exp(best.log_probability), looked_at)

    # ------------------------------------------------------------------------------------------ training and scoring
    def batches(self, train: Lexicon) -> LengthBucketedBatches:
        """Batches of the pronunciations of the training words."""
        return LengthBucketedBatches(self.encode(train), self.config.batch_size, self.config.seed)

    @staticmethod
    def tokens(batch: PaddedBatch) -> int:
        """The number of phonemes in a batch, BOS and EOS included."""
        return int(batch.target_mask.sum())

    def check(self, lexicon: Lexicon, name: str) -> None:
        """Raise DataError where `lexicon`, called `name`, has letters or phonemes that the training words have not.

        And where something in it is longer than the model can take.
        """
        for word, pronunciation in lexicon.pairs():
            self._check_length(len(word), f"{name}: the word {word!r} has {len(word)} letters")
            self._check_length(len(pronunciation) + 1, f"{name}: the word {word!r} has {len(pronunciation)} phonemes")
            for what, symbols, known in (("letter", word, self.letters), ("phoneme", pronunciation, self.phonemes)):
                for symbol in symbols:
                    if symbol not in known:
                        raise DataError(
                            f"{name}: the word {word!r} has the {what} {symbol!r}, which no training word has; "
                            "hint: leave the word out, or train on words that have it"
                        )

    def score(self, lexicon: Lexicon, beam: int) -> Score:
        """PER and WER over the words of a lexicon."""
        return score({p.word: p.phonemes for p in self.pronounce(list(lexicon), beam)}, lexicon)

    def encode(self, lexicon: Lexicon) -> list[tuple[np.ndarray, np.ndarray]]:
        """Every (word, pronunciation) as (letter ids, phoneme ids between BOS and EOS)."""
        return [(self.letters.encode(w), self.phonemes.encode(p, bos=True, eos=True)) for w, p in lexicon.pairs()]

    def loss(self, model: Any, batch: PaddedBatch) -> Tensor:
        """The training loss: the mean over the batch's pronunciations of sum_i -log p(y_i), in nats.

        With label smoothing, of the smoothed targets' cross-entropy in its place.
        """
        return self._summed_loss(model, batch, self.config.label_smoothing) / len(batch.source)

    @no_grad()
    def mean_loss(self, lexicon: Lexicon) -> float:
        """The mean over all pronunciations of a lexicon of sum_i -log p(y_i), in nats, without label smoothing."""
        self.model.eval()
        pairs = self.encode(lexicon)
        batches = evaluation_batches(pairs, 256)
        return math.fsum(self._summed_loss(self.model, batch).item() for batch in batches) / len(pairs)

    def perplexity(self, lexicon: Lexicon) -> float:
        """e to the mean of -log p(y_i) over all phonemes of a lexicon, EOS counted as one."""
        pairs = lexicon.pairs()
        symbols = sum(len(pronunciation) + 1 for _, pronunciation in pairs)
        return math.exp(self.mean_loss(lexicon) * len(pairs) / symbols)

    def _summed_loss(self, model: Any, batch: PaddedBatch, label_smoothing: float = 0.0) -> Tensor:
        logits = model(batch.source, batch.target[:, :-1], as_mask(batch.source_mask))
        return ops.cross_entropy(logits, batch.target[:, 1:], self.phonemes.pad, label_smoothing, reduction="sum")

    # ------------------------------------------------------------------------------------------ checkpoints
    def meta(self) -> dict[str, Any]:
        """The letters and phonemes, for a checkpoint."""
        return {"letters": self.letters.to_list(), "phonemes": self.phonemes.to_list()}


def as_mask(mask: Array) -> Array | None:
    """The mask, or None where there is no padding, which is quicker."""
    return None if mask.all() else mask
