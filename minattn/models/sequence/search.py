"""Decoding: greedy search and beam search over any model that decodes step by step.

The score of a sequence y is log P(y | x) / lp(y), EOS included, with the length penalty

    lp(y) = ((5 + |y|) / (5 + 1))^alpha                 (14)

of Y. Wu et al., "Google's neural machine translation system", 2016, in favor of longer sequences.
alpha = 0 is the summed log-probability, as in Bahdanau et al. 2015; Vaswani et al. 2017 take alpha = 0.6, a beam of 4,
and at most 50 symbols more than the source has.

Deviations: |y| counts EOS, which is one of the factors of P.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from minattn.autograd import Tensor, asnumpy, no_grad
from minattn.errors import ConfigError, TrainingError


@runtime_checkable
class Source(Protocol):
    """An encoded batch of sources."""

    batch: int
    """The number of sources."""

    state: Any
    """The state of decoding before the first step; `state[rows]` is that of the rows with these numbers."""

    def select(self, rows: np.ndarray) -> Any: ...


@runtime_checkable
class StepDecoder(Protocol):
    """A model that decodes step by step."""

    def step(self, state: Any, previous: Any, source: Any) -> tuple[Any, Tensor, Tensor]:
        """Return (next state, log-probabilities (B, K), alignment (B, T)) from the state and the previous ids (B,)."""


class Hypothesis(NamedTuple):
    """A decoded sequence: its ids without BOS and EOS, its log-probability, and its alignment."""

    ids: list[int]
    log_probability: float  # natural logarithm
    alignment: np.ndarray  # (steps, T): a row for each id, and one for EOS if it was reached
    finished: bool  # EOS was reached
    score: float  # the log-probability over the length penalty, which ranks hypotheses


@no_grad()
def beam_search(
    model: StepDecoder, source: Source, beam: int, bos: int, eos: int, max_length: int, alpha: float = 0.0
) -> list[list[Hypothesis]]:
    """Return the `beam` best sequences for each source, best first.

    Live and finished hypotheses compete for the beam by their scores at their current lengths, so a finished one is
    kept only while it is among the best.  Search ends when no live one is left in the beam.  max_length: the most
    steps, EOS counted.  alpha: of the length penalty, 0 for none.  beam=1 is greedy search; a beam as wide as there are
    sequences finds the best of all.  Of equal continuations that of the better-ranked hypothesis comes first, then the
    smaller id.

    Raises ConfigError for a beam or length below 1, an alpha below 0 and an EOS outside the model's vocabulary, and
    TrainingError for a model whose probabilities are NaN.
    """
    if beam < 1 or max_length < 1:
        raise ConfigError(f"beam and max_length must be at least 1, got {beam} and {max_length}")
    if not 0 <= alpha < np.inf:
        raise ConfigError(f"alpha, of the length penalty, must be at least 0, got {alpha}")
    batch = source.batch
    if batch == 0:
        return []
    first = np.arange(batch)[:, None] * beam  # number of each source's first row
    repeated = source.select(np.repeat(np.arange(batch), beam))
    state = repeated.state
    log_ps = np.full((batch, beam), -np.inf)
    log_ps[:, 0] = 0.0  # at the start there is one hypothesis, not `beam` equal ones
    lengths = np.zeros((batch, beam), int)  # with EOS
    done = np.zeros((batch, beam), bool)
    ids = np.full((batch, beam, 0), eos)
    rows: list[np.ndarray] = []  # the alignment of each step, (batch * beam, T)
    previous = np.full(batch * beam, bos)
    for _ in range(max_length):
        state, log_p, weights = model.step(state, previous, repeated)
        continuations = _checked(asnumpy(log_p.data), eos).reshape(batch, beam, -1)
        totals, lengths = _totals(log_ps, continuations, done, eos), lengths + ~done
        parent, word, scores = _best(totals / length_penalty(lengths, alpha)[:, :, None], beam)
        log_ps = totals[np.arange(batch)[:, None], parent, word]
        chosen = (first + parent).reshape(-1)
        ids = np.concatenate([np.take_along_axis(ids, parent[..., None], 1), word[..., None]], 2)
        rows = [row[chosen] for row in [*rows, asnumpy(weights.data)]]
        lengths = np.take_along_axis(lengths, parent, 1)
        done = np.take_along_axis(done, parent, 1) | (word == eos)
        if _settled(scores, done):
            break
        state, previous = state[chosen], word.reshape(-1)
    alignment = np.stack(rows, 1).reshape(batch, beam, len(rows), -1)
    return [
        [
            _hypothesis(ids[b, k], float(log_ps[b, k]), alignment[b, k], bool(done[b, k]), float(scores[b, k]), eos)
            for k in range(beam)
            if scores[b, k] > -np.inf
        ]
        for b in range(batch)
    ]


def greedy_search(model: StepDecoder, source: Source, bos: int, eos: int, max_length: int) -> list[Hypothesis]:
    """Return the sequence of the likeliest next symbols, for each source."""
    return [best[0] for best in beam_search(model, source, 1, bos, eos, max_length)]


@no_grad()
def alignment_with(model: StepDecoder, source: Source, previous: np.ndarray) -> np.ndarray:
    """Return the alignment (B, steps, T) of given sequences: previous (B, steps) is BOS and all but their last ids."""
    state, rows = source.state, []
    for ids in previous.T:
        state, _, weights = model.step(state, ids, source)
        rows.append(asnumpy(weights.data))
    return np.stack(rows, 1)


def length_penalty(lengths: np.ndarray, alpha: float) -> np.ndarray:
    """Return lp, the divisor of the log-probabilities of sequences of these lengths."""
    return ((5 + lengths) / (5 + 1)) ** alpha  # (14)


def _checked(log_p: np.ndarray, eos: int) -> np.ndarray:
    """Return the log-probabilities of one step, in float64."""
    vocab_size = log_p.shape[-1]
    if not 0 <= eos < vocab_size:
        raise ConfigError(f"eos must be an id of the model's vocabulary, 0 to {vocab_size - 1}, got {eos}")
    refuse_nan(log_p)
    return log_p.astype(np.float64)


def refuse_nan(log_p: np.ndarray) -> None:
    """Raise TrainingError where a model gives NaN."""
    if np.isnan(log_p).any():
        raise TrainingError(
            "the model's probabilities are not numbers (NaN), as after training that diverged; hint: an earlier "
            "checkpoint"
        )


def _totals(log_ps: np.ndarray, log_p: np.ndarray, done: np.ndarray, eos: int) -> np.ndarray:
    """Return the log-probability of every continuation (batch, beam, K); of a finished hypothesis there is one, EOS."""
    log_p[done] = -np.inf
    log_p[done, eos] = 0.0
    return log_ps[:, :, None] + log_p


def _best(scores: np.ndarray, beam: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (parent, word, score) of the `beam` best continuations of each source, (batch, beam), best first."""
    batch, _, vocab_size = scores.shape
    flat = scores.reshape(batch, -1)
    beam = min(beam, flat.shape[1])
    rows, columns = np.nonzero(flat >= np.partition(flat, -beam)[:, -beam, None])  # the best, and what equals the last
    order = np.lexsort((columns, -flat[rows, columns], rows))
    first = np.searchsorted(rows, np.arange(batch))[:, None]
    best = columns[order][first + np.arange(beam)]
    return best // vocab_size, best % vocab_size, np.take_along_axis(flat, best, 1)


def _settled(scores: np.ndarray, done: np.ndarray) -> bool:
    """Tell whether no live hypothesis is left in any beam."""
    return bool((done | (scores == -np.inf)).all())


def _hypothesis(
    ids: np.ndarray, log_p: float, alignment: np.ndarray, finished: bool, score: float, eos: int
) -> Hypothesis:
    length = int(np.argmax(ids == eos)) if finished else len(ids)
    return Hypothesis(ids[:length].tolist(), log_p, alignment[: length + finished], finished, score)
