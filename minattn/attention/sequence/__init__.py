"""Attention of a decoder: over the steps of a source, or over the locations of an image."""

from minattn.attention.sequence.additive import AdditiveAttention, additive_attention
from minattn.attention.sequence.attentional_lstm import attentional_lstm
from minattn.attention.sequence.attentive_gru import attentive_gru
from minattn.attention.sequence.luong import GlobalAttention
from minattn.attention.sequence.luong_local import LocalAttention
from minattn.attention.sequence.visual import VisualAttention, doubly_stochastic_penalty
from minattn.attention.sequence.visual_hard import HardAttentionLoss, hard_loss, hard_weights
from minattn.attention.sequence.visual_lstm import visual_lstm

__all__ = [
    "AdditiveAttention",
    "GlobalAttention",
    "HardAttentionLoss",
    "LocalAttention",
    "VisualAttention",
    "additive_attention",
    "attentional_lstm",
    "attentive_gru",
    "doubly_stochastic_penalty",
    "hard_loss",
    "hard_weights",
    "visual_lstm",
]
