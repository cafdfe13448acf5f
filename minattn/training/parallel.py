"""Data parallelism on one machine: threads that each take a part of the batch.

The loss of a batch of B is a mean, and so is its gradient, of the parts that the batch is cut into:

    L(w) = sum over parts of (B_part / B) L_part(w)

so the parts can be walked forwards and backwards at the same time, each on a core of its own.  The interpreter runs one
thread at a time, but NumPy lets go of it while it computes, which is nearly always.  Everything runs on all cores so,
not the matrix products alone as where BLAS has several threads; BLAS has one meanwhile (`autograd/blas.py`).

Each thread works on a replica of the model, which has the same weights in the same memory and gradients of its own.
The gradients are added in the order of the parts, so results depend on the number of threads, not on their speed.
"""

import contextlib
import contextvars
import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, Protocol

import numpy as np

from minattn.autograd import Tensor
from minattn.autograd.blas import one_blas_thread
from minattn.autograd.blocks import one_thread
from minattn.errors import ConfigError
from minattn.nn import Module


class Splittable(Protocol):
    """A batch that can be cut, such as `PaddedBatch`."""

    def split(self, parts: int) -> Sequence[tuple[Any, float]]:
        """At most `parts` batches that have every row once, and each one's share of the rows."""


class DataParallel:
    """`loss_fn(model, batch)` and its gradients, by several threads.

    loss_fn: the mean over the rows of a batch, a 0-d Tensor.  A mean over words, which `cross_entropy(ignore_index=..)`
    takes by default, is none where rows have different numbers of words: take the sum, over the number of rows.
    loss_fn runs in all threads at the same time, on its own replica of the model, and may not write to anything else
    that they share.  Random generators among the model's
    attributes, such as dropout's, are another stream in each replica; every part starts from the model's buffers, such
    as running means, and those that the first part leaves are kept.
    Raises ConfigError for threads below 1 and for a model on a GPU, which one thread keeps busy.
    """

    def __init__(self, model: Module, loss_fn: Callable[[Module, Any], Tensor], threads: int) -> None:
        if threads < 1:
            raise ConfigError(f"threads must be at least 1, got {threads}")
        devices = {parameter.device for parameter in model.parameters()}
        if threads > 1 and devices != {"cpu"}:
            raise ConfigError(f"threads share work on the cpu, and the model is on {', '.join(devices)}; hint: 1")
        self.model, self.loss_fn = model, loss_fn
        self.replicas = [_replica(model, number) for number in range(1, threads)]
        self._helpers = ThreadPoolExecutor(max(1, threads - 1), thread_name_prefix="minattn-part")

    def backward(self, batch: Any) -> Any:
        """Add the gradient of the batch's loss to the parameters' `.grad`; returns the loss, a 0-d array.

        The batch must be `Splittable` where there are several threads.
        """
        if not self.replicas:
            return self._part(self.model, batch)
        parts: Sequence[tuple[Any, float]] = batch.split(1 + len(self.replicas))
        replicas = self.replicas[: len(parts) - 1]
        for replica in replicas:
            _share_state(self.model, replica)
        with one_blas_thread():
            others = [
                self._helpers.submit(contextvars.copy_context().run, self._part, replica, part, share)
                for replica, (part, share) in zip(replicas, parts[1:], strict=True)
            ]
            try:
                loss = self._part(self.model, *parts[0])
            finally:
                wait(others)
        for replica, other in zip(replicas, others, strict=True):
            loss = loss + other.result()
            _add_gradients(self.model, replica)
        return loss

    def _part(self, model: Module, part: Any, share: float = 1.0) -> Any:
        """One part's share of the loss, with its gradient."""
        with one_thread() if self.replicas else contextlib.nullcontext():
            loss = self.loss_fn(model, part)
            loss = loss if share == 1 else loss * share
            loss.backward()
        return loss.data


def _replica(model: Module, number: int) -> Module:
    """A copy of the model that shares its parameters' memory; its random generators are far along the stream."""
    shared = {id(parameter.data): parameter.data for parameter in model.parameters()}
    replica = copy.deepcopy(model, shared)
    generators = [value for module in replica.named_modules().values() for value in vars(module).values()]
    for generator in {id(value): value for value in generators if isinstance(value, np.random.Generator)}.values():
        bits: Any = generator.bit_generator
        bits.state = bits.jumped(number).state
    return replica


def _share_state(model: Module, replica: Module) -> None:
    """Give the replica the model's parameters, in the same memory, frozen or not, its buffers and its mode."""
    for parameter, own in zip(model.parameters(), replica.parameters(), strict=True):
        own.replace_data(parameter.data)
        own.requires_grad, own.grad = parameter.requires_grad, None
    buffers = zip(model.named_buffers().values(), replica.named_buffers().values(), strict=True)
    for buffer, its_own in buffers:
        its_own.replace_data(buffer.data.copy())
    modules = zip(model.named_modules().values(), replica.named_modules().values(), strict=True)
    for module, its_own in modules:
        its_own.training = module.training


def _add_gradients(model: Module, replica: Module) -> None:
    for parameter, own in zip(model.parameters(), replica.parameters(), strict=True):
        if own.grad is not None:
            if parameter.grad is None:
                parameter.grad = own.grad
            else:
                parameter.grad += own.grad
            own.grad = None
