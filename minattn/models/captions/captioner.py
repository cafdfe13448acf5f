"""From pixels to words: a convolutional network, and a decoder that attends to its last feature maps.

K. Xu et al. 2015, section 3.1.1, use the feature maps of a network that is pretrained to classify, and keep it frozen.
Here the encoder is any network that ends in feature maps, frozen likewise or trained jointly with the decoder.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from jaxtyping import Inexact, Integer

from minattn.attention.sequence import HardAttentionLoss
from minattn.autograd import Array, Tensor, no_grad, ops, xp
from minattn.errors import ConfigError
from minattn.models.captions.show_attend_tell import Draws, ShowAttendTell, Source, State
from minattn.models.settings import Channels
from minattn.nn import ConvNorm, Module, initializers
from minattn.nn.attention_paths import Attention, prefixed
from minattn.nn.initializers import Rng


@dataclass(frozen=True)
class SmallEncoderConfig:
    """Four convolutions, which a CPU core trains in minutes."""

    channels: Channels = 1
    widths: Annotated[tuple[int, ...], "maps of each convolution"] = (16, 32, 64, 128)

    def __post_init__(self) -> None:
        initializers.check_sizes(channels=self.channels, **{f"widths[{i}]": n for i, n in enumerate(self.widths)})
        if len(self.widths) != 4:
            raise ConfigError(f"the small encoder has four convolutions, got {len(self.widths)} widths; hint: four")


class SmallEncoder(Module):
    """ReLU(BN(x * W)) four times, with strides 2, 2, 1 and 2, so that the maps have an eighth of the image's sides.

    Strided kernels have even sides, 4, 4 and 2, which centers a location, 8x8 pixels, in the 22x22 of its receptive
    field.  Attention knows where a location is only from its annotation, and captions may speak of left and right, so
    the last convolution gets two more channels: the horizontal and vertical coordinate of each location, from -1 to 1.
    """

    def __init__(self, config: SmallEncoderConfig, rng: Rng) -> None:
        a, b, c, d = config.widths
        self.convs = [
            ConvNorm(config.channels, a, 4, rng, stride=2, padding=1),
            ConvNorm(a, b, 4, rng, stride=2, padding=1),
            ConvNorm(b, c, 3, rng, padding=1),
        ]
        self.last = ConvNorm(c + 2, d, 2, rng, stride=2)

    def features(
        self, images: Inexact[Tensor, "batch channels height width"]
    ) -> Inexact[Tensor, "batch maps new_height new_width"]:
        """Return the last maps."""
        x = images
        for conv in self.convs:
            x = conv(x)
        return self.last(ops.concat([x, Tensor(_coordinates(x.data))], axis=1))


def _coordinates(maps: Array) -> Array:
    """Coordinates (batch, 2, height, width), horizontal and vertical, from -1 to 1."""
    batch, _, height, width = maps.shape
    module, dtype = xp(maps), maps.dtype
    across, down = (module.linspace(-1, 1, side).astype(dtype) for side in (width, height))
    locations = module.stack([module.broadcast_to(axis, (height, width)) for axis in (across, down[:, None])])
    return module.broadcast_to(locations, (batch, 2, height, width))


def maps_shape(encoder: Any, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the (channels, height, width) of the maps of images of this shape (channels, height, width)."""
    with no_grad():
        channels, rows, columns = encoder.eval().features(Tensor(np.zeros((0, *shape), np.float32))).shape[1:]
    return channels, rows, columns


class Captioner(Module):
    """An encoder, whose `features(images)` are feature maps, and a decoder.

    frozen: the encoder is not trained.  hard_loss: the loss of hard attention, whose locations rng draws.
    """

    def __init__(
        self,
        encoder: Any,
        decoder: ShowAttendTell,
        rng: Rng,
        frozen: bool = False,
        hard_loss: HardAttentionLoss | None = None,
    ) -> None:
        self.encoder, self.decoder, self.frozen = encoder, decoder, frozen
        self.hard_loss, self.rng = hard_loss, rng
        if frozen:
            for parameter in encoder.parameters():
                parameter.requires_grad = False

    def annotations(
        self, images: Inexact[Tensor, "batch channels height width"]
    ) -> Inexact[Tensor, "batch locations annotation"]:
        """Return the maps as one annotation for each location, row by row from the top."""
        if self.frozen:
            self.encoder.eval()  # its batch normalization too
        with no_grad() if self.frozen else nullcontext():
            maps = self.encoder.features(images)
        batch, channels, height, width = maps.shape
        return ops.reshape(ops.transpose(maps, (0, 2, 3, 1)), (batch, height * width, channels))

    def draw(self, captions: int, words: int, sampled: float, per_batch: bool = False) -> Draws:
        """Draw the random numbers of hard attention: with probability `sampled`, a caption's locations are drawn.

        per_batch: this is decided once for all captions instead of for each.
        """
        chosen = np.broadcast_to(self.rng.random(1 if per_batch else captions) < sampled, (captions,))
        return Draws(self.rng.random((captions, words), np.float32), chosen)

    def encode(self, images: Inexact[Tensor, "batch channels height width"], likeliest: bool = False) -> Source:
        """Encode images for `step`, as the decoder's `encode`."""
        return self.decoder.encode(self.annotations(images), likeliest)

    def step(
        self, state: State, previous: Integer[Array, " batch"], source: Source
    ) -> tuple[State, Inexact[Tensor, "batch vocab"], Inexact[Tensor, "batch locations"]]:
        """One step of decoding, as the decoder's."""
        return self.decoder.step(state, previous, source)

    def forward(
        self,
        images: Inexact[Tensor, "batch channels height width"],
        previous: Integer[Array, "batch words"],
        draws: Draws | None = None,
        return_attention: bool = False,
    ) -> Inexact[Tensor, "batch words vocab"] | tuple[Inexact[Tensor, "batch words vocab"], Attention]:
        """Teacher forcing, as the decoder's `forward`; the weights are under "decoder.attention"."""
        logits, attention = self.decoder(self.annotations(images), previous, draws, return_attention=True)
        return (logits, prefixed("decoder", attention)) if return_attention else logits
