"""The end-to-end memory network that answers questions about stories, MemN2N.

S. Sukhbaatar, A. Szlam, J. Weston and R. Fergus, "End-to-end memory networks", NIPS 2015.  Vectors are rows; what the
paper does not number has a letter.

    u^1     = sum_j B q_j of the question's words, encoded as the sentences are (section 2.1)     (a)
    u^{K+1} = K hops over the sentences of the story (section 2.2, `attention/memory`)            (b)
    a^      = softmax(W u^{K+1}), u^{K+1} = o^K + u^K                                             (3)

With adjacent tying B = A^1 and W^T = C^K; with layer-wise tying both are matrices of their own.

Deviations from the paper, besides those of the memory: none.  The defaults are those of one task of bAbI (section 4.2:
d = 20, three hops, the 50 most recent sentences, parameters from N(0, 0.1^2)); d = 50 is for all tasks together.
"""

from dataclasses import dataclass, replace
from typing import Annotated, get_args

from jaxtyping import Bool, Inexact, Integer

from minattn.attention.memory import EndToEndMemory, SentenceEmbedding
from minattn.attention.memory.end_to_end import Tying
from minattn.attention.memory.sentences import Encoding
from minattn.autograd import Array, Tensor, ops
from minattn.errors import ConfigError
from minattn.models.settings import check_choices, check_sizes
from minattn.nn import Module, initializers
from minattn.nn.attention_paths import Attention
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper


@dataclass(frozen=True)
class MemN2NConfig:
    """Sizes by the paper's letters."""

    vocab_size: Annotated[int, "V: size of the vocabulary, no word included"] = 177
    longest: Annotated[int, "J: words of the longest sentence or question"] = 11
    size: Annotated[int, "d: size of the memories"] = 20
    hops: Annotated[int, "K: hops"] = 3
    memory: Annotated[int, "sentences in the memory, the most recent ones"] = 50
    tying: Annotated[Tying, "matrices that the hops share"] = "adjacent"
    encoding: Annotated[Encoding, "bag of words, or position encoding as printed or as in the authors' code"] = (
        "position_coded"
    )
    temporal: Annotated[bool, "temporal encoding"] = True
    std: Annotated[float, "standard deviation of the parameters at the start"] = 0.1

    def __post_init__(self) -> None:
        check_sizes(self, "vocab_size", "longest", "size", "hops", "memory")
        check_choices(self, tying=get_args(Tying), encoding=get_args(Encoding))
        if not 0 < self.std <= 1e30:
            raise ConfigError(f"std must be a number above 0, 1e30 at most, got {self.std}; hint: 0.1")


ONE_TASK = MemN2NConfig()
CONFIGURATIONS = {
    "one task, bag of words": replace(ONE_TASK, encoding="bag"),
    "one task": ONE_TASK,
    "all tasks, 1 hop": replace(ONE_TASK, size=50, hops=1),
    "all tasks, 2 hops": replace(ONE_TASK, size=50, hops=2),
    "all tasks": replace(ONE_TASK, size=50),
    "all tasks, layer-wise": replace(ONE_TASK, size=50, tying="layer-wise"),
}
"""The published configurations: columns of Table 1, for the 177 words of all tasks."""


class MemN2N(Module):
    """A memory network.  rng draws the parameters."""

    def __init__(self, config: MemN2NConfig, rng: Rng) -> None:
        self.config = config
        times = config.memory if config.temporal else 0
        sizes = (config.vocab_size, config.size)
        self.memory = EndToEndMemory(
            *sizes, config.hops, rng, config.longest, times, config.tying, config.encoding, config.std
        )
        own = config.tying == "layer-wise"
        self.B = SentenceEmbedding(1, *sizes, rng, config.longest, 0, config.encoding, config.std) if own else None
        self.W = initializers.normal(sizes, rng, config.std) if own else None

    def forward(
        self,
        story: Integer[Array, "batch memories words"],
        question: Integer[Array, "batch words_of_question"],
        mask: Bool[Array, "batch memories"] | None = None,
        linear: bool = False,
        return_attention: bool = False,
    ) -> Inexact[Tensor, "batch vocab"] | tuple[Inexact[Tensor, "batch vocab"], Attention]:
        """Return the logits of the answer.

        story: words of the sentences, the most recent sentence first, filled up with 0; a sentence of zeros is an empty
        memory.  mask: True = may be attended to (None: all may).  linear: linear start, for the beginning of training.
        return_attention=True: (logits, attention), the weights (batch, hops, memories) under "memory".
        """
        B = self.memory.embedding if self.B is None else self.B
        W = self.memory.embedding.words[-1] if self.W is None else self.W
        u = B(question, first=1)[:, 0]  # (a)
        u, weights = self.memory(u, story, mask, linear)  # (b)
        logits = u @ ops.swapaxes(W, 0, 1)  # (3)
        return (logits, {"memory": weights}) if return_attention else logits


NETWORK = Network(
    name="MemN2N",
    paper=Paper("Sukhbaatar et al.", 2015, "End-to-end memory networks"),
    code="MemN2N",
    command="minattn train qa",
    experiment="experiments/memn2n_table1.py",
)
