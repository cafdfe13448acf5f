"""Attention of a sequence over itself, or over another by the same rule: the Transformer's."""

from minattn.attention.self_attention.augmented_convolution import (
    AugmentedConvolution,
    relative_logits,
    relative_to_absolute,
)
from minattn.attention.self_attention.local_attention import (
    Block,
    LocalMultiHeadAttention,
    blocks_1d,
    blocks_2d,
    local_attention,
)
from minattn.attention.self_attention.modified_attention import (
    modified_attention,
    modified_attention_context,
    modified_attention_weights,
)
from minattn.attention.self_attention.multi_head import KeyValues, MultiHeadAttention
from minattn.attention.self_attention.non_local import NonLocalBlock
from minattn.attention.self_attention.positions import LearnedPositions, SinusoidalPositions, sinusoidal_positions
from minattn.attention.self_attention.rotary import RotaryPositions, rotary_angles, rotate
from minattn.attention.self_attention.scaled_dot_product import (
    attention,
    attention_context,
    scaled_dot_product_attention,
)

__all__ = [
    "AugmentedConvolution",
    "Block",
    "KeyValues",
    "LearnedPositions",
    "LocalMultiHeadAttention",
    "MultiHeadAttention",
    "NonLocalBlock",
    "RotaryPositions",
    "SinusoidalPositions",
    "attention",
    "attention_context",
    "blocks_1d",
    "blocks_2d",
    "local_attention",
    "modified_attention",
    "modified_attention_context",
    "modified_attention_weights",
    "relative_logits",
    "relative_to_absolute",
    "rotary_angles",
    "rotate",
    "scaled_dot_product_attention",
    "sinusoidal_positions",
]
