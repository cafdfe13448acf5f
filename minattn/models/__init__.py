"""The papers' networks, one file each, with the published sizes as named configurations."""

from minattn.models.alexnet import AlexNet, AlexNetConfig
from minattn.models.attention_branch_network import AttentionBranchNetwork, AttentionBranchNetworkConfig
from minattn.models.bert import Bert, BertConfig
from minattn.models.bn_inception import BNInception, BNInceptionConfig
from minattn.models.cam_networks import CamConfig, CamNetwork
from minattn.models.cifar_resnet import CifarResNet, CifarResNetConfig
from minattn.models.cifar_resnext import CifarResNeXt, CifarResNeXtConfig
from minattn.models.densenet import DenseNet, DenseNetConfig
from minattn.models.inception import GoogLeNet, GoogLeNetConfig
from minattn.models.language_model import LanguageModel, LanguageModelConfig
from minattn.models.resnet import ResNet, ResNetConfig
from minattn.models.rnnsearch import RNNsearch, RNNsearchConfig
from minattn.models.search import Hypothesis, beam_search, greedy_search
from minattn.models.senet import SENet, SENetConfig
from minattn.models.summary import count_macs, summarize
from minattn.models.transformer import Transformer, TransformerConfig
from minattn.models.vgg import VGG, VGGConfig
from minattn.models.wide_resnet import WideResNet, WideResNetConfig

__all__ = [
    "VGG",
    "AlexNet",
    "AlexNetConfig",
    "AttentionBranchNetwork",
    "AttentionBranchNetworkConfig",
    "BNInception",
    "BNInceptionConfig",
    "Bert",
    "BertConfig",
    "CamConfig",
    "CamNetwork",
    "CifarResNeXt",
    "CifarResNeXtConfig",
    "CifarResNet",
    "CifarResNetConfig",
    "DenseNet",
    "DenseNetConfig",
    "GoogLeNet",
    "GoogLeNetConfig",
    "Hypothesis",
    "LanguageModel",
    "LanguageModelConfig",
    "RNNsearch",
    "RNNsearchConfig",
    "ResNet",
    "ResNetConfig",
    "SENet",
    "SENetConfig",
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
