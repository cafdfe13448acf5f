"""PyTorch, eager, with its optimizers as they come; "torch-fused" asks for the fused ones, "torch-channels-last" for
images whose channels are stored side by side.
"""

import math
from functools import partial
from itertools import cycle

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.inputs import EPSILON

use = torch.set_num_threads
constant, sum, tanh = torch.from_numpy, torch.sum, torch.tanh
gelu, softmax = partial(F.gelu, approximate="tanh"), partial(F.softmax, dim=-1)


def layer_norm(x, weight, bias):
    return F.layer_norm(x, weight.shape, weight, bias)


def conv(x, weight, stride, groups=1):
    return F.conv2d(x, weight, stride=stride, padding=1, groups=groups)


def differentiated(loss_of, parameters):
    p = {name: torch.from_numpy(array).requires_grad_() for name, array in parameters.items()}

    def step():
        for parameter in p.values():
            parameter.grad = None
        loss = loss_of(p)
        loss.backward()
        return loss.item()

    return step


def pulled_back(function, inputs, g, elements, channels_last=False):
    p = {name: stored(array, channels_last).requires_grad_() for name, array in inputs.items()}
    g = stored(g, channels_last)

    def step():
        for parameter in p.values():
            parameter.grad = None
        function(p).backward(g)
        return math.fsum(p[name].grad[index].item() for name, index in elements.items())

    return step


def applied(function, inputs, element, channels_last=False):
    p = {name: stored(array, channels_last) for name, array in inputs.items()}

    @torch.inference_mode()
    def step():
        return function(p)[element].item()

    return step


def stored(array, channels_last):
    """A tensor; where it is of images or kernels, with their channels side by side if wanted."""
    tensor = torch.from_numpy(array)
    return tensor.contiguous(memory_format=torch.channels_last) if channels_last and tensor.ndim == 4 else tensor


def cross_entropy(logits, target):
    return F.cross_entropy(logits.flatten(0, -2), target.flatten())


def trained(model, batches, fused=False, optimizer=None, channels_last=False, mean_loss=cross_entropy):
    """A step on the next batch, whose last part is what model(*all others) is to predict; Adam unless given."""
    optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)
    coming = cycle([[stored(array, channels_last) for array in batch] for batch in batches])

    def step():
        *given, target = next(coming)
        loss = mean_loss(model(*given), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def inferred(model, batches, channels_last):
    """A step is the model on the next batch and gives the largest logit."""
    model.eval()
    coming = cycle([[stored(array, channels_last) for array in batch] for batch in batches])

    @torch.inference_mode()
    def step():
        return model(next(coming)[0]).max().item()

    return step


@torch.no_grad()
def copy(parameter, array) -> None:
    parameter.copy_(torch.from_numpy(array))


def linear(weight, bias=None) -> nn.Linear:
    """A layer that starts from weight (inputs, outputs)."""
    layer = nn.Linear(*weight.shape, bias=bias is not None)
    copy(layer.weight, weight.T)
    if bias is not None:
        copy(layer.bias, bias)
    return layer


def embedding(weight) -> nn.Embedding:
    return nn.Embedding.from_pretrained(torch.from_numpy(weight), freeze=False)


def norm(p, name: str) -> nn.LayerNorm:
    layer = nn.LayerNorm(p[f"{name}_weight"].size, eps=EPSILON)
    copy(layer.weight, p[f"{name}_weight"])
    copy(layer.bias, p[f"{name}_bias"])
    return layer


def feed_forward(p, name: str, activation: nn.Module) -> nn.Module:
    first, second = (linear(p[f"{name}_W_{i}"], p[f"{name}_b_{i}"]) for i in (1, 2))
    return nn.Sequential(first, activation, second)


class SelfAttention(nn.Module):
    """Queries, keys and values are one product, as in nn.MultiheadAttention."""

    def __init__(self, p, name: str, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.queries_keys_values = linear(np.concatenate([p[f"{name}_W_{part}"] for part in "QKV"], axis=1))
        self.output = linear(p[f"{name}_W_O"])

    def forward(self, x: Tensor) -> Tensor:
        parts = self.queries_keys_values(x).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        context = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.output(context.transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    def __init__(self, p, name: str, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries = linear(p[f"{name}_W_Q"])
        self.keys_values = linear(np.concatenate([p[f"{name}_W_{part}"] for part in "KV"], axis=1))
        self.output = linear(p[f"{name}_W_O"])

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        parts = (self.queries(x), *self.keys_values(memory).chunk(2, dim=-1))
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        return self.output(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
