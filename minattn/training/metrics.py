"""Metrics: the numbers that an evaluation gives, and how they are printed and drawn."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A number that an evaluation gives; the log and the report of a run carry it, so that both explain themselves.

    label, axis: in figures, the name of its curve and the quantity with its unit; metrics of one axis share a panel.
    short, unit: what stands before and behind its value.
    """

    name: str
    label: str
    axis: str
    short: str = ""
    unit: str = ""
    digits: int = 2
    lower_is_better: bool = True

    def formatted(self, value: float) -> str:
        """The value with what stands around it, such as "PER 7.08 %"."""
        return " ".join(part for part in (self.short, f"{value:.{self.digits}f}", self.unit) if part)


def perplexity(loss: float) -> float:
    """e to the power of a mean loss in nats; infinity where it is beyond all numbers."""
    return math.exp(loss) if loss < 700 else math.inf
