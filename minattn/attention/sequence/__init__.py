"""Attention over time steps and memories."""

from minattn.attention.sequence.additive import AdditiveAttention, additive_attention
from minattn.attention.sequence.decoder import AttentiveGRU, attentive_gru

__all__ = ["AdditiveAttention", "AttentiveGRU", "additive_attention", "attentive_gru"]
