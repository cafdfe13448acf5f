"""Sentences as memories: bag of words or position encoding, temporal encoding, random noise.

S. Sukhbaatar, A. Szlam, J. Weston and R. Fergus, "End-to-end memory networks", NIPS 2015, section 4.1.  Sentence x_i
has the words x_i1 .. x_iJ; A x_ij is the vector, of size d, of one of them, a row of the table `words`.

    m_i  = sum_j A x_ij                                       (a)  bag of words
         | sum_j l_j o A x_ij                                 (b)  position encoding, o: element by element
    l_kj = (1 - j/J) - (k/d) (1 - 2 j/J)                      (c)  of (b), for j = 1 .. J and k = 1 .. d
         | 1 + 4 (k - (d+1)/2) (j - (J+1)/2) / (d J)          (d)  the same in the authors' code
    m_i  = (a) or (b), + T_A(i)                               (e)  temporal encoding; i = 1 is the most recent sentence

Random noise: in training, 10 % of empty memories are put between the sentences at random, so that T_A does not
learn by heart what came when.

Deviations from the paper:
* J is the number of words of the longest sentence, and a shorter one uses l_1, l_2, ..  In the paper it is the
  sentence's own number of words; in the authors' code it counts the "time word" of (e) too.  (d) is about twice (c):
  its mean over all j and k is 1, not 1/2.
* An empty memory has no temporal encoding, as in the authors' code: it is m = c = 0, and competes with the others by
  the score 0.  So do the empty slots behind a short story: a question that no sentence answers has something to attend
  to.
  Of the noise there are 0 to ceil(n / 10) in a story of n sentences, all numbers being as likely.
* The authors' code has the T_A(i) as "time words" in the table, as many rows as there are here in a table of their own.
"""

import math
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float, Inexact, Integer

from minattn.attention.kernels import sentences as kernels
from minattn.autograd import Array, Tensor, op, ops
from minattn.autograd.backend import as_array
from minattn.errors import ConfigError, ShapeError
from minattn.nn import Module, initializers
from minattn.nn.initializers import Rng
from minattn.published import Mechanism, Paper

Encoding = Literal["bag", "position", "position_coded"]

NO_WORD = 0
"""The id that fills up sentences; it counts for nothing."""


def sentence_vectors_equation(table: Any, ids: Any, weights: Any = None) -> Any:
    """Vectors (.., d) of sentences: ids (.., J), 0 = no word; table A (V, d); weights l (J, d), or None for 1."""
    words = ops.embedding(table, ids) * (as_array(ids) != NO_WORD)[..., None]
    return ops.sum(words if weights is None else words * weights, axis=-2)  # (a) (b)


def story_vectors_equation(table: Any, times: Any, ids: Any, weights: Any = None) -> Any:
    """The same of stories (.., n, J), with T_A (n or more, d) for sentences that have a word."""
    real = (as_array(ids) != NO_WORD).any(-1)[..., None]
    return sentence_vectors_equation(table, ids, weights) + times[: real.shape[-2]] * real  # (e)


sentence_vectors = op(kernels.sentence_vectors, equation=sentence_vectors_equation)
story_vectors = op(kernels.story_vectors, equation=story_vectors_equation)


def position_weights(J: int, d: int, coded: bool = False) -> Float[np.ndarray, "J d"]:
    """The weights l of sentences of J words for vectors of size d; coded: as in the authors' code."""
    j, k = np.arange(1, J + 1)[:, None], np.arange(1, d + 1)
    if coded:
        return 1 + 4 * (k - (d + 1) / 2) * (j - (J + 1) / 2) / (d * J)  # (d)
    return (1 - j / J) - (k / d) * (1 - 2 * j / J)  # (c)


class SentenceEmbedding(Module):
    """Matrices A^1, A^2, .., each with its T_A: the vectors of sentences, and of sentences as memories.

    matrices: how many; words: size of the vocabulary, no word included; size: d; longest: J; times: the number of
    memories that have a temporal encoding, 0 for none.  All parameters are drawn from N(0, std^2).
    """

    def __init__(
        self,
        matrices: int,
        words: int,
        size: int,
        rng: Rng,
        longest: int,
        times: int = 0,
        encoding: Encoding = "position_coded",
        std: float = 0.1,
    ) -> None:
        if encoding not in get_args(Encoding):
            raise ConfigError(f"there is no encoding {encoding!r}; hint: {', '.join(get_args(Encoding))}")
        self.longest, self.size, self.last = longest, size, times
        self.words = [initializers.normal((words, size), rng, std) for _ in range(matrices)]
        self.times = [initializers.normal((times, size), rng, std) for _ in range(matrices) if times]
        self.weights = None if encoding == "bag" else position_weights(longest, size, encoding == "position_coded")

    def forward(
        self, sentences: Integer[Array, "*batch words"], first: int | None = None
    ) -> Inexact[Tensor, "*batch matrices size"]:
        """Return the vectors of sentences, (a) or (b), by each matrix, or by the `first` ones alone."""
        tables = self.words[:first]
        vectors = sentence_vectors(ops.concat(tables, axis=-1), sentences, self._weights(sentences, len(tables)))
        return ops.reshape(vectors, (*sentences.shape[:-1], len(tables), self.size))

    def memories(
        self, story: Integer[Array, "batch memories words"]
    ) -> Inexact[Tensor, "batch memories matrices size"]:
        """Return the vectors of a story's sentences, the most recent first, each with its temporal encoding.

        A sentence without a word is an empty memory, all zeros.
        """
        if not self.times:
            return self(story)
        n, count = story.shape[1], len(self.words)
        if n > self.last:
            raise ShapeError(
                f"a story of {n} sentences, and there is a temporal encoding of {self.last}; hint: its most recent ones"
            )
        tables = ops.concat(self.words, axis=-1), ops.concat(self.times, axis=-1)
        return ops.reshape(
            story_vectors(*tables, story, self._weights(story, count)), (len(story), n, count, self.size)
        )

    def _weights(self, sentences: Array, matrices: int) -> np.ndarray | None:
        """The weights of the words for so many matrices at once; None: of a bag of words."""
        J = sentences.shape[-1]
        if self.longest < J:
            raise ShapeError(f"a sentence has {J} words, at most {self.longest} expected; hint: a larger `longest`")
        return None if self.weights is None else np.tile(self.weights[:J], matrices)


def with_noise(
    story: Integer[np.ndarray, "batch memories words"], rng: Rng, most: int, share: float = 0.1
) -> Integer[np.ndarray, "batch most words"]:
    """Return stories of `most` slots, with empty memories put in at random between the sentences and behind them.

    story: sentences before all empty slots.  They keep their order; where there are too few slots the oldest are lost.
    """
    real = (story != NO_WORD).any(-1)
    lengths = real.sum(1)
    used = lengths + rng.integers(0, [math.ceil(share * n) + 1 for n in lengths])
    slots = np.arange(max(most, used.max(initial=0)))
    drawn = np.where(slots < used[:, None], rng.random((len(story), len(slots))), np.inf)
    chosen = np.zeros(drawn.shape, bool)  # as many of the used slots as there are sentences
    np.put_along_axis(chosen, drawn.argsort(1), slots < lengths[:, None], 1)
    chosen = chosen[:, :most]
    noisy = np.full((*chosen.shape, story.shape[2]), NO_WORD, story.dtype)
    noisy[chosen] = story[np.arange(story.shape[1]) < chosen.sum(1)[:, None]]
    return noisy


MECHANISM = Mechanism(
    name="position and temporal encoding of memories",
    paper=Paper("Sukhbaatar et al.", 2015, "End-to-end memory networks"),
    equation="section 4.1: m_i = sum_j l_j o A x_ij + T_A(i)",
    code="SentenceEmbedding",
    model="minattn.models.MemN2N",
    command="minattn train qa",
)
