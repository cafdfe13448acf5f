"""The mechanisms of attention, one file each, sorted by where they look.  Each returns (context, weights)."""
