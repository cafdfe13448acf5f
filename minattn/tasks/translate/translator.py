"""A model with the symbols of both languages: trained, scored and asked for translations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from minattn.autograd import no_grad
from minattn.data import (
    AlignedText,
    CharacterTokenizer,
    LengthBucketedBatches,
    ParallelText,
    PieceTokenizer,
    Tokenizer,
    WordTokenizer,
    evaluation_batches,
)
from minattn.data.batching import Pair
from minattn.data.text.alignments import Link
from minattn.data.text.parallel import shown
from minattn.data.text.vocabulary import UNKNOWN
from minattn.errors import ConfigError, DataError
from minattn.models.sequence.search import Hypothesis, alignment_with
from minattn.tasks.sequences.transducer import Transducer, alignment_of
from minattn.tasks.task import OnProgress, ignore_progress
from minattn.tasks.threads import blas_threads
from minattn.tasks.translate.settings import TranslationConfig
from minattn.training.alignment_metrics import (
    AlignmentScore,
    attention_links,
    links_where_marked,
    score_alignments,
)

if TYPE_CHECKING:
    from minattn.viz import Alignment

MOST_SYMBOLS = 1000
"""In a sentence that is translated or scored."""


class Translated(NamedTuple):
    """The translation of a sentence."""

    source: str
    target: str
    probability: float
    """Of the whole translation, under the model."""
    source_symbols: list[str]
    target_symbols: list[str]
    alignment: np.ndarray
    """(target, source): how much each symbol looked at each of the source.  Without attention (target, 1)."""

    @property
    def line(self) -> str:
        """The translation."""
        return self.target or "(nothing)"

    @property
    def panel(self) -> "Alignment":
        """The heat map."""
        from minattn.viz import Alignment

        return Alignment(self.alignment, self.source_symbols, self.target_symbols, None, self.probability)


@dataclass
class StoredTokenizers:
    """What a checkpoint says beside the model's parameters."""

    source: dict[str, Any]
    target: dict[str, Any]


class Translator(Transducer):
    """A model with the tokenizers of both languages.

    Raises ConfigError where the configuration is one for vocabularies of other sizes.
    """

    def __init__(self, config: TranslationConfig, source: Tokenizer, target: Tokenizer) -> None:
        super().__init__(config, (len(source), len(target)))
        self.source, self.target = source, target

    @classmethod
    def of(cls, config: TranslationConfig, train: ParallelText) -> Self:
        """An untrained one, whose symbols are learned from the sentences to train on."""
        if config.joint:
            source = target = _learned([*train.sources, *train.targets], config)
        else:
            source, target = (_learned(side, config) for side in (train.sources, train.targets))
        return cls(config.of_sizes(len(source), len(target)), source, target)

    # ------------------------------------------------------------------------------------------ translating
    def translate(
        self,
        sentences: Sequence[str],
        beam: int | None = None,
        alpha: float | None = None,
        on_progress: OnProgress = ignore_progress,
    ) -> list[Translated]:
        """The likeliest translation of each sentence that beam search finds; `on_progress` counts the sentences.

        beam, alpha: None for the run's.
        Raises DataError for a sentence that is blank or too long, or of which no symbol is known.
        """
        for sentence in sentences:
            self.source.check_known(sentence)
        sources = [self._ids(sentence) for sentence in sentences]
        found = self.search(sources, beam, alpha, batch_size=128, on_progress=on_progress)
        return [self._translated(sentence, best) for sentence, best in zip(sentences, found, strict=True)]

    def _ids(self, sentence: str, what: str = "the sentence") -> np.ndarray:
        ids = self.source.encode(sentence)
        most = min(MOST_SYMBOLS, self.config.longest or MOST_SYMBOLS)
        if len(ids) > most:
            raise DataError(
                f"{what} {shown(sentence)} has {len(ids):,} {self.config.symbols}, at most {most:,} expected; "
                "hint: divide it" + (", or train with positions=sinusoidal" if most < MOST_SYMBOLS else "")
            )
        return ids

    def _translated(self, sentence: str, best: Hypothesis) -> Translated:
        symbols = self.source.tokens(sentence)
        return Translated(
            sentence,
            self.target.decode(best.ids),
            math.exp(best.log_probability),
            symbols,
            self.target.symbols(best.ids),
            alignment_of(best, len(symbols), self.config.attends),
        )

    # ------------------------------------------------------------------------------------------ training and scoring
    def encode(self, data: ParallelText) -> list[Pair]:
        """Every pair as (source ids, target ids between BOS and EOS)."""
        return [(self.source.encode(source), self.target.encode(target, bos=True, eos=True)) for source, target in data]

    def batches(self, train: ParallelText) -> LengthBucketedBatches:
        """Batches of the pairs to train on, without those that are too long."""
        most = min(self.config.max_symbols, self.config.longest or self.config.max_symbols)
        pairs = [pair for pair in self.encode(train) if len(pair[0]) <= most and len(pair[1]) <= most + 2]
        if not pairs:
            raise ConfigError(f"no pair has at most {most} {self.config.symbols} a side; hint: a larger max_symbols")
        return LengthBucketedBatches(pairs, self.config.batch_size, self.config.seed)

    def check(self, data: ParallelText, name: str) -> None:
        """Raise DataError where a sentence of the data, called `name`, is too long, or nothing of them all is known."""
        known = False
        for source in data.sources:
            ids = self._ids(source, f"{name}: the sentence")
            known = known or bool((ids != UNKNOWN).any())
        if not known:
            self.source.check_known(data[0].source)

    @blas_threads()
    @no_grad()
    def links(self, data: ParallelText) -> list[frozenset[Link]]:
        """The links of each pair by the largest weights of attention, with the reference as the decoder's input."""
        self.model.eval()
        links: list[frozenset[Link]] = [frozenset()] * len(data)
        for batch in evaluation_batches(self.encode(data), 128):
            source = self.model.encode(batch.source, batch.source_mask)
            weights = alignment_with(self.model, source, batch.target[:, :-1])
            for index, of_pair in zip(batch.indices, weights, strict=True):
                units = self.source.units(data[index].source), self.target.units(data[index].target)
                links[index] = attention_links(of_pair, *units)
        return links

    def alignment_score(self, data: AlignedText, moved: int = 0) -> AlignmentScore | None:
        """The alignment error rate of `links`; moved: by so many positions of the source.

        None where there is no attention, or its symbols are no characters and those of the data are.  Symbols of which
        no character is marked, such as hyphens of dates, have no links; words all have one, as in Luong et al. 2015.
        """
        of_characters = data.unit == "character"
        if not self.config.attends or of_characters != (self.config.symbols == "characters"):
            return None
        links = [frozenset((i + moved, j) for i, j in of_pair) for of_pair in self.links(data)]
        if of_characters:
            links = [links_where_marked(*of_pair) for of_pair in zip(links, data.alignments, strict=True)]
        return score_alignments(links, data.alignments)

    # ------------------------------------------------------------------------------------------ checkpoints
    def meta(self) -> dict[str, Any]:
        """Both tokenizers, for a checkpoint."""
        return {"source": self.source.to_json(), "target": self.target.to_json()}


def _learned(sentences: Sequence[str], config: TranslationConfig) -> Tokenizer:
    match config.symbols:
        case "characters":
            return CharacterTokenizer.learn(sentences)
        case "words":
            return WordTokenizer.learn(sentences, max_size=config.vocabulary)
    return PieceTokenizer.learn(sentences, config.vocabulary)
