"""The array of the fake: memory that only pretends to be on a GPU, and that only .get() reads.

An array holds a NumPy array and shows CuPy's attributes. It is no subclass of numpy.ndarray, so that nothing
reaches NumPy by accident.
"""

import contextlib
from typing import NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from . import api, indexing
from .counters import count_h2d, count_launch, count_sync
from .cuda import Device
from .methods import Methods

SCALARS = (bool, int, float, complex, np.generic)
DTYPE_CHARACTERS = "?bBhHiIlLqQefdFD"

_layouts = {"random": None}


@contextlib.contextmanager
def scrambled_layouts(seed=0):
    """Inside, results lie in memory in a random order of axes: finds code that relies on strides.

    Reshaping then often copies, so count nothing inside.
    """
    before = _layouts["random"]
    _layouts["random"] = np.random.default_rng(seed)
    try:
        yield
    finally:
        _layouts["random"] = before


def check_dtype(dtype):
    dtype = np.dtype(dtype)
    if dtype.char not in DTYPE_CHARACTERS or not dtype.isnative:
        raise ValueError(f"Unsupported dtype {dtype}: CuPy has numbers and booleans only")
    return dtype


def on_device(host, base=None):
    """The device array over this NumPy array, without a copy; base: the device array it is a view of."""
    check_dtype(host.dtype)
    array = object.__new__(ndarray)
    array._host, array._base = host, base
    return array


def computed(result, dtype=None):
    """The result of a kernel: an array even of one number, and in C order, whatever order NumPy chose."""
    host = np.asarray(result, dtype, order="C")
    if _layouts["random"] is not None and host.ndim > 1:
        axes = _layouts["random"].permutation(host.ndim)
        host = host.transpose(axes).copy().transpose(np.argsort(axes))
    return on_device(host)


def view_of(result, sources):
    """The NumPy result as a view, if it lies in the memory of a device array of `sources`; else None."""
    for source in sources:
        if result is source._host:
            return source
        if isinstance(result, np.ndarray) and np.may_share_memory(result, source._host):
            return source._view(result)
    return None


def poisoned(shape, dtype, order="C"):
    """What empty() gives: NaN, or the largest integer, which no code can mistake for zeros."""
    host = np.empty(shape, check_dtype(dtype), order=order)
    if host.dtype.kind in "fc":
        host.fill(complex(np.nan, np.nan) if host.dtype.kind == "c" else np.nan)
    else:
        host.fill(True if host.dtype.kind == "b" else np.iinfo(host.dtype).max)
    return on_device(host)


class Flags(NamedTuple):
    """The layout of an array: CuPy has these three, read-only, and no `writeable`."""

    c_contiguous: bool
    f_contiguous: bool
    owndata: bool


class ndarray(Methods, NDArrayOperatorsMixin):
    """cupy.ndarray. The operators come from NumPy's mixin, which calls __array_ufunc__."""

    __slots__ = ("__weakref__", "_base", "_host")
    __module__ = "cupy"
    __array_priority__ = 100
    __contains__ = None  # CuPy would read the device once for each element

    def __init__(self, shape, dtype=float, memptr=None, strides=None, order="C"):
        if memptr is not None or strides is not None:
            raise TypeError("the fake has no device pointers: give ndarray() a shape, a dtype and an order")
        self._host, self._base = poisoned(shape, dtype, order)._host, None

    def __getattr__(self, name):
        raise api.missing(name, "cupy.ndarray", api.TABLE["ndarray"])

    # What NumPy calls

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion of a device array to a NumPy array is not allowed: use .get()")

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        function = api.CUPY.get(ufunc.__name__)
        if method != "__call__" or function is None:
            return NotImplemented
        if out is not None:
            if len(out) != 1:
                raise ValueError(f"CuPy takes one out= array through NumPy's functions, got {len(out)}")
            kwargs["out"] = out[0]
        return function(*inputs, **kwargs)

    def __array_function__(self, function, types, args, kwargs):
        names = {"numpy": api.CUPY, "numpy.linalg": api.LINALG}.get(function.__module__, {})
        stand_in = names.get(function.__name__)
        if stand_in is None or not all(issubclass(kind, ndarray | np.ndarray) for kind in types):
            return NotImplemented
        return stand_in(*args, **kwargs)

    # Reading: each of these waits for the device

    def get(self, stream=None, order="C", out=None, blocking=True):
        count_sync(".get()")
        if out is None:
            return np.array(self._host, order=order, copy=True)
        if out.shape != self.shape or out.dtype != self.dtype:
            raise ValueError(f"get(out=): need {self.shape} {self.dtype}, got {out.shape} {out.dtype}")
        out[...] = self._host
        return out

    def _number(self, what):
        count_sync(what)
        if self.size != 1:
            raise ValueError(f"{what} needs an array of one element, got shape {self.shape}")
        return self._host.item()

    def item(self):
        return self._number(".item()")

    def __bool__(self):
        return bool(self._number("bool() or `if` on an array"))

    def __int__(self):
        return int(self._number("int()"))

    def __float__(self):
        return float(self._number("float()"))

    def __complex__(self):
        return complex(self._number("complex()"))

    def tolist(self):
        count_sync(".tolist()")
        return self._host.tolist()

    def tobytes(self, order="C"):
        count_sync(".tobytes()")
        return self._host.tobytes(order)

    def __repr__(self):
        count_sync("printing an array")
        return repr(self._host)

    def __str__(self):
        count_sync("printing an array")
        return str(self._host)

    def __format__(self, specification):
        count_sync("formatting an array")
        return format(self._host.item() if self.ndim == 0 else self._host, specification)

    def __reduce__(self):
        return api.CUPY["asarray"], (self.get(),)

    # Attributes

    shape = property(lambda self: self._host.shape)
    ndim = property(lambda self: self._host.ndim)
    dtype = property(lambda self: self._host.dtype)
    size = property(lambda self: self._host.size)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    strides = property(lambda self: self._host.strides)
    base = property(lambda self: self._base)
    device = property(lambda self: Device(0))
    T = property(lambda self: self if self.ndim < 2 else self.transpose())
    mT = property(lambda self: self.swapaxes(-1, -2))

    @property
    def flags(self):
        layout = self._host.flags
        return Flags(layout.c_contiguous, layout.f_contiguous, self._base is None)

    @property
    def real(self):
        return api.CUPY["real"](self) if self.dtype.kind == "c" else self

    @real.setter
    def real(self, value):
        self.real[...] = value

    @property
    def imag(self):
        return api.CUPY["imag"](self)

    @imag.setter
    def imag(self, value):
        if self.dtype.kind != "c":
            raise TypeError(f"a {self.dtype} array has no imaginary part to set")
        self.imag[...] = value

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __imatmul__(self, other):
        raise TypeError("CuPy has no in-place `@=`: a @= b would make a new array; write a = a @ b")

    # Indexing

    def _host_key(self, key):
        """The key for the NumPy array: integers, slices, None, Ellipsis and NumPy index arrays."""
        return tuple(_host_index(part) for part in (key if isinstance(key, tuple) else (key,)))

    def __getitem__(self, key):
        key = self._host_key(key)
        result = self._host[indexing.with_ellipsis(key)]
        if indexing.is_advanced(key):
            count_launch("take")
            return computed(result)
        return self._view(result)

    def _view(self, host):
        """The NumPy view `host` of this array's memory, which may have no elements."""
        return on_device(host, self if self._base is None else self._base)

    def __setitem__(self, key, value):
        key = self._host_key(key)
        value = _host_value(value, "a[...] = value")
        indexing.check_assignment(self._host, key, value)
        count_launch("setitem")
        with np.errstate(all="ignore"):
            self._host[key] = value

    def scatter_add(self, slices, value):
        """a[slices] += value where places repeat, as cupyx.scatter_add and cupy.add.at."""
        self._scatter(np.add, slices, value)

    def _scatter(self, ufunc, key, value):
        count_launch(ufunc.__name__ + ".at")
        indexing.scatter(ufunc, self._host, self._host_key(key), _host_value(value, f"{ufunc.__name__}.at"))

    # Copies and other forms of the same data

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        if casting is not None or subok is not None:
            raise TypeError("CuPy's astype() does not support casting= or subok=")
        indexing.check_integer_cast(self._host, check_dtype(dtype))
        with np.errstate(all="ignore"):
            host = self._host.astype(dtype, order=order, copy=copy)
        if host is self._host:
            return self
        count_launch("astype", copy=host.dtype == self.dtype)
        return on_device(host)

    def copy(self, order="C"):
        count_launch("copy", copy=True)
        return on_device(self._host.copy(order))

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def flatten(self, order="C"):
        count_launch("flatten", copy=True)
        return on_device(self._host.flatten(order))

    def view(self, dtype=None, type=None):
        return self._view(self._host.view() if dtype is None else self._host.view(check_dtype(dtype)))

    def fill(self, value):
        if isinstance(value, ndarray):
            raise TypeError("fill() takes a number; write a[...] = value for a device array")
        count_launch("fill")
        self._host.fill(_host_value(value, "fill()"))

    def set(self, arr, stream=None):
        if not isinstance(arr, np.ndarray) or arr.shape != self.shape or arr.dtype != self.dtype:
            raise ValueError(f"set() needs a {self.dtype} NumPy array of shape {self.shape}")
        count_h2d("set()")
        self._host[...] = arr


def _host_index(part):
    """One part of an index for NumPy. CuPy copies lists and NumPy arrays to the device first."""
    if part is Ellipsis or isinstance(part, slice | np.integer | None) or type(part) is int:
        return part
    if isinstance(part, ndarray):
        index = part._host
    elif isinstance(part, list | np.ndarray):
        count_h2d("a list or NumPy array as index")
        index = np.asarray(part, dtype=None if np.size(part) else int)
    else:
        raise IndexError(f"cannot index a CuPy array with a {type(part).__name__}")
    if index.dtype.kind == "b":
        count_sync("a boolean mask as index")
    return index


def _host_value(value, what):
    """The value of an assignment for NumPy: from a device array or a number."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, SCALARS):
        return value
    raise TypeError(f"{what} takes device arrays and numbers, not {type(value).__name__}; use cupy.asarray()")
