"""The workloads that have an optimizer in PyTorch, with the one in one kernel that it has for those who ask for it."""

from engines import resnet_in_torch, with_torch
from engines.with_torch import version

__all__ = ["CANNOT", "WORKLOADS", "version"]


def w2(threads):
    return with_torch.w2(threads, fused=True)


def w3(threads):
    return with_torch.w3(threads, fused=True)


def w4(threads):
    return with_torch.w4(threads, fused=True)


def w5(threads):
    return with_torch.w5(threads, fused=True)


def w6(threads):
    return resnet_in_torch.training(threads, fused=True)


def w6_se(threads):
    return resnet_in_torch.training(threads, se=True, fused=True)


WORKLOADS = {"W2": w2, "W3": w3, "W4": w4, "W5": w5, "W6": w6, "W6se": w6_se}
CANNOT = {
    "W1": "without an optimizer it is PyTorch",
    "W6i": "without an optimizer it is PyTorch",
    "W6sei": "without an optimizer it is PyTorch",
    "W7-forward": "without an optimizer it is PyTorch",
    "W7-backward": "without an optimizer it is PyTorch",
    "W8-softmax": "without an optimizer it is PyTorch",
    "W8-layernorm": "without an optimizer it is PyTorch",
    "W8-gelu": "without an optimizer it is PyTorch",
}
