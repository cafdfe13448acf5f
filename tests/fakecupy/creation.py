"""New arrays, the way from the host to the device and back, and questions about memory."""

import numpy as np

from . import api
from .array import check_dtype, ndarray, on_device, poisoned
from .counters import count_h2d, count_sync


def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    """The device array a itself if it is already as asked; else a copy, from the host if need be."""
    if isinstance(a, ndarray) and not copy:
        return a.astype(a.dtype if dtype is None else dtype, order or "K", copy=False)
    if copy is False:
        raise ValueError("cupy.asarray(copy=False): data on the host must be copied to the device")
    return array(a, dtype, True, order or "K")


def array(obj, dtype=None, copy=True, order="K", subok=False, ndmin=0, *, blocking=False):
    """A new array of a device array, of a list of them (stacked), or of what NumPy makes an array of."""
    if subok:
        raise NotImplementedError("CuPy does not support subok=True")
    if not copy:
        result = asarray(obj, dtype, order, copy=copy)
    elif isinstance(obj, ndarray):
        result = obj.astype(obj.dtype if dtype is None else dtype, order)
    elif isinstance(obj, list | tuple) and obj and all(isinstance(part, ndarray) for part in obj):
        result = api.CUPY["stack"](obj)
        result = result if dtype is None else result.astype(dtype)
    else:
        host = np.array(obj, dtype, order=order, copy=True)
        check_dtype(host.dtype)
        count_h2d("cupy.array() of host data")
        result = on_device(host)
    return result if result.ndim >= ndmin else result.reshape((1,) * (ndmin - result.ndim) + result.shape)


def copy(a, order="K"):
    return array(a, None, True, order)


def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    return a.get(stream, order, out) if isinstance(a, ndarray) else np.asarray(a, order=order)


def empty(shape, dtype=float, order="C"):
    return poisoned(shape, dtype, order)


def empty_like(prototype, dtype=None, order="K", subok=None, shape=None):
    like = np.empty_like(prototype._host, dtype, order, shape=shape)
    like[...] = poisoned((), like.dtype)._host
    return on_device(like)


def may_share_memory(a, b, max_work=None):
    """Whether the address ranges overlap; needs no look at the device."""
    return np.may_share_memory(a._host, b._host)


def shares_memory(a, b, max_work=None):
    """Whether an element belongs to both. CuPy compares all addresses on the device, and waits."""
    if a is b and a.size:
        return True
    count_sync("cupy.shares_memory()")
    return np.shares_memory(a._host, b._host)


for function in (array, asarray, asnumpy, copy, empty, empty_like, may_share_memory, shares_memory):
    api.CUPY[function.__name__] = function
api.CUPY["asanyarray"] = asarray
