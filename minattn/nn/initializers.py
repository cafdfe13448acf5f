"""Initializers: each draws a float32 parameter of a shape, on the host, from an explicit generator.

Parameters are drawn on the host and moved, so that a model starts the same on every device.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from numbers import Integral

import numpy as np

from minattn.errors import ConfigError, ShapeError
from minattn.nn.module import Parameter

Rng = np.random.Generator

LARGEST = 10**9  # size: a vector of such a length has 4 GB

_allocating: ContextVar[bool] = ContextVar("allocating", default=True)


@dataclass
class Budget:
    """The memory that parameters may take; `numbers` and `arrays` are those that were drawn."""

    most: int  # bytes
    numbers: int = 0
    arrays: int = 0

    def take(self, shape: tuple[int, ...]) -> None:
        """Raise ConfigError where parameters and their gradients take more with those of this shape."""
        self.numbers += math.prod(shape)
        self.arrays += 1
        if (needed := 2 * 4 * self.numbers) > self.most:
            raise ConfigError(
                f"the parameters and their gradients take {needed / 2**30:,.3g} GiB or more, this machine has "
                f"{self.most / 2**30:,.3g} GiB of memory; hint: smaller sizes"
            )
        if self.arrays > MOST_ARRAYS:
            raise ConfigError(f"the network has more than {MOST_ARRAYS:,} arrays of parameters; hint: fewer layers")


_budget: ContextVar[Budget | None] = ContextVar("budget", default=None)
MOST_ARRAYS = 30_000  # a network of ten thousand layers


@contextmanager
def within_memory(most: int | None) -> Iterator[None]:
    """Within the block raise ConfigError for parameters that, with their gradients, take more than `most` bytes.

    They are counted as they are drawn, and refused before they take the memory.  None: any number may.
    """
    token = _budget.set(None if most is None else Budget(most))
    try:
        yield
    finally:
        _budget.reset(token)


@contextmanager
def unallocated() -> Iterator[None]:
    """Within the block parameters take no memory: each is one shared zero, stretched to its shape.

    For looking at a model too large to build: names, shapes and counts are right, values are not.
    """
    token, outer = _allocating.set(False), _budget.get()
    try:
        with within_memory(outer.most if outer else None):  # a network that is looked at only is counted by itself
            yield
    finally:
        _allocating.reset(token)


def _allocates(shape: tuple[int, ...]) -> bool:
    """False where parameters take no memory; raises ConfigError where this one takes too much."""
    if budget := _budget.get():
        budget.take(shape)
    return _allocating.get()


def constant(shape: tuple[int, ...], value: float = 0.0) -> Parameter:
    """Every element `value`."""
    _check_shape(shape)
    if not _allocates(shape):
        return Parameter(np.broadcast_to(np.zeros((), np.float32), shape))
    return Parameter(np.full(shape, value, np.float32))


def check_sizes(**sizes: int) -> None:
    """Raise ConfigError, with its name, for a size that is no whole number from 1 on."""
    for name, size in sizes.items():
        if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
            raise ConfigError(f"{name} must be a whole number of at least 1, got {size!r}; hint: {name}=1 or more")
        if size > LARGEST:
            raise ConfigError(f"{name} must be at most {LARGEST:,}, got {float(size):.3g}; hint: {name}=1 or more")


def _check_shape(shape: tuple[int, ...]) -> None:
    """Raise ConfigError unless all sizes are whole numbers from 0 on."""
    if not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 0 for n in shape):
        raise ConfigError(f"the sizes of a parameter must be ints of 0 or more, got {tuple(shape)}")


def _check_drawing(shape: tuple[int, ...], rng: Rng) -> None:
    _check_shape(shape)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"rng must be a numpy.random.Generator, got {type(rng).__name__}; hint: numpy.random.default_rng(0)"
        )


def zeros(shape: tuple[int, ...]) -> Parameter:
    """Every element 0."""
    return constant(shape, 0.0)


def ones(shape: tuple[int, ...]) -> Parameter:
    """Every element 1."""
    return constant(shape, 1.0)


def normal(shape: tuple[int, ...], rng: Rng, std: float = 0.01) -> Parameter:
    """Independent draws from N(0, std^2)."""
    if not _allocates(shape):
        return zeros(shape)
    _check_drawing(shape, rng)
    return Parameter(rng.standard_normal(shape, np.float32) * np.float32(std))


def uniform(shape: tuple[int, ...], rng: Rng, bound: float = 0.1) -> Parameter:
    """Independent draws from the uniform distribution on [-bound, bound)."""
    if not _allocates(shape):
        return zeros(shape)
    _check_drawing(shape, rng)
    return Parameter((rng.random(shape, np.float32) * 2 - 1) * np.float32(bound))


def glorot_uniform(shape: tuple[int, ...], rng: Rng) -> Parameter:
    """Uniform with variance 2 / (fan_in + fan_out).  Glorot & Bengio 2010, eq. 16."""
    fan_in, fan_out = fans(shape)
    return uniform(shape, rng, math.sqrt(6 / (fan_in + fan_out)))


def glorot_normal(shape: tuple[int, ...], rng: Rng) -> Parameter:
    """Normal with variance 2 / (fan_in + fan_out).  Glorot & Bengio 2010, eq. 12."""
    fan_in, fan_out = fans(shape)
    return normal(shape, rng, math.sqrt(2 / (fan_in + fan_out)))


def he_normal(shape: tuple[int, ...], rng: Rng) -> Parameter:
    """Normal with variance 2 / fan_in, for rectified linear units.  He et al. 2015, eq. 10."""
    return normal(shape, rng, math.sqrt(2 / fans(shape)[0]))


def he_uniform(shape: tuple[int, ...], rng: Rng) -> Parameter:
    """Uniform with variance 2 / fan_in, for rectified linear units.  He et al. 2015, eq. 10."""
    return uniform(shape, rng, math.sqrt(6 / fans(shape)[0]))


def orthogonal(shape: tuple[int, ...], rng: Rng, blocks: int = 1) -> Parameter:
    """A random orthogonal matrix, or `blocks` of them side by side.  Saxe et al. 2014.

    shape: (n, blocks * m); each (n, m) block has orthonormal rows or columns, uniformly distributed.
    """
    _check_shape(shape)
    if len(shape) != 2:
        raise ShapeError(f"orthogonal: expected the shape of a matrix, got {shape}")
    n, columns = shape
    m, rest = divmod(columns, blocks)
    if rest:
        raise ShapeError(f"orthogonal: {columns} columns do not make {blocks} equal blocks")
    if not _allocates(shape):
        return zeros(shape)
    _check_drawing(shape, rng)
    return Parameter(np.concatenate([_orthogonal_block(n, m, rng) for _ in range(blocks)], 1))


def _orthogonal_block(n: int, m: int, rng: Rng) -> np.ndarray:
    q, r = np.linalg.qr(rng.standard_normal((max(n, m), min(n, m))))
    q = q * np.sign(np.diag(r))  # makes the distribution uniform over all orthogonal matrices
    return (q if n >= m else q.T).astype(np.float32)


def concatenated(blocks: list[np.ndarray]) -> Parameter:
    """One parameter of several drawn blocks side by side: they agree in all axes but the last."""
    shape = (*blocks[0].shape[:-1], sum(block.shape[-1] for block in blocks))
    return zeros(shape) if not _allocating.get() else Parameter(np.concatenate(blocks, -1))


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight: (in, out) for a matrix, (out, in, height, width) for a convolution."""
    _check_shape(shape)
    if 0 in shape:
        raise ConfigError(f"a weight of shape {shape} has no elements to draw; hint: sizes of at least 1")
    if len(shape) < 2:
        raise ShapeError(f"fans are defined for matrices and convolutions, not for shape {shape}")
    if len(shape) == 2:
        return shape[0], shape[1]
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field
