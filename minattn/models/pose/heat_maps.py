"""Heat maps of joints: the targets that a network learns, and how predicted maps are decoded into positions.

A. Newell, K. Yang and J. Deng, "Stacked hourglass networks for human pose estimation", ECCV 2016, section 3.3, and the
authors' code.  Positions are (x, y) in pixels of the map: the middle of its first pixel is (0.5, 0.5).

    target(x, y) = exp(-((x - x_j)^2 + (y - y_j)^2) / (2 sigma^2)),  sigma = 1     (a)  zero for a joint without a label
    position = argmax + 1/4 sign(right - left), 1/4 sign(below - above) + 1/2      (b)  the quarter pixel
    maps = (S(image) + mirrored S(mirrored image)) / 2                             (c)  left and right joints changed

In (a) x_j and y_j are at the middle of the pixel that the joint lies in, so that the largest value is 1.

The letters are this file's.

Deviations from the paper: none.  The authors' code uses sigma = 1.75, which the paper does not mention.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Inexact

from minattn.autograd import Tensor, asnumpy, ops
from minattn.errors import ConfigError, DataError, ShapeError


def targets(
    positions: Float[np.ndarray, "batch joints 2"],
    labeled: Bool[np.ndarray, "batch joints"],
    size: tuple[int, int],
    sigma: float = 1.0,
) -> Float[np.ndarray, "batch joints height width"]:
    """Return the targets (a) of the size (height, width), float32.

    A joint outside of the map keeps the part of its Gaussian that lies inside; one without a label has none, wherever
    its position is.  Raises ConfigError for a sigma that is not above 0, ShapeError where positions and labels do not
    fit, DataError for a labeled position that is no number.
    """
    if not sigma > 0:
        raise ConfigError(f"the width of a target is {sigma}, expected a number above 0; hint: 1, as in the paper")
    if positions.ndim != 3 or positions.shape[2] != 2 or labeled.shape != positions.shape[:2]:
        raise ShapeError(
            f"positions of shape {positions.shape} and labels of shape {labeled.shape} do not fit; expected (batch, "
            "joints, 2) and (batch, joints); hint: x and y of each joint, and whether it is labeled"
        )
    if not np.isfinite(positions[labeled]).all():
        raise DataError("a labeled joint has a position that is not finite; hint: label only joints that are known")
    middles = np.where(labeled[:, :, None], np.floor(positions), 0.0)
    height, width = size
    x, y = np.arange(width) - middles[:, :, :1], np.arange(height) - middles[:, :, 1:]
    across, down = (np.exp(-(d**2) / (2 * sigma**2)) for d in (x, y))
    maps = down[:, :, :, None] * across[:, :, None, :]  # (a)
    return np.where(labeled[:, :, None, None], maps, 0.0).astype(np.float32)


def decode_heat_maps(maps: Inexact[Tensor, "batch joints height width"]) -> Float[np.ndarray, "batch joints 2"]:
    """Return the position (x, y) of every joint, (b), in pixels of the map.

    At the border and between equal neighbors there is no offset.  Raises ShapeError for maps without a pixel.
    """
    if maps.ndim != 4 or 0 in maps.shape[2:]:
        raise ShapeError(
            f"no positions in maps of shape {maps.shape}; hint: (batch, joints, height, width), of a pixel at least"
        )
    scores = asnumpy(maps.data)
    batch, joints, height, width = scores.shape
    rows, columns = np.divmod(scores.reshape(batch, joints, height * width).argmax(-1), width)
    padded = np.pad(scores, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    each = np.ogrid[:batch, :joints]

    def at(down: int, right: int) -> np.ndarray:
        return padded[each[0], each[1], rows + 1 + down, columns + 1 + right]

    inside_x, inside_y = (columns > 0) & (columns < width - 1), (rows > 0) & (rows < height - 1)

    def toward(more: np.ndarray, less: np.ndarray) -> np.ndarray:
        """1 where the first is larger, -1 where the second is: the sign of a difference that is never taken."""
        return (more > less).astype(float) - (more < less)

    x = columns + 0.25 * inside_x * toward(at(0, 1), at(0, -1)) + 0.5
    y = rows + 0.25 * inside_y * toward(at(1, 0), at(-1, 0)) + 0.5
    return np.stack([x, y], -1)  # (b)


def flip_averaged(
    network: Callable[[Tensor], Tensor],
    images: Inexact[Tensor, "batch channels rows columns"],
    mirrored_joints: Sequence[int],
) -> Inexact[Tensor, "batch *stacks joints height width"]:
    """Return the mean (c) of a network's maps for the images and for their mirror images.

    network: heat maps (batch, joints, height, width) of images, or of every stack, (batch, stacks, joints, height,
    width); mirrored_joints: for each joint its counterpart in the mirror, such as the right hand for the left one.
    Raises ConfigError unless that is a pairing of all joints.
    """
    maps, mirrored = network(images), network(ops.flip(images, 3))
    joints = maps.shape[-3]
    order = list(mirrored_joints)
    if sorted(order) != list(range(joints)) or any(order[order[j]] != j for j in range(joints)):
        raise ConfigError(
            f"the mirrored joints {order} do not pair {joints} joints; hint: for each the one in a mirror"
        )
    return (maps + ops.take(ops.flip(mirrored, -1), np.array(order), axis=-3)) * 0.5  # (c)
