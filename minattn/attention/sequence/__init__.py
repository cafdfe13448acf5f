"""Attention over time steps and memories."""

from minattn.attention.sequence.additive import AdditiveAttention, additive_attention
from minattn.attention.sequence.attentional_lstm import attentional_lstm
from minattn.attention.sequence.attentive_gru import attentive_gru
from minattn.attention.sequence.luong import GlobalAttention
from minattn.attention.sequence.luong_local import LocalAttention

__all__ = [
    "AdditiveAttention",
    "GlobalAttention",
    "LocalAttention",
    "additive_attention",
    "attentional_lstm",
    "attentive_gru",
]
