"""The methods of an array that are functions of the same name, with the parameters of CuPy's methods."""

from .api import CUPY


class Methods:
    """Part of ndarray. What CuPy's methods do not take (where=, initial=), these signatures refuse."""

    __slots__ = ()

    # Reductions

    def all(self, axis=None, out=None, keepdims=False):
        return CUPY["all"](self, axis=axis, out=out, keepdims=keepdims)

    def any(self, axis=None, out=None, keepdims=False):
        return CUPY["any"](self, axis=axis, out=out, keepdims=keepdims)

    def argmax(self, axis=None, out=None, dtype=None, keepdims=False):
        if dtype is not None:
            raise TypeError("NumPy's argmax() has no dtype=, so code for both cannot use CuPy's")
        return CUPY["argmax"](self, axis=axis, out=out, keepdims=keepdims)

    def argmin(self, axis=None, out=None, dtype=None, keepdims=False):
        if dtype is not None:
            raise TypeError("NumPy's argmin() has no dtype=, so code for both cannot use CuPy's")
        return CUPY["argmin"](self, axis=axis, out=out, keepdims=keepdims)

    def cumprod(self, axis=None, dtype=None, out=None):
        return CUPY["cumprod"](self, axis=axis, dtype=dtype, out=out)

    def cumsum(self, axis=None, dtype=None, out=None):
        return CUPY["cumsum"](self, axis=axis, dtype=dtype, out=out)

    def max(self, axis=None, out=None, keepdims=False):
        return CUPY["max"](self, axis=axis, out=out, keepdims=keepdims)

    def mean(self, axis=None, dtype=None, out=None, keepdims=False):
        return CUPY["mean"](self, axis=axis, dtype=dtype, out=out, keepdims=keepdims)

    def min(self, axis=None, out=None, keepdims=False):
        return CUPY["min"](self, axis=axis, out=out, keepdims=keepdims)

    def prod(self, axis=None, dtype=None, out=None, keepdims=False):
        return CUPY["prod"](self, axis=axis, dtype=dtype, out=out, keepdims=keepdims)

    def ptp(self, axis=None, out=None, keepdims=False):
        return CUPY["ptp"](self, axis=axis, out=out, keepdims=keepdims)

    def std(self, axis=None, dtype=None, out=None, ddof=0, keepdims=False):
        return CUPY["std"](self, axis=axis, dtype=dtype, out=out, ddof=ddof, keepdims=keepdims)

    def sum(self, axis=None, dtype=None, out=None, keepdims=False):
        return CUPY["sum"](self, axis=axis, dtype=dtype, out=out, keepdims=keepdims)

    def trace(self, offset=0, axis1=0, axis2=1, dtype=None, out=None):
        return CUPY["trace"](self, offset, axis1, axis2, dtype, out)

    def var(self, axis=None, dtype=None, out=None, ddof=0, keepdims=False):
        return CUPY["var"](self, axis=axis, dtype=dtype, out=out, ddof=ddof, keepdims=keepdims)

    # Other forms of the same data

    def diagonal(self, offset=0, axis1=0, axis2=1):
        return CUPY["diagonal"](self, offset, axis1, axis2)

    def ravel(self, order="C"):
        return CUPY["ravel"](self, order)

    def reshape(self, *shape, order="C", copy=None):
        shape = shape[0] if len(shape) == 1 else shape
        if copy is None:
            return CUPY["reshape"](self, shape, order)
        return CUPY["reshape"](self, shape, order, copy=copy)

    def squeeze(self, axis=None):
        return CUPY["squeeze"](self, axis)

    def swapaxes(self, axis1, axis2):
        return CUPY["swapaxes"](self, axis1, axis2)

    def transpose(self, *axes):
        if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], tuple | list)):
            axes = axes[0]
        return CUPY["transpose"](self, axes or None)

    # The rest

    def argpartition(self, kth, axis=-1):
        return CUPY["argpartition"](self, kth, axis)

    def argsort(self, axis=-1, kind=None):
        return CUPY["argsort"](self, axis, kind)

    def clip(self, min=None, max=None, out=None):
        return CUPY["clip"](self, min, max, out)

    def conj(self):
        """As in CuPy a real array itself, where NumPy's method copies."""
        return CUPY["conjugate"](self) if self.dtype.kind == "c" else self

    conjugate = conj

    def dot(self, b, out=None):
        return CUPY["dot"](self, b, out)

    def nonzero(self):
        return CUPY["nonzero"](self)

    def repeat(self, repeats, axis=None):
        return CUPY["repeat"](self, repeats, axis)

    def round(self, decimals=0, out=None):
        return CUPY["round"](self, decimals, out)

    def searchsorted(self, v, side="left", sorter=None):
        return CUPY["searchsorted"](self, v, side, sorter)

    def take(self, indices, axis=None, out=None):
        return CUPY["take"](self, indices, axis, out)
