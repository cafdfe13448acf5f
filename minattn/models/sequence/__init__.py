"""Sequence models: translation networks, language models, BERT, and decoding."""
