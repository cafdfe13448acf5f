"""The networks that learn to pronounce, and the settings of a run with each.

RNNsearch and RNNencdec (Bahdanau et al. 2015), Luong's network (Luong et al. 2015) and the Transformer (Vaswani et al.
2017); the defaults of each take ten minutes on one CPU core.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np

from minattn.models.sequence.luong import Luong, LuongConfig
from minattn.models.sequence.rnnsearch import RNNsearch, RNNsearchConfig
from minattn.models.sequence.transformer import Transformer, TransformerConfig
from minattn.nn import Module, Parameter
from minattn.tasks.config import TaskConfig
from minattn.tasks.fields import Count, Fraction, NonNegativeFloat, Positive
from minattn.training import Adam, Cosine, LinearWarmup, Optimizer, Plan, Schedule

SMALL_RNNSEARCH = RNNsearchConfig(
    embedding=64, hidden=128, alignment=64, maxout=64, biases=True, readout="current", init="glorot"
)
SMALL_LUONG = LuongConfig(
    embedding=64, hidden=128, layers=2, attention="global", window=3, dropout=0.0, biases=True, init="glorot"
)
SMALL_TRANSFORMER = TransformerConfig(
    layers=2, d_model=128, d_ff=512, heads=4, dropout=0.0, max_length=64, tied="target"
)


@dataclass(frozen=True, kw_only=True)
class G2PConfig(TaskConfig):
    """The settings that a run has with any network."""

    batch_size: Annotated[Count, "pronunciations in a batch"] = 64
    epochs: Annotated[Count, "passes over the training words"] = 6
    lr: Annotated[Positive, "the highest learning rate; from there it falls along a cosine to lr / 50"] = 3e-3
    warmup: Annotated[Count, "steps in which the learning rate rises, at most a tenth of all"] = 200
    max_norm: Annotated[Positive, "the norm that the gradient is clipped to"] = 5.0
    beam: Annotated[Count, "beam width for the test words; development words are decoded greedily"] = 4

    from_data: ClassVar[tuple[str, ...]] = ("source_vocab_size", "target_vocab_size")

    # Of networks that have no such setting.
    label_smoothing: ClassVar[float] = 0.0
    alpha: ClassVar[float] = 0.0

    @property
    def attends(self) -> bool:
        """True where there is attention to look at."""
        return True

    @property
    def longest(self) -> int | None:
        """The number of letters, and of phonemes with BOS, that the network can take; None: any."""
        return None

    def build(self) -> Module:
        """The untrained network."""
        raise NotImplementedError

    def plan(self) -> Plan:
        return Plan(epochs=self.epochs, max_norm=self.max_norm)

    def optimizer(self, parameters: Mapping[str, Parameter]) -> Optimizer:
        return Adam(parameters, self.lr)

    def schedule(self, steps: int) -> Schedule:
        return LinearWarmup(Cosine(self.lr, steps, self.lr / 50), min(self.warmup, max(1, steps // 10)))


@dataclass(frozen=True, kw_only=True)
class RNNsearchG2P(G2PConfig):
    """RNNsearch, and RNNencdec, which has no attention."""

    model: Annotated[Literal["rnnsearch", "rnnencdec"], "the network"] = "rnnsearch"
    network: RNNsearchConfig = SMALL_RNNSEARCH

    @property
    def attends(self) -> bool:
        return self.network.attention

    def build(self) -> RNNsearch:
        return RNNsearch(self.network, np.random.default_rng(self.seed))


@dataclass(frozen=True, kw_only=True)
class LuongG2P(G2PConfig):
    """Luong's network.  Letters are said in order: a window of three to each side is enough for local attention."""

    model: Annotated[Literal["luong"], "the network"] = "luong"
    network: LuongConfig = SMALL_LUONG

    @property
    def attends(self) -> bool:
        return self.network.attention != "none"

    def build(self) -> Luong:
        return Luong(self.network, np.random.default_rng(self.seed))


@dataclass(frozen=True, kw_only=True)
class TransformerG2P(G2PConfig):
    """The Transformer; letters are not phonemes, so only the phonemes' embedding is the pre-softmax matrix too.

    The usual settings for words take hours here: layers=4 d_model=256 d_ff=1024 dropout=0.3 batch_size=400 lr=1e-3
    warmup=4000, for 20,000 steps, with a rate that falls as 1 / sqrt(step).  In a run of minutes that fall and the
    cosine do equally well, and without dropout it learns faster.  Not the paper's are the cosine, the clipping of the
    gradient, and the longest pronunciation, twice the letters and 10 in place of 50 more.
    """

    model: Annotated[Literal["transformer"], "the network"] = "transformer"
    network: TransformerConfig = SMALL_TRANSFORMER
    lr: Annotated[Positive, "the highest learning rate; from there it falls along a cosine to lr / 50"] = 2e-3
    label_smoothing: Annotated[Fraction, "label smoothing of the training loss"] = 0.1
    alpha: Annotated[NonNegativeFloat, "length penalty of beam search"] = 0.0

    @property
    def longest(self) -> int | None:
        return self.network.max_length if self.network.positions == "learned" else None

    def build(self) -> Transformer:
        return Transformer(self.network, np.random.default_rng(self.seed))

    def optimizer(self, parameters: Mapping[str, Parameter]) -> Optimizer:
        return Adam(parameters, self.lr, betas=(0.9, 0.98), eps=1e-9)


MODELS = {
    "rnnsearch": RNNsearchG2P(),
    "rnnencdec": RNNsearchG2P(model="rnnencdec", network=replace(SMALL_RNNSEARCH, attention=False)),
    "luong": LuongG2P(),
    "transformer": TransformerG2P(),
}
"""The default settings of a run, by network."""
