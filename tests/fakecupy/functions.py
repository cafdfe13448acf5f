"""CuPy's functions of arrays: NumPy computes, after the checks that CuPy's signature and the device make.

To add a function, put its name into one of the tables below. Signatures come from cupy_api.json.
"""

import numpy as np
import scipy.special

from . import api, indexing
from .array import SCALARS, computed, ndarray, on_device, view_of
from .counters import check_blas, count_h2d, count_launch, count_sync

# A view where the strides allow it; where not, a copy.
VIEWS = """
    array_split ascontiguousarray atleast_1d atleast_2d atleast_3d broadcast_arrays broadcast_to
    diagonal dsplit expand_dims flip fliplr flipud hsplit imag matrix_transpose moveaxis
    permute_dims ravel real reshape rollaxis rot90 split squeeze swapaxes transpose vsplit
"""
COMPUTE = """
    all allclose amax amin any argmax argmin argpartition argsort around array_equal clip column_stack
    concat concatenate copyto count_nonzero cumprod cumsum diag diagflat diff dstack hstack isclose max mean
    meshgrid min nan_to_num nancumsum nanmean nansum pad partition prod ptp repeat roll round searchsorted
    sort stack std sum take take_along_axis tile trace tril triu var vstack
"""
CUBLAS = "dot einsum inner matmul outer tensordot vdot"
WAIT = "argwhere bincount compress extract flatnonzero nanmax nanmin nonzero unique"
CREATE = "arange eye full full_like identity indices linspace ones ones_like tri zeros zeros_like"
ON_HOST = """
    broadcast_shapes can_cast iscomplexobj isrealobj isscalar issubdtype ndim promote_types result_type shape
    size
"""

# The parameters that take device arrays, and those that take several in a list or one after the other.
# All others take Python numbers: a device array has no __index__.
SEQUENCES = {"args", "arys", "operands", "tup", "xi"}
ARRAYS = {
    *("a", "a1", "a2", "b", "x", "y", "v", "m", "A", "ar", "arr", "ary", "array", "val"),
    *("a_min", "a_max", "condition", "dst", "fill_value", "indices", "out", "prepend", "append"),
    *("sorter", "src", "values", "weights", "where"),
}

# Functions whose later positional parameters stand in another order than NumPy's: so many first ones agree.
SAME_ORDER = {"argmax": 2, "argmin": 2}


class Arguments:
    """The arguments of one call, checked and made NumPy's; `devices` are the device arrays among them."""

    def __init__(self, signature, args, kwargs):
        self.function, self.devices, self.out = signature.name, [], None
        self.args = [self._host(parameter, value) for parameter, value in signature.pair(args, kwargs)]
        self.kwargs = {parameter: self._host(parameter, value) for parameter, value in kwargs.items()}
        if len(args) > SAME_ORDER.get(self.function, len(args)):
            raise TypeError(f"cupy.{self.function}(): not NumPy's order of parameters, give them by name")

    def _host(self, parameter, value):
        if isinstance(value, ndarray) and parameter in ARRAYS | SEQUENCES:
            self.devices.append(value)
            if parameter == "out":
                self.out = value
            return value._host
        if parameter in SEQUENCES and isinstance(value, list | tuple):
            return [self._host(parameter, item) for item in value]
        if parameter in ARRAYS and (value is None or isinstance(value, SCALARS)):
            return value
        if parameter == "indices" and isinstance(value, list | tuple):
            count_h2d("a list as indices")
            return np.asarray(value)
        if parameter == "operands" and isinstance(value, str):
            return value
        if parameter in ARRAYS | SEQUENCES:
            self.refuse(value, f"device arrays as {parameter}")
        if _holds_device_array(value):
            raise TypeError(f"cupy.{self.function}(): no device array as {parameter}, it has no __index__")
        return value

    def refuse(self, value, need):
        given = f"{type(value).__module__}.{type(value).__name__}"
        raise TypeError(f"cupy.{self.function}() needs {need}, got {given}: convert it with cupy.asarray()")


def _holds_device_array(value):
    if isinstance(value, list | tuple):
        return any(map(_holds_device_array, value))
    return isinstance(value, ndarray)


class Function:
    """One function of CuPy, called as CuPy's and computed by `numpy_function`."""

    def __init__(self, signature, numpy_function):
        self.__name__ = self.name = signature.name
        self.signature, self.numpy_function = signature, numpy_function

    def __call__(self, *args, **kwargs):
        arguments = Arguments(self.signature, args, kwargs)
        self.check(arguments)
        with np.errstate(all="ignore"):  # a GPU does not warn
            result = self.numpy_function(*arguments.args, **arguments.kwargs)
        if arguments.out is not None or result is None:
            count_launch(self.name)
            return arguments.out
        if isinstance(result, tuple | list):
            return type(result)(self.deliver(part, arguments) for part in result)
        return self.deliver(result, arguments)

    def check(self, arguments):
        """What must hold before the call: some argument is on the device."""
        if not arguments.devices:
            arguments.refuse(arguments.args[0] if arguments.args else None, "a device array")

    def deliver(self, result, arguments):
        """A result as device array: a view if it lies in the memory of an argument, else a launch."""
        array = view_of(result, arguments.devices)
        return self.launch(result) if array is None else array

    def launch(self, result):
        """The new array that the kernel of this function made."""
        array = computed(result)
        if array.size:
            count_launch(self.name)
        return array


class Viewing(Function):
    """A function that has no kernel but the copy of an array whose strides do not allow the view."""

    def launch(self, result):
        array = on_device(np.asarray(result, order="C"))
        if array.size:
            count_launch(self.name, copy=True)
        return array


class Creator(Function):
    """zeros, arange, ...: needs no array, and the caller chooses the order in memory."""

    def check(self, arguments):
        pass

    def launch(self, result):
        count_launch(self.name)
        return on_device(np.asarray(result))


class Waiting(Function):
    """A function whose result has a shape that only the device knows, or that looks at its result."""

    def check(self, arguments):
        super().check(arguments)
        count_sync(f"cupy.{self.name}()")


class Where(Function):
    def check(self, arguments):
        super().check(arguments)
        if arguments.args and not isinstance(arguments.args[0], np.ndarray):
            arguments.refuse(arguments.args[0], "a device array as condition")
        if len(arguments.args) + len(arguments.kwargs) == 1:
            count_sync("cupy.where() with a condition alone")


class PutAlongAxis(Function):
    def check(self, arguments):
        super().check(arguments)
        given = dict(zip(self.signature.positional, arguments.args, strict=False)) | arguments.kwargs
        places = indexing.targets(given["arr"].shape, ...)
        positions = np.take_along_axis(places, given["indices"], given["axis"])
        if np.size(given["values"]) > 1:
            indexing.check_distinct(positions, "put_along_axis")


class Product(Function):
    """A function that calls cuBLAS. Batched products copy operands that are not contiguous."""

    def check(self, arguments):
        super().check(arguments)
        check_blas(f"cupy.{self.name}()")
        if self.name == "einsum" and not arguments.kwargs.keys() <= {"dtype", "optimize"}:
            raise TypeError(f"cupy.einsum() takes dtype and optimize, not {', '.join(arguments.kwargs)}")
        if self.name == "matmul" and len(arguments.args) == 3:
            arguments.out = arguments.devices[-1]
        for device in arguments.devices:
            if self.name == "matmul" and device.ndim > 2 and not device.flags.c_contiguous:
                count_launch("copy for matmul", copy=True)


def as_strided(x, shape=None, strides=None):
    """Any view of the memory of x. As in CuPy its base is None, although the memory is that of x."""
    return on_device(np.lib.stride_tricks.as_strided(x._host, shape, strides))


def sliding_window_view(x, window_shape, axis=None, *, subok=False, writeable=False):
    """CuPy copies window_shape to the device to look for negative numbers, and waits for each."""
    if writeable:
        raise NotImplementedError("CuPy's sliding_window_view has no writeable views")
    count_h2d("sliding_window_view()")
    count_sync("sliding_window_view()")
    return on_device(np.lib.stride_tricks.sliding_window_view(x._host, window_shape, axis))


def _on_host(name):
    """A function about shapes and dtypes, which runs without the device."""

    def stand_in(*args):
        return getattr(np, name)(*(value._host if isinstance(value, ndarray) else value for value in args))

    return stand_in


def _enter(kind, names, holder="cupy", library=np, target=api.CUPY):
    for name in names.split():
        if hasattr(library, name):  # NumPy 2.0 lacks a few
            target[name] = kind(api.signature(name, holder), getattr(library, name))


_enter(Viewing, VIEWS)
_enter(Function, COMPUTE)
_enter(Product, CUBLAS)
_enter(Waiting, WAIT)
_enter(Creator, CREATE)
_enter(Where, "where")
_enter(PutAlongAxis, "put_along_axis")
_enter(Function, "norm", "linalg", np.linalg, api.LINALG)
_enter(Function, "softmax", "special", scipy.special, api.SPECIAL)
_enter(Waiting, "log_softmax logsumexp", "special", scipy.special, api.SPECIAL)
api.CUPY |= {name: _on_host(name) for name in ON_HOST.split()}
api.STRIDE_TRICKS |= {"as_strided": as_strided, "sliding_window_view": sliding_window_view}
