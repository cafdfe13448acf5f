"""Functions whose pullbacks are right, with the inputs that they are tried on: no checker may refuse any of them."""

from . import (  # noqa: F401
    binary,
    elementwise,
    networks,
    products,
    rearranging,
    reductions,
)
from .entry import RIGHT, Right

__all__ = ["RIGHT", "Right"]
