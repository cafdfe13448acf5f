"""Attention over time steps and memories."""

from minattn.attention.sequence.additive import AdditiveAttention, additive_attention
from minattn.attention.sequence.attentive_gru import attentive_gru

__all__ = ["AdditiveAttention", "additive_attention", "attentive_gru"]
