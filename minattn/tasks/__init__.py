"""Recipes: a model, its data, its training and its pictures, put together to a run that ends in a number."""
