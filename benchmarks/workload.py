"""A workload, and the work that all of its engines have to do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import ModuleType

Step = Callable[[], float]  # does all of its work and returns its loss
ENGINES = ("minattn", "torch", "jax", "autograd", "mygrad", "chainer", "dezero", "pydynet", "smallpebble")
NEEDS_ADAM = "without an optimizer it is PyTorch"
NEEDS_IMAGES = "without images it is PyTorch"
NOT_WRITTEN = "it has convolutions, but this is not written for it"


class Limit(StrEnum):
    """A limit of the machine itself, measured beside the engines."""

    GEMM = "gemm"  # one large matrix product, operations a second
    COPY = "copy"  # a large array copied, bytes a second, read and written


GEMM_SIZE = 1024  # of each side
COPY_BYTES = 64 * 2**20
LIMIT_WORK = {Limit.GEMM: 2.0 * GEMM_SIZE**3, Limit.COPY: 2.0 * COPY_BYTES}


@dataclass(frozen=True)
class Unit:
    """The unit in which the time of a step is given."""

    name: str
    per_second: float


MILLISECONDS = Unit("ms", 1e3)


@dataclass(frozen=True)
class Workload:
    """The work that every engine is asked to do, and the way each does it.

    `steps` maps an engine to a function of its module in benchmarks/engines that sets the workload up and returns its
    step.  Everything is float32; a step includes reading its loss.  `work` counts the floating-point operations of the
    matrix products of a step, or the bytes that it must move; all else counts as nothing.
    """

    name: str
    title: str
    description: str  # of what is timed
    steps: Mapping[str, Callable[[ModuleType], Step]]
    cannot: Mapping[str, str] = field(default_factory=dict)  # engine -> why it has no step
    limit: Limit | None = None
    work: float = 0.0
    unit: Unit = MILLISECONDS
    other_forms: Mapping[str, str] = field(default_factory=dict)  # engine -> why its loss is not that of the others

    @property
    def heading(self) -> str:
        """The name, without what the title says, and the title."""
        return f"{self.name.partition('-')[0]} {self.title}"


def product(rows: int, inner: int, columns: int) -> float:
    """Operations of (rows, inner) @ (inner, columns): a multiplication and an addition each."""
    return 2.0 * rows * inner * columns


def convolution_work(shape: tuple[int, int, int, int], outputs: int) -> float:
    """Operations of a 3x3 convolution to feature maps of this size: for each pixel, a product with 9 pixels."""
    batch, channels, height, width = shape
    return product(batch * height * width, 9 * channels, outputs)
