"""Bodies in images: where their joints are."""
