"""End-to-end memory: a question looks for its facts in a memory, hop after hop.

S. Sukhbaatar, A. Szlam, J. Weston and R. Fergus, "End-to-end memory networks", NIPS 2015, section 2.  Each sentence x_i
is stored twice, as an input memory m_i, which is compared with the question, and as an output memory c_i, which is what
is read (`sentences.py` says how).  One hop, of a question u:

    p_i = softmax_i(u^T m_i)                                                   (1)
    o   = sum_i p_i c_i                                                        (2)
    a^  = softmax(W (o + u))                                                   (3)  the answer, in the networks

K hops, section 2.2:

    u^{k+1} = u^k + o^k,  A^{k+1} = C^k                                        (a)  adjacent tying
            | H u^k + o^k,  A^1 = .. = A^K, C^1 = .. = C^K                     (b)  layer-wise tying
    p_i = u^T m_i                                                              (c)  linear start, in place of (1)

With adjacent tying the free matrices are A^1, C^1, .., C^K; B = A^1 and W^T = C^K are the networks' to tie.  (c) is how
training begins (section 4.2): no softmax but the answer's.  In the language model half of the units go through a
ReLU after each hop (section 5).

Deviations from the paper:
* Vectors are rows, so H stands transposed and on the right.
* A memory may be masked, which the paper does not need; where all are, o is 0.  Sentences without a word are not
  masked: they are memories of zeros (`sentences.py`).
"""

from typing import Any, Literal, get_args

from jaxtyping import Bool, Inexact, Integer

from minattn.attention.kernels import end_to_end as kernels
from minattn.attention.memory.sentences import Encoding, SentenceEmbedding
from minattn.autograd import Array, Tensor, op, ops
from minattn.errors import ConfigError
from minattn.nn import Module, initializers
from minattn.nn.initializers import Rng
from minattn.nn.masks import padding_mask
from minattn.published import Mechanism, Paper

Tying = Literal["adjacent", "layer-wise"]


def hop(u: Any, m: Any, c: Any, mask: Any = None, linear: bool = False) -> Any:
    """Output (B, d) and weights (B, n) of questions u (B, d) over memories m and c (B, n, d); mask (B, n)."""
    scores = (m @ u[:, :, None])[:, :, 0]
    if linear:
        p = scores if mask is None else ops.where(mask, scores, 0.0)  # (c)
    else:
        p = ops.softmax(scores, axis=-1, mask=mask)  # (1)
    return (p[:, None] @ c)[:, 0], p  # (2)


def memory_hops_equation(
    u: Any, memories: Any, H: Any = None, hops: int = 3, mask: Any = None, linear: bool = False, rectified: int = 0
) -> Any:
    """u^{K+1} (B, d), and the weights (B, K, n) of K hops of questions u (B, d).

    memories (B, n, M, d): by the M free matrices, A^1, C^1, .., C^K, or A and C where there is an H (d, d).
    mask (B, n): True = may attend.  rectified: the last units of each u^{k+1} that go through a ReLU.
    """
    weights = []
    memories = memories if mask is None else ops.where(mask[:, :, None, None], memories, 0.0)
    for k in range(hops) if H is None else [0] * hops:
        o, p = hop(u, memories[:, :, k], memories[:, :, k + 1], mask, linear)
        u = (u if H is None else u @ H) + o  # (a) (b)
        if rectified:
            u = ops.concat([u[:, :-rectified], ops.relu(u[:, -rectified:])], axis=-1)
        weights.append(p)
    return u, ops.stack(weights, axis=1)


memory_hops = op(kernels.memory_hops, equation=memory_hops_equation)


class EndToEndMemory(Module):
    """K hops over the sentences of a story, with the matrices that store them.

    hops: K; rectified: the units that go through a ReLU after each; the rest as of `SentenceEmbedding`.
    """

    def __init__(
        self,
        words: int,
        size: int,
        hops: int,
        rng: Rng,
        longest: int,
        times: int = 0,
        tying: Tying = "adjacent",
        encoding: Encoding = "position_coded",
        std: float = 0.1,
        rectified: int = 0,
    ) -> None:
        if tying not in get_args(Tying):
            raise ConfigError(f"there is no tying {tying!r}; hint: {', '.join(get_args(Tying))}")
        self.hops, self.rectified = hops, rectified
        adjacent = tying == "adjacent"
        matrices = hops + 1 if adjacent else 2
        self.embedding = SentenceEmbedding(matrices, words, size, rng, longest, times, encoding, std)
        self.H = None if adjacent else initializers.normal((size, size), rng, std)

    def forward(
        self,
        u: Inexact[Tensor, "batch size"],
        story: Integer[Array, "batch memories words"],
        mask: Bool[Array, "batch memories"] | None = None,
        linear: bool = False,
    ) -> tuple[Inexact[Tensor, "batch size"], Inexact[Tensor, "batch hops memories"]]:
        """Return (u^{K+1}, weights of every hop) for questions u and stories, the most recent sentence first.

        mask: True = may be attended to (None: all may).  linear: linear start, (c).
        """
        memories = self.embedding.memories(story)
        return memory_hops(u, memories, self.H, self.hops, padding_mask(mask, story), linear, self.rectified)


MECHANISM = Mechanism(
    name="end-to-end memory",
    paper=Paper("Sukhbaatar et al.", 2015, "End-to-end memory networks"),
    equation="(1) p_i = softmax_i(u^T m_i); (2) o = sum_i p_i c_i; section 2.2: u^{k+1} = u^k + o^k",
    code="EndToEndMemory",
    model="minattn.models.MemN2N",
    command="minattn train qa",
)
