"""Several memory networks of one configuration, trained at once, each from a start of its own.

Section 4.2 of S. Sukhbaatar et al., "End-to-end memory networks", NIPS 2015, trains each network ten times and keeps
the best run.  The networks here share nothing but the batches: sentences are looked up in the matrices of all at once,
and to the hops a question to another network is one more question.
"""

import copy

import numpy as np
from jaxtyping import Inexact, Integer

from minattn.attention.memory.end_to_end import memory_hops
from minattn.autograd import Array, Tensor, ops, xp
from minattn.models.memory.memn2n import MemN2N, MemN2NConfig
from minattn.nn import Buffer, Module
from minattn.nn.initializers import Rng


class Restarts(Module):
    """`count` memory networks.  chosen: the number of the best, which whoever trains them finds out."""

    def __init__(self, config: MemN2NConfig, count: int, rng: Rng) -> None:
        self.networks = [MemN2N(config, rng) for _ in range(count)]
        self.chosen = Buffer(np.zeros((), np.float32))
        memories = [network.memory.embedding for network in self.networks]
        self.embedding = copy.copy(memories[0])  # of the matrices of all networks, one after the other
        self.embedding.words = [words for memory in memories for words in memory.words]
        self.embedding.times = [times for memory in memories for times in memory.times]

    @property
    def number(self) -> int:
        """The number of the chosen network."""
        return int(self.chosen.data)

    @property
    def best(self) -> MemN2N:
        """The chosen network."""
        return self.networks[self.number]

    def choose(self, number: int) -> None:
        """Take this network for the best."""
        self.chosen.replace_data(xp(self.chosen.data).full((), number, np.float32))

    def forward(
        self,
        story: Integer[Array, "batch memories words"],
        question: Integer[Array, "batch words_of_question"],
        linear: bool = False,
    ) -> Inexact[Tensor, "count batch vocab"]:
        """Return the logits of all networks, each as `MemN2N` gives them."""
        config, count = self.networks[0].config, len(self.networks)
        if count == 1 or config.tying == "layer-wise":
            return ops.stack([network(story, question, linear=linear) for network in self.networks])
        u = self._apart(self.embedding(question[:, None]))[:, 0, 0]  # B = A^1
        memories = self._apart(self.embedding.memories(story))
        u, _ = memory_hops(u, memories, None, config.hops, linear=linear)
        W = ops.stack([network.memory.embedding.words[-1] for network in self.networks])  # W^T = C^K
        return ops.reshape(u, (count, len(story), config.size)) @ ops.swapaxes(W, 1, 2)

    def _apart(
        self, vectors: Inexact[Tensor, "batch n matrices size"]
    ) -> Inexact[Tensor, "every_batch n own_matrices size"]:
        """Return the vectors of each network as batches of their own, one after the other."""
        count, (batch, n, matrices, size) = len(self.networks), vectors.shape
        vectors = ops.moveaxis(ops.reshape(vectors, (batch, n, count, matrices // count, size)), 2, 0)
        return ops.reshape(vectors, (count * batch, n, matrices // count, size))
