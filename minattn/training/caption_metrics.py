"""Scores of captions: BLEU-1 to BLEU-4 by `sacrebleu`, exact captions, and whether attention meets what is named.

Papineni, K., Roukos, S., Ward, T. & Zhu, W.-J. (2002). BLEU: a method for automatic evaluation of machine
translation. ACL 2002.
Zhang, J., Lin, Z., Brandt, J., Shen, X. & Sclaroff, S. (2016). Top-down neural attention by excitation backprop.
ECCV 2016: the pointing game, whether the peak of a map lies on the thing that it is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from minattn.data.captions.dataset import Named, box_shares
from minattn.errors import DataError
from minattn.training.translation_metrics import load_sacrebleu

ORDERS = (1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class CaptionScore:
    """BLEU-1 to BLEU-4, from 0 to 100, and the percentage of captions that equal one of their references."""

    bleu: tuple[float, float, float, float]
    exact: float
    signature: str
    """The signature of BLEU-4, in sacrebleu's form."""


def score_captions(captions: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionScore:
    """Compare each caption with its references; words are what spaces divide.

    Raises DataError where their numbers differ or there are none, MissingDependencyError without sacrebleu.
    """
    if len(captions) != len(references) or not references or not all(references):
        raise DataError(
            f"there are {len(captions):,} captions and references of {len(references):,}; hint: one at least for each"
        )
    streams = [
        [of_one[number] if number < len(of_one) else None for of_one in references]
        for number in range(max(map(len, references)))
    ]
    metrics = [load_sacrebleu().metrics.BLEU(tokenize="none", max_ngram_order=order, force=True) for order in ORDERS]
    bleu = tuple(metric.corpus_score(list(captions), streams).score for metric in metrics)
    right = [
        " ".join(caption.split()) in (" ".join(one.split()) for one in of_one)
        for caption, of_one in zip(captions, references, strict=True)
    ]
    return CaptionScore(bleu, 100 * sum(right) / len(right), str(metrics[-1].get_signature()))


class PointingScore(NamedTuple):
    """How attention meets the things that words name, in percent: means over all of them.

    share: of the attention that falls into the thing's box; chance_share: of attention to all locations alike.
    hits: how often its peak does; chance_hits: of a peak at any location.
    """

    things: int
    share: float
    chance_share: float
    hits: float
    chance_hits: float


def score_pointing(
    weights: Sequence[Float[np.ndarray, "words rows columns"]],
    named: Sequence[Sequence[Named]],
    size: tuple[int, int],
) -> PointingScore | None:
    """Hold the weights of each image's words against the boxes of what they name; size: (height, width) of the images.

    A peak lies in a box where the middle of its location does.  None where nothing is named.
    """
    rows = []
    for of_image, things in zip(weights, named, strict=True):
        grid = of_image.shape[1:]
        for thing in things:
            weight, shares = of_image[thing.word], box_shares(thing.box, grid, size)
            inside = middles_inside(thing.box, grid, size)
            peak = np.unravel_index(np.argmax(weight), grid)
            rows.append((float((weight * shares).sum()), shares.mean(), float(inside[peak]), inside.mean()))
    if not rows:
        return None
    share, chance_share, hits, chance_hits = 100 * np.mean(rows, 0)
    return PointingScore(len(rows), share, chance_share, hits, chance_hits)


def middles_inside(box: tuple[int, int, int, int], grid: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """(rows, columns): True for the locations whose middles are in the box."""
    left, top, right, bottom = box
    y, x = ((np.arange(cells) + 0.5) * length / cells for cells, length in zip(grid, size, strict=True))
    return np.outer((top <= y) & (y < bottom), (left <= x) & (x < right))
