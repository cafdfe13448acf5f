"""Indices on the NumPy arrays beneath, with errors where CuPy would silently do something else.

Integer indices out of range need no check here: NumPy raises IndexError, where CuPy wraps around.
"""

import numpy as np

_order = np.random.default_rng(0)

# What CUDA's atomic operations can do, by the ufunc that CuPy makes of them.
SCATTER_DTYPES = {
    "add": "int32 int64 uint32 uint64 float16 float32 float64",
    "subtract": "int32 uint32",
    "maximum": "int32 int64 uint32 uint64 float32 float64",
    "minimum": "int32 int64 uint32 uint64 float32 float64",
}


def is_advanced(key):
    return any(isinstance(part, np.ndarray) for part in key)


def with_ellipsis(key):
    """The same key with an Ellipsis, so that a single element comes as a 0-d view, not as a number."""
    return key if any(part is Ellipsis for part in key) else (*key, Ellipsis)


def targets(shape, key):
    """The flat position of every element that the key selects in an array of this shape."""
    return np.arange(np.prod(shape, dtype=int)).reshape(shape)[key]


def check_distinct(positions, what):
    """ValueError where several values go to one place: on a GPU any of them may be the one that stays."""
    if np.unique(positions).size < positions.size:
        raise ValueError(f"{what} with repeated indices: undefined in CuPy which value stays; add up with add.at")


def _is_same(a, b):
    """True for two views of exactly the same elements, as `a[i] += v` assigns them."""
    return (a.ctypes.data, a.shape, a.strides) == (b.ctypes.data, b.shape, b.strides)


def check_assignment(target, key, value):
    """Refuse target[key] = value where a GPU might store something else than NumPy."""
    if is_advanced(key):
        if isinstance(value, np.ndarray) and value.size > 1:
            check_distinct(targets(target.shape, key), "a[i] = v")
        return
    place = target[with_ellipsis(key)]
    if isinstance(value, np.ndarray) and not _is_same(place, value) and np.shares_memory(place, value):
        raise ValueError("a[...] = v where v overlaps a: CuPy copies in no defined order; copy v first")


def scatter(ufunc, target, key, value):
    """ufunc.at(target, key, value) in shuffled order, because the atomic operations of a GPU have none."""
    allowed = SCATTER_DTYPES[ufunc.__name__].split()
    if is_advanced(key) and target.dtype.name not in allowed:
        raise TypeError(f"cupy.{ufunc.__name__}.at takes {', '.join(allowed)}, not {target.dtype}")
    positions = targets(target.shape, key)
    values = np.asarray(value).astype(target.dtype, casting="same_kind")
    values = np.broadcast_to(values, positions.shape)
    shuffled = _order.permutation(positions.size)
    places = np.unravel_index(positions.ravel()[shuffled], target.shape)
    ufunc.at(target, places, values.ravel()[shuffled])


def check_integer_cast(values, dtype):
    """Refuse casts that differ between NumPy and a GPU: of NaN, infinity, negative to unsigned."""
    if values.dtype.kind != "f" or dtype.kind not in "iu" or values.size == 0:
        return
    if not np.isfinite(values).all() or (dtype.kind == "u" and values.min() < 0):
        raise ValueError(f"NaN, infinity or a negative number cast to {dtype}: CuPy and NumPy differ")
