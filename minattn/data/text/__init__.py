"""Words and texts."""
