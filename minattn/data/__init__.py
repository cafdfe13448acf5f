"""Data sets, vocabularies and batches.  Everything here is NumPy on the host and needs no engine."""

from minattn.data.vocabulary import Vocabulary

__all__ = [
    "Vocabulary",
]
