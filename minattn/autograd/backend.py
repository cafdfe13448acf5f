"""The array backends: NumPy on the host, CuPy on a GPU, chosen by each array's own type.

This is the only file that imports CuPy, and it does so only when somebody asks for a CUDA device.  Everything
above writes plain array code against `xp(array)`, the module the array belongs to.
"""

from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from minattn.errors import DeviceError

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]
else:
    Array = Any
"""A raw array of either backend, `numpy.ndarray` or `cupy.ndarray`.  A type checker takes both for NumPy's."""

Shape = tuple[int, ...]

Axes = int | tuple[int, ...]
"""One axis or several."""

_modules: dict[type, ModuleType] = {np.ndarray: np}
"""Array type -> its module.  CuPy's entry appears when CuPy is first asked for."""


def xp(*arrays: Array | None) -> Any:
    """The array module (`numpy` or `cupy`) that the first array among `arrays` belongs to."""
    for array in arrays:
        if type(array) is np.ndarray:
            return np
        module = _modules.get(type(array))
        if module is not None:
            return module
    return np


def is_array(value: object) -> TypeGuard[Array]:
    """True if `value` is a raw array of a backend in use."""
    return type(value) in _modules or isinstance(value, np.ndarray)


def cuda() -> ModuleType:
    """CuPy, imported on first use.

    Raises `DeviceError`, with a hint, where CuPy or a usable GPU is missing.
    """
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(
            "device 'cuda' needs CuPy, which is not installed; hint: pip install 'minattn[cuda13]' "
            "(or 'minattn[cuda12]' for a CUDA 12 driver), or use device 'cpu'"
        ) from error
    if not cupy.cuda.is_available():
        raise DeviceError(
            "CuPy is installed, but no usable GPU was found (no CUDA device or no driver); hint: check "
            "that nvidia-smi lists a GPU and that its driver fits this CuPy, or use device 'cpu'"
        )
    _modules[cupy.ndarray] = cupy
    return cupy


def _cuda_index(device: str) -> int | None:
    """The GPU's number in 'cuda' (0) or 'cuda:N'; None for 'cpu'."""
    if isinstance(device, str):
        name, _, index = device.partition(":")
        if device == "cpu":
            return None
        if name == "cuda" and (index.isdigit() or device == "cuda"):
            return int(index or 0)
    hint = "'cuda' is the first GPU, 'cuda:1' the second"
    raise DeviceError(f"unknown device {device!r}; expected 'cpu', 'cuda' or 'cuda:N'; hint: {hint}")


def check_device(device: str) -> str:
    """`device` if it can be used here, else a `DeviceError` that says what is missing."""
    index = _cuda_index(device)
    if index is not None:
        count = cuda().cuda.runtime.getDeviceCount()
        if index >= count:
            raise DeviceError(f"device 'cuda:{index}' does not exist: this machine has {count} GPU(s)")
    return device


def device_of(array: Array) -> str:
    """'cpu', or 'cuda:N' for an array on GPU number N."""
    if type(array) is np.ndarray or isinstance(array, (np.ndarray, np.generic)):
        return "cpu"
    if type(array) in _modules:
        return f"cuda:{array.device.id}"
    raise TypeError(f"expected a NumPy or CuPy array, got {type(array).__name__}")


def to_device(array: Array, device: str) -> Array:
    """`array` on `device`; the same array if it is there already."""
    index = _cuda_index(check_device(device))
    if index is None:
        return asnumpy(array)
    if device_of(array) == f"cuda:{index}":
        return array
    cupy = cuda()
    with cupy.cuda.Device(index):
        return cupy.asarray(array)


def asnumpy(array: Array) -> np.ndarray:
    """`array` on the host, as a NumPy array (the same one if it is there already)."""
    return array if isinstance(array, np.ndarray) else array.get()


def as_array(value: Any) -> Array:
    """The array of a tensor; an array itself; lists and numbers as a NumPy array."""
    value = getattr(value, "_data", value)
    return value if is_array(value) else np.asarray(value)


def like(value: Any, array: Array) -> Array:
    """A host value (list or NumPy array) as an array on the device of `array`; one that is there already as it is."""
    module = xp(array)
    if type(value) in _modules and xp(value) is module:
        return value
    host = np.asarray(value)
    return host if module is np else module.asarray(host)


def as_index(index: Array, array: Array, bound: int, what: str = "id", *, from_end: bool = True) -> Array:
    """Integer ids as an array on the device of `array`, checked on the host to lie in [-bound, bound), or in
    [0, bound) where ids do not count from the end.

    CuPy wraps ids out of range silently, so ids that come from the host are checked before they travel; ids
    that already live on a GPU are taken as they are, because looking at them would stall the GPU.
    """
    if isinstance(index, (list, tuple, int, np.integer)):
        index = np.asarray(index)
    if index.dtype.kind not in "iu":
        raise TypeError(f"an {what} must be an integer, got {index.dtype}")
    if isinstance(index, np.ndarray):
        lowest = -bound if from_end else 0
        if index.size and not (lowest <= int(index.min()) and int(index.max()) < bound):
            bad = index[(index < lowest) | (index >= bound)].flat[0]
            raise IndexError(f"{what} {bad} is out of range for {bound} entries; hint: {lowest} to {bound - 1}")
        if xp(array) is not np:
            return xp(array).asarray(index)
    return index


def matmul(a: Array, b: Array, out: Array | None = None) -> Array:
    """a @ b.  Every matrix product of the library goes through here, so that a backend can replace it."""
    return xp(a, b).matmul(a, b, out) if out is not None else xp(a, b).matmul(a, b)


def dots(a: Array, b: Array, axis: int = -1) -> Array:
    """The sum of a * b over `axis`, which stays with length 1."""
    if axis == -1 and is_real_host(a) and a.shape[-1] <= LONGEST_DOT:
        return np.vecdot(a, b)[..., None]
    return (a * b).sum(axis, keepdims=True)


def sums(x: Array, axis: int = -1) -> Array:
    """The sum of x over `axis`, which stays with length 1; quicker than a reduction for rows of middle length."""
    if axis == -1 and 32 <= x.shape[-1] <= LONGEST_DOT and is_real_host(x):
        return np.vecdot(x, np.ones(x.shape[-1], x.dtype))[..., None]
    return x.sum(axis, keepdims=True)


LONGEST_DOT = 10_000
"""OpenBLAS shares longer dot products among threads, and NumPy's own sum of so many numbers is closer."""


def is_real_host(array: Array) -> bool:
    """True if `array` is a NumPy array of float32 or float64, for which the host has quicker ways."""
    return type(array) is np.ndarray and array.dtype.char in "fd"


def erf(x: Array) -> Array:
    """The error function, elementwise; complex arguments on the host only."""
    if xp(x) is np:
        from scipy.special import erf as host_erf  # scipy.special is slow to import and rarely needed

        return host_erf(x)
    from cupyx.scipy.special import erf as device_erf

    return device_erf(x)


def scatter_add(out: Array, index: Any, values: Array) -> None:
    """out[index] += values, where repeated indices add up."""
    if xp(out) is np:
        np.add.at(out, index, values)
    else:
        xp(out).add.at(out, index, values)


def add_rows(rows: Array, ids: Array, count: int) -> Array:
    """The (count, d) array whose row k is the sum of the rows of `rows` (n, d) with ids == k.

    On the host a sparse product, some 20 times faster than `np.add.at`.  ids must be non-negative there.
    """
    module = xp(rows)
    if module is np and rows.dtype.char in "fdFD":
        from scipy.sparse import csr_matrix

        n = len(ids)
        ones = np.ones(n, rows.dtype)
        selection = csr_matrix((ones, ids, np.arange(n + 1)), shape=(n, count))
        return np.asarray(selection.T @ rows)
    out = module.zeros((count, rows.shape[1]), rows.dtype)
    scatter_add(out, ids, rows)
    return out
