"""The papers' networks, one file each, with the published sizes as named configurations."""

from minattn.models.bert import Bert, BertConfig
from minattn.models.language_model import LanguageModel, LanguageModelConfig
from minattn.models.rnnsearch import RNNsearch, RNNsearchConfig
from minattn.models.search import Hypothesis, beam_search, greedy_search
from minattn.models.summary import count_macs, summarize
from minattn.models.transformer import Transformer, TransformerConfig

__all__ = [
    "Bert",
    "BertConfig",
    "Hypothesis",
    "LanguageModel",
    "LanguageModelConfig",
    "RNNsearch",
    "RNNsearchConfig",
    "Transformer",
    "TransformerConfig",
    "beam_search",
    "count_macs",
    "greedy_search",
    "summarize",
]
