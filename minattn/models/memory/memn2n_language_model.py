"""The language model with a memory: it looks back at the words before, several times, before it says the next.

S. Sukhbaatar, A. Szlam, J. Weston and R. Fergus, "End-to-end memory networks", NIPS 2015, section 5.  Each memory is
one word, there is no question, and the hops are tied layer by layer:

    m_i     = A x_i + T_A(i),  c_i = C x_i + T_C(i)      for the n words before, i = 1 the last     (a)
    u^1     = 0.1 in all its elements                                                              (b)
    u^{k+1} = H u^k + o^k, and half of its units through a ReLU                                     (c)
    p(word) = softmax(W u^{K+1})                                                                   (d)

Deviations from the paper: the first words of a text have fewer memories, those that there are.  The defaults are those
of the Penn Treebank: d = 150, six hops, 100 words, parameters from N(0, 0.05^2).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Inexact, Integer

from minattn.attention.memory import EndToEndMemory
from minattn.attention.memory.end_to_end import memory_hops
from minattn.autograd import Array, Tensor, asnumpy, no_grad, ops, xp
from minattn.autograd.backend import as_array
from minattn.errors import ConfigError
from minattn.models.sequence.sampling import checked_prompt, draw
from minattn.models.settings import check_sizes
from minattn.nn import Module, initializers
from minattn.nn.attention_paths import Attention
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper


@dataclass(frozen=True)
class MemoryLanguageModelConfig:
    """Sizes by the paper's letters."""

    vocab_size: Annotated[int, "V: size of the vocabulary"] = 10_000
    size: Annotated[int, "d: size of the memories"] = 150
    hops: Annotated[int, "K: hops"] = 6
    memory: Annotated[int, "n: words in the memory"] = 100
    std: Annotated[float, "standard deviation of the parameters at the start"] = 0.05

    def __post_init__(self) -> None:
        check_sizes(self, "vocab_size", "size", "hops", "memory")
        if not 0 < self.std <= 1e30:
            raise ConfigError(f"std must be a number above 0, 1e30 at most, got {self.std}; hint: 0.05")


PTB = MemoryLanguageModelConfig()
CONFIGURATIONS = {
    "Penn Treebank": PTB,
    "Penn Treebank, 7 hops, memory 200": replace(PTB, hops=7, memory=200),
}
"""The published configurations whose vocabulary is known."""


class MemoryLanguageModel(Module):
    """A language model with a memory of the words before.  rng draws the parameters."""

    def __init__(self, config: MemoryLanguageModelConfig, rng: Rng) -> None:
        self.config = config
        self.memory = EndToEndMemory(
            config.vocab_size,
            config.size,
            config.hops,
            rng,
            longest=1,
            times=config.memory,
            tying="layer-wise",
            encoding="bag",
            std=config.std,
            rectified=config.size // 2,
        )
        self.W = initializers.normal((config.vocab_size, config.size), rng, config.std)

    def forward(
        self, ids: Integer[Array, "batch n"], return_attention: bool = False
    ) -> Inexact[Tensor, "batch n vocab"] | tuple[Inexact[Tensor, "batch n vocab"], Attention]:
        """Return the logits of the word after each; with return_attention=True (logits, attention), the weights
        (batch, n, hops, memories) under "memory".

        In the memory of a word are the last of `ids` up to it, itself first.
        """
        batch, n = ids.shape
        positions = np.arange(n)[:, None] - np.arange(min(n, self.config.memory))  # of the i-th last, word by word
        recent = as_array(ids)[:, np.maximum(positions, 0)].reshape(batch * n, -1)
        logits, weights = self._after(recent, np.tile(positions >= 0, (batch, 1)))
        logits = ops.reshape(logits, (batch, n, self.config.vocab_size))
        attention = {"memory": ops.reshape(weights, (batch, n, *weights.shape[1:]))}
        return (logits, attention) if return_attention else logits

    def symbols(
        self,
        prompt: Integer[np.ndarray, " n"],
        rng: Rng,
        temperature: float = 1.0,
        top_k: int | None = None,
        longest: int | None = None,
    ) -> Iterator[int]:
        """Iterate over words that continue the prompt, endlessly, each drawn from softmax(logits / temperature).

        temperature: below 1 the likely get likelier; 0 takes the likeliest.  top_k: draw among the k likeliest only.
        longest: the words in the memory, if they are to be fewer.
        Raises ConfigError, before the first is asked for, for an empty prompt and numbers that make no sense.
        """
        prompt = checked_prompt(prompt, temperature, top_k, longest)
        most = self.config.memory if longest is None else min(longest, self.config.memory)
        return self._symbols(prompt.tolist(), rng, temperature, top_k, most)

    def _symbols(self, text: list[int], rng: Rng, temperature: float, top_k: int | None, most: int) -> Iterator[int]:
        while True:
            with no_grad():  # not across the yield: the caller may want gradients
                logits, _ = self._after(np.array([text[: -most - 1 : -1]]))
            text.append(draw(asnumpy(logits.data)[0].astype(np.float64), rng, temperature, top_k))
            yield text[-1]

    def _after(
        self, recent: Integer[Array, "batch memories"], mask: Bool[np.ndarray, "batch memories"] | None = None
    ) -> tuple[Inexact[Tensor, "batch vocab"], Inexact[Tensor, "batch hops memories"]]:
        """Return the logits of the word after `recent`, of which the last comes first, and the weights of the hops."""
        memory, size = self.memory, self.config.size
        words = ops.embedding(ops.concat(memory.embedding.words, axis=-1), recent)
        times = ops.concat(memory.embedding.times, axis=-1)[: recent.shape[1]]
        memories = ops.reshape(words + times, (*recent.shape, 2, size))  # (a)
        start = Tensor(xp(self.W.data).full((len(recent), size), 0.1, self.W.dtype))  # (b)
        u, weights = memory_hops(start, memories, memory.H, memory.hops, mask, rectified=memory.rectified)  # (c)
        return u @ ops.swapaxes(self.W, 0, 1), weights  # (d)


NETWORK = Network(
    name="MemN2N language model",
    paper=Paper("Sukhbaatar et al.", 2015, "End-to-end memory networks"),
    code="MemoryLanguageModel",
    command="minattn train lm --model memory",
)
