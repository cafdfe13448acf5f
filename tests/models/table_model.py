"""A model for search that is nothing but a table: the log-probabilities after every prefix, for every source."""

import itertools
from typing import NamedTuple

import numpy as np

import minattn as ma
from minattn.autograd import asnumpy


class TableSource(NamedTuple):
    state: ma.Tensor  # (B, 2): number of the source, code of the prefix of the last step; -1 before the first

    @property
    def batch(self):
        return self.state.shape[0]

    def select(self, rows):
        return TableSource(self.state[rows])


class TableModel:
    """log p(y | source, prefix) = table[source, code of the prefix, y]; the code counts prefixes through.

    Its alignment shows which prefix a step started from: [source, code].
    """

    bos = 0

    def __init__(self, table):
        self.table = table
        self.words = table.shape[-1]

    @classmethod
    def random(cls, rng, sources, words, length, levels=None, impossible=0.0):
        """levels: log-probabilities are whole numbers from -levels to -1, so that ties abound; None: a proper
        distribution.  impossible: the share of continuations with the probability 0."""
        shape = (sources, sum(words**k for k in range(length + 1)), words)
        if levels:
            table = -rng.integers(1, levels + 1, shape).astype(float)
        else:
            logits = rng.normal(size=shape)
            table = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        table[rng.random(shape) < impossible] = -np.inf
        table[..., -1] = np.where(np.isinf(table).all(-1), -1.0, table[..., -1])  # something is always possible
        return cls(table)

    def encode(self, sources):
        """An encoded batch: the sources with these numbers."""
        return TableSource(ma.tensor(np.stack([sources, np.full_like(sources, -1)], 1)))

    def code(self, prefix):
        """0 for the empty prefix, then 1 + the words as digits, shorter prefixes first."""
        value = 0
        for word in prefix:
            value = value * self.words + word + 1
        return value

    def step(self, state, previous, source):
        sources, codes = asnumpy(state.data).T
        np.testing.assert_array_equal(sources, asnumpy(source.state.data)[:, 0])  # rows stay with their source
        started = codes >= 0
        assert (previous[~started] == self.bos).all()
        codes = np.where(started, codes * self.words + previous + 1, 0)
        log_p = self.table[sources, np.minimum(codes, self.table.shape[1] - 1)]  # finished ones go on, unread
        seen = np.stack([sources, codes], 1)
        return ma.tensor(seen), ma.tensor(log_p), ma.tensor(seen.astype(float))

    def search(self, function, sources, *settings):
        """`beam_search` or `greedy_search` of the sources with these numbers."""
        return function(self, self.encode(np.asarray(sources)), *settings)


def sequences(words, end, length):
    """Every (ids, finished) that can be decoded: up to EOS, or `length` words without one."""
    others = [word for word in range(words) if word != end]
    for size in range(length + 1):
        for ids in itertools.product(others, repeat=size):
            yield list(ids), size < length
