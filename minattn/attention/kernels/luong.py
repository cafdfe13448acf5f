"""Luong's attention step by step, forward and backward: the scores, and the window that local-p predicts.

The equations are on `sequence/luong.py` and `sequence/luong_local.py`; `attentional_lstm` makes the steps.  Each class
keeps, in place k, what the backward pass of a step needs.  A query is the state h times W_a, or times W_p.

Letters of shapes: B batch, T steps of the target, S positions of the source, n state, a alignment, p position layer.
"""

from typing import Any

from minattn.autograd import Array, xp
from minattn.autograd.backend import matmul
from minattn.autograd.ops.activations import sigmoid_of


# ---------------------------------------------------------------------------------------------- scores
class ProductScores:
    """Scores h . keys, dot and general: there is no query."""

    queries = 0

    def __init__(self, keys: Array) -> None:
        self.keys = keys  # (B, S, n)

    def forward(self, k: int, state: Array, query: Array) -> Array:
        """Scores (B, S)."""
        return matmul(self.keys, state[:, :, None])[:, :, 0]

    def backward(self, k: int, d_scores: Array, d_query: Array) -> Any:
        """Gradient of the state; that of the query is written to `d_query`."""
        return matmul(d_scores[:, None, :], self.keys)[:, 0]

    def gradients(self, d_scores: Array, states: Array) -> tuple[Any, Any]:
        """Gradients of the keys and of v_a, from those of the scores (B, T, S) and the states (B, T, n)."""
        return matmul(d_scores.swapaxes(1, 2), states), None


class LocationScores:
    """Scores h W_a, location: they are the query itself."""

    def __init__(self, positions: int) -> None:
        self.queries = positions  # S

    def forward(self, k: int, state: Array, query: Array) -> Array:
        return query

    def backward(self, k: int, d_scores: Array, d_query: Array) -> Any:
        d_query[:] = d_scores
        return 0.0

    def gradients(self, d_scores: Array, states: Array) -> tuple[Any, Any]:
        return None, None


class AdditiveScores:
    """Scores tanh(query + keys) v_a, concat."""

    def __init__(self, keys: Array, v_a: Array, kept: int, dtype: Any) -> None:
        self.keys = xp(keys).ascontiguousarray(keys.swapaxes(0, 1))  # (S, B, a): the query is added slab by slab
        source, batch, self.queries = self.keys.shape
        self.v_a = v_a
        self.hidden = xp(keys).empty((kept, source, batch, self.queries), dtype)  # H = tanh(query + keys)
        self.d_v_a = xp(keys).zeros((batch, 1, self.queries), dtype)

    def forward(self, k: int, state: Array, query: Array) -> Array:
        hidden = self.hidden[k]
        xp(query).add(self.keys, query, hidden)
        xp(query).tanh(hidden, hidden)
        return matmul(hidden, self.v_a).T

    def backward(self, k: int, d_scores: Array, d_query: Array) -> Any:
        """dv_a = dE H;  d query = dE (1 - H^2) o v_a.  Leaves 1 - H^2 where H was: a pullback runs once."""
        hidden, rows = self.hidden[k], d_scores[:, None, :]
        self.d_v_a += matmul(rows, hidden.swapaxes(0, 1))
        hidden *= hidden
        xp(hidden).subtract(1, hidden, hidden)
        d_query[:] = matmul(rows, hidden.swapaxes(0, 1))[:, 0] * self.v_a
        return 0.0

    def gradients(self, d_scores: Array, states: Array) -> tuple[Any, Any]:
        """d keys = sum_t dE_t (1 - H_t^2) o v_a."""
        slopes = self.hidden.transpose(1, 2, 0, 3)  # (S, B, T, a)
        d_keys = matmul(d_scores.transpose(2, 0, 1)[:, :, None, :], slopes)[:, :, 0] * self.v_a
        return d_keys.swapaxes(0, 1), self.d_v_a.sum((0, 1))


# ---------------------------------------------------------------------------------------------- windows
class PredictedWindow:
    """The window of local-p around p = S sigmoid(tanh(query) v_p), and the Gaussian in it."""

    def __init__(
        self, v_p: Array, length: Any, source: int, batch: int, window: int, sigma: float, kept: int, dtype: Any
    ) -> None:
        module = xp(v_p)
        self.v_p, self.length, self.window, self.variance = v_p, length, window, sigma**2
        self.positions = module.arange(source, dtype=v_p.real.dtype)
        self.hidden = module.empty((kept, batch, len(v_p)), dtype)  # tanh(query)
        self.share, self.rest = module.empty((2, kept, batch, 1), dtype)  # p / S, 1 - p / S
        self.align = module.empty((kept, batch, source), dtype)
        self.gaussian = module.empty((kept, batch, source), dtype)
        self.d_v_p = module.zeros((len(v_p),), dtype)

    def within(self, k: int, query: Array) -> Array:
        """Mask (B, S) of the window of the query (B, p)."""
        module = xp(query)
        hidden, share = self.hidden[k], self.share[k]
        module.tanh(query, hidden)
        sigmoid_of(matmul(hidden, self.v_p[:, None]), share, self.rest[k])
        offset = self.positions - self.length * share
        self.gaussian[k] = module.exp(offset * offset * (-0.5 / self.variance))
        return module.abs(offset.real) <= self.window

    def weigh(self, k: int, align: Array) -> Array:
        """Weights (B, S): align times the Gaussian."""
        self.align[k] = align
        return align * self.gaussian[k]

    def backward(self, k: int, d_weights: Array, weights: Array, d_query: Array) -> Array:
        """Gradient of align; that of the query, through dp = sum_s da(s) a(s) (s - p) / sigma^2, to `d_query`."""
        hidden, share = self.hidden[k], self.share[k]
        offset = self.positions - self.length * share
        d_p = (d_weights * weights * offset).sum(1, keepdims=True) / self.variance
        d_logit = d_p * self.length * share * self.rest[k]
        self.d_v_p += matmul(d_logit.T, hidden)[0]
        d_query[:] = d_logit * self.v_p * (1 - hidden * hidden)
        return d_weights * self.gaussian[k]


def source_lengths(mask: Array | None, values: Array) -> Any:
    """S of each source, (B, 1), in the dtype of the values (B, S, d): one past its last real position.  A number where
    there is no mask."""
    if mask is None:
        return values.shape[1]
    positions = xp(mask).arange(1, values.shape[1] + 1)
    return (mask * positions).max(1, keepdims=True).astype(values.real.dtype)


def monotonic_windows(mask: Array | None, values: Array, steps: range, window: int) -> Array:
    """Mask (B or 1, T, S) of the windows of local-m, around min(t, S - 1) for each step t."""
    module, dtype = xp(values), values.real.dtype
    s = module.arange(values.shape[1], dtype=dtype)
    t = module.arange(steps.start, steps.stop, dtype=dtype)[None]
    centers = module.minimum(t, source_lengths(mask, values) - 1)
    return module.abs(s - centers[..., None]) <= window
