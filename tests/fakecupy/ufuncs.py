"""CuPy's ufuncs: NumPy computes, CuPy's table of loops decides which dtypes go in and which come out."""

import functools

import numpy as np
import scipy.special

from . import api
from .array import SCALARS, computed, ndarray
from .counters import count_launch


def _kind(dtype):
    """0 for booleans, 1 for integers, 2 for the rest: weak numbers adapt to arrays of their kind or more."""
    return 0 if dtype.kind == "b" else 1 if dtype.kind in "iu" else 2


@functools.cache
def result_dtypes(loops, operands):
    """What the first of CuPy's loops ("ff->f") that takes these dtypes and Python types gives, or None."""
    dtypes = [np.dtype(operand) for operand in operands]
    weak = [isinstance(operand, type) for operand in operands]  # Python numbers adapt to the arrays (NEP 50)
    arrays = [_kind(dtype) for dtype, is_weak in zip(dtypes, weak, strict=True) if not is_weak]
    numbers = [_kind(dtype) for dtype, is_weak in zip(dtypes, weak, strict=True) if is_weak]
    numbers_adapt = bool(arrays and numbers) and max(arrays) >= max(numbers)

    def accepts(character, operand, dtype, is_weak):
        if is_weak and numbers_adapt:
            return np.result_type(operand(0), np.dtype(character)) == np.dtype(character)
        return np.can_cast(dtype, character)

    for loop in loops.split():
        inputs, outputs = loop.split("->")
        if all(map(accepts, inputs, operands, dtypes, weak)):
            return [np.dtype(character) for character in outputs]
    return None


def _host_operand(name, operand):
    if type(operand) is ndarray:
        return operand._host
    if isinstance(operand, SCALARS):
        return operand
    raise TypeError(f"Unsupported type {type(operand)} in cupy.{name}: need device arrays or numbers")


def _operand_type(operand):
    """The dtype of an array, NumPy number or boolean, but the type of a Python number, which is weak."""
    if isinstance(operand, np.ndarray | np.generic):
        return operand.dtype
    return np.dtype(bool) if isinstance(operand, bool) else type(operand)


class ufunc:
    """One elementwise function. Takes out=, dtype= and casting=, as CuPy's; no where=, no order=."""

    def __init__(self, name, numpy_ufunc, loops):
        self.name = self.__name__ = f"cupy_{name}"
        self.short_name, self.numpy_ufunc, self.loops = name, numpy_ufunc, loops
        inputs, outputs = loops.split()[0].split("->")
        self.nin, self.nout = len(inputs), len(outputs)

    def __call__(self, *args, out=None, dtype=None, casting="same_kind", **unknown):
        if unknown:
            raise TypeError(f"cupy.{self.short_name} takes out, dtype and casting, not {', '.join(unknown)}")
        if not self.nin <= len(args) <= self.nin + self.nout:
            raise TypeError(f"cupy.{self.short_name} takes {self.nin} operands, got {len(args)}")
        operands = [_host_operand(self.short_name, operand) for operand in args[: self.nin]]
        outs = self._outs(args[self.nin :], out)
        dtypes = self._result_dtypes(operands, dtype)
        options = {} if dtype is None else {"dtype": dtype}
        if outs is not None:
            options |= {"out": tuple(array._host for array in outs), "casting": casting}
        with np.errstate(all="ignore"):  # a GPU does not warn
            results = self.numpy_ufunc(*operands, **options)
        results = results if self.nout > 1 else (results,)
        if results[0].size:
            count_launch(self.short_name)
        if outs is None:
            outs = tuple(computed(result, dtype) for result, dtype in zip(results, dtypes, strict=True))
        return outs if self.nout > 1 else outs[0]

    def _outs(self, positional, out):
        """The arrays to write to, as a tuple; None where new ones are wanted."""
        if positional and out is not None:
            raise ValueError(f"cupy.{self.short_name}: out= given twice")
        outs = positional or (out if isinstance(out, tuple) else (out,))
        if all(array is None for array in outs):
            return None
        if len(outs) != self.nout or not all(isinstance(array, ndarray) for array in outs):
            raise TypeError(f"cupy.{self.short_name}: out= must be {self.nout} device array(s)")
        return outs

    def _result_dtypes(self, operands, dtype):
        if dtype is not None:
            return [np.dtype(dtype)] * self.nout
        types = tuple(map(_operand_type, operands))
        dtypes = result_dtypes(self.loops, types)
        if dtypes is None:
            names = ", ".join(getattr(kind, "name", None) or kind.__name__ for kind in types)
            raise TypeError(f"Wrong type ({names}) of arguments for {self.name}: it has {self.loops}")
        return dtypes

    def outer(self, A, B, **options):
        return self(A.reshape(A.shape + (1,) * B.ndim), B.reshape((1,) * A.ndim + B.shape), **options)

    def at(self, a, indices, b=None):
        if self.short_name not in ("add", "subtract", "maximum", "minimum"):
            raise NotImplementedError(f"cupy.{self.short_name}.at is not supported")
        a._scatter(self.numpy_ufunc, indices, b)

    def reduce(self, array, axis=0, dtype=None, out=None, keepdims=False):
        return self._like("reduce", {"add": "sum", "multiply": "prod"})(array, axis, dtype, out, keepdims)

    def accumulate(self, array, axis=0, dtype=None, out=None):
        return self._like("accumulate", {"add": "cumsum", "multiply": "cumprod"})(array, axis, dtype, out)

    def reduceat(self, array, indices, axis=0, dtype=None, out=None):
        raise NotImplementedError("the fake has no ufunc.reduceat")

    def _like(self, method, functions):
        if self.short_name not in functions:
            raise NotImplementedError(f"cupy.{self.short_name}.{method}: CuPy has it of add and multiply only")
        return api.CUPY[functions[self.short_name]]


def _enter(holder, names, library):
    for name, loops in api.TABLE[holder]["ufuncs"].items():
        if hasattr(library, name):
            names[name] = ufunc(name, getattr(library, name), loops)


_enter("cupy", api.CUPY, np)
_enter("special", api.SPECIAL, scipy.special)
api.CUPY["ufunc"] = ufunc
