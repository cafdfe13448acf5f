"""The networks that learn to translate, and the settings of a run with each.

The defaults are for dates, which take about two minutes on two cores; `TEXT` and `TOKENIZED` change them for sentences,
which take as long as one has.  Luong's network has one layer: a second one makes a step half as long again, and each
step teaches less, in runs of minutes.  Its rate is twice that of the others with recurrence, at which it learns slower.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from minattn.tasks.fields import Count
from minattn.tasks.sequences.settings import (
    SMALL_LUONG,
    SMALL_RNNENCDEC,
    SMALL_RNNSEARCH,
    SMALL_TRANSFORMER,
    SequenceConfig,
)
from minattn.training.translation_metrics import Tokenization

Symbols = Literal["characters", "words", "bpe"]


@dataclass(frozen=True, kw_only=True)
class TranslationConfig(SequenceConfig):
    """The settings of a run of translation."""

    symbols: Annotated[Symbols, "what a sentence is made of; bpe is pieces of words; of text the default is bpe"] = (
        "characters"
    )
    vocabulary: Annotated[Count, "words, or pieces of words, of each language; of characters, all are known"] = 4000
    joint: Annotated[bool, "one vocabulary for both languages"] = False
    max_symbols: Annotated[Count, "pairs with more symbols on a side are not trained on"] = 80
    bleu: Annotated[Tokenization, "sacrebleu's way to divide words for BLEU; of tokenized text the default is none"] = (
        "13a"
    )
    epochs: Annotated[Count, "passes over the training pairs; of text the default is 10"] = 2


MODELS = {
    "rnnsearch": TranslationConfig(model="rnnsearch", network=SMALL_RNNSEARCH),
    "rnnencdec": TranslationConfig(model="rnnencdec", network=SMALL_RNNENCDEC),
    "luong": TranslationConfig(model="luong", network=SMALL_LUONG, lr=6e-3),
    "transformer": TranslationConfig(model="transformer", network=SMALL_TRANSFORMER, lr=2e-3, label_smoothing=0.1),
}
"""The default settings of a run, by network."""

TEXT: dict[str, Any] = {"symbols": "bpe", "epochs": 10}
"""The changes for sentences."""

TOKENIZED: dict[str, Any] = {"bleu": "none"}
"""The changes for text whose words are divided by spaces already."""
