"""Data sets, vocabularies and batches.  Everything here is NumPy on the host and needs no engine."""

from minattn.data.batching import (
    LengthBucketedBatches,
    PaddedBatch,
    evaluation_batches,
    pad_sequences,
    source_batches,
)
from minattn.data.cmudict import load_cmudict, read_cmudict
from minattn.data.docstrings import load_docstrings
from minattn.data.lexicon import Lexicon, read_lexicon
from minattn.data.splits import Splits, hold_out, split_lexicon
from minattn.data.texts import Alphabet, Texts, read_text, split_text
from minattn.data.vocabulary import Vocabulary
from minattn.data.windows import TextBatch, TextWindows, evaluation_windows

__all__ = [
    "Alphabet",
    "LengthBucketedBatches",
    "Lexicon",
    "PaddedBatch",
    "Splits",
    "TextBatch",
    "TextWindows",
    "Texts",
    "Vocabulary",
    "evaluation_batches",
    "evaluation_windows",
    "hold_out",
    "load_cmudict",
    "load_docstrings",
    "pad_sequences",
    "read_cmudict",
    "read_lexicon",
    "read_text",
    "source_batches",
    "split_lexicon",
    "split_text",
]
