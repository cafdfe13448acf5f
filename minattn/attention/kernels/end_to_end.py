"""All hops over a memory in one op, with their gradient: `memory/end_to_end.py` has the equation.

Letters of shapes: B batch, n memories, M free matrices, d size, K hops.
"""

from typing import Any

from minattn.attention.kernels.softmax import softmax, softmax_gradient
from minattn.autograd import Array, xp
from minattn.autograd.backend import matmul
from minattn.autograd.engine import Result
from minattn.errors import ShapeError
from minattn.nn.masks import padding_mask


def memory_hops(
    u: Array,
    memories: Array,
    H: Array | None = None,
    /,
    hops: int = 3,
    mask: Any = None,
    linear: bool = False,
    rectified: int = 0,
) -> Result:
    """u^{K+1} (B, d) and the weights (B, K, n) of K hops of questions u (B, d) over memories (B, n, M, d).

    H (d, d): layer-wise tying; mask (B, n): True = may attend; linear: without softmax; rectified: the last units of
    each u^{k+1} that go through a ReLU.
    """
    _check_sizes(u, memories, hops if H is None else 1)
    module, real = xp(u), padding_mask(mask, memories)
    memories = memories if real is None else module.where(real[:, :, None, None], memories, 0)
    pairs = [(memories[:, :, k], memories[:, :, k + 1]) for k in (range(hops) if H is None else [0] * hops)]
    questions, weights, positive = [u], [], []
    for m, c in pairs:
        scores = matmul(m, u[:, :, None])[:, :, 0]
        p = softmax(scores, real) if not linear else scores  # (1) (c)
        u = (u if H is None else matmul(u, H)) + matmul(p[:, None], c)[:, 0]  # (2) (a) (b)
        if rectified:
            positive.append(u[:, -rectified:].real > 0)
            u[:, -rectified:] *= positive[-1]
        questions.append(u)
        weights.append(p)

    def pullback(g: Array, g_weights: Array) -> tuple[Array, Array, Array | None]:
        d_memories, d_H = module.zeros_like(memories), None if H is None else module.zeros_like(H)
        outer: list[list[tuple[Array, Array]]] = [[] for _ in range(memories.shape[2])]  # products of each matrix
        for k in reversed(range(hops)):
            (m, c), u, p, i = pairs[k], questions[k], weights[k], k if H is None else 0
            if rectified:
                g = module.concatenate([g[:, :-rectified], g[:, -rectified:] * positive[k]], 1)
            d_p = matmul(c, g[:, :, None])[:, :, 0] + g_weights[:, k]
            if not linear:
                d_p = softmax_gradient(d_p, p)
            elif real is not None:
                d_p = module.where(real, d_p, 0)
            outer[i].append((d_p, u))
            outer[i + 1].append((p, g))
            d_u = matmul(d_p[:, None], m)[:, 0]
            if H is None:
                g = g + d_u
            else:
                d_H += matmul(u.T, g)
                g = matmul(g, H.T) + d_u
        for i, products in enumerate(outer):
            if products:
                columns, rows = zip(*products, strict=True)
                matmul(module.stack(columns, 2), module.stack(rows, 1), d_memories[:, :, i])
        return g, d_memories, d_H

    return (questions[-1], module.stack(weights, 1)), pullback


def _check_sizes(u: Array, memories: Array, pairs: int) -> None:
    fits = memories.ndim == 4 and u.shape == (memories.shape[0], memories.shape[3]) and memories.shape[2] > pairs
    if not fits:
        raise ShapeError(
            f"expected questions (batch, d) and memories (batch, n, {pairs + 1} or more, d); got {u.shape} and "
            f"{memories.shape}; hint: one more matrix than hops, or two with H"
        )
