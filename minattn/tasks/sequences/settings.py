"""The networks from sequences to sequences, and the settings of a run with any of them.

RNNsearch and RNNencdec (Bahdanau et al. 2015), Luong's network (Luong et al. 2015) and the Transformer (Vaswani et al.
2017), each in a size that one CPU core trains in minutes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from minattn.models.sequence.luong import Luong, LuongConfig
from minattn.models.sequence.rnnsearch import RNNsearch, RNNsearchConfig
from minattn.models.sequence.transformer import Transformer, TransformerConfig
from minattn.nn import Module, Parameter
from minattn.tasks.config import TaskConfig
from minattn.tasks.fields import AT_LEAST_ONE, BeamWidth, Count, Fraction, Positive, ZeroToHundred
from minattn.training import Adam, Cosine, LinearWarmup, Optimizer, Plan, Schedule

SMALL_RNNSEARCH = RNNsearchConfig(
    embedding=64, hidden=128, alignment=64, maxout=64, biases=True, readout="current", init="glorot"
)
SMALL_RNNENCDEC = replace(SMALL_RNNSEARCH, attention=False)
SMALL_LUONG = LuongConfig(
    embedding=64, hidden=128, layers=1, attention="global", window=3, dropout=0.0, biases=True, init="glorot"
)
SMALL_TRANSFORMER = TransformerConfig(
    layers=2, d_model=128, d_ff=512, heads=4, dropout=0.0, max_length=64, tied="target"
)

NETWORKS: dict[type, Any] = {RNNsearchConfig: RNNsearch, LuongConfig: Luong, TransformerConfig: Transformer}
"""By the type of the configuration."""


@dataclass(frozen=True, kw_only=True)
class SequenceConfig(TaskConfig):
    """The settings that a run has with any network.

    Adam's moments for the Transformer are its paper's; the cosine and the clipping of the gradient are not.
    """

    batch_size: Annotated[Count, "pairs of a source and a target in a batch"] = 64
    epochs: Annotated[Count, "passes over the training pairs"] = 6
    steps: Annotated[int | None, "updates of the parameters, in place of epochs", AT_LEAST_ONE] = None
    lr: Annotated[Positive, "the highest learning rate; from there it falls along a cosine to lr / 50"] = 3e-3
    warmup: Annotated[Count, "steps in which the learning rate rises, at most a tenth of all"] = 200
    max_norm: Annotated[Positive, "the norm that the gradient is clipped to"] = 5.0
    label_smoothing: Annotated[Fraction, "label smoothing of the training loss"] = 0.0
    beam: Annotated[BeamWidth, "beam width for the test data; development data are decoded greedily"] = 4
    alpha: Annotated[ZeroToHundred, "length penalty of beam search"] = 0.0

    from_data: ClassVar[tuple[str, ...]] = ("source_vocab_size", "target_vocab_size")

    @property
    def attends(self) -> bool:
        """True where there is attention to look at."""
        match self.network:
            case RNNsearchConfig():
                return self.network.attention
            case LuongConfig():
                return self.network.attention != "none"
        return True

    @property
    def longest(self) -> int | None:
        """The number of source symbols, and of target symbols with BOS, that the network can take; None: any."""
        learned = isinstance(self.network, TransformerConfig) and self.network.positions == "learned"
        return self.network.max_length if learned else None

    def of_sizes(self, source: int, target: int) -> Self:
        """The same settings with vocabularies of these sizes."""
        return replace(self, network=replace(self.network, source_vocab_size=source, target_vocab_size=target))

    def build(self) -> Module:
        """The untrained network."""
        return NETWORKS[type(self.network)](self.network, np.random.default_rng(self.seed))

    def plan(self) -> Plan:
        return Plan(epochs=self.epochs if self.steps is None else None, steps=self.steps, max_norm=self.max_norm)

    def optimizer(self, parameters: Mapping[str, Parameter]) -> Optimizer:
        if isinstance(self.network, TransformerConfig):
            return Adam(parameters, self.lr, betas=(0.9, 0.98), eps=1e-9)
        return Adam(parameters, self.lr)

    def schedule(self, steps: int) -> Schedule:
        return LinearWarmup(Cosine(self.lr, steps, self.lr / 50), min(self.warmup, max(1, steps // 10)))
