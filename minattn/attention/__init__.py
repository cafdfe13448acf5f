"""Attention mechanisms, one file each, sorted by what is attended over.  Each returns (output, weights)."""
