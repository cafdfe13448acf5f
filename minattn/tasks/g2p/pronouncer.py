"""A model with its letters and phonemes: trained, scored and asked for pronunciations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from minattn.data import Lexicon, Vocabulary
from minattn.data.batching import Pair
from minattn.data.text.lexicon import folded
from minattn.errors import DataError
from minattn.kinds import shown
from minattn.models.sequence.search import Hypothesis
from minattn.tasks.g2p.error_rates import Score, score
from minattn.tasks.sequences.settings import SequenceConfig
from minattn.tasks.sequences.transducer import Transducer, alignment_of
from minattn.tasks.task import OnProgress, ignore_progress

if TYPE_CHECKING:
    from minattn.viz import Alignment


MOST_SYMBOLS = 200
"""In a word or a pronunciation."""


class Pronunciation(NamedTuple):
    """The prediction for a word."""

    word: str
    """In lower case, as the model reads it."""
    phonemes: list[str]
    probability: float
    """Of the whole pronunciation, under the model."""
    alignment: np.ndarray
    """(phonemes, letters): how much each phoneme looked at each letter.  RNNencdec: (phonemes, 1)."""

    @property
    def line(self) -> str:
        """The word and its phonemes."""
        return f"{self.word}  {' '.join(self.phonemes) or '(nothing)'}"

    @property
    def panel(self) -> "Alignment":
        """The heat map."""
        from minattn.viz import Alignment

        return Alignment(self.alignment, list(self.word), self.phonemes, self.word, self.probability)


@dataclass
class StoredSymbols:
    """What a checkpoint says beside the model's parameters."""

    letters: list[str]
    phonemes: list[str]


class Pronouncer(Transducer):
    """A model with its letters and phonemes.

    Raises ConfigError where the configuration is one for vocabularies of other sizes.
    """

    def __init__(self, config: SequenceConfig, letters: Vocabulary, phonemes: Vocabulary) -> None:
        super().__init__(config, (len(letters), len(phonemes)))
        self.letters, self.phonemes = letters, phonemes

    @classmethod
    def of(cls, config: SequenceConfig, train: Lexicon) -> Self:
        """An untrained one for the letters and phonemes of the training words."""
        letters = Vocabulary.from_sequences(word for word, _ in train.pairs())
        phonemes = Vocabulary.from_sequences(pronunciation for _, pronunciation in train.pairs())
        return cls(config.of_sizes(len(letters), len(phonemes)), letters, phonemes)

    # ------------------------------------------------------------------------------------------ pronouncing
    def pronounce(
        self, words: Sequence[str], beam: int = 4, batch_size: int = 256, on_progress: OnProgress = ignore_progress
    ) -> list[Pronunciation]:
        """The likeliest pronunciation of each word that beam search finds; `on_progress` counts the words.

        Raises DataError for a word that is empty, too long, or has a letter the model was not trained on.
        """
        words = [folded(word) for word in words]
        sources = [self._letter_ids(word) for word in words]
        found = self.search(sources, beam, batch_size=batch_size, on_progress=on_progress)
        return [self._pronunciation(word, best) for word, best in zip(words, found, strict=True)]

    def _letter_ids(self, word: str) -> np.ndarray:
        if not word:
            raise DataError("an empty word cannot be pronounced; hint: give at least one letter")
        for letter in word:
            if letter not in self.letters:
                known = " ".join(sorted(symbol for symbol in self.letters.to_list() if symbol in self.letters))
                raise DataError(
                    f"the word {shown(word)} has {letter!r}, which no training word has; hint: spell it with {known}"
                )
        self._check_length(len(word), f"the word {shown(word)} has {len(word)} letters")
        return self.letters.encode(word)

    def _check_length(self, symbols: int, what: str) -> None:
        if symbols > MOST_SYMBOLS:
            raise DataError(f"{what}, at most {MOST_SYMBOLS} expected; hint: divide the word")
        if self.config.longest is not None and symbols > self.config.longest:
            raise DataError(
                f"{what}, and this model learned {self.config.longest} positions; "
                "hint: leave the word out, or train with positions=sinusoidal"
            )

    def _pronunciation(self, word: str, best: Hypothesis) -> Pronunciation:
        alignment = alignment_of(best, len(word), self.config.attends)
        return Pronunciation(word, self.phonemes.decode(best.ids), math.exp(best.log_probability), alignment)

    # ------------------------------------------------------------------------------------------ training and scoring
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

    def encode(self, lexicon: Lexicon) -> list[Pair]:
        """Every (word, pronunciation) as (letter ids, phoneme ids between BOS and EOS)."""
        return [(self.letters.encode(w), self.phonemes.encode(p, bos=True, eos=True)) for w, p in lexicon.pairs()]

    # ------------------------------------------------------------------------------------------ checkpoints
    def meta(self) -> dict[str, Any]:
        """The letters and phonemes, for a checkpoint."""
        return {"letters": self.letters.to_list(), "phonemes": self.phonemes.to_list()}
