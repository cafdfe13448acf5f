"""Scores of joints: the percentage of correct keypoints.

PCK@0.2  a joint is correct within 0.2 times the length of the torso, from the left shoulder to the right hip
         (B. Sapp and B. Taskar, "MODEC", CVPR 2013)
PCKh@0.5 a joint is correct within half of the head's length, from the upper neck to its top (M. Andriluka et al.,
         "2D human pose estimation", CVPR 2014; there it is 0.6 times the diagonal of a box around the head)

Of every joint the share of bodies is counted in which it is correct; the score is the mean over the joints.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

PCK, PCKH = 0.2, 0.5


class JointScores(NamedTuple):
    """Correct keypoints in percent: of each joint (joints,), NaN where none is scored, and the mean over the others."""

    each: Float[np.ndarray, " joints"]
    mean: float


def distances(
    predicted: Float[np.ndarray, "bodies joints 2"], positions: Float[np.ndarray, "bodies joints 2"]
) -> Float[np.ndarray, "bodies joints"]:
    """The distances of predicted joints from their true positions, in pixels."""
    return np.linalg.norm(predicted - positions, axis=-1)


def correct_keypoints(
    distance: Float[np.ndarray, "bodies joints"],
    scored: Bool[np.ndarray, "bodies joints"],
    length: Float[np.ndarray, " bodies"],
    threshold: float,
) -> JointScores:
    """Score joints by their `distance`: correct is one within `threshold` times a length of its body.

    scored: the joints that count, such as those with a label; a body whose length is NaN does not count.
    """
    counts = scored & np.isfinite(length)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        correct = (distance <= threshold * length[:, None]) & counts
        each = 100 * correct.sum(0) / counts.sum(0)
    known = np.isfinite(each)
    return JointScores(each, float(each[known].mean()) if known.any() else float("nan"))
