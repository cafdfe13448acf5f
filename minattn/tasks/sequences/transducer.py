"""A network from sequences to sequences in a run: batches, loss and search are the same whatever the symbols mean."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minattn.autograd import Tensor, no_grad, ops
from minattn.data import LengthBucketedBatches, PaddedBatch, evaluation_batches, source_batches
from minattn.data.batching import Pair
from minattn.data.text.vocabulary import BOS, EOS, PAD
from minattn.errors import ConfigError
from minattn.models.sequence.search import Hypothesis, beam_search
from minattn.tasks.sequences.settings import SequenceConfig
from minattn.tasks.task import OnProgress, ignore_progress
from minattn.tasks.threads import blas_threads
from minattn.training.metrics import perplexity


class Transducer:
    """A network with its settings; a task's own knows what the symbols stand for.

    sizes: the numbers of source and target symbols.  Raises ConfigError where the configuration is one for others.
    """

    def __init__(self, config: Any, sizes: tuple[int, int]) -> None:
        expected = (config.network.source_vocab_size, config.network.target_vocab_size)
        if expected != sizes:
            raise ConfigError(f"the network is for {expected} symbols, and there are {sizes}")
        self.config: SequenceConfig = config
        self.model = config.build()

    def encode(self, data: Any) -> list[Pair]:
        """Every pair of the data as (source ids, target ids between BOS and EOS)."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------------ training and scoring
    def batches(self, train: Any) -> LengthBucketedBatches:
        """Batches of the pairs to train on."""
        return LengthBucketedBatches(self.encode(train), self.config.batch_size, self.config.seed)

    @staticmethod
    def tokens(batch: PaddedBatch) -> int:
        """The number of target symbols in a batch, BOS and EOS included."""
        return int(batch.target_mask.sum())

    def loss(self, model: Any, batch: PaddedBatch) -> Tensor:
        """The training loss: the mean over the batch's pairs of sum_i -log p(y_i), in nats.

        With label smoothing, of the smoothed targets' cross-entropy in its place.
        """
        return self._summed_loss(model, batch, self.config.label_smoothing) / len(batch.source)

    def mean_loss(self, data: Any) -> float:
        """The mean over all pairs of the data of sum_i -log p(y_i), in nats, without label smoothing."""
        return self.mean_loss_and_perplexity(data)[0]

    def perplexity(self, data: Any) -> float:
        """e to the mean of -log p(y_i) over all target symbols of the data, EOS counted as one."""
        return self.mean_loss_and_perplexity(data)[1]

    @no_grad()
    def mean_loss_and_perplexity(self, data: Any) -> tuple[float, float]:
        """Both `mean_loss` and `perplexity`."""
        self.model.eval()
        pairs = self.encode(data)
        total = math.fsum(self._summed_loss(self.model, batch).item() for batch in evaluation_batches(pairs, 256))
        return total / len(pairs), perplexity(total / sum(len(target) - 1 for _, target in pairs))

    def _summed_loss(self, model: Any, batch: PaddedBatch, label_smoothing: float = 0.0) -> Tensor:
        logits = model(batch.source, batch.target[:, :-1], batch.source_mask)
        return ops.cross_entropy(logits, batch.target[:, 1:], PAD, label_smoothing, reduction="sum")

    # ------------------------------------------------------------------------------------------ search
    @blas_threads()
    @no_grad()
    def search(
        self,
        sources: Sequence[np.ndarray],
        beam: int | None = None,
        alpha: float | None = None,
        batch_size: int = 256,
        on_progress: OnProgress = ignore_progress,
    ) -> list[Hypothesis]:
        """The likeliest target of each source that beam search finds; `on_progress` counts the sources.

        beam, alpha: None for the run's.  No target is longer than twice the longest source of its batch, and 10 more.
        """
        self.model.eval()
        beam, alpha = beam or self.config.beam, self.config.alpha if alpha is None else alpha
        best: dict[int, Hypothesis] = {}
        for source, mask, indices in source_batches(sources, batch_size):
            steps = 2 * source.shape[1] + 10
            steps = min(steps, self.config.longest or steps)
            found = beam_search(self.model, self.model.encode(source, mask), beam, BOS, EOS, steps, alpha)
            best |= {int(index): hypotheses[0] for index, hypotheses in zip(indices, found, strict=True)}
            on_progress(len(best), len(sources))
        return [best[index] for index in range(len(sources))]


def alignment_of(best: Hypothesis, source_length: int, attends: bool) -> np.ndarray:
    """(target, source): how much each target symbol looked at each source symbol; without attention (target, 1).

    Padding and BOS, which a model says that has learned little, are no symbols and have no row, nor has EOS.
    """
    rows = best.alignment[[i for i, symbol in enumerate(best.ids) if symbol > EOS]]
    return rows[:, :source_length] if attends else rows
