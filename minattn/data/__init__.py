"""Data sets, vocabularies and batches.  Everything here is NumPy on the host and needs no engine."""

from minattn.data.batching import (
    LengthBucketedBatches,
    PaddedBatch,
    evaluation_batches,
    pad_sequences,
    source_batches,
)
from minattn.data.cmudict import load_cmudict, read_cmudict
from minattn.data.lexicon import Lexicon, read_lexicon
from minattn.data.splits import Splits, hold_out, split_lexicon
from minattn.data.vocabulary import Vocabulary

__all__ = [
    "LengthBucketedBatches",
    "Lexicon",
    "PaddedBatch",
    "Splits",
    "Vocabulary",
    "evaluation_batches",
    "hold_out",
    "load_cmudict",
    "pad_sequences",
    "read_cmudict",
    "read_lexicon",
    "source_batches",
    "split_lexicon",
]
