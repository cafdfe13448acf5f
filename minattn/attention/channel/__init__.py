"""Attention over channels, and gates of single numbers."""

from minattn.attention.channel.highway import ConvHighway, Highway
from minattn.attention.channel.squeeze_excitation import SqueezeExcitation, scale, squeeze

__all__ = ["ConvHighway", "Highway", "SqueezeExcitation", "scale", "squeeze"]
