"""A language model with its alphabet: what the lm recipe trains, measures and lets write."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from minattn.autograd import Tensor, check_device, no_grad, ops
from minattn.data import Alphabet, TextBatch, evaluation_windows
from minattn.errors import ConfigError, DataError
from minattn.models.sequence.language_model import LanguageModel, LanguageModelConfig
from minattn.tasks.config import from_stored
from minattn.tasks.driver import load_best
from minattn.tasks.run_folder import CONFIG, read_run
from minattn.tasks.threads import blas_threads

RECIPE = "lm"

EVALUATION_BATCH = 16
"""Windows that are measured at a time."""


@dataclass(frozen=True)
class LanguageConfig:
    """A run's settings.  The defaults write something readable after ten minutes on one CPU core."""

    layers: int = 4
    d_model: int = 128
    d_ff: int = 512
    heads: int = 4
    context: int = 128  # T: how many characters back the model can look
    norm: Literal["post", "pre"] = "pre"
    positions: Literal["sinusoidal", "learned"] = "sinusoidal"  # learned ones find out later where to look
    dropout: float = 0.0
    batch_size: int = 8
    steps: int = 4000
    lr: float = 2e-3  # the highest; it rises for `warmup` steps and then falls along a cosine to lr / 20
    warmup: int = 100
    beta2: float = 0.99  # of Adam
    max_norm: float = 1.0  # of the gradient
    evaluate_every: int = 500  # steps
    sample: int = 240  # characters that the model writes at each evaluation
    temperature: float = 0.7  # of those
    threads: int = 1  # that share each batch
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("context", "batch_size", "steps", "warmup", "evaluate_every", "sample", "threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("lr", "max_norm", "temperature"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be a finite number above 0, got {getattr(self, name)}")
        if not 0 <= self.beta2 < 1:
            raise ConfigError(f"beta2 must be in [0, 1), got {self.beta2}")
        if self.threads > self.batch_size:
            raise ConfigError(f"threads must be at most batch_size = {self.batch_size}, got {self.threads}")
        if self.seed < 0:
            raise ConfigError(f"seed must be at least 0, got {self.seed}")
        self.network(1)  # refuses what it cannot be built with

    def network(self, characters: int) -> LanguageModelConfig:
        """The network for an alphabet of this size."""
        return LanguageModelConfig(
            vocab_size=characters,
            layers=self.layers,
            d_model=self.d_model,
            d_ff=self.d_ff,
            heads=self.heads,
            dropout=self.dropout,
            norm=self.norm,
            positions=self.positions,
            max_length=self.context,
        )


class CharacterModel:
    """A language model with its alphabet, and the prompt that its samples begin with."""

    def __init__(self, config: LanguageConfig, alphabet: Alphabet, prompt: str) -> None:
        self.config, self.alphabet, self.prompt = config, alphabet, prompt
        self.model = LanguageModel(config.network(len(alphabet)), np.random.default_rng(config.seed))

    # ------------------------------------------------------------------------------------------ measuring
    def loss(self, model: Any, batch: TextBatch) -> Tensor:
        """The mean over the batch of -log p(next character), in nats."""
        return ops.cross_entropy(model(batch.source), batch.target)

    @blas_threads()
    @no_grad()
    def mean_loss(self, text: np.ndarray) -> float:
        """-log p of each character but the first, in nats, the mean over the text: see `evaluation_windows`."""
        self.model.eval()
        batches = evaluation_windows(text, self.config.context, EVALUATION_BATCH)
        return math.fsum(self.loss(self.model, b).item() * b.target.size for b in batches) / (len(text) - 1)

    # ------------------------------------------------------------------------------------------ writing
    def write(
        self, prompt: str, length: int, temperature: float = 1.0, top_k: int | None = None, seed: int = 0
    ) -> Iterator[str]:
        """The next `length` characters after `prompt`, one by one.

        temperature: the logits are divided by it; below 1 likely characters become likelier.
        top_k: choose among the k likeliest alone.
        Raises DataError for an empty prompt or one with characters that the model does not know, ConfigError for a
        temperature or top_k that makes no sense.
        """
        if not prompt:
            raise DataError("there is nothing to go on from; hint: a prompt of at least one character")
        if not 0 < temperature < math.inf:
            raise ConfigError(f"temperature must be a finite number above 0, got {temperature}")
        if top_k is not None and top_k < 1:
            raise ConfigError(f"top_k must be at least 1, got {top_k}")
        self.model.eval()
        ids = self.alphabet.encode(prompt)
        symbols = self.model.symbols(ids, np.random.default_rng(seed), temperature, top_k, self.config.context)
        return (self.alphabet.decode([symbol]) for symbol in islice(symbols, length))

    # ------------------------------------------------------------------------------------------ checkpoints
    def meta(self) -> dict[str, Any]:
        """What a checkpoint says of its model."""
        settings = dataclasses.asdict(self.config)
        return {"recipe": RECIPE, "config": settings, "alphabet": self.alphabet.characters, "prompt": self.prompt}

    @classmethod
    def load(cls, run: str | Path, device: str = "cpu") -> Self:
        """The best model of a run folder, or the last where none was evaluated yet.

        Raises CheckpointError where the folder is no lm run, or its checkpoint is missing, damaged or another run's.
        """
        check_device(device)
        folder = Path(run)
        config = from_stored(LanguageConfig, read_run(folder, RECIPE).get("config"), folder / CONFIG)

        def build(meta: Mapping[str, Any]) -> Self:
            return cls(config, Alphabet(meta["alphabet"]), meta["prompt"])

        return load_best(folder, RECIPE, config, build, device)
