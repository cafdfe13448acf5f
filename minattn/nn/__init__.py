"""Layers: modules with parameters, initialisers, losses."""

from minattn.nn import initializers
from minattn.nn.layers import Dropout, Embedding, LayerNorm, Linear, Maxout, maxout
from minattn.nn.module import Buffer, Module, Parameter
from minattn.nn.recurrent import GRU, BidirectionalGRU, GRUCell, gated_sequence, gated_unit

__all__ = [
    "GRU",
    "BidirectionalGRU",
    "Buffer",
    "Dropout",
    "Embedding",
    "GRUCell",
    "LayerNorm",
    "Linear",
    "Maxout",
    "Module",
    "Parameter",
    "gated_sequence",
    "gated_unit",
    "initializers",
    "maxout",
]
