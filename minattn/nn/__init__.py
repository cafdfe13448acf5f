"""Layers: modules with parameters, initialisers, losses."""

from minattn.nn import initializers
from minattn.nn.convolution import Conv2d, ConvNorm
from minattn.nn.gru import GRU, BidirectionalGRU, GRUCell, gated_sequence, gated_unit
from minattn.nn.layers import Dropout, Embedding, LayerNorm, Linear, Maxout, maxout
from minattn.nn.losses import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber,
    kl_divergence,
    mean_absolute_error,
    mean_squared_error,
    negative_log_likelihood,
)
from minattn.nn.lstm import LSTM, BidirectionalLSTM, LSTMCell, lstm_sequence, lstm_unit
from minattn.nn.module import Buffer, Module, Parameter
from minattn.nn.normalization import BatchNorm2d, GroupNorm

__all__ = [
    "GRU",
    "LSTM",
    "BatchNorm2d",
    "BidirectionalGRU",
    "BidirectionalLSTM",
    "Buffer",
    "Conv2d",
    "ConvNorm",
    "Dropout",
    "Embedding",
    "GRUCell",
    "GroupNorm",
    "LSTMCell",
    "LayerNorm",
    "Linear",
    "Maxout",
    "Module",
    "Parameter",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "gated_sequence",
    "gated_unit",
    "huber",
    "initializers",
    "kl_divergence",
    "lstm_sequence",
    "lstm_unit",
    "maxout",
    "mean_absolute_error",
    "mean_squared_error",
    "negative_log_likelihood",
]
