"""From an attention map to an image region: upsampling, normalization, the largest segment, its bounding box.

B. Zhou et al., "Learning deep features for discriminative localization", CVPR 2016, section 3.2: the class activation
map is upsampled to the size of the image; the pixels above 20 % of its maximum make segments, and the box around the
largest connected one says where the object is.  Everything here runs on the host and has no gradient.

Deviations from the paper: a map is first scaled to 0 .. 1 by its own minimum and maximum, as in the authors' code, so
that "20 % of the maximum" also means something where values are negative; a constant map becomes 1 everywhere.  Pixels
are connected where they share a side; the paper does not say.  Of segments of equal size, the first in reading order is
taken.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Inexact

from minattn.autograd import Array, Tensor, asnumpy, ops
from minattn.errors import ConfigError, DataError, ShapeError

SHARE = 0.2  # of the maximum, section 3.2
ROUNDING = 32  # units in the last place: a map that varies by less is constant, its sums only differ by rounding


class Box(NamedTuple):
    """The rows top .. bottom - 1 and the columns left .. right - 1 of an image."""

    top: int
    left: int
    bottom: int
    right: int


def upsampled(
    maps: Inexact[Tensor | Array, "batch height width"], size: tuple[int, int]
) -> Float[np.ndarray, "batch rows columns"]:
    """The maps at the size (rows, columns) of the images, bilinear.

    Raises ShapeError for a size below 1, and for maps without a pixel.
    """
    maps = asnumpy(maps.data if isinstance(maps, Tensor) else maps)
    if maps.ndim != 3:
        raise ShapeError(f"expected maps (batch, height, width), got {maps.shape}; hint: maps[None] for one map")
    return asnumpy(ops.resize_bilinear(maps[:, None], size).data)[:, 0]


def normalized(maps: Inexact[Tensor | Array, "batch height width"]) -> Float[np.ndarray, "batch height width"]:
    """Each map in 0 .. 1: (M - min M) / (max M - min M); 1 everywhere where the map is constant, to rounding.

    Raises DataError for values that are not finite.
    """
    maps = asnumpy(maps.data if isinstance(maps, Tensor) else maps)
    if maps.ndim != 3:
        raise ShapeError(f"expected maps (batch, height, width), got {maps.shape}; hint: maps[None] for one map")
    finite = np.isfinite(maps)
    if not finite.all():
        raise DataError(
            f"{np.count_nonzero(~finite):,} of {maps.size:,} values of the maps are not finite, and nothing lies "
            "between those; hint: maps of a network whose parameters are finite"
        )
    maps = maps / 2  # the span of finite numbers is finite then
    lowest, highest = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    span = highest - lowest
    varies = span > ROUNDING * np.finfo(maps.dtype).eps * np.abs(maps).max((1, 2), keepdims=True)
    return np.where(varies, (maps - lowest) / np.where(varies, span, 1), 1).astype(maps.dtype)


def largest_segment(map_: Float[np.ndarray, "height width"], share: float = SHARE) -> Bool[np.ndarray, "height width"]:
    """The largest connected segment of the pixels above `share` of the maximum of the normalized map.

    Raises ConfigError unless 0 <= share < 1, ShapeError for a map that is empty and DataError for values that are not
    finite.
    """
    if not 0 <= share < 1:
        raise ConfigError(f"the share of the maximum is {share}, expected 0 <= share < 1; hint: {SHARE}, the paper's")
    if map_.ndim != 2 or not map_.size:
        raise ShapeError(f"a map of shape {map_.shape} has no segments; hint: one map (height, width) with a pixel")
    from scipy import ndimage  # slow to import, and only needed here

    marked = normalized(map_[None])[0]
    labels, _ = ndimage.label((marked > share) | (marked == marked.max()))  # a share may be rounded to 1
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0  # what is below the threshold
    return labels == sizes.argmax()


def box_of(map_: Float[np.ndarray, "height width"], share: float = SHARE) -> Box:
    """The tight box around the largest segment.  Raises what `largest_segment` raises."""
    segment = largest_segment(map_, share)
    (rows,), (columns,) = segment.any(1).nonzero(), segment.any(0).nonzero()
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
