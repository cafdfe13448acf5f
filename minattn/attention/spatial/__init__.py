"""Attention over the positions of a feature map."""

from minattn.attention.spatial.attention_branch import AttentionBranch, attend
from minattn.attention.spatial.class_activation_map import (
    class_activation_map,
    class_scores,
    contrastive_map,
    gradient_class_activation_map,
)
from minattn.attention.spatial.regions import Box, box_of, largest_segment, normalized, upsampled
from minattn.attention.spatial.residual_attention import ResidualAttention, SoftMask, masked

__all__ = [
    "AttentionBranch",
    "Box",
    "ResidualAttention",
    "SoftMask",
    "attend",
    "box_of",
    "class_activation_map",
    "class_scores",
    "contrastive_map",
    "gradient_class_activation_map",
    "largest_segment",
    "masked",
    "normalized",
    "upsampled",
]
