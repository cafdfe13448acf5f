"""Decoding: greedy search and beam search over any model that decodes step by step.

The score of a sequence is its summed log-probability, end symbol included, as in Bahdanau et al. 2015; nothing is
normalised by length.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from minattn.autograd import Tensor, asnumpy, no_grad
from minattn.errors import ConfigError, TrainingError


@runtime_checkable
class Source(Protocol):
    """An encoded batch of sources."""

    state: Tensor  # the decoder's state before the first step (B, ..)

    def select(self, rows: np.ndarray) -> Any: ...


@runtime_checkable
class StepDecoder(Protocol):
    """What search needs of a model."""

    def step(self, state: Any, previous: Any, source: Any) -> tuple[Tensor, Tensor, Tensor]:
        """(next state, log-probabilities (B, K), alignment (B, T)) from the state and the previous ids (B,)."""


class Hypothesis(NamedTuple):
    """A decoded sequence: its ids without begin and end, its log-probability, and its alignment."""

    ids: list[int]
    log_probability: float  # natural logarithm
    alignment: np.ndarray  # (steps, T): a row for each id, and one for the end symbol if it was reached
    finished: bool  # whether the end symbol was reached


@no_grad()
def beam_search(
    model: StepDecoder, source: Source, beam: int, begin: int, end: int, max_length: int
) -> list[list[Hypothesis]]:
    """The `beam` best sequences for each source, best first.

    Every hypothesis, live or finished, competes for the beam's places, so a finished one is kept only while it is
    among the best.  max_length: steps at most, the end symbol counted.  beam=1 is greedy search; a beam as wide as
    there are sequences finds the best of all.  Of equal continuations the better-ranked hypothesis's comes first, then
    the smaller id.

    Raises ConfigError for a beam or length below 1 and an end symbol that the model does not have, and TrainingError
    for a model whose probabilities are NaN.
    """
    if beam < 1 or max_length < 1:
        raise ConfigError(f"beam and max_length must be at least 1, got {beam} and {max_length}")
    batch = source.state.shape[0]
    first = np.arange(batch)[:, None] * beam  # number of each source's first row
    read = source.select(np.repeat(np.arange(batch), beam))
    state = read.state
    scores = np.full((batch, beam), -np.inf)
    scores[:, 0] = 0.0  # at the start there is one hypothesis, not `beam` equal ones
    done = np.zeros((batch, beam), bool)
    ids = np.full((batch, beam, 0), end)
    rows: list[np.ndarray] = []  # the alignment of each step, (batch * beam, T)
    previous = np.full(batch * beam, begin)
    for _ in range(max_length):
        state, log_p, weights = model.step(state, previous, read)
        continuations = _checked(asnumpy(log_p.data), end).reshape(batch, beam, -1)
        parent, word, scores = _best(_totals(scores, continuations, done, end), beam)
        chosen = (first + parent).reshape(-1)
        ids = np.concatenate([np.take_along_axis(ids, parent[..., None], 1), word[..., None]], 2)
        rows = [row[chosen] for row in [*rows, asnumpy(weights.data)]]
        done = np.take_along_axis(done, parent, 1) | (word == end)
        if _settled(scores, done):
            break
        state, previous = state[chosen], word.reshape(-1)
    alignment = np.stack(rows, 1).reshape(batch, beam, len(rows), -1)
    return [
        [
            _hypothesis(ids[b, k], float(scores[b, k]), alignment[b, k], bool(done[b, k]), end)
            for k in range(beam)
            if scores[b, k] > -np.inf
        ]
        for b in range(batch)
    ]


def greedy_search(model: StepDecoder, source: Source, begin: int, end: int, max_length: int) -> list[Hypothesis]:
    """The sequence of the likeliest next symbols, for each source."""
    return [best[0] for best in beam_search(model, source, 1, begin, end, max_length)]


def _checked(log_p: np.ndarray, end: int) -> np.ndarray:
    """The log-probabilities of one step, in float64."""
    words = log_p.shape[-1]
    if not 0 <= end < words:
        raise ConfigError(f"end must be one of the model's {words} words, 0 to {words - 1}, got {end}")
    if np.isnan(log_p).any():
        raise TrainingError(
            "the model's probabilities are not numbers (NaN), as after training that diverged; the cure: an earlier "
            "checkpoint"
        )
    return log_p.astype(np.float64)


def _totals(scores: np.ndarray, log_p: np.ndarray, done: np.ndarray, end: int) -> np.ndarray:
    """The score of every continuation (batch, beam, K); a finished hypothesis has one, itself again."""
    log_p[done] = -np.inf
    log_p[done, end] = 0.0
    return scores[:, :, None] + log_p


def _best(totals: np.ndarray, beam: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(parent, word, score) of the `beam` best continuations of each source, (batch, beam), best first."""
    batch, _, words = totals.shape
    flat = totals.reshape(batch, -1)
    order = np.argsort(-flat, axis=1, kind="stable")[:, :beam]
    return order // words, order % words, np.take_along_axis(flat, order, 1)


def _settled(scores: np.ndarray, done: np.ndarray) -> bool:
    """Whether no live hypothesis is left that could still enter: scores only fall."""
    return bool((done | (scores == -np.inf)).all())


def _hypothesis(ids: np.ndarray, score: float, alignment: np.ndarray, finished: bool, end: int) -> Hypothesis:
    length = int(np.argmax(ids == end)) if finished else len(ids)
    return Hypothesis(ids[:length].tolist(), score, alignment[: length + finished], finished)
