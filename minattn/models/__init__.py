"""The papers' networks, one file each, with the published sizes as named configurations."""

from minattn.models.rnnsearch import RNNsearch, RNNsearchConfig
from minattn.models.search import Hypothesis, beam_search, greedy_search

__all__ = ["Hypothesis", "RNNsearch", "RNNsearchConfig", "beam_search", "greedy_search"]
