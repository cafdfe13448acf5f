"""Attention over a memory, in several hops."""

from minattn.attention.memory.end_to_end import EndToEndMemory
from minattn.attention.memory.sentences import SentenceEmbedding, position_weights, sentence_vectors, with_noise

__all__ = ["EndToEndMemory", "SentenceEmbedding", "position_weights", "sentence_vectors", "with_noise"]
