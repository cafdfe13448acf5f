"""Global attention, with five scores, and the attentional vector.

M.-T. Luong, H. Pham and C. D. Manning, "Effective approaches to attention-based neural machine translation", EMNLP
2015, section 3.1.  At step t the decoder, whose top layer is in state h_t, attends to the states hbar_1 .. hbar_S of
the encoder's top layer:

    score(h_t, hbar_s) = h_t^T hbar_s                                          (a)  dot
                       | h_t^T W_a hbar_s                                      (b)  general
                       | v_a^T tanh(W_a [h_t ; hbar_s])                        (c)  concat
    a_t(s) = exp(score(h_t, hbar_s)) / sum_s' exp(score(h_t, hbar_s'))         (d)  the weights
    a_t    = softmax(W_a h_t)                                                  (e)  location, in place of (d)
    c_t    = sum_s a_t(s) hbar_s                                               (f)  the context
    h~_t   = tanh(W_c [c_t ; h_t])                                             (5)  the attentional vector

Vectors are rows here, so the matrices of (c), (e) and (5) stand transposed and on the right.  The part of (b) and (c)
that does not depend on t is computed once per source, the `keys`.  Attention at one step does not depend on other
steps, so all functions take the states of several steps at once, (B, T, n).

Deviations from the paper:
* "concat" is (c) as printed; "concat_coded" is the authors' code, v_a^T tanh(W_a h_t + hbar_s).
* (e) scores S_max positions.  A shorter source uses the first of them; in a longer one, the words beyond S_max get no
  weight, as in the paper's footnote 6.
* Padding, which the paper does not mention, is masked: the sums run over the real positions only, padding may hold any
  values, and a source without a real position gives a context of zeros.
* `init="glorot"` draws W_a Glorot-uniform, and v_a like a one-column matrix.
"""

import math
from typing import Any, Literal, NamedTuple, get_args

from jaxtyping import Bool, Inexact

from minattn.autograd import Array, Tensor, ops, xp
from minattn.autograd.backend import like
from minattn.errors import ConfigError, ShapeError
from minattn.nn import Module, Parameter, initializers
from minattn.nn.initializers import Rng
from minattn.nn.masks import padding_mask
from minattn.published import Mechanism, Paper

Score = Literal["dot", "general", "concat", "concat_coded", "location"]


def scores(states: Any, keys: Any, W_a: Any = None, v_a: Any = None) -> Any:
    """Scores (B, T, S) of the states (B, T, n).

    With the keys alone, (B, S, n): (a), keys = hbar, or (b), keys = hbar W_a^T.  With W_a (n, a) and v_a (a): (c), W_a
    its part for h_t, and keys (B, S, a) = hbar times its part for hbar_s.  With W_a (n, S) and no v_a: (e).
    """
    if W_a is None:
        return states @ ops.swapaxes(keys, 1, 2)  # (a) (b)
    if v_a is None:
        return states @ W_a  # (e)
    return ops.tanh((states @ W_a)[:, :, None] + keys[:, None]) @ v_a  # (c)


def global_attention(states: Any, keys: Any, values: Any, W_a: Any = None, v_a: Any = None, mask: Any = None) -> Any:
    """Contexts (B, T, d) and weights (B, T, S); values (B, S, d) = hbar, mask (B, S), and the rest as in `scores`."""
    may_attend = None if mask is None else mask[:, None]
    weights = ops.softmax(scores(states, keys, W_a, v_a), axis=-1, mask=may_attend)  # (d) (e)
    return weights @ values, weights  # (f)


def attentional_vector(contexts: Any, states: Any, W_c: Any) -> Any:
    """h~ (.., n) of contexts (.., d) and states (.., n); W_c (d + n, n)."""
    return ops.tanh(ops.concat([contexts, states], axis=-1) @ W_c)  # (5)


class Memory(NamedTuple):
    """An encoded batch of sources, as every step of attention needs it."""

    keys: Tensor  # (B, S, a), the part of the scores that does not depend on the step
    values: Tensor  # (B, S, d), hbar; zeros at padding
    mask: Array | None  # (B, S), True = may be attended to; None: all

    def select(self, rows: Array) -> "Memory":
        """Return the sources at these row indices, which may repeat."""
        mask = None if self.mask is None else self.mask.take(like(rows, self.mask), 0)
        return Memory(ops.take(self.keys, rows), ops.take(self.values, rows), mask)


class GlobalAttention(Module):
    """Global attention, (a) to (f).

    state: n, size of the decoder's states; source: size of the encoder's, which must be n for the score "dot"; hidden:
    size of v_a for "concat" (None: n); positions: S_max for "location".
    init="paper" draws the parameters uniformly from [-0.1, 0.1], as section 4.1 has it.
    """

    def __init__(
        self,
        state: int,
        source: int,
        rng: Rng,
        score: Score = "general",
        hidden: int | None = None,
        positions: int = 50,
        init: Literal["paper", "glorot"] = "paper",
    ) -> None:
        if score not in get_args(Score):
            raise ConfigError(f"there is no score {score!r}; hint: {', '.join(get_args(Score))}")
        if score == "dot" and state != source:
            raise ConfigError(f'score "dot" needs states of one size, got {state} and {source}; hint: "general"')
        hidden = source if score == "concat_coded" else state if hidden is None else hidden
        initializers.check_sizes(state=state, source=source, hidden=hidden, positions=positions)
        shapes = {"general": (state, source), "concat": (state + source, hidden), "concat_coded": (state, hidden)}
        shapes["location"] = (state, positions)
        self.score, self.state = score, state
        self.W_a = start(rng, init, *shapes[score]) if score in shapes else None
        self.v_a = start(rng, init, hidden) if score in ("concat", "concat_coded") else None

    def read(
        self, source: Inexact[Tensor, "batch source size"], mask: Bool[Array, "batch source"] | None = None
    ) -> Memory:
        """Prepare the encoder's states for the steps; mask: True = a real position (None: all are)."""
        length, mask = source.shape[1], padding_mask(mask, source)
        if length == 0:
            raise ShapeError("a source of no positions cannot be attended; hint: one at least, be it padding")
        values = source if mask is None else ops.where(mask[:, :, None], source, 0)  # of the source's dtype
        if self.score == "location" and length > self.W_a.shape[1]:
            scored = xp(source.data).arange(length) < self.W_a.shape[1]
            mask = xp(scored).broadcast_to(scored, source.shape[:2]) if mask is None else mask & scored
        return Memory(self._keys(values), values, mask)

    def _keys(self, values: Tensor) -> Tensor:
        if self.score == "general":
            return values @ ops.swapaxes(self.W_a, 0, 1)
        return values @ self.W_a[self.state :] if self.score == "concat" else values

    def state_matrix(self, memory: Memory) -> Tensor | None:
        """Return W_a as `scores` takes it: the part that the states are multiplied by, None for (a) and (b)."""
        if self.score == "concat":
            return self.W_a[: self.state]
        if self.score == "location":
            length, known = memory.keys.shape[1], self.W_a.shape[1]
            return ops.pad(self.W_a[:, :length], [(0, 0), (0, max(length - known, 0))])
        return self.W_a if self.score == "concat_coded" else None

    def arguments(self, memory: Memory) -> dict[str, Any]:
        """Return the arguments of `global_attention` or `local_attention` besides states, memory and step."""
        return {"W_a": self.state_matrix(memory), "v_a": self.v_a}

    def attend(
        self, states: Inexact[Tensor, "batch target state"], memory: Memory, first: int = 0
    ) -> tuple[Inexact[Tensor, "batch target size"], Inexact[Tensor, "batch target source"]]:
        """Return (contexts, weights) for the states of steps `first`, `first` + 1, ..; global attention ignores it."""
        return global_attention(states, memory.keys, memory.values, mask=memory.mask, **self.arguments(memory))

    def forward(
        self,
        states: Inexact[Tensor, "batch target state"],
        source: Inexact[Tensor, "batch source size"],
        mask: Bool[Array, "batch source"] | None = None,
    ) -> tuple[Inexact[Tensor, "batch target size"], Inexact[Tensor, "batch target source"]]:
        """Return (contexts c_t, weights a_t) for the decoder's states h_t and the encoder's hbar_s."""
        if (states.ndim, source.ndim) != (3, 3) or states.shape[0] != source.shape[0]:
            raise ShapeError(
                f"expected states (batch, target, n) and a source (batch, source, size), got {states.shape} and "
                f"{source.shape}; hint: states[:, None] for one step"
            )
        return self.attend(states, self.read(source, mask))


def start(rng: Rng, init: Literal["paper", "glorot"], rows: int, columns: int | None = None) -> Parameter:
    """Initialize a matrix or vector: uniform in [-0.1, 0.1], or Glorot-uniform, a vector like a one-column matrix."""
    shape = (rows,) if columns is None else (rows, columns)
    if init == "paper":
        return initializers.uniform(shape, rng, bound=0.1)
    if init == "glorot":
        return initializers.uniform(shape, rng, bound=math.sqrt(6 / (rows + (columns or 1))))
    raise ConfigError(f'init must be "paper" or "glorot", got {init!r}; hint: init="paper"')


MECHANISM = Mechanism(
    name="global attention",
    paper=Paper("Luong, Pham & Manning", 2015, "Effective approaches to attention-based neural machine translation"),
    equation=(
        "section 3.1: a_t(s) = exp(score(h_t, hbar_s)) / sum_s' exp(score(h_t, hbar_s')), or a_t = softmax(W_a h_t); "
        "(5) h~_t = tanh(W_c [c_t; h_t])"
    ),
    code="GlobalAttention",
    model="minattn.models.Luong",
    command="minattn train translate --model luong",
    experiment="experiments/luong_ladder.py",
)
