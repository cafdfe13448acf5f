"""Attention over time steps and memories."""

from minattn.attention.sequence.additive import AdditiveAttention, additive_attention

__all__ = ["AdditiveAttention", "additive_attention"]
