"""The engine: arrays on either backend, tensors, ops with their gradients, and the backward pass."""

if __name__ != "minattn.autograd":  # a second engine, with another table of ops, would come to be
    raise ImportError(f"{__name__!r} is a link to a part of minattn, for readers; hint: import minattn.autograd")

from minattn.autograd import ops
from minattn.autograd.backend import Array, asnumpy, check_device, device_of, to_device, xp
from minattn.autograd.engine import OPS, Op, no_grad, observe, op
from minattn.autograd.functional import grad, hvp, value_and_grad
from minattn.autograd.memory import keep_freed_memory
from minattn.autograd.tensor import Tensor, tensor

__all__ = [
    "OPS",
    "Array",
    "Op",
    "Tensor",
    "asnumpy",
    "check_device",
    "device_of",
    "grad",
    "hvp",
    "keep_freed_memory",
    "no_grad",
    "observe",
    "op",
    "ops",
    "tensor",
    "to_device",
    "value_and_grad",
    "xp",
]
