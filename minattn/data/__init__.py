"""Data sets, vocabularies and batches.  Everything here is NumPy on the host and needs no engine."""

from minattn.data.batching import (
    LengthBucketedBatches,
    PaddedBatch,
    evaluation_batches,
    pad_sequences,
    source_batches,
)
from minattn.data.vocabulary import Vocabulary

__all__ = [
    "LengthBucketedBatches",
    "PaddedBatch",
    "Vocabulary",
    "evaluation_batches",
    "pad_sequences",
    "source_batches",
]
