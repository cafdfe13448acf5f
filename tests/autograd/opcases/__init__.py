"""The table of cases: one for each op of the op table, by the op's name."""

from . import convolution, elementwise, fused, images, neural, structural
from .case import Call, Case

CASES: dict[str, Case] = (
    elementwise.CASES | structural.CASES | neural.CASES | convolution.CASES | images.CASES | fused.CASES
)

__all__ = ["CASES", "Call", "Case"]
