"""The papers' networks, one file each, with the published sizes as named configurations.

Importing a file enters its networks in the `registry`.
"""

if __name__ != "minattn.models":
    raise ImportError(f"{__name__!r} is a link to a part of minattn, for readers; hint: import minattn.models")

from minattn.models.captions.captioner import Captioner
from minattn.models.captions.show_attend_tell import ShowAttendTell, ShowAttendTellConfig
from minattn.models.memory.key_value_network import KeyValueNetwork, KeyValueNetworkConfig
from minattn.models.memory.memn2n import MemN2N, MemN2NConfig
from minattn.models.memory.memn2n_language_model import MemoryLanguageModel, MemoryLanguageModelConfig
from minattn.models.memory.restarts import Restarts
from minattn.models.pixels.image_transformer import ImageTransformer, ImageTransformerConfig
from minattn.models.pixels.logistic_mixture import LogisticMixture
from minattn.models.pose.hourglass import HourglassConfig, StackedHourglass
from minattn.models.sequence.bert import Bert, BertConfig
from minattn.models.sequence.language_model import LanguageModel, LanguageModelConfig
from minattn.models.sequence.luong import Luong, LuongConfig
from minattn.models.sequence.rnnsearch import RNNsearch, RNNsearchConfig
from minattn.models.sequence.search import Hypothesis, beam_search, greedy_search
from minattn.models.sequence.transformer import Transformer, TransformerConfig
from minattn.models.summary import count_macs, summarize
from minattn.models.vision.alexnet import AlexNet, AlexNetConfig
from minattn.models.vision.attention_branch_network import AttentionBranchNetwork, AttentionBranchNetworkConfig
from minattn.models.vision.augmented_resnet import AugmentedResNet, AugmentedResNetConfig
from minattn.models.vision.bn_inception import BNInception, BNInceptionConfig
from minattn.models.vision.cam_networks import CamConfig, CamNetwork
from minattn.models.vision.cifar_resnet import CifarResNet, CifarResNetConfig
from minattn.models.vision.cifar_resnext import CifarResNeXt, CifarResNeXtConfig
from minattn.models.vision.densenet import DenseNet, DenseNetConfig
from minattn.models.vision.highway import (
    CifarHighway,
    CifarHighwayConfig,
    MnistHighway,
    MnistHighwayConfig,
    ThinHighway,
    ThinHighwayConfig,
)
from minattn.models.vision.inception import GoogLeNet, GoogLeNetConfig
from minattn.models.vision.inflated_resnet import I3D, I3DConfig
from minattn.models.vision.non_local_resnet import C2D, C2DConfig, NonLocalResNet, NonLocalResNetConfig
from minattn.models.vision.residual_attention import ResidualAttentionConfig, ResidualAttentionNetwork
from minattn.models.vision.resnet import ResNet, ResNetConfig
from minattn.models.vision.senet import SENet, SENetConfig
from minattn.models.vision.vgg import VGG, VGGConfig
from minattn.models.vision.wide_resnet import WideResNet, WideResNetConfig

__all__ = [
    "C2D",
    "I3D",
    "VGG",
    "AlexNet",
    "AlexNetConfig",
    "AttentionBranchNetwork",
    "AttentionBranchNetworkConfig",
    "AugmentedResNet",
    "AugmentedResNetConfig",
    "BNInception",
    "BNInceptionConfig",
    "Bert",
    "BertConfig",
    "C2DConfig",
    "CamConfig",
    "CamNetwork",
    "Captioner",
    "CifarHighway",
    "CifarHighwayConfig",
    "CifarResNeXt",
    "CifarResNeXtConfig",
    "CifarResNet",
    "CifarResNetConfig",
    "DenseNet",
    "DenseNetConfig",
    "GoogLeNet",
    "GoogLeNetConfig",
    "HourglassConfig",
    "Hypothesis",
    "I3DConfig",
    "ImageTransformer",
    "ImageTransformerConfig",
    "KeyValueNetwork",
    "KeyValueNetworkConfig",
    "LanguageModel",
    "LanguageModelConfig",
    "LogisticMixture",
    "Luong",
    "LuongConfig",
    "MemN2N",
    "MemN2NConfig",
    "MemoryLanguageModel",
    "MemoryLanguageModelConfig",
    "MnistHighway",
    "MnistHighwayConfig",
    "NonLocalResNet",
    "NonLocalResNetConfig",
    "RNNsearch",
    "RNNsearchConfig",
    "ResNet",
    "ResNetConfig",
    "ResidualAttentionConfig",
    "ResidualAttentionNetwork",
    "Restarts",
    "SENet",
    "SENetConfig",
    "ShowAttendTell",
    "ShowAttendTellConfig",
    "StackedHourglass",
    "ThinHighway",
    "ThinHighwayConfig",
    "Transformer",
    "TransformerConfig",
    "VGGConfig",
    "WideResNet",
    "WideResNetConfig",
    "beam_search",
    "count_macs",
    "greedy_search",
    "summarize",
]
