"""The Attention Branch Network: a ResNet that learns an attention map, which also explains its predictions.

H. Fukui, T. Hirakawa, T. Yamashita and H. Fujiyoshi, "Attention Branch Network: learning of attention mechanism for
visual explanation", CVPR 2019, sections 3.1 to 3.3, and the authors' code.  The backbone is cut before its last stage:

    extractor             g: all stages but the last                     (a)  14x14 of images of 224x224, 16x16 of 32x32
    attention branch      S_att, M: the branch's logits and map of g     (b)
    attention mechanism   g' = g (1 + M)                                 (c)
    perception branch     S_per: the logits of g', last stage and head   (d)
    loss                  L = L_att + L_per, both cross-entropies        (e)
    prediction            the class of S_per; M is its explanation       (f)

The attention branch is in `attention/spatial/attention_branch.py`, with its deviations; its stage is a copy of the
backbone's last one, with stride 1 and weights of its own.  The backbones are in `resnet.py` and `cifar_resnet.py`.

The letters are this file's.

Deviations from the paper: those of the attention branch and of the backbones.  Published sizes: the authors' CIFAR
networks have projections (shortcut B), and what they call ResNet-110 has 18 bottlenecks in each of three stages, which
is 164 layers: `abn_resnet164`.
"""

from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

from jaxtyping import Inexact, Integer

from minattn.attention.spatial.attention_branch import AttentionBranch, attend, check_kernel
from minattn.attention.spatial.class_activation_map import class_activation_map
from minattn.autograd import Array, Tensor, ops
from minattn.errors import ConfigError
from minattn.models.registry import register
from minattn.models.settings import Channels, Classes, check_sizes
from minattn.models.vision import cifar_resnet, resnet
from minattn.models.vision.cifar_resnet import CifarResNet, CifarResNetConfig
from minattn.models.vision.residual_blocks import Stage
from minattn.models.vision.resnet import ResNet, ResNetConfig
from minattn.nn import Module, cross_entropy
from minattn.nn.attention_paths import Attention, in_sequence, prefixed
from minattn.nn.initializers import Rng
from minattn.published import Network, Paper

BACKBONES: dict[str, ResNetConfig | CifarResNetConfig] = {**resnet.CONFIGURATIONS, **cifar_resnet.CONFIGURATIONS}


@dataclass(frozen=True)
class AttentionBranchNetworkConfig:
    """The defaults are the paper's ABN on ResNet-50.  backbone: a name of `BACKBONES`."""

    backbone: Annotated[str, "residual network, by its name"] = "resnet50"
    classes: Classes = 1000
    channels: Channels = 3
    kernel: Annotated[int, "kernel of the map's convolution: 3 (the authors' code) or 1 (the paper)"] = 3
    residual: Annotated[bool, "attention mechanism g (1 + M), else g M"] = True

    def __post_init__(self) -> None:
        check_sizes(self, "classes", "channels")
        if self.backbone not in BACKBONES:
            raise ConfigError(f"there is no backbone {self.backbone!r}; hint: one of {', '.join(BACKBONES)}")
        check_kernel(self.kernel)

    @property
    def size(self) -> int:
        """The side of the images that the backbone was published for."""
        return BACKBONES[self.backbone].size

    @property
    def network(self) -> ResNetConfig | CifarResNetConfig:
        """The configuration of the backbone."""
        return replace(BACKBONES[self.backbone], classes=self.classes, channels=self.channels)


CONFIGURATIONS = {
    "abn_resnet50": AttentionBranchNetworkConfig("resnet50"),
    "abn_resnet101": AttentionBranchNetworkConfig("resnet101"),
    "abn_resnet152": AttentionBranchNetworkConfig("resnet152"),
    "abn_resnet8": AttentionBranchNetworkConfig("resnet8_b", classes=10),  # not in the paper
    "abn_resnet20": AttentionBranchNetworkConfig("resnet20_b", classes=10),
    "abn_resnet56": AttentionBranchNetworkConfig("resnet56_b", classes=10),
    "abn_resnet164": AttentionBranchNetworkConfig("resnet164_b", classes=10),  # "ResNet-110" of the paper
}


class BranchedLogits(NamedTuple):
    """The logits (batch, classes) of both branches: the output of the network, with no attention in it."""

    logits: Tensor  # of the perception branch: the prediction
    attention_logits: Tensor  # of the attention branch


class MapStage(Stage):
    """A stage that returns its feature maps alone, without the gates of its blocks."""

    def forward(
        self, x: Inexact[Tensor, "batch inputs height width"]
    ) -> Inexact[Tensor, "batch outputs new_height new_width"]:
        return super().forward(x)[0]


@register(CONFIGURATIONS)
class AttentionBranchNetwork(Module):
    """ABN on a ResNet.  rng draws the parameters: first the backbone's, then the branch's."""

    def __init__(self, config: AttentionBranchNetworkConfig, rng: Rng) -> None:
        self.config = config
        network = config.network
        imagenet = isinstance(network, ResNetConfig)
        self.backbone = ResNet(network, rng) if imagenet else CifarResNet(network, rng)
        make_stage = resnet.make_stage if imagenet else cifar_resnet.make_stage
        copy = MapStage(make_stage(network, len(network.outputs) - 1, rng, stride=1).blocks)
        self.branch = AttentionBranch(network.outputs[-1], config.classes, copy, rng, config.kernel)

    def forward(
        self, images: Inexact[Tensor, "batch channels height width"], return_attention: bool = False
    ) -> BranchedLogits | tuple[BranchedLogits, Attention]:
        """Return the logits of both branches; with return_attention=True, (logits, attention).

        attention: the map M (batch, 1, height, width) under "branch", the class activation maps of the perception
        branch under "backbone.classifier", and the gates of the backbone's blocks.
        """
        *stages, last = self.backbone.stages
        g, extractor_gates = in_sequence("stages", stages, self.backbone.stem(images))  # (a)
        attention_logits, m = self.branch(g)  # (b)
        attended, _ = attend(g, m, self.config.residual)  # (c)
        features, last_gates = last(attended)
        classifier = self.backbone.classifier
        logits = classifier(self.backbone.pool(features))  # (d)
        output = BranchedLogits(logits, attention_logits)
        if not return_attention:
            return output
        gates = extractor_gates | prefixed(f"stages.{len(stages)}", last_gates)
        maps = class_activation_map(features, classifier.weight)
        return output, {"branch": m} | prefixed("backbone", gates | {"classifier": maps})


def branched_loss(
    output: BranchedLogits, labels: Integer[Array, " batch"], label_smoothing: float = 0.0
) -> Inexact[Tensor, ""]:
    """Return L = L_att + L_per, the mean cross-entropies of both branches.  The paper smooths no labels."""
    attention_loss = cross_entropy(output.attention_logits, labels, label_smoothing=label_smoothing)
    perception_loss = cross_entropy(output.logits, labels, label_smoothing=label_smoothing)
    return attention_loss + perception_loss  # (e)


def predicted(output: BranchedLogits) -> Integer[Tensor, " batch"]:
    """Return the class of each image, as the perception branch predicts it."""
    return ops.argmax(output.logits, axis=-1)  # (f)


NETWORK = Network(
    name="Attention Branch Network",
    paper=Paper(
        "Fukui et al.", 2019, "Attention branch network: learning of attention mechanism for visual explanation"
    ),
    code="AttentionBranchNetwork",
    command="minattn train images --model abn_resnet20",
    experiment="experiments/abn_noise.py",
)
