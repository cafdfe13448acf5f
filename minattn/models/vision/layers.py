"""Parts that image networks share: the pooled head, convolutions with biases, layers with squeeze-and-excitation."""

from jaxtyping import Inexact

from minattn.attention.channel.squeeze_excitation import SqueezeExcitation
from minattn.attention.spatial.class_activation_map import class_activation_map
from minattn.autograd import Tensor, ops
from minattn.errors import ShapeError
from minattn.nn import BatchNorm2d, Conv2d, Linear, Module
from minattn.nn.attention_paths import Attention
from minattn.nn.convolution import Pair
from minattn.nn.initializers import Rng


class PooledNetwork(Module):
    """A network that ends in pooling and a linear layer, `logits = classifier(pool(features))`, and so has class
    activation maps.

    A network of this kind sets `classifier` and defines `features_and_attention`.
    """

    classifier: Linear

    def features_and_attention(
        self, images: Inexact[Tensor, "batch colors height width"]
    ) -> tuple[Inexact[Tensor, "batch channels new_height new_width"], Attention]:
        """Return (the last feature maps, the weights of every attention mechanism by its path)."""
        raise NotImplementedError(f"{type(self).__name__} has no features")

    def features(
        self, images: Inexact[Tensor, "batch colors height width"]
    ) -> Inexact[Tensor, "batch channels new_height new_width"]:
        """Return the last feature maps, which are pooled for the classifier."""
        return self.features_and_attention(images)[0]

    def pool(self, features: Inexact[Tensor, "batch channels height width"]) -> Inexact[Tensor, "batch channels"]:
        """Return the mean of every feature map."""
        return ops.mean(features, axis=(2, 3))

    def forward(
        self, images: Inexact[Tensor, "batch colors height width"], return_attention: bool = False
    ) -> Inexact[Tensor, "batch classes"] | tuple[Inexact[Tensor, "batch classes"], Attention]:
        """Return the logits; with return_attention=True, (logits, attention).

        attention: the weights of every mechanism by its path, such as the gates (batch, channels) of a
        squeeze-and-excitation, and under "classifier" the class activation maps (batch, classes, height, width), as
        large as the last feature maps.
        """
        features, attention = self.features_and_attention(images)
        logits = self.classifier(self.pool(features))
        if not return_attention:
            return logits
        return logits, attention | {"classifier": class_activation_map(features, self.classifier.weight)}


class ConvReLU(Module):
    """ReLU(x * W + b), or with norm=True ReLU(BN(x * W + b)), where the bias b stays although BN cancels it."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Pair,
        rng: Rng,
        *,
        stride: Pair = 1,
        padding: Pair = 0,
        groups: int = 1,
        norm: bool = False,
    ) -> None:
        self.conv = Conv2d(inputs, outputs, kernel, rng, stride=stride, padding=padding, groups=groups)
        self.norm = BatchNorm2d(outputs) if norm else None

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"]
    ) -> Inexact[Tensor, "batch outputs new_height new_width"]:
        y = self.conv(x)
        return ops.relu(y) if self.norm is None else self.norm(y, relu=True)


class Gated(Module):
    """A layer and squeeze-and-excitation of its `channels` feature maps.  se: the reduction r; None: without."""

    def __init__(self, layer: Module, channels: int, rng: Rng, se: int | None) -> None:
        self.layer = layer
        self.se = SqueezeExcitation(channels, rng, se) if se is not None else None

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"]
    ) -> tuple[Inexact[Tensor, "batch outputs new_height new_width"], Attention]:
        """Return (the feature maps, the gates under "se")."""
        y = self.layer(x)
        if self.se is None:
            return y, {}
        y, gates = self.se(y)
        return y, {"se": gates}


def flatten(features: Inexact[Tensor, "batch channels height width"], into: Linear) -> Inexact[Tensor, "batch inputs"]:
    """Return the feature maps of each image as one vector, the input of a linear layer.

    Raises ShapeError where the layer takes another number of inputs.
    """
    channels, height, width = features.shape[1:]
    expected = into.weight.shape[0]
    if channels * height * width != expected:
        raise ShapeError(
            f"the linear layer takes {expected} numbers of an image, and these images give {channels} feature maps of "
            f"{height}x{width}; hint: images of the side that the network is built for, its config's `size`"
        )
    return ops.reshape(features, (features.shape[0], expected))
