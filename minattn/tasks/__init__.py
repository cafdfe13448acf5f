"""Tasks: a model, its data, its training and its figures, put together to a run that ends in a score."""
