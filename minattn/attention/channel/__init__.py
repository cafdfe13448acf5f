"""Attention over channels."""

from minattn.attention.channel.squeeze_excitation import SqueezeExcitation, scale, squeeze

__all__ = ["SqueezeExcitation", "scale", "squeeze"]
