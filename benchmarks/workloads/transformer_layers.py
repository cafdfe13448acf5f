"""Parts shared by the Transformer (W4) and the language model (W5): inputs, work, layers over an engine's functions."""

from typing import NamedTuple

import numpy as np

from benchmarks.inputs import RNG, Arrays, matrix, norm
from benchmarks.workload import product

SHARING = "minattn's threads share the batch, as `DataParallel` does, those of the others each product"


class Stack(NamedTuple):
    """The size of a Transformer."""

    layers: int  # of the encoder, and as many of the decoder where there is one
    d_model: int
    d_ff: int
    heads: int

    def __str__(self) -> str:
        return f"{self.layers} layers, d {self.d_model}, {self.heads} heads, feed-forward {self.d_ff}"


def layer_parameters(rng: RNG, name: str, attentions: list[str], stack: Stack) -> Arrays:
    """NAME_self_W_Q, .._W_K, .._W_V and .._W_O, whose columns belong to head after head, NAME_forward_W_1, .._b_1,
    .._W_2 and .._b_2, NAME_norm1_weight and .._bias after the attention, NAME_norm2_.. after the feed-forward; for each
    further attention as much again.
    """
    d_model, d_ff = stack.d_model, stack.d_ff
    p = {f"{name}_{attention}_W_{part}": matrix(rng, d_model, d_model) for attention in attentions for part in "QKVO"}
    p |= {f"{name}_forward_W_1": matrix(rng, d_model, d_ff), f"{name}_forward_b_1": np.zeros(d_ff, np.float32)}
    p |= {f"{name}_forward_W_2": matrix(rng, d_ff, d_model), f"{name}_forward_b_2": np.zeros(d_model, np.float32)}
    for i in range(1, len(attentions) + 2):
        p |= norm(f"{name}_norm{i}", d_model)
    return p


def layer_work(stack: Stack, batch: int, length: int) -> tuple[float, float]:
    """Operations of an attention, with its four projections, and of a feed-forward."""
    d_model, d_k = stack.d_model, stack.d_model // stack.heads
    projections = 4 * product(batch * length, d_model, d_model)
    scores_and_context = 2 * batch * stack.heads * product(length, d_k, length)
    return projections + scores_and_context, 2 * product(batch * length, d_model, stack.d_ff)


def minattn_names(p, name, path, attentions):
    """The parameters of the layer `name` under minattn's names of that at `path`; attentions: given name -> own."""
    names = {f"{name}_forward_{part}": f"{path}.feed_forward.{part}" for part in ("W_1", "b_1", "W_2", "b_2")}
    for given, own in attentions.items():
        names |= {f"{name}_{given}_W_{part}": f"{path}.{own}.W_{part}" for part in "QKVO"}
    for i in range(1, len(attentions) + 2):
        names |= {f"{name}_norm{i}_{part}": f"{path}.norm_{i}.{part}" for part in ("weight", "bias")}
    return {own: p[given] for given, own in names.items()}


class Layers:
    """The layers of one model over the functions of the engine `e`, whose activations are (batch * length, d)."""

    def __init__(self, e, length, heads) -> None:
        self.e, self.length, self.heads = e, length, heads
        self.mask = e.constant(np.triu(np.full((length, length), -1e9, np.float32), 1))

    def attention(self, p, name, x, memory, causal=False):
        """Multi-head attention of x over memory; an engine may have its own attention of the heads."""
        given = {"Q": x, "K": memory, "V": memory}
        q, k, v = (self.split_heads(p[f"{name}_W_{part}"], y) for part, y in given.items())
        context = getattr(self.e, "attend", self.attend)(q, k, v, causal)
        return self.e.linear(self.e.reshape(context, x.shape), p[f"{name}_W_O"])

    def split_heads(self, weight, x):
        d_k = weight.shape[1] // self.heads
        return self.e.reshape(self.e.linear(x, weight), (-1, self.length, self.heads, d_k))

    def attend(self, q, k, v, causal):
        """softmax(Q K^T / sqrt(d_k)) V, for (batch, length, heads, d_k)."""
        q, k, v = (self.e.swapaxes(each, 1, 2) for each in (q, k, v))
        scores = self.e.matmul(q * np.float32(q.shape[-1] ** -0.5), self.e.swapaxes(k, 2, 3))
        weights = self.e.softmax(scores + self.mask if causal else scores)
        return self.e.swapaxes(self.e.matmul(weights, v), 1, 2)

    def feed_forward(self, p, name, x, activation):
        hidden = activation(self.e.linear(x, p[f"{name}_W_1"], p[f"{name}_b_1"]))
        return self.e.linear(hidden, p[f"{name}_W_2"], p[f"{name}_b_2"])

    def norm(self, p, name, x):
        return self.e.layer_norm(x, p[f"{name}_weight"], p[f"{name}_bias"])
