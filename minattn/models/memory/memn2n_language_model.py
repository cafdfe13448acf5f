"""The language model with a memory: it looks back at the words before, several times, before it says the next.

S. Sukhbaatar, A. Szlam, J. Weston and R. Fergus, "End-to-end memory networks", NIPS 2015, section 5.  Each memory is
one word, there is no question, and the hops are tied layer by layer:

    m_i     = A x_i + T_A(i),  c_i = C x_i + T_C(i)      for the n words before, i = 1 the last     (a)
    u^1     = 0.1 in all its elements                                                              (b)
    u^{k+1} = H u^k + o^k, and half of its units through a ReLU                                     (c)
    p(word) = softmax(W u^{K+1})                                                                   (d)

Deviations from the paper: none.  The defaults are those of the Penn Treebank: d = 150, six hops, 100 words, parameters
from N(0, 0.05^2).
"""

import math
from dataclasses import dataclass, replace
from typing import Annotated

from jaxtyping import Bool, Inexact, Integer

from minattn.attention.memory import EndToEndMemory
from minattn.autograd import Array, Tensor, ops, xp
from minattn.errors import ConfigError
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
        if not 0 < self.std < math.inf:
            raise ConfigError(f"std must be a number above 0, got {self.std}; hint: 0.05")


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
        self,
        words: Integer[Array, "batch memories"],
        mask: Bool[Array, "batch memories"] | None = None,
        return_attention: bool = False,
    ) -> Inexact[Tensor, "batch vocab"] | tuple[Inexact[Tensor, "batch vocab"], Attention]:
        """Return the logits of the word after `words`, of which the last comes first; id 0 is no word.

        return_attention=True: (logits, attention), the weights (batch, hops, memories) under "memory".
        """
        start = xp(self.W.data).full((len(words), self.config.size), 0.1, self.W.dtype)  # (b)
        u, weights = self.memory(Tensor(start), words[:, :, None], mask)  # (a) (c)
        logits = u @ ops.swapaxes(self.W, 0, 1)  # (d)
        return (logits, {"memory": weights}) if return_attention else logits


NETWORK = Network(
    name="MemN2N language model",
    paper=Paper("Sukhbaatar et al.", 2015, "End-to-end memory networks"),
    code="MemoryLanguageModel",
    command="minattn list",
)
