"""Masks: boolean, True = may attend, or = a real position.

* `padding_mask(mask, x)`: which positions of a batch of sequences are real, (batch, time).
* `causal_mask(queries, keys)`: no query sees a later key, (queries, keys).
* `without_padding(real, x)`: x with 0 in place of padding, which may hold anything.
* `check_mask(mask, x, shape)`: any mask that broadcasts to `shape`, as attention takes it.

A mask may be an array, a tensor or lists, and comes back on the device of x.  One of another shape is refused with a
ShapeError, one that is not boolean with a TypeError.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool

from minattn.autograd import Array, xp
from minattn.autograd.backend import as_array
from minattn.autograd.masks import as_boolean, check_mask
from minattn.errors import ShapeError

__all__ = ["causal_mask", "check_mask", "padding_mask", "without_padding"]


def causal_mask(queries: int, keys: int | None = None) -> Bool[np.ndarray, "queries keys"]:
    """True where a query may look: at keys that are not later.  The queries are the last of the keys' positions."""
    keys = queries if keys is None else keys
    return np.tri(queries, keys, keys - queries, dtype=bool)


def padding_mask(mask: Any, x: Any) -> Array | None:
    """The padding mask of x (batch, time, ..): boolean (batch, time), True = a real position, on the device of x.

    None where it is known that nothing is padding, which is quicker.  x: an array or a tensor.
    Raises ShapeError for a mask of another shape.
    """
    if mask is None:
        return None
    x = as_array(x)
    given, mask = as_array(mask), as_boolean(mask, x, "a padding mask (True = a real position)")
    if mask.shape != x.shape[:2]:
        raise ShapeError(
            f"a padding mask of shape {tuple(mask.shape)} does not fit (batch, time) = {tuple(x.shape[:2])}; hint: one "
            "boolean for each position, True = real"
        )
    if isinstance(given, np.ndarray) and given.all():  # on a GPU, looking would mean waiting for it
        return None
    return mask


def without_padding(real: Array | None, x: Array) -> Array:
    """The array x (batch, time, ..) with 0 where `real` (batch, time) is False; x itself where that is None.

    Padding may hold anything, NaN too, and a weight of 0 does not undo that: 0 times NaN is NaN.
    """
    return x if real is None else xp(x).where(real[:, :, None], x, 0)
