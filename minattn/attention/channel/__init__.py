"""Attention over channels, and elementwise gates."""

from minattn.attention.channel.highway import ConvHighway, Highway
from minattn.attention.channel.squeeze_excitation import SqueezeExcitation, scale, squeeze

__all__ = ["ConvHighway", "Highway", "SqueezeExcitation", "scale", "squeeze"]
