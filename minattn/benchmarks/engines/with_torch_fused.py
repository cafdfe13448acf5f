"""The workloads that have an optimiser in PyTorch, with the Adam in one kernel that it has for those who ask for it."""

from engines import with_torch
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


WORKLOADS = {"W2": w2, "W3": w3, "W4": w4, "W5": w5}
CANNOT = {
    "W1": "without an optimiser it is PyTorch",
    "W8-softmax": "without an optimiser it is PyTorch",
    "W8-layernorm": "without an optimiser it is PyTorch",
    "W8-gelu": "without an optimiser it is PyTorch",
}
