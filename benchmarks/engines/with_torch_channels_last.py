"""The workloads on images in PyTorch, stored with the channels of a pixel side by side, for those who ask for it."""

from engines import resnet_in_torch
from engines.resnet_in_torch import CHANNELS_LAST
from engines.with_torch import version

__all__ = ["CANNOT", "WORKLOADS", "version"]


def w6(threads):
    return resnet_in_torch.training(threads, layout=CHANNELS_LAST)


def w6_se(threads):
    return resnet_in_torch.training(threads, se=True, layout=CHANNELS_LAST)


def w6_inference(threads):
    return resnet_in_torch.inference(threads, layout=CHANNELS_LAST)


def w6_se_inference(threads):
    return resnet_in_torch.inference(threads, se=True, layout=CHANNELS_LAST)


def w7_forward(threads):
    return resnet_in_torch.forward(threads, layout=CHANNELS_LAST)


def w7_backward(threads):
    return resnet_in_torch.forward_and_backward(threads, layout=CHANNELS_LAST)


WORKLOADS = {
    "W6": w6,
    "W6se": w6_se,
    "W6i": w6_inference,
    "W6sei": w6_se_inference,
    "W7-forward": w7_forward,
    "W7-backward": w7_backward,
}
CANNOT = {
    "W1": "without images it is PyTorch",
    "W2": "without images it is PyTorch",
    "W3": "without images it is PyTorch",
    "W4": "without images it is PyTorch",
    "W5": "without images it is PyTorch",
    "W8-softmax": "without images it is PyTorch",
    "W8-layernorm": "without images it is PyTorch",
    "W8-gelu": "without images it is PyTorch",
}
