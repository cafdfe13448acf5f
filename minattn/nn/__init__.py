"""Layers: modules with parameters, initializers, losses."""

from minattn.nn import initializers, masks
from minattn.nn.convolution import Conv1d, Conv2d, ConvNorm
from minattn.nn.layers import Dropout, Embedding, LayerNorm, Linear, Maxout, RMSNorm, maxout
from minattn.nn.losses import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber,
    kl_divergence,
    mean_absolute_error,
    mean_squared_error,
    negative_log_likelihood,
)
from minattn.nn.module import Buffer, Module, Parameter
from minattn.nn.normalization import BatchNorm2d, GroupNorm
from minattn.nn.recurrent.gru import GRU, BidirectionalGRU, GRUCell, gru, gru_cell
from minattn.nn.recurrent.lstm import LSTM, BidirectionalLSTM, LSTMCell, lstm, lstm_cell
from minattn.nn.recurrent.rnn import RNN, BidirectionalRNN, RNNCell, rnn, rnn_cell
from minattn.nn.state_files import load_state, save_state

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "BatchNorm2d",
    "BidirectionalGRU",
    "BidirectionalLSTM",
    "BidirectionalRNN",
    "Buffer",
    "Conv1d",
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
    "RMSNorm",
    "RNNCell",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "gru",
    "gru_cell",
    "huber",
    "initializers",
    "kl_divergence",
    "load_state",
    "lstm",
    "lstm_cell",
    "masks",
    "maxout",
    "mean_absolute_error",
    "mean_squared_error",
    "negative_log_likelihood",
    "rnn",
    "rnn_cell",
    "save_state",
]
