"""A network with the words that it knows: trained, scored, and asked what an image shows."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from minattn.attention.sequence import doubly_stochastic_penalty, hard_weights
from minattn.attention.sequence.visual_hard import HardAttentionLoss
from minattn.autograd import Tensor, no_grad, ops, to_device
from minattn.data import Normalization, WordTokenizer
from minattn.data.captions.batches import CaptionBatch, CaptionBatches, caption_batches
from minattn.data.captions.dataset import CaptionedImages
from minattn.data.images.dataset import Images, described
from minattn.data.images.folder import read_image
from minattn.data.text.vocabulary import BOS, EOS, PAD, UNKNOWN
from minattn.errors import ConfigError, DataError
from minattn.models.captions.captioner import Captioner, maps_shape
from minattn.models.captions.show_attend_tell import ShowAttendTell
from minattn.models.sequence.search import Hypothesis, alignment_with, beam_search
from minattn.tasks.captions.encoders import Encoder, StoredEncoder
from minattn.tasks.captions.settings import CaptionConfig
from minattn.tasks.task import OnProgress, ignore_progress
from minattn.tasks.threads import blas_threads
from minattn.training.metrics import perplexity

EVALUATION_BATCH = 100
"""Images that are described at a time."""


@dataclass
class StoredCaptioner:
    """What a checkpoint says beside the network's parameters."""

    words: dict[str, Any]
    shape: tuple[int, int, int]
    mean: list[float]
    std: list[float]
    encoder: StoredEncoder

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or len(self.mean) != self.shape[0]:
            raise ConfigError(f"images of shape {self.shape} with means of {len(self.mean)} channels")


class Described(NamedTuple):
    """The caption of an image."""

    words: list[str]
    probability: float
    """Of the whole caption, under the model."""
    weights: np.ndarray
    """(words, rows, columns): where each word was looked for; without attention one location."""

    @property
    def caption(self) -> str:
        """The words with spaces between them."""
        return " ".join(self.words)


class Describer:
    """A captioner with its words, the shape (channels, height, width) of its images, and how they are normalized."""

    tokens = None  # the speed of training is not logged

    def __init__(
        self,
        config: CaptionConfig,
        words: WordTokenizer,
        shape: tuple[int, int, int],
        normalization: Normalization,
        encoder: Encoder,
    ) -> None:
        rng = np.random.default_rng(config.seed)
        maps = encoder.build(rng)
        self.words, self.shape, self.normalization, self.encoder = words, shape, normalization, encoder
        sizes = maps_shape(maps, shape)
        network = replace(config.network, vocab_size=len(words), annotation=sizes[0])
        self.config, self.grid = replace(config, network=network), sizes[1:]
        hard = HardAttentionLoss(config.reward_weight, config.entropy_weight, config.reward_per_word)
        self.model = Captioner(
            maps, ShowAttendTell(network, rng), rng, encoder.frozen, hard if network.attention == "hard" else None
        )

    @classmethod
    def of(cls, config: CaptionConfig, train: CaptionedImages) -> Self:
        """An untrained one for images like these, whose words are those of their captions."""
        config = replace(config, encoder=_absolute(config.encoder))
        encoder = Encoder.of(config.encoder, train.shape)
        every = [caption for captions in train.captions for caption in captions]
        words = WordTokenizer.learn(every, max_size=config.vocabulary)
        normalization = encoder.normalization or Normalization.of(Images(train.pixels, np.zeros(len(train), np.int64)))
        made = cls(config, words, train.shape, normalization, encoder)
        if config.attends and math.prod(made.grid) < 2:
            raise ConfigError(
                f"the encoder makes maps of {made.grid[1]} x {made.grid[0]} of these images, and attention has nothing "
                "to choose; hint: a larger size, or another encoder"
            )
        return made

    # ------------------------------------------------------------------------------------------ training
    def encode(self, data: CaptionedImages) -> list[list[np.ndarray]]:
        """The ids of the words of every caption, between BOS and EOS."""
        return [[self.words.encode(caption, bos=True, eos=True) for caption in captions] for captions in data.captions]

    def batches(self, train: CaptionedImages) -> CaptionBatches:
        """Batches of images with a caption to train on."""
        config = self.config
        return CaptionBatches(train, self.encode(train), config.batch_size, config.seed, self.normalization)

    def loss(self, model: Captioner, batch: CaptionBatch) -> Tensor:
        """The training loss: the mean over the captions of -log p(y | a), in nats, and lambda times the penalty.

        Of hard attention, that whose gradient is the paper's learning rule.
        """
        config, words, mask = self.config, batch.words, batch.mask[:, 1:]
        images = on_device(model, batch.images)
        draws = None
        if model.hard_loss is not None:
            draws = model.draw(*mask.shape, config.sampled, config.sampled_per_batch)
        logits, attention = model(images, words[:, :-1], draws, return_attention=True)
        if draws is None:
            loss = ops.cross_entropy(logits, words[:, 1:], PAD, reduction="sum") / len(words)
        else:
            weights = attention["decoder.attention"]
            chosen = np.broadcast_to(draws.sampled[:, None], mask.shape)
            locations = hard_weights(weights, draws.uniform, chosen)
            log_p = -ops.cross_entropy(logits, words[:, 1:], PAD, reduction="none")
            loss = model.hard_loss(log_p, weights, locations, draws.sampled, mask)
        if config.doubly_stochastic and attention:
            loss = loss + config.doubly_stochastic * doubly_stochastic_penalty(attention["decoder.attention"], mask)
        return loss

    # ------------------------------------------------------------------------------------------ scoring
    @blas_threads()
    @no_grad()
    def mean_loss(self, data: CaptionedImages) -> tuple[float, float]:
        """(the mean over the captions of -log p(y | a) in nats, e to its mean over the words, EOS counted as one)."""
        self.model.eval()
        encoded, total = self.encode(data), 0.0
        for batch in caption_batches(data, encoded, EVALUATION_BATCH, self.normalization):
            logits = self.model(on_device(self.model, batch.images), batch.words[:, :-1])
            total += ops.cross_entropy(logits, batch.words[:, 1:], PAD, reduction="sum").item()
        captions = [caption for of_image in encoded for caption in of_image]
        return total / len(captions), perplexity(total / sum(len(caption) - 1 for caption in captions))

    @blas_threads()
    @no_grad()
    def weights_with(self, data: CaptionedImages) -> list[np.ndarray]:
        """The weights (words, rows, columns) of every image's words, with its first caption as the decoder's input."""
        self.model.eval()
        found: list[np.ndarray] = [np.empty(0)] * len(data)
        encoded = [captions[:1] for captions in self.encode(data)]
        for batch in caption_batches(data, encoded, EVALUATION_BATCH, self.normalization):
            source = self.model.encode(on_device(self.model, batch.images))
            weights = alignment_with(self.model, source, batch.words[:, :-1])
            for location, of_image, mask in zip(batch.image_ids, weights, batch.mask, strict=True):
                found[location] = of_image[: mask.sum() - 2].reshape(-1, *self.grid)
        return found

    @blas_threads()
    @no_grad()
    @np.errstate(all="ignore")
    def describe(
        self,
        pixels: np.ndarray,
        beam: int | None = None,
        on_progress: OnProgress = ignore_progress,
        likeliest: bool = False,
    ) -> list[Described]:
        """The likeliest caption that beam search finds for each image (images, channels, height, width) of bytes.

        beam: None for the run's; likeliest: attention looks at the likeliest location alone; `on_progress` counts the
        images.
        """
        self.model.eval()
        beam, found = beam or self.config.beam, []
        for first in range(0, len(pixels), EVALUATION_BATCH):
            images = on_device(self.model, self.normalization(pixels[first : first + EVALUATION_BATCH]))
            source = self.model.encode(images, likeliest)
            best = beam_search(self.model, source, beam, BOS, EOS, self.config.longest)
            found += [self._described(hypotheses[0]) for hypotheses in best]
            on_progress(len(found), len(pixels))
        return found

    def _described(self, best: Hypothesis) -> Described:
        kept = [i for i, number in enumerate(best.ids) if number not in (PAD, BOS)]
        grid = self.grid if self.config.attends else (1, 1)
        weights = best.alignment[kept].reshape(len(kept), *grid)
        return Described(self.words.symbols(best.ids), math.exp(best.log_probability), weights)

    # ------------------------------------------------------------------------------------------ reading
    def read(self, path: str | Path) -> np.ndarray:
        """The pixels of an image file as this model takes them."""
        return read_image(path, self.shape[1:], "gray" if self.shape[0] == 1 else "rgb")

    def check(self, data: CaptionedImages, name: str) -> None:
        """Raise DataError where images, called `name`, have another shape than the model's, or no word is known."""
        if data.shape != self.shape:
            raise DataError(
                f"{name}: the images are {described(data.shape)}, those that the model was trained on "
                f"{described(self.shape)}; hint: images of that size"
            )
        if not any((numbers[1:-1] != UNKNOWN).any() for captions in self.encode(data) for numbers in captions):
            raise DataError(
                f"{name}: their captions have no word that the captions trained on have; hint: are they in their "
                "language and spelling?"
            )

    # ------------------------------------------------------------------------------------------ checkpoints
    def meta(self) -> dict[str, Any]:
        """The words, the encoder and the images' shape and normalization, for a checkpoint."""
        return {
            "words": self.words.to_json(),
            "shape": list(self.shape),
            "mean": list(self.normalization.mean),
            "std": list(self.normalization.std),
            "encoder": self.encoder.meta(),
        }


def on_device(model: Captioner, images: np.ndarray) -> Tensor:
    """The images where the model's parameters are."""
    return Tensor(to_device(images, model.parameters()[0].device))


def _absolute(encoder: str) -> str:
    """A run's folder, found from whatever folder a run is resumed in."""
    return str(Path(encoder).absolute()) if Path(encoder).is_dir() else encoder
