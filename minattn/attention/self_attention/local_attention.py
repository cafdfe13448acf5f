"""Local self-attention: blocks of queries, each with a memory of its own, and no scores outside of it.

N. Parmar, A. Vaswani, J. Uszkoreit, L. Kaiser, N. Shazeer, A. Ku and D. Tran, "Image Transformer", ICML 2018,
sections 3.2 and 3.3.  The positions of an image are generated one after another, and in this order they are cut into
blocks of queries.  All queries q of a block attend to one memory M: certain earlier positions, and then the block
itself, in which a query attends to itself and to those before it:

    q_a = softmax(W_q q (M W_k)^T / sqrt(d_k)) M W_v                                            (a)

1-D: positions in raster order, blocks of l_q; the memory begins with the l_m positions before the block, in the
authors' code with the whole block before it, l_m = l_q.  Images of less than two blocks are one block.

2-D: blocks of h_q x w_q positions of the image, in raster order, and positions in raster order in each.  The memory
begins with h_m rows above the block, from w_m columns left of it to w_m columns right of it, and w_m columns at its
left:

    above left    above   above right
    left          block

All of that is generated before the block.  So attention is causal in this order, not in the raster order of the image.

A block has n_q n_m scores, all blocks about n n_m in place of n^2.  The letter is this file's.

Deviations from the paper: d_k is the size of a head's keys, as in the Transformer, where the paper prints d.  The
authors' code pads images to whole blocks and masks what it padded; here blocks at the edge are smaller, and nothing is
padded.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Inexact, Integer

from minattn.attention.self_attention.multi_head import KeyValues, MultiHeadAttention
from minattn.attention.self_attention.scaled_dot_product import scaled_dot_product_attention
from minattn.autograd import Array, Tensor, ops
from minattn.errors import ConfigError, ShapeError
from minattn.nn.initializers import Rng
from minattn.published import Mechanism, Paper


@dataclass(frozen=True, eq=False)
class Block:
    """Queries `start` to `end` - 1, and the earlier positions of their memory, all in the order of generation."""

    start: int
    end: int
    before: Integer[np.ndarray, " earlier"]

    @property
    def memory(self) -> Integer[np.ndarray, " memory"]:
        """The positions of the memory: the earlier ones, then those of the block."""
        return np.concatenate([self.before, np.arange(self.start, self.end)])


# ---------------------------------------------------------------------------------------------- blocks
def blocks_1d(length: int, query: int, memory: int | None = None) -> list[Block]:
    """Return the blocks of a sequence: l_q = query, l_m = memory, as many unless given.

    Raises ConfigError for sizes below 1, and for a memory below 0.
    """
    memory = query if memory is None else memory
    if min(length, query) < 1 or memory < 0:
        raise ConfigError(
            f"blocks of {query} positions with a memory of {memory} for {length} positions are none; hint: 1 or more"
        )
    if length < 2 * query:
        return [Block(0, length, np.arange(0))]
    return [
        Block(start, min(start + query, length), np.arange(max(0, start - memory), start))
        for start in range(0, length, query)
    ]


def blocks_2d(
    height: int, width: int, query: tuple[int, int], memory: tuple[int, int]
) -> tuple[Integer[np.ndarray, " n"], list[Block]]:
    """Return (order, blocks) of an image: (h_q, w_q) = query, (h_m, w_m) = memory.

    order: the positions y width + x as they are generated, block by block.  Raises ConfigError for sizes below 1, and
    for a memory below 0.
    """
    (rows, columns), (above, beside) = query, memory
    if min(height, width, rows, columns) < 1 or min(above, beside) < 0:
        raise ConfigError(
            f"blocks of {rows} x {columns} positions with a memory of {above} x {beside} for {height} x {width} are "
            "none; hint: 1 or more"
        )
    corners = [(y, x) for y in range(0, height, rows) for x in range(0, width, columns)]
    positions = np.arange(height * width).reshape(height, width)
    order = np.concatenate([positions[y : y + rows, x : x + columns].ravel() for y, x in corners])
    rank = np.empty_like(positions)  # when each position is generated
    rank.ravel()[order] = np.arange(height * width)
    blocks = []
    for y, x in corners:
        left, right = max(0, x - beside), x + columns + beside
        strip = rank[max(0, y - above) : y, left:right]
        before = np.concatenate([strip.ravel(), rank[y : y + rows, left:x].ravel()])
        own = rank[y : y + rows, x : x + columns]
        blocks.append(Block(int(own.min()), int(own.max()) + 1, before))
    return order, blocks


# ---------------------------------------------------------------------------------------------- attention
def local_attention(
    q: Inexact[Tensor, "*batch n d_k"],
    k: Inexact[Tensor, "*batch n d_k"],
    v: Inexact[Tensor, "*batch n d_v"],
    blocks: list[Block],
    need_weights: bool = True,
) -> tuple[Inexact[Tensor, "*batch n d_v"], Inexact[Tensor, "*batch n n"] | None]:
    """Return (context, weights) of (a), for the first n positions in the order of generation.

    The weights are 0 outside of a block's memory; need_weights=False: (context, None), and nothing with n^2 numbers is
    made.  Raises ShapeError where the blocks are of fewer positions, where there are none, and where queries, keys and
    values are not equally many.
    """
    n = q.shape[-2]
    count = blocks[-1].end if blocks else 0
    if not 1 <= n <= count or not n == k.shape[-2] == v.shape[-2]:
        raise ShapeError(
            f"the blocks are of {count} positions, got {n} queries, {k.shape[-2]} keys and {v.shape[-2]} values; "
            "hint: as many of each, and blocks for that size"
        )
    contexts, rows = [], []
    for block in (Block(b.start, min(b.end, n), b.before) for b in blocks if b.start < n):
        queries = q[..., block.start : block.end, :]
        keys, values = (_gather(x, block) for x in (k, v))
        context, weights = scaled_dot_product_attention(queries, keys, values, None, True, need_weights)  # (a)
        contexts.append(context)
        if weights is not None:
            rows.append(_scatter(weights, block.memory, n))
    return ops.concat(contexts, axis=-2), ops.concat(rows, axis=-2) if need_weights else None


def _gather(x: Inexact[Tensor, "*batch n d"], block: Block) -> Inexact[Tensor, "*batch memory d"]:
    """The memory of a block, without a copy where its positions are contiguous."""
    memory = block.memory
    first, end = int(memory[0]), int(memory[0]) + len(memory)
    if np.array_equal(memory, np.arange(first, end)):
        return x[..., first:end, :]
    return ops.take(x, memory, axis=-2)


def _scatter(weights: Any, memory: np.ndarray, n: int) -> Any:
    """Weights (.., n_q, memory) as (.., n_q, n), 0 for positions that are not in the memory."""
    column = np.full(n, len(memory))
    column[memory] = np.arange(len(memory))
    padded = ops.pad(weights, [(0, 0)] * (weights.ndim - 1) + [(0, 1)])
    return ops.take(padded, column, axis=-1)


class LocalMultiHeadAttention(MultiHeadAttention):
    """Multi-head attention of positions in the order of generation, by blocks.

    d_k, d_v: sizes of a head's keys and values, as in `MultiHeadAttention`.  It is always causal.
    """

    def __init__(
        self, d_model: int, heads: int, rng: Rng, blocks: list[Block], d_k: int | None = None, d_v: int | None = None
    ) -> None:
        super().__init__(d_model, heads, rng, d_k, d_v)
        self.blocks = blocks

    def attention(
        self,
        queries: Inexact[Tensor, "batch heads n_q d_k"],
        memory: KeyValues,
        mask: Array | None,
        causal: bool,
        need_weights: bool,
    ) -> tuple[Inexact[Tensor, "batch heads n_q d_v"], Inexact[Tensor, "batch heads n_q n_k"] | None]:
        """Return (context, weights) of all positions, or of a single one, the last, that is generated now.

        Raises ConfigError for a mask, since the blocks say what is attended to, and ShapeError for a position beyond.
        """
        if mask is not None:
            raise ConfigError("local attention takes no mask, its blocks say what is attended to; hint: mask=None")
        position = memory.keys.shape[2] - 1
        if queries.shape[2] != 1 or position == 0:
            return local_attention(queries, *memory, self.blocks, need_weights)
        block = next((block for block in self.blocks if block.start <= position < block.end), None)
        if block is None:
            raise ShapeError(
                f"the blocks are of {self.blocks[-1].end if self.blocks else 0} positions, got {position + 1}; hint: "
                "blocks for that size"
            )
        so_far = Block(block.start, position + 1, block.before)
        keys, values = (_gather(x, so_far) for x in memory)
        context, weights = scaled_dot_product_attention(queries, keys, values, need_weights=need_weights)
        return context, _scatter(weights, so_far.memory, position + 1) if need_weights else None


MECHANISM = Mechanism(
    name="local self-attention",
    paper=Paper("Parmar et al.", 2018, "Image Transformer"),
    equation="section 3.3: q_a = softmax(W_q q (M W_k)' / sqrt(d_k)) M W_v, M: the block of q and positions before it",
    code="LocalMultiHeadAttention",
    model="minattn.models.ImageTransformer",
    command="minattn train pixels",
)
