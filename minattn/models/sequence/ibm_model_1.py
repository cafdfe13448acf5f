"""IBM model 1, word alignment by counting: the baseline for the alignments of attention.

P. F. Brown, S. A. Della Pietra, V. J. Della Pietra and R. L. Mercer, "The mathematics of statistical machine
translation: parameter estimation", Computational Linguistics 19(2), 1993, section 4.1.

A target sentence f_1 .. f_m comes from a source sentence e_1 .. e_l, in which e_0 is the empty word.  Each target word
comes from one source word, all equally likely, and is its translation with probability t(f | e):

    P(f | e) = epsilon / (l + 1)^m  prod_j sum_i t(f_j | e_i)                                      (a)

t starts uniform and is estimated by expectation maximization: every target word is divided among the source words of
its sentence, and the shares are counted,

    share_ij = t(f_j | e_i) / sum_k t(f_j | e_k)                                                   (b)
    t(f | e) = count(f, e) / sum_f' count(f', e),   count(f, e) = sum of all share_ij of e and f   (c)

which never lowers the likelihood of the training text.  The alignment of f_j is its likeliest source word,

    a_j = argmax_i t(f_j | e_i)                                                                    (d)

and there is no link if that is the empty word, or if the two words never occurred together.  Each direction of
translation gives an alignment; their intersection has fewer links, which are more often correct.

Deviations from the paper: none; of equally likely source words the first is taken, the empty word last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float64, Int64

from minattn.errors import ConfigError, DataError

Sentence = Sequence[str]
Links = frozenset[tuple[int, int]]
"""(source position, target position), from 0."""

EMPTY = 0  # e_0


class IBMModel1:
    """The model of one direction: `IBMModel1(pairs).align(source, target)`; words are any symbols.

    pairs: (source, target) sentences to count.  `log_likelihoods` has log P of them before each iteration, without
    the epsilons.  Raises DataError where there are none or one is empty, ConfigError for fewer than one iteration.
    """

    def __init__(self, pairs: Sequence[tuple[Sentence, Sentence]], iterations: int = 5) -> None:
        if iterations < 1:
            raise ConfigError(f"iterations must be at least 1, got {iterations}")
        if not pairs or not all(source and target for source, target in pairs):
            raise DataError("the model needs sentence pairs, none of them with an empty side; hint: leave those out")
        self._sources = _numbered((source for source, _ in pairs), first=EMPTY + 1)
        self._targets = _numbered((target for _, target in pairs), first=0)
        self.log_likelihoods: list[float] = []
        self._learn(pairs, iterations)

    def _learn(self, pairs: Sequence[tuple[Sentence, Sentence]], iterations: int) -> None:
        """Expectation maximization over all meetings of a source word with a target word, laid out in one row."""
        blocks = [self._meetings(source, target) for source, target in pairs]
        meetings, entry = np.unique(np.concatenate(blocks), return_inverse=True)  # each (e, f) once, and where it comes
        self._meetings_seen, e = meetings, meetings // len(self._targets)
        # The choices of one target word stand together: l + 1 of them.
        choices = np.concatenate([np.full(len(target), len(source) + 1) for source, target in pairs])
        starts = np.concatenate([[0], np.cumsum(choices)[:-1]])
        t = np.full(len(meetings), 1 / len(self._targets))
        for _ in range(iterations):
            each = t[entry]
            sums = np.add.reduceat(each, starts)
            self.log_likelihoods.append(float(np.log(sums / choices).sum()))  # (a)
            shares = each / np.repeat(sums, choices)  # (b)
            count = np.bincount(entry, shares, len(meetings))
            t = count / np.bincount(e, count)[e]  # (c)
        self._t = t

    def _meetings(self, source: Sentence, target: Sentence) -> Int64[np.ndarray, " meetings"]:
        """A number for each pair (f_j, e_i), i = 1, .. l, 0 within j = 1, .. m."""
        e = np.array([*(self._sources[word] for word in source), EMPTY])
        f = np.array([self._targets[word] for word in target])
        return (e[None, :] * len(self._targets) + f[:, None]).ravel()

    def probabilities(self, source: Sentence, target: Sentence) -> Float64[np.ndarray, "target choices"]:
        """t(f_j | e_i) for each target word and each source word, the empty word last; 0 where they have never met."""
        known = [(self._sources.get(word, -1)) for word in source] + [EMPTY]
        e = np.array(known)[None, :]
        f = np.array([self._targets.get(word, -1) for word in target])[:, None]
        meeting = e * len(self._targets) + f
        position = np.searchsorted(self._meetings_seen, meeting).clip(max=len(self._t) - 1)
        met = (self._meetings_seen[position] == meeting) & (e >= 0) & (f >= 0)
        return np.where(met, self._t[position], 0.0)

    def align(self, source: Sentence, target: Sentence) -> Links:
        """The links of the likeliest alignment."""
        t = self.probabilities(source, target)
        best = t.argmax(1)  # (d)
        return frozenset((int(i), j) for j, i in enumerate(best) if i < len(source) and t[j, i] > 0)


def intersection(forward: Links, backward: Links) -> Links:
    """The links that both directions have; `backward` are those of the target's model, (target, source)."""
    return forward & turned(backward)


def turned(links: Links) -> Links:
    """The links of the other direction: (source, target) for (target, source)."""
    return frozenset((i, j) for j, i in links)


def _numbered(sentences: Iterator[Sentence], first: int) -> dict[str, int]:
    words = dict.fromkeys(word for sentence in sentences for word in sentence)
    return {word: number for number, word in enumerate(words, start=first)}
