"""minattn: attention, readable, tested and fast, on NumPy and CuPy.

import minattn as ma
x = ma.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
ma.softmax(x).max().backward()
x.grad
"""

from minattn import errors
from minattn.autograd import (
    OPS,
    Tensor,
    grad,
    hvp,
    keep_freed_memory,
    no_grad,
    observe,
    op,
    ops,
    tensor,
    value_and_grad,
)
from minattn.autograd.ops import *  # noqa: F403  (every op is part of the library's surface)
from minattn.autograd.ops import __all__ as _op_names

__version__ = "0.2.0.dev0"
__all__ = [  # noqa: PLE0604
    "OPS",
    "Tensor",
    "errors",
    "grad",
    "hvp",
    "keep_freed_memory",
    "no_grad",
    "observe",
    "op",
    "ops",
    "tensor",
    "value_and_grad",
    *_op_names,
]
