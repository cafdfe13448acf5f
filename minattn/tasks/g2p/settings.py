"""The networks that learn to pronounce, and the settings of a run with each.

`model=` names the network: rnnsearch or rnnencdec (Bahdanau et al. 2015), transformer (Vaswani et al. 2017).  What
every run has is in `G2PConfig`, what only a network has in its own class; the defaults of each take ten minutes on one
CPU core.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from minattn.errors import CheckpointError, ConfigError
from minattn.models.sequence.rnnsearch import RNNsearch, RNNsearchConfig
from minattn.models.sequence.transformer import Transformer, TransformerConfig
from minattn.nn import Module, Parameter
from minattn.tasks.config import from_stored, with_settings
from minattn.training import Adam, Cosine, LinearWarmup, Optimizer, Schedule

LEARNED_POSITIONS = 64
"""Letters, or phonemes, that a Transformer with learned positions can take; no word of CMUdict has so many."""


@dataclass(frozen=True)
class G2PConfig:
    """The settings that a run has with any network."""

    model: str
    dropout: float = 0.0
    batch_size: int = 64
    epochs: int = 6
    lr: float = 3e-3  # the highest; it rises for `warmup` steps and then falls along a cosine to lr / 50
    warmup: int = 200
    max_norm: float = 5.0  # of the gradient
    beam: int = 4  # for the test words; development words are decoded greedily
    threads: int = 1  # that share each batch
    seed: int = 1

    # Of networks that have no such setting.
    label_smoothing = 0.0
    alpha = 0.0

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "warmup", "beam", "threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("lr", "max_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be a finite number above 0, got {getattr(self, name)}")
        if self.threads > self.batch_size:
            raise ConfigError(f"threads must be at most batch_size = {self.batch_size}, got {self.threads}")
        if self.seed < 0:
            raise ConfigError(f"seed must be at least 0, got {self.seed}")
        self.sizes(1, 1)  # refuses what it cannot be built with

    @property
    def attends(self) -> bool:
        """Whether there is attention to look at."""
        return True

    @property
    def longest(self) -> int | None:
        """How many letters, and phonemes with their begin symbol, the network can take; None: any number."""
        return None

    def sizes(self, letters: int, phonemes: int) -> Any:
        """The configuration of the network for vocabularies of these sizes."""
        raise NotImplementedError

    def build(self, letters: int, phonemes: int) -> Module:
        """The untrained network for vocabularies of these sizes."""
        raise NotImplementedError

    def optimizer(self, parameters: Mapping[str, Parameter]) -> Optimizer:
        return Adam(parameters, self.lr)

    def schedule(self, steps: int) -> Schedule:
        """The learning rate over a run of so many steps; no more than a tenth of them are warm-up."""
        return LinearWarmup(Cosine(self.lr, steps, self.lr / 50), min(self.warmup, max(1, steps // 10)))


@dataclass(frozen=True)
class RNNsearchG2P(G2PConfig):
    """RNNsearch, and RNNencdec, which has no attention; sizes by the paper's letters."""

    model: Literal["rnnsearch", "rnnencdec"] = "rnnsearch"
    embedding: int = 64  # m
    hidden: int = 128  # n
    alignment: int = 64  # n'
    maxout: int = 64  # l
    readout: Literal["previous", "current"] = "current"

    @property
    def attends(self) -> bool:
        return self.model == "rnnsearch"

    def sizes(self, letters: int, phonemes: int) -> RNNsearchConfig:
        return RNNsearchConfig(
            source_vocab_size=letters,
            target_vocab_size=phonemes,
            embedding=self.embedding,
            hidden=self.hidden,
            alignment=self.alignment,
            maxout=self.maxout,
            biases=True,
            attention=self.attends,
            readout=self.readout,
            dropout=self.dropout,
            init="glorot",
        )

    def build(self, letters: int, phonemes: int) -> RNNsearch:
        return RNNsearch(self.sizes(letters, phonemes), np.random.default_rng(self.seed))


@dataclass(frozen=True)
class TransformerG2P(G2PConfig):
    """The Transformer; letters are not phonemes, so only the phonemes' embedding is the pre-softmax matrix too.

    The usual recipe for words takes hours here: layers=4 d_model=256 d_ff=1024 dropout=0.3 batch_size=400 lr=1e-3
    warmup=4000, for 20,000 steps, with a rate that falls as 1 / sqrt(step).  In a run of minutes that fall and the
    cosine do equally well, and without dropout it learns faster.  Not the paper's are the cosine, the clipping of the
    gradient, and the longest pronunciation, twice the letters and 10 in place of 50 more.
    """

    model: Literal["transformer"] = "transformer"
    lr: float = 2e-3
    layers: int = 2  # N
    d_model: int = 128
    d_ff: int = 512
    heads: int = 4  # h
    norm: Literal["post", "pre"] = "post"
    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    label_smoothing: float = 0.1  # in training alone: development losses are without it
    alpha: float = 0.0  # the length penalty of beam search

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}")
        if not 0 <= self.alpha < math.inf:
            raise ConfigError(f"alpha must be a finite number of at least 0, got {self.alpha}")

    @property
    def longest(self) -> int | None:
        return None if self.positions == "sinusoidal" else LEARNED_POSITIONS

    def sizes(self, letters: int, phonemes: int) -> TransformerConfig:
        return TransformerConfig(
            source_vocab_size=letters,
            target_vocab_size=phonemes,
            layers=self.layers,
            d_model=self.d_model,
            d_ff=self.d_ff,
            heads=self.heads,
            dropout=self.dropout,
            norm=self.norm,
            positions=self.positions,
            max_length=LEARNED_POSITIONS,
            tied="target",
        )

    def build(self, letters: int, phonemes: int) -> Transformer:
        return Transformer(self.sizes(letters, phonemes), np.random.default_rng(self.seed))

    def optimizer(self, parameters: Mapping[str, Parameter]) -> Optimizer:
        return Adam(parameters, self.lr, betas=(0.9, 0.98), eps=1e-9)


MODELS = {"rnnsearch": RNNsearchG2P, "rnnencdec": RNNsearchG2P, "transformer": TransformerG2P}


def default_config(model: str = "rnnsearch") -> G2PConfig:
    """The settings that a run of this network has unless told otherwise.

    Raises ConfigError for a network that does not exist.
    """
    if model not in MODELS:
        raise ConfigError(f"model must be one of {', '.join(MODELS)}, got {model!r}")
    return MODELS[model](model=model)


def config_from(settings: Sequence[str], model: str | None = None) -> G2PConfig:
    """The default settings of a network, changed by `settings` of the form "key=value".

    The network is `model`, or what a setting "model=.." names, or RNNsearch.
    Raises ConfigError where the two differ, and for settings that the network does not have, naming those it has.
    """
    named = [setting.partition("=")[2] for setting in settings if setting.startswith("model=")]
    if model is not None and any(name != model for name in named):
        raise ConfigError(f"the model is given twice, as {model!r} and by model={named[-1]}; hint: give it once")
    return with_settings(default_config(model or (named[-1] if named else "rnnsearch")), settings)


def stored_config(stored: Any, path: Path) -> G2PConfig:
    """The settings from the JSON object of a run's config.json, which is `path`.

    Raises CheckpointError where they are not those of a network of this version.
    """
    model = stored.get("model", "rnnsearch") if isinstance(stored, dict) else "rnnsearch"
    if not isinstance(model, str) or model not in MODELS:
        raise CheckpointError(
            f"{path}: model is {json.dumps(model)} and must be one of {', '.join(MODELS)}; "
            "hint: the minattn version that made the run, or a new run"
        )
    return from_stored(MODELS[model], stored, path)
