"""Attention over a memory, in several hops."""

from minattn.attention.memory.end_to_end import EndToEndMemory
from minattn.attention.memory.key_value import KeyHashing, KeyValueMemory, key_value_hops
from minattn.attention.memory.sentences import SentenceEmbedding, position_weights, sentence_vectors, with_noise

__all__ = [
    "EndToEndMemory",
    "KeyHashing",
    "KeyValueMemory",
    "SentenceEmbedding",
    "key_value_hops",
    "position_weights",
    "sentence_vectors",
    "with_noise",
]
