"""A language model with its alphabet: trained, scored, and asked to write."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self

import numpy as np

from minattn.autograd import Tensor, no_grad, ops
from minattn.data import Alphabet, TextBatch, TextWindows, evaluation_windows
from minattn.errors import ConfigError, DataError
from minattn.tasks.lm.settings import LanguageConfig
from minattn.tasks.task import OnProgress, ignore_progress
from minattn.tasks.threads import blas_threads

EVALUATION_BATCH = 16
"""Windows that are scored at a time."""


@dataclass
class StoredAlphabet:
    """What a checkpoint says beside the model's parameters."""

    alphabet: str
    prompt: str


class CharacterModel:
    """A language model with its alphabet, and the prompt that its samples begin with."""

    def __init__(self, config: LanguageConfig, alphabet: Alphabet, prompt: str) -> None:
        if config.network.vocab_size != len(alphabet):
            raise ConfigError(f"the model is for {config.network.vocab_size} characters, and there are {len(alphabet)}")
        self.config, self.alphabet, self.prompt = config, alphabet, prompt
        self.model = config.build()

    @classmethod
    def of(cls, config: LanguageConfig, alphabet: Alphabet, prompt: str) -> Self:
        """An untrained one for this alphabet."""
        return cls(config.of_size(len(alphabet)), alphabet, prompt)

    # ------------------------------------------------------------------------------------------ training and scoring
    def batches(self, train: str) -> TextWindows:
        """Batches of windows of the training text."""
        config = self.config
        return TextWindows(self.alphabet.encode(train), config.context, config.batch_size, config.seed)

    @staticmethod
    def tokens(batch: TextBatch) -> int:
        """The number of characters in a batch."""
        return batch.target.size

    def check(self, text: str, name: str) -> None:
        """Raise DataError where a text, called `name`, has characters that the model does not know."""
        try:
            self.alphabet.encode(text)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error

    def loss(self, model: Any, batch: TextBatch) -> Tensor:
        """The mean over the batch of -log p(next character), in nats."""
        return ops.cross_entropy(model(batch.source), batch.target)

    @blas_threads()
    @no_grad()
    def mean_loss(self, text: np.ndarray, on_progress: OnProgress = ignore_progress) -> float:
        """-log p of each character but the first, in nats, the mean over the text: see `evaluation_windows`."""
        self.model.eval()
        losses, done = [], 0
        for batch in evaluation_windows(text, self.config.context, EVALUATION_BATCH):
            losses.append(self.loss(self.model, batch).item() * batch.target.size)
            done += batch.target.size
            on_progress(done, len(text) - 1)
        return math.fsum(losses) / (len(text) - 1)

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
        """The alphabet and the prompt, for a checkpoint."""
        return {"alphabet": self.alphabet.characters, "prompt": self.prompt}
