"""NumPy's functions on tensors: `np.exp(x)`, `np.sum(x, axis=0)` and `np.concatenate([x, y])` run minattn's ops.

NumPy asks a tensor among the arguments what is to be done (its protocols `__array_ufunc__` and `__array_function__`),
so that no gradient is lost without a word:

* A function in the tables below runs its op.
* Any other, or a call with arguments that the op does not have, sees the tensors' values and gives what NumPy gives,
  where that carries no gradient: no tensor needs one, or the result is no floating-point number.  So it is with
  `np.allclose`, `np.argsort`, `np.isnan`.
* Else it is refused with a TypeError that says what to use, and so is what writes into a tensor, such as `np.copyto`.

`np.asarray(x)` is the tensor's values, as `x.numpy()` is: what is computed from them is a constant.  A list of tensors
is turned into values so by all functions but those that join arrays, such as `np.stack`: NumPy asks no tensor.
"""

from collections.abc import Callable, Iterator
from functools import cache
from inspect import signature
from itertools import pairwise
from typing import Any

import numpy as np

from minattn.autograd import engine, ops
from minattn.autograd.tensor import Tensor


@cache
def ufuncs() -> dict[str, Callable[..., Any]]:
    """The ops that NumPy and SciPy have as ufuncs, by their name there."""
    arithmetic = ops.add, ops.subtract, ops.multiply, ops.divide, ops.floor_divide, ops.remainder, ops.power, ops.matmul
    functions = ops.exp, ops.expm1, ops.log, ops.log1p, ops.sqrt, ops.square, ops.tanh, ops.sin, ops.cos, ops.erf
    choices = ops.negative, ops.sign, ops.floor, ops.maximum, ops.minimum
    comparisons = ops.equal, ops.not_equal, ops.less, ops.less_equal, ops.greater, ops.greater_equal
    logic = ops.logical_not, ops.logical_and, ops.logical_or
    same = {op.__name__: op for op in (*arithmetic, *functions, *choices, *comparisons, *logic)}
    return same | {"true_divide": ops.divide, "absolute": ops.abs, "expit": ops.sigmoid}


@cache
def functions() -> dict[Any, Callable[..., Any]]:
    """NumPy's functions with NumPy's arguments, as many as the ops have."""
    return {
        # reductions
        np.sum: lambda a, axis=None, *, keepdims=False: ops.sum(a, axis, keepdims),
        np.prod: lambda a, axis=None, *, keepdims=False: ops.prod(a, axis, keepdims),
        np.mean: lambda a, axis=None, *, keepdims=False: ops.mean(a, axis, keepdims),
        np.var: lambda a, axis=None, *, ddof=0, keepdims=False: ops.var(a, axis, keepdims, ddof),
        np.std: lambda a, axis=None, *, ddof=0, keepdims=False: ops.std(a, axis, keepdims, ddof),
        np.max: lambda a, axis=None, *, keepdims=False: ops.max(a, axis, keepdims),
        np.amax: lambda a, axis=None, *, keepdims=False: ops.max(a, axis, keepdims),
        np.min: lambda a, axis=None, *, keepdims=False: ops.min(a, axis, keepdims),
        np.amin: lambda a, axis=None, *, keepdims=False: ops.min(a, axis, keepdims),
        np.argmax: lambda a, axis=None, *, keepdims=False: ops.argmax(a, axis, keepdims),
        np.argmin: lambda a, axis=None, *, keepdims=False: ops.argmin(a, axis, keepdims),
        # along an axis
        np.cumsum: lambda a, axis=None: ops.cumsum(_one_row(a, axis), axis or 0),
        np.sort: lambda a, axis=-1: ops.sort(_one_row(a, axis), axis or 0)[0],
        np.flip: lambda m, axis=None: ops.flip(m, axis),
        np.roll: lambda a, shift, axis=None: ops.roll(a, shift, axis),
        np.repeat: lambda a, repeats, axis=None: ops.repeat(a, repeats, axis),
        np.tile: lambda A, reps: ops.tile(A, reps),
        np.split: lambda ary, indices_or_sections, axis=0: _split(ary, indices_or_sections, axis),
        np.concatenate: lambda arrays, axis=0: ops.concat(arrays, axis),
        np.stack: lambda arrays, axis=0: ops.stack(arrays, axis),
        # elements
        np.take: lambda a, indices, axis=None: ops.take(_one_row(a, axis), indices, axis or 0),
        np.take_along_axis: lambda arr, indices, axis=-1: ops.gather(arr, indices, axis),
        np.where: lambda condition, x, y: ops.where(condition, x, y),
        np.clip: lambda a, a_min=None, a_max=None, *, min=None, max=None: ops.clip(
            a, min if a_min is None else a_min, max if a_max is None else a_max
        ),
        np.pad: lambda array, pad_width, mode="constant", *, constant_values=0.0: ops.pad(
            array, pad_width, constant_values, mode
        ),
        # shapes
        np.shape: lambda a: a.shape,
        np.ndim: lambda a: a.ndim,
        np.size: lambda a: a.size,
        np.reshape: lambda a, shape: ops.reshape(a, shape),
        np.ravel: lambda a: ops.reshape(a, (-1,)),
        np.transpose: lambda a, axes=None: ops.transpose(a, axes),
        np.swapaxes: lambda a, axis1, axis2: ops.swapaxes(a, axis1, axis2),
        np.moveaxis: lambda a, source, destination: ops.moveaxis(a, source, destination),
        np.squeeze: lambda a, axis=None: ops.squeeze(a, axis),
        np.expand_dims: lambda a, axis: ops.expand_dims(a, axis),
        np.broadcast_to: lambda array, shape: ops.broadcast_to(array, shape),
        # products
        np.dot: _dot,
        np.einsum: lambda subscripts, *operands, optimize=True: ops.einsum(subscripts, *operands),
    }


def _dot(a: Any, b: Any) -> Tensor:
    if not np.ndim(a) or not np.ndim(b):
        return ops.multiply(a, b)
    if np.ndim(b) > 2:
        raise TypeError("np.dot of stacks of matrices has no op; hint: minattn.matmul, or einsum('aij,bjk->aibk', ..)")
    return ops.matmul(a, b)


def _one_row(x: Any, axis: int | None) -> Any:
    """x; flattened for axis=None, which is what NumPy means by it."""
    return ops.reshape(x, (-1,)) if axis is None else x


def _split(x: Any, sections: Any, axis: int = 0) -> list[Tensor]:
    """NumPy names the places of the cuts, where `ops.split` takes the lengths of the parts."""
    if not isinstance(sections, (int, np.integer)):
        cuts = [0, *(range(np.shape(x)[axis])[: int(cut)].stop for cut in sections), np.shape(x)[axis]]
        sections = [end - start for start, end in pairwise(cuts)]
    return list(ops.split(x, sections, axis))


CONSTANTS = (np.zeros_like, np.ones_like, np.empty_like)
"""Functions that see no value."""

WRITES = (np.copyto, np.put, np.place, np.putmask, np.put_along_axis, np.fill_diagonal)
"""Functions that write into their first argument, as `np.add.at` does."""

USE = {
    **dict.fromkeys(("vstack", "hstack", "dstack", "column_stack", "append", "block"), "minattn.concat or stack"),
    **dict.fromkeys(("inner", "outer", "vdot", "tensordot", "kron", "trace", "diagonal"), "minattn.einsum"),
    **dict.fromkeys(("median", "percentile", "quantile", "partition"), "minattn.sort or topk"),
    **dict.fromkeys(("nan_to_num", "select", "choose", "piecewise", "heaviside"), "minattn.where"),
    **dict.fromkeys(("copy", "positive"), "x itself"),
    "linalg.norm": "minattn.norm",
    "average": "minattn.mean",
    "array_split": "minattn.split",
    "fmax": "minattn.maximum",
    "fmin": "minattn.minimum",
    "float_power": "minattn.power",
    "reciprocal": "1 / x",
    "exp2": "2.0**x",
    "log2": "minattn.log(x) / math.log(2)",
    "log10": "minattn.log(x) / math.log(10)",
    "logaddexp": "minattn.logsumexp(minattn.stack([x, y]), 0)",
    "diff": "x[1:] - x[:-1]",
    "add.reduce": "minattn.sum",
    "add.accumulate": "minattn.cumsum",
    "multiply.reduce": "minattn.prod",
    "multiply.outer": "minattn.einsum",
    "maximum.reduce": "minattn.max",
    "minimum.reduce": "minattn.min",
}
"""What to use in place of functions that have no op, or one of another name."""


def call_ufunc(ufunc: Any, method: str, args: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
    """The result of a ufunc, or of one of its methods, with a tensor among its arguments."""
    if method == "__call__" and not parameters and (run := ufuncs().get(ufunc.__name__)):
        return run(*args)
    name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    return _on_values(name, getattr(ufunc, method), args, parameters)


def call_function(function: Any, args: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
    """The result of one of NumPy's other functions with a tensor among its arguments."""
    run = functions().get(function)
    if run is not None and _fits(run, args, parameters):
        return run(*args, **parameters)
    module = function.__module__.removeprefix("numpy").removeprefix(".")
    return _on_values(f"{module}.{function.__name__}".lstrip("."), function, args, parameters)


def _fits(run: Callable[..., Any], args: tuple[Any, ...], parameters: dict[str, Any]) -> bool:
    try:
        signature(run).bind(*args, **parameters)
    except TypeError:
        return False
    return True


def _on_values(name: str, function: Callable[..., Any], args: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
    """What NumPy gives for the tensors' values.  Raises TypeError where a gradient would be lost."""
    tracked = engine.mode.recording and any(tensor.requires_grad for tensor in _tensors((args, parameters)))
    if list(_tensors(parameters.get("out"))):
        raise TypeError(f"np.{name}: tensors are not written to in place (out=..); hint: y = np.{name}(..)")
    if function in WRITES or name.endswith(".at"):
        if isinstance(next(iter((*args, *parameters.values()))), Tensor):
            raise _written_to(name)
        if tracked:
            raise TypeError(f"np.{name}: what an array holds has no gradient; hint: x.detach() for the values alone")
    if not (tracked and parameters.get("out") is not None):
        try:
            result = function(*_values(args), **_values(parameters))
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            raise _written_to(name) from error
        if not tracked or function in CONSTANTS or not _has_fractions(result):
            return result
    if op := getattr(ops, name, None):
        what, use = "no op for it with these arguments", f"minattn.{name}({', '.join(signature(op).parameters)})"
    else:
        what, use = "no op for it", USE.get(name, "x.detach() for its values alone")
    raise TypeError(f"np.{name}: there is {what}, and NumPy's result would lose the gradient; hint: {use}")


def _written_to(name: str) -> TypeError:
    return TypeError(
        f"np.{name}: tensors are not written to in place; hint: minattn.where, put or scatter_add give a new one"
    )


def _tensors(x: Any) -> Iterator[Tensor]:
    """The tensors in x, which may be nested tuples, lists and dicts."""
    if isinstance(x, Tensor):
        yield x
    elif isinstance(x, (tuple, list, dict)):
        for part in x.values() if isinstance(x, dict) else x:
            yield from _tensors(part)


def _values(x: Any) -> Any:
    """x with read-only arrays in place of its tensors.  Raises DeviceError for a tensor on a GPU."""
    if isinstance(x, Tensor):
        values = np.asarray(x).view()
        values.flags.writeable = False
        return values
    if isinstance(x, dict):
        return {key: _values(part) for key, part in x.items()}
    return type(x)(map(_values, x)) if type(x) in (tuple, list) else x


def _has_fractions(result: Any) -> bool:
    """True if there are floating-point numbers in a result."""
    if isinstance(result, (tuple, list)):
        return any(map(_has_fractions, result))
    return np.asarray(result).dtype.kind in "fc"
