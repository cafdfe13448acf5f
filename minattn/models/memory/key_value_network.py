"""The key-value memory network, which answers questions from facts.

A. Miller et al., "Key-value memory networks for directly reading documents", EMNLP 2016, section 3.1.

    q_1     = A Phi_X(x) of the question's words                                     (a)
    q_{H+1} = H hops over the slots that the question finds, `attention/memory`      (b)
    a^      = argmax_i softmax_i(q_{H+1} . B Phi_Y(y_i)) over the candidate answers  (c)

Deviations from the paper, besides those of the memory: none.  `tied`, B = A, is the authors' code's.  The defaults are
their sizes for WikiMovies, with a dictionary of 75,542 features; centers double it (section 3.2).
"""

from dataclasses import dataclass
from typing import Annotated, get_args

from jaxtyping import Bool, Inexact, Integer

from minattn.attention.memory.key_value import KeyValueMemory, Rule
from minattn.attention.memory.sentences import sentence_vectors
from minattn.autograd import Array, Tensor, ops
from minattn.errors import ConfigError
from minattn.models.settings import check_choices, check_sizes
from minattn.nn import Module, initializers
from minattn.nn.attention_paths import Attention
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper


@dataclass(frozen=True)
class KeyValueNetworkConfig:
    """Sizes by the paper's letters."""

    features: Annotated[int, "D: words and other features, no word included"] = 75_542
    size: Annotated[int, "d: size of the vectors"] = 500
    hops: Annotated[int, "H: hops"] = 2
    rule: Annotated[Rule, "hops as printed, or as in the authors' code"] = "paper"
    tied: Annotated[bool, "one matrix for the answers and everything else, B = A"] = True
    std: Annotated[float, "standard deviation of the parameters at the start"] = 0.1

    def __post_init__(self) -> None:
        check_sizes(self, "features", "size", "hops")
        if self.hops > 100:
            raise ConfigError(f"hops must be at most 100, got {self.hops}; hint: 2, as in the paper")
        check_choices(self, rule=get_args(Rule))
        if not 0 < self.std <= 1e30:
            raise ConfigError(f"std must be a number above 0, 1e30 at most, got {self.std}; hint: 0.1")


class KeyValueNetwork(Module):
    """A key-value memory network.  rng draws the parameters."""

    def __init__(self, config: KeyValueNetworkConfig, rng: Rng) -> None:
        self.config = config
        self.memory = KeyValueMemory(config.features, config.size, config.hops, rng, config.rule, config.std)
        self.B = None if config.tied else initializers.normal((config.features, config.size), rng, config.std)

    def forward(
        self,
        question: Integer[Array, "batch words"],
        keys: Integer[Array, "batch slots words_of_key"],
        values: Integer[Array, "batch slots words_of_value"],
        candidates: Integer[Array, "candidates words_of_answer"],
        mask: Bool[Array, "batch slots"] | None = None,
        return_attention: bool = False,
    ) -> Inexact[Tensor, "batch candidates"] | tuple[Inexact[Tensor, "batch candidates"], Attention]:
        """Return the logits of the candidate answers; 0 is no word in any of the bags.

        mask: True = a slot (None: all are).  return_attention=True: (logits, attention), the weights (batch, hops,
        slots) under "memory".
        """
        q, weights = self.memory(self.memory.question(question), keys, values, mask)  # (a) (b)
        answers = sentence_vectors(self.memory.A if self.B is None else self.B, candidates)
        logits = q @ ops.swapaxes(answers, 0, 1)  # (c)
        return (logits, {"memory": weights}) if return_attention else logits


NETWORK = Network(
    name="key-value memory network",
    paper=Paper("Miller et al.", 2016, "Key-value memory networks for directly reading documents"),
    code="KeyValueNetwork",
    command="minattn train facts",
)
