"""Every image network by name, published or not: `build("resnet50", rng)`."""

import dataclasses
import difflib
from typing import Any

from minattn.errors import ConfigError
from minattn.models.vision import (
    alexnet,
    attention_branch_network,
    bn_inception,
    cam_networks,
    cifar_resnet,
    cifar_resnext,
    densenet,
    inception,
    resnet,
    senet,
    vgg,
    wide_resnet,
)
from minattn.nn import Module
from minattn.nn.initializers import Rng

FAMILIES = (
    (alexnet.AlexNet, alexnet.CONFIGURATIONS),
    (vgg.VGG, vgg.CONFIGURATIONS),
    (inception.GoogLeNet, inception.CONFIGURATIONS),
    (bn_inception.BNInception, bn_inception.CONFIGURATIONS),
    (densenet.DenseNet, densenet.CONFIGURATIONS),
    (cam_networks.CamNetwork, cam_networks.CONFIGURATIONS),
    (resnet.ResNet, resnet.CONFIGURATIONS),
    (senet.SENet, senet.CONFIGURATIONS),
    (cifar_resnet.CifarResNet, cifar_resnet.CONFIGURATIONS),
    (cifar_resnext.CifarResNeXt, cifar_resnext.CONFIGURATIONS),
    (wide_resnet.WideResNet, wide_resnet.CONFIGURATIONS),
    (attention_branch_network.AttentionBranchNetwork, attention_branch_network.CONFIGURATIONS),
)
"""(the network, its configurations by name) of each file."""

REDUCTION = 16  # r of Squeeze-and-Excitation where the name does not say it

NETWORKS = {name: network for network, configurations in FAMILIES for name in configurations}
CONFIGURATIONS: dict[str, Any] = {
    name: config for _, configurations in FAMILIES for name, config in configurations.items()
}


def names() -> list[str]:
    """The names, family by family."""
    return list(CONFIGURATIONS)


def configuration(name: str, *, se: bool = False, classes: int | None = None, channels: int | None = None) -> Any:
    """The configuration of that name, with changes.

    se=True: with Squeeze-and-Excitation, r = 16 where the configuration has none; classes, channels: None keeps its.
    Raises ConfigError for a name that does not exist, and for SE where its configuration has no `se`.
    """
    if name not in CONFIGURATIONS:
        near = difflib.get_close_matches(name.lower(), CONFIGURATIONS, n=4, cutoff=0.5)
        hint = " or ".join(near) or "a name that `minattn summary` lists"
        raise ConfigError(f"there is no network {name!r}; hint: {hint}")
    config = CONFIGURATIONS[name]
    changes = {"classes": classes, "channels": channels}
    if se and not hasattr(config, "se"):
        raise ConfigError(f"{name} has no form with Squeeze-and-Excitation; hint: leave it out")
    if se and config.se is None:
        changes["se"] = REDUCTION
    return dataclasses.replace(config, **{key: value for key, value in changes.items() if value is not None})


def build(name: str, rng: Rng, *, se: bool = False, classes: int | None = None, channels: int | None = None) -> Module:
    """The network of that name; the arguments are those of `configuration`, rng draws the weights."""
    config = configuration(name, se=se, classes=classes, channels=channels)
    return NETWORKS[name](config, rng)
