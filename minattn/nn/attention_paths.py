"""Attention handed up from module to module: a dict from the path of each mechanism, as in `named_modules()`, to its
weights.

A block returns `(output, {"se": gates})`, the network around it `(output, {"stages.1.0.se": gates})`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from minattn.autograd import Tensor

Attention = dict[str, Tensor]


def prefixed(path: str, attention: Attention) -> Attention:
    """Return the attention of the module at `path`, named as the module that holds it sees it."""
    return {f"{path}.{name}": weights for name, weights in attention.items()}


def in_sequence(
    path: str, blocks: Sequence[Callable[..., tuple[Any, Attention]]], x: Any, *context: Any
) -> tuple[Any, Attention]:
    """Run the list of blocks at `path`, `x, attention = block(x, *context)`; return the last x and all attention."""
    attention: Attention = {}
    for i, block in enumerate(blocks):
        x, inner = block(x, *context)
        attention |= prefixed(f"{path}.{i}", inner)
    return x, attention
