"""Local attention: over a window of the source, centered on the current step or on a predicted position.

M.-T. Luong, H. Pham and C. D. Manning, "Effective approaches to attention-based neural machine translation", EMNLP
2015, section 3.2.  At step t, in state h_t, the decoder attends to the window [p_t - D, p_t + D] of the source:

    p_t    = t                                                                 (a)  local-m, monotonic
           | S sigmoid(v_p^T tanh(W_p h_t))                                    (9)  local-p, predictive
    a_t(s) = align(h_t, hbar_s)                                                (b)  local-m
           | align(h_t, hbar_s) exp(-(s - p_t)^2 / (2 sigma^2)), sigma = D / 2 (10) local-p
    c_t    = sum_s a_t(s) hbar_s                                               (c)

align is the softmax of the scores of global attention over the positions s with |s - p_t| <= D.  The Gaussian is
applied after the softmax and the product is not renormalized, as in the paper: the weights of local-p sum to less than
1.  v_p and W_p get their gradient through the Gaussian alone; the choice of the window is not differentiated.

Deviations from the paper:
* Steps t and positions s count from 0.  p_t of (9) stays a real number in [0, S]: S / 2 where v_p is 0, and its upper
  end lies one past the last position.  (The authors' code has 1 + (S - 1) sigmoid, counted from 1.)
* A step past the end of the source attends around its last position, p_t = min(t, S - 1), as in the authors' code.
* S is the number of the last real position plus one: the length of a source that is padded at its end.  With the score
  "location" it is S_max at most.  Padding is masked as in global attention.
"""

from typing import Any, Literal

from jaxtyping import Inexact

from minattn.attention.kernels.luong import monotonic_windows, source_lengths
from minattn.attention.sequence.luong import GlobalAttention, Memory, Score, scores, start
from minattn.autograd import Tensor, ops, xp
from minattn.errors import ConfigError
from minattn.nn.initializers import Rng
from minattn.published import Mechanism, Paper


def local_attention(
    states: Any,
    keys: Any,
    values: Any,
    W_a: Any = None,
    v_a: Any = None,
    W_p: Any = None,
    v_p: Any = None,
    mask: Any = None,
    window: int = 10,
    sigma: float = 5.0,
    first: int = 0,
) -> Any:
    """Contexts (B, T, d) and weights (B, T, S) of the states (B, T, n) of steps `first`, `first` + 1, ..

    window: D.  W_p (n, p) and v_p (p): local-p; without them local-m.  The rest as in `global_attention`.
    """
    s = xp(values.data).arange(values.shape[1], dtype=values.data.real.dtype)
    if W_p is None:
        steps = range(first, first + states.shape[1])
        may_attend = monotonic_windows(mask, values.data, steps, window)  # (a)
    else:
        p = ops.sigmoid(ops.tanh(states @ W_p) @ v_p) * source_lengths(mask, values.data)  # (9)
        offset = ops.expand_dims(p, 2) - s
        may_attend = abs(offset.data.real) <= window
    if mask is not None:
        may_attend = may_attend & mask[:, None]
    weights = ops.softmax(scores(states, keys, W_a, v_a), axis=-1, mask=may_attend)  # (b)
    if W_p is not None:
        weights = weights * ops.exp(-ops.square(offset) / (2 * sigma**2))  # (10)
    return weights @ values, weights  # (c)


class LocalAttention(GlobalAttention):
    """Local attention, (b) to (c): local-p, or with predictive=False local-m.

    window: D, so that a window holds at most 2 D + 1 positions; sigma: of the Gaussian of local-p (None: D / 2); the
    rest as in `GlobalAttention`.
    """

    def __init__(
        self,
        state: int,
        source: int,
        rng: Rng,
        score: Score = "general",
        predictive: bool = True,
        window: int = 10,
        sigma: float | None = None,
        hidden: int | None = None,
        positions: int = 50,
        init: Literal["paper", "glorot"] = "paper",
    ) -> None:
        super().__init__(state, source, rng, score, hidden, positions, init)
        if not isinstance(window, int) or window < 0:
            raise ConfigError(f"a window reaches 0 or more whole positions to each side, got {window!r}; hint: 10")
        sigma = window / 2 if sigma is None else sigma
        if predictive and not sigma > 0:
            raise ConfigError(f"sigma of the Gaussian must be above 0, got {sigma}; hint: a window of 1 or more")
        self.window, self.sigma = window, sigma
        self.W_p = start(rng, init, state, state) if predictive else None
        self.v_p = start(rng, init, state) if predictive else None

    def arguments(self, memory: Memory) -> dict[str, Any]:
        own = {"W_p": self.W_p, "v_p": self.v_p, "window": self.window, "sigma": self.sigma}
        return {**super().arguments(memory), **own}

    def attend(
        self, states: Inexact[Tensor, "batch target state"], memory: Memory, first: int = 0
    ) -> tuple[Inexact[Tensor, "batch target size"], Inexact[Tensor, "batch target source"]]:
        """Return (contexts, weights) for the states of steps `first`, `first` + 1, .."""
        keys, values, mask = memory
        return local_attention(states, keys, values, mask=mask, first=first, **self.arguments(memory))


MECHANISM = Mechanism(
    name="local attention",
    paper=Paper("Luong, Pham & Manning", 2015, "Effective approaches to attention-based neural machine translation"),
    equation=(
        "(9) p_t = S sigmoid(v_p' tanh(W_p h_t)); (10) a_t(s) = align(h_t, hbar_s) exp(-(s - p_t)^2 / (2 sigma^2)) "
        "where |s - p_t| <= D"
    ),
    code="LocalAttention",
    model="minattn.models.Luong",
    command="minattn train translate --model luong --set attention=local-p",
    experiment="experiments/luong_ladder.py",
)
