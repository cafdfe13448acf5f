"""A model with its letters and phonemes: what the g2p recipe trains, scores and asks for pronunciations."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from minattn.autograd import Array, Tensor, check_device, no_grad, ops
from minattn.data import Lexicon, PaddedBatch, Vocabulary, evaluation_batches, source_batches
from minattn.errors import DataError
from minattn.models.sequence.search import Hypothesis, beam_search
from minattn.tasks.driver import load_best
from minattn.tasks.g2p.settings import G2PConfig, stored_config
from minattn.tasks.run_folder import CONFIG, read_run
from minattn.tasks.threads import blas_threads
from minattn.training.metrics import Score, score

RECIPE = "g2p"

Told = Callable[[int, int], None]
"""What wants to know that so many words of so many are done."""


def tell_nobody(done: int, total: int) -> None:
    """Takes note of nothing."""


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
        self.model = config.build(len(letters), len(phonemes))

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

        Raises DataError for a word that is empty, too long, or has a letter the model was not trained on.
        """
        self.model.eval()
        words = [word.lower() for word in words]
        sources = [self._letter_ids(word) for word in words]
        said: dict[int, Pronunciation] = {}
        for source, mask, indices in source_batches(sources, batch_size):
            read = self.model.encode(source, as_mask(mask))
            steps = 2 * source.shape[1] + 10  # no pronunciation in CMUdict is longer
            steps = min(steps, self.config.longest or steps)
            bos, eos = self.phonemes.bos, self.phonemes.eos
            found = beam_search(self.model, read, beam, bos, eos, steps, self.config.alpha)
            for index, hypotheses in zip(indices, found, strict=True):
                said[index] = self._pronunciation(words[index], hypotheses[0])
            told(len(said), len(words))
        return [said[index] for index in range(len(words))]

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

    # ------------------------------------------------------------------------------------------ measuring
    def check_fits(self, lexicon: Lexicon, name: str) -> None:
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

    def score(self, lexicon: Lexicon, beam: int, told: Told = tell_nobody) -> Score:
        """PER and WER over the words of a lexicon."""
        said = self.pronounce(list(lexicon), beam, told=told)
        return score({p.word: p.phonemes for p in said}, lexicon)

    def encode(self, lexicon: Lexicon) -> list[tuple[np.ndarray, np.ndarray]]:
        """Every (word, pronunciation) as (letter ids, phoneme ids between BOS and EOS)."""
        return [(self.letters.encode(w), self.phonemes.encode(p, bos=True, eos=True)) for w, p in lexicon.pairs()]

    def loss(self, model: Any, batch: PaddedBatch) -> Tensor:
        """What training minimizes: the mean over the batch's pronunciations of sum_i -log p(y_i), in nats.

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
        config = stored_config(read_run(folder, RECIPE).get("config"), folder / CONFIG)

        def build(meta: Mapping[str, Any]) -> Self:
            letters, phonemes = (Vocabulary.from_list(meta[name]) for name in ("letters", "phonemes"))
            return cls(config, letters, phonemes)

        return load_best(folder, RECIPE, config, build, device)


def as_mask(mask: Array) -> Array | None:
    """The mask, or None where there is no padding, which is quicker."""
    return None if mask.all() else mask
