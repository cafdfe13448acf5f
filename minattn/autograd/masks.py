"""Boolean masks as ops see them: arrays on the device of the data, checked against its shape.

True = may attend, or = a real position.  `minattn.nn.masks` has what layers and users call.
"""

from typing import Any

from minattn.autograd.backend import Array, Shape, as_array, device_of, like, xp
from minattn.errors import DeviceError, ShapeError


def as_boolean(mask: Any, x: Array, name: str) -> Array:
    """`mask` (an array, a tensor or lists of bools) as an array on the device of x.

    A mask on the host is brought there.  Raises TypeError unless it is boolean, DeviceError for one on a GPU whose x is
    on the host.
    """
    mask = as_array(mask)
    if mask.dtype != bool:
        raise TypeError(f"{name} must be boolean, got {mask.dtype}; hint: .astype(bool)")
    if xp(mask) is not xp(x) and device_of(mask) != "cpu":
        raise DeviceError(
            f"{name} is on {device_of(mask)}, what it masks on {device_of(x)}; hint: move them to one device"
        )
    return like(mask, x)


def check_mask(mask: Any, x: Array, shape: Shape) -> Array:
    """`mask` as a boolean array on the device of x that broadcasts to `shape`.  Raises ShapeError where it does not."""
    mask = as_boolean(mask, x, "a mask (True = may attend)")
    if not _broadcasts(mask.shape, shape):
        raise ShapeError(
            f"a mask of shape {tuple(mask.shape)} does not broadcast to {tuple(shape)}; hint: axes of that length or "
            "of length 1, True = may attend"
        )
    return mask


def _broadcasts(shape: Shape, to: Shape) -> bool:
    pairs = zip(shape[::-1], to[::-1], strict=False)
    return len(shape) <= len(to) and all(n in (1, m) for n, m in pairs)
