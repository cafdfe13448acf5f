"""Networks designed for class activation maps: AlexNet*-GAP, VGGnet-GAP and GoogLeNet-GAP.

B. Zhou, A. Khosla, A. Lapedriza, A. Oliva and A. Torralba, "Learning deep features for discriminative localization",
CVPR 2016.  A network is cut after one of its convolutions, 3x3 convolutions with ReLU are added, and the score of a
class is linear in the means F_k of their feature maps f_k:

    S_c = sum_k w_k^c F_k,     F_k = 1/(hw) sum_xy f_k(x, y)

                       cut after                maps        added
    GoogLeNet-GAP      inception 4e             14x14       3x3, 1024
    VGGnet-GAP         conv5-3, before pool5    14x14       3x3, 1024
    AlexNet*-GAP       conv5 and pool5          11x11       3x3, 512 and 3x3, 512

The map of class c, `class_activation_map` in `attention/spatial`, takes `features(images)` and `classifier.weight`.
GoogLeNet-GMP has the maximum in place of the mean: F_k = max_xy f_k(x, y).

Deviations from the paper:
* The paper sums; the authors' published networks, and so these, take the mean: a factor 1/(hw) of the weights.
* In the published networks the added convolutions have two groups, which the text does not mention: `groups=2`, the
  default.  `groups=1`, the configurations `_ungrouped`, follows the text.
* The scores have a bias, as in the published networks; the paper ignores it, and so do the maps.
* AlexNet* is the published network: conv5 has 384 channels, pool5 has stride 1.
* The initial values of the added layers are not printed: convolutions are drawn He-normal, the linear layer Glorot-
  uniform.  The layers before the cut start as their network does, those of AlexNet* from N(0, 0.01^2) with some biases
  of 1.
* The networks that are cut, without auxiliary classifiers, are in `alexnet.py` (2012), `vgg.py` (D) and `inception.py`.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from jaxtyping import Inexact

from minattn.attention.spatial.class_activation_map import POOLINGS
from minattn.autograd import Tensor, ops
from minattn.models.registry import register
from minattn.models.settings import Channels, Classes, check_choices, check_settings
from minattn.models.vision.alexnet import AlexNetConfig, AlexNetMaps
from minattn.models.vision.inception import GoogLeNetConfig, GoogLeNetMaps
from minattn.models.vision.layers import ConvReLU, PooledNetwork
from minattn.models.vision.vgg import VGGConfig, VGGMaps
from minattn.nn import Linear, Module
from minattn.nn.attention_paths import Attention
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper


@dataclass(frozen=True)
class CamConfig:
    """The defaults are GoogLeNet-GAP."""

    network: Annotated[Literal["alexnet", "vggnet", "googlenet"], "network that is cut"] = "googlenet"
    groups: Annotated[int, "groups of the added convolutions"] = 2
    pooling: Annotated[Literal["mean", "max"], "global average or global max pooling"] = "mean"
    classes: Classes = 1000
    channels: Channels = 3

    def __post_init__(self) -> None:
        check_choices(self, network=("alexnet", "vggnet", "googlenet"), pooling=("mean", "max"))
        check_settings(self, "groups")

    @property
    def size(self) -> int:
        """The side of the images that the network was published for."""
        return 227 if self.network == "alexnet" else 224


CONFIGURATIONS = {
    "alexnet_gap": CamConfig("alexnet"),
    "vggnet_gap": CamConfig("vggnet"),
    "googlenet_gap": CamConfig("googlenet"),
}
CONFIGURATIONS |= {f"{name}_ungrouped": replace(config, groups=1) for name, config in CONFIGURATIONS.items()}
CONFIGURATIONS["googlenet_gmp"] = CamConfig("googlenet", pooling="max")
"""The published networks, the same as the text reads (`_ungrouped`), and GoogLeNet-GMP."""


@register(CONFIGURATIONS)
class CamNetwork(PooledNetwork):
    """A network that ends in pooling and a linear layer.  rng draws the parameters."""

    def __init__(self, config: CamConfig, rng: Rng) -> None:
        self.config = config
        self.trunk, inputs, added = cut(config, rng)
        self.added: list[Module] = []
        for outputs in added:
            self.added.append(ConvReLU(inputs, outputs, 3, rng, padding=1, groups=config.groups))
            inputs = outputs
        self.classifier = Linear(inputs, config.classes, rng)

    def features_and_attention(
        self, images: Inexact[Tensor, "batch channels height width"]
    ) -> tuple[Inexact[Tensor, "batch maps new_height new_width"], Attention]:
        """Return (f, {}): (N, 1024, 14, 14), or (N, 512, 11, 11) of AlexNet*, for images of config.size."""
        x, _ = self.trunk(images)
        x = ops.max_pool2d(x, 3, stride=1) if self.config.network == "alexnet" else x  # pool5
        for convolution in self.added:
            x = convolution(x)
        return x, {}

    def pool(self, features: Inexact[Tensor, "batch maps height width"]) -> Inexact[Tensor, "batch maps"]:
        """Return F: the mean, or the largest value, of every feature map."""
        return POOLINGS[self.config.pooling](features, axis=(2, 3))


def cut(config: CamConfig, rng: Rng) -> tuple[Module, int, tuple[int, ...]]:
    """Return (the layers before the cut, their channels, the widths of the convolutions to add)."""
    channels = config.channels
    if config.network == "alexnet":
        widths = (96, 256, 384, 384, 384)
        return AlexNetMaps(AlexNetConfig(widths, channels=channels), rng), widths[-1], (512, 512)
    if config.network == "vggnet":
        maps = VGGMaps(VGGConfig(channels=channels), rng)
        return maps, maps.outputs, (1024,)
    maps = GoogLeNetMaps(GoogLeNetConfig(channels=channels), rng, last="4e")
    return maps, maps.outputs, (1024,)


NETWORK = Network(
    name="AlexNet*-GAP, VGGnet-GAP, GoogLeNet-GAP",
    paper=Paper("Zhou et al.", 2016, "Learning deep features for discriminative localization"),
    code="CamNetwork",
    command="minattn train images --data FOLDER --set size=224 --model googlenet_gap",
)
