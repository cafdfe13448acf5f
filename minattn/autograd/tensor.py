"""The tensor: an array, and the op that made it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minattn.autograd.backend import Array, Axes, asnumpy, check_device, device_of, is_array, to_device
from minattn.errors import DeviceError, GradientError, ShapeError


class Tensor:
    """A NumPy or CuPy array that remembers the operation it came from.

    It has NumPy's operators, broadcasting and methods.  `requires_grad=True` makes it a leaf whose gradient
    `backward()` collects in `.grad`, a raw array of the same shape, dtype and device.

    Tensors are not written to in place: `x[i] = v` is refused (use `where`, `put` or `scatter_add`), and `x += y`
    makes a new tensor.  A leaf's values may be replaced through `.data`, as optimizers do.
    """

    __slots__ = (
        "__weakref__",
        "_data",
        "_hooks",
        "_inputs",
        "_name",
        "_number",
        "_pullback",
        "_stamp",
        "_version",
        "grad",
        "requires_grad",
    )
    __hash__ = object.__hash__

    # what the engine gives to the result of an op, and a leaf does not have
    _name: str
    _number: int
    _pullback: Any
    _stamp: int

    def __init__(self, data: Array, requires_grad: bool = False) -> None:
        """`data`: a raw array, which is kept and not copied; `tensor(...)` also takes lists and numbers."""
        if not is_array(data):
            raise TypeError(f"Tensor takes a NumPy or CuPy array, got {type(data).__name__}; hint: tensor(...)")
        if requires_grad and data.dtype.kind not in "fc":
            raise GradientError(f"only floating-point tensors can require a gradient, this one is {data.dtype}")
        self._data = data
        self.grad: Array | None = None
        self.requires_grad = requires_grad
        self._inputs: Sequence[Any] | None = None  # None: a leaf
        self._version = 0
        self._hooks: list[Callable[[Array], Array | None]] | None = None

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copies and pickles are of leaves; the graph of another tensor belongs to this process."""
        if self._inputs is not None:
            raise GradientError(
                f"a tensor in a graph (made by {self._name}) cannot be copied or pickled; hint: detach() it first"
            )
        return super().__reduce_ex__(protocol)

    # ------------------------------------------------------------------------------------------ data
    @property
    def data(self) -> Array:
        """The raw array.  Leaves may be written to by assignment: `p.data = a`, `p.data -= step`.

        Assigning is counted, so that `backward` can refuse a graph whose inputs have changed under it.  A write
        through an index, `p.data[0] = 1`, cannot be seen; `observers.WriteDetector` finds those.
        """
        return self._data

    @data.setter
    def data(self, array: Array) -> None:
        self._check_replaceable(array)
        if array.shape != self._data.shape or array.dtype != self._data.dtype:
            raise ShapeError(
                f"data of {self._data.dtype} {self.shape} cannot be replaced by {array.dtype} {array.shape}"
            )
        if device_of(array) != self.device:
            raise DeviceError(f"data is on {self.device}, the new array on {device_of(array)}; hint: to(device)")
        self._data = array
        self._version += 1

    def replace_data(self, array: Array) -> None:
        """Give a leaf another array, of any dtype, shape and device, and forget its gradient.

        So modules move to a device.  For new values of the same dtype and shape assign to `.data`, which checks them.
        """
        self._check_replaceable(array)
        self._data = array
        self._version += 1
        self.grad = None

    def _check_replaceable(self, array: Array) -> None:
        if self._inputs is not None:
            raise GradientError(
                f"the data of a tensor in a graph (made by {self._name}) cannot be replaced; hint: compute a new "
                "tensor (where, put, scatter_add), or detach() first"
            )
        if not is_array(array):
            raise TypeError(f"data must be a NumPy or CuPy array, got {type(array).__name__}")

    shape = property(lambda self: self._data.shape, doc="The lengths of the axes.")
    ndim = property(lambda self: self._data.ndim, doc="The number of axes.")
    size = property(lambda self: self._data.size, doc="The number of elements.")
    dtype = property(lambda self: self._data.dtype, doc="The NumPy dtype of the elements.")
    nbytes = property(lambda self: self._data.nbytes, doc="Bytes of the elements.")

    @property
    def device(self) -> str:
        """'cpu' or 'cuda:N'."""
        return device_of(self._data)

    @property
    def is_leaf(self) -> bool:
        """True if no recorded operation made this tensor."""
        return self._inputs is None

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array on the host; on the CPU the tensor's own array, not a copy."""
        return asnumpy(self._data)

    def item(self) -> Any:
        """The only element, as a Python number.  On a GPU this waits for the device."""
        return self._data.item()

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        return self.numpy().tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.device != "cpu":
            raise DeviceError(f"a tensor on {self.device} is not converted silently; hint: tensor.numpy()")
        return np.array(self._data, dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **parameters: Any) -> Any:
        """np.exp(tensor), array + tensor and the like run minattn's op; see `numpy_functions.py`."""
        return numpy_functions.call_ufunc(ufunc, method, inputs, parameters)

    def __array_function__(self, function: Any, types: Any, args: Any, parameters: Any) -> Any:
        """np.sum(tensor), np.concatenate([tensor, array]) and the like too."""
        return numpy_functions.call_function(function, args, parameters)

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator["Tensor"]:
        if self.ndim == 0:
            raise TypeError("a 0-d tensor cannot be iterated over")
        return iter(ops.unstack(self))

    def __bool__(self) -> bool:
        return bool(self._data)

    def __float__(self) -> float:
        return float(self._data)

    def __int__(self) -> int:
        return int(self._data)

    def __contains__(self, value: object) -> bool:
        raise TypeError("'in' is not defined for tensors; hint: (x == value).numpy().any()")

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), prefix="Tensor(", separator=", ", threshold=50)
        details = [str(self.dtype)]
        if self.device != "cpu":
            details.append(self.device)
        if self.requires_grad:
            details.append("requires_grad" if self.is_leaf else f"made by {self._name}")
        return f"Tensor({values}, {', '.join(details)})"

    # ------------------------------------------------------------------------------------------ gradient
    def backward(self, gradient: Any = None, *, create_graph: bool = False) -> None:
        """Add the gradient of this tensor to `.grad` of every leaf it depends on, and free the graph.

        gradient: the upstream gradient, an array of this tensor's shape; may be left out for a scalar (then 1).
        Raises GradientError where nothing requires a gradient, after an earlier backward pass through the same graph,
        where an input's data was written to since, and where a second-order graph is asked for.
        """
        if create_graph:
            raise GradientError(
                "gradients are first order only, no graph of the gradient is kept; hint: minattn.hvp(fn, x, v) "
                "gives exact Hessian-vector products"
            )
        if not self.requires_grad:
            raise GradientError("backward: nothing here requires a gradient; hint: requires_grad=True on a leaf")
        engine.backward(self, self._seed(gradient))

    def _seed(self, gradient: Any) -> Array:
        """The upstream gradient as an array of this tensor's shape, dtype and device."""
        module = backend.xp(self._data)
        if gradient is None:
            if self.size != 1:
                raise GradientError(
                    f"backward without an upstream gradient needs a scalar, this tensor has shape {self.shape}; "
                    "hint: .sum().backward() or .backward(gradient)"
                )
            return module.ones(self.shape, self.dtype)
        if isinstance(gradient, Tensor):
            gradient = gradient._data
        if not is_array(gradient):
            gradient = backend.like(gradient, self._data)
        if gradient.shape != self.shape:
            raise ShapeError(f"the upstream gradient has shape {gradient.shape}, the tensor {self.shape}")
        if device_of(gradient) != self.device:
            raise DeviceError(f"the upstream gradient is on {device_of(gradient)}, the tensor on {self.device}")
        return gradient if gradient.dtype == self.dtype else gradient.astype(self.dtype)

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.grad = None

    def detach(self) -> "Tensor":
        """The same data as a constant: no gradient flows through it."""
        return Tensor(self._data)

    def requires_grad_(self, requires_grad: bool = True) -> "Tensor":
        """Switch the collecting of gradients on or off for a leaf; returns the tensor."""
        if not self.is_leaf:
            raise GradientError("only a leaf's requires_grad can be changed; hint: detach()")
        if requires_grad and self.dtype.kind not in "fc":
            raise GradientError(f"only floating-point tensors can require a gradient, this one is {self.dtype}")
        self.requires_grad = requires_grad
        return self

    def register_hook(self, hook: Callable[[Array], Array | None]) -> Callable[[], None]:
        """Call `hook(gradient)` once `backward` has this tensor's whole gradient; returns a function that undoes it.

        A hook may return an array to use in the gradient's place, and must not write into the one it is given.
        """
        if not self.requires_grad:
            raise GradientError("register_hook: this tensor requires no gradient")
        self._hooks = [*(self._hooks or []), hook]

        def remove() -> None:
            remaining = [h for h in self._hooks or [] if h is not hook]
            self._hooks = remaining or None

        return remove

    # ------------------------------------------------------------------------------------------ place and type
    def to(self, device: str) -> "Tensor":
        """This tensor on `device` ('cpu', 'cuda', 'cuda:N'); differentiable, and itself if it is there already."""
        if device == self.device or (device == "cuda" and self.device == "cuda:0"):
            return self
        return ops.to_device(self, check_device(device))

    def astype(self, dtype: Any) -> "Tensor":
        return ops.astype(self, dtype)

    # ------------------------------------------------------------------------------------------ operators
    def __add__(self, other: Any) -> "Tensor":
        return ops.add(self, other)

    def __radd__(self, other: Any) -> "Tensor":
        return ops.add(other, self)

    def __sub__(self, other: Any) -> "Tensor":
        return ops.subtract(self, other)

    def __rsub__(self, other: Any) -> "Tensor":
        return ops.subtract(other, self)

    def __mul__(self, other: Any) -> "Tensor":
        return ops.multiply(self, other)

    def __rmul__(self, other: Any) -> "Tensor":
        return ops.multiply(other, self)

    def __truediv__(self, other: Any) -> "Tensor":
        return ops.divide(self, other)

    def __rtruediv__(self, other: Any) -> "Tensor":
        return ops.divide(other, self)

    def __floordiv__(self, other: Any) -> "Tensor":
        return ops.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> "Tensor":
        return ops.floor_divide(other, self)

    def __mod__(self, other: Any) -> "Tensor":
        return ops.remainder(self, other)

    def __rmod__(self, other: Any) -> "Tensor":
        return ops.remainder(other, self)

    def __pow__(self, exponent: Any) -> "Tensor":
        return ops.power(self, exponent)

    def __rpow__(self, base: Any) -> "Tensor":
        return ops.power(base, self)

    def __matmul__(self, other: Any) -> "Tensor":
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> "Tensor":
        return ops.matmul(other, self)

    def __neg__(self) -> "Tensor":
        return ops.negative(self)

    def __pos__(self) -> "Tensor":
        return self

    def __abs__(self) -> "Tensor":
        return ops.abs(self)

    def __invert__(self) -> "Tensor":
        return ops.logical_not(self)

    def __and__(self, other: Any) -> "Tensor":
        return ops.logical_and(self, other)

    def __or__(self, other: Any) -> "Tensor":
        return ops.logical_or(self, other)

    def __eq__(self, other: Any) -> "Tensor":  # type: ignore[override]
        return ops.equal(self, other)

    def __ne__(self, other: Any) -> "Tensor":  # type: ignore[override]
        return ops.not_equal(self, other)

    def __lt__(self, other: Any) -> "Tensor":
        return ops.less(self, other)

    def __le__(self, other: Any) -> "Tensor":
        return ops.less_equal(self, other)

    def __gt__(self, other: Any) -> "Tensor":
        return ops.greater(self, other)

    def __ge__(self, other: Any) -> "Tensor":
        return ops.greater_equal(self, other)

    def __getitem__(self, index: Any) -> "Tensor":
        return ops.getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise GradientError(
            "tensors are not written to in place: the graph would lose the old values; hint: where(mask, a, b), "
            "put(x, index, values) or scatter_add(x, index, values) give a new tensor"
        )

    # ------------------------------------------------------------------------------------------ methods as in NumPy
    def sum(self, axis: Axes | None = None, keepdims: bool = False) -> "Tensor":
        return ops.sum(self, axis, keepdims)

    def mean(self, axis: Axes | None = None, keepdims: bool = False) -> "Tensor":
        return ops.mean(self, axis, keepdims)

    def var(self, axis: Axes | None = None, keepdims: bool = False, ddof: int = 0) -> "Tensor":
        return ops.var(self, axis, keepdims, ddof)

    def std(self, axis: Axes | None = None, keepdims: bool = False, ddof: int = 0) -> "Tensor":
        return ops.std(self, axis, keepdims, ddof)

    def prod(self, axis: Axes | None = None, keepdims: bool = False) -> "Tensor":
        return ops.prod(self, axis, keepdims)

    def max(self, axis: Axes | None = None, keepdims: bool = False) -> "Tensor":
        return ops.max(self, axis, keepdims)

    def min(self, axis: Axes | None = None, keepdims: bool = False) -> "Tensor":
        return ops.min(self, axis, keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> "Tensor":
        return ops.argmax(self, axis, keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> "Tensor":
        return ops.argmin(self, axis, keepdims)

    def cumsum(self, axis: int = 0) -> "Tensor":
        return ops.cumsum(self, axis)

    def reshape(self, *shape: Any) -> "Tensor":
        return ops.reshape(self, _unpacked(shape))

    def transpose(self, *axes: Any) -> "Tensor":
        return ops.transpose(self, _unpacked(axes) or None)

    @property
    def T(self) -> "Tensor":
        return ops.transpose(self)

    def swapaxes(self, first: int, second: int) -> "Tensor":
        return ops.swapaxes(self, first, second)

    def squeeze(self, axis: Axes | None = None) -> "Tensor":
        return ops.squeeze(self, axis)

    def flatten(self) -> "Tensor":
        return ops.reshape(self, (-1,))

    def clip(self, low: Any = None, high: Any = None) -> "Tensor":
        return ops.clip(self, low, high)

    def exp(self) -> "Tensor":
        return ops.exp(self)

    def log(self) -> "Tensor":
        return ops.log(self)

    def sqrt(self) -> "Tensor":
        return ops.sqrt(self)

    def tanh(self) -> "Tensor":
        return ops.tanh(self)

    def sigmoid(self) -> "Tensor":
        return ops.sigmoid(self)

    def relu(self) -> "Tensor":
        return ops.relu(self)


def _unpacked(arguments: Sequence[Any]) -> tuple[int, ...]:
    """reshape(2, 3) and reshape((2, 3)) alike."""
    if len(arguments) == 1 and isinstance(arguments[0], (tuple, list)):
        return tuple(arguments[0])
    return tuple(arguments)


def tensor(data: Any, requires_grad: bool = False, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """A leaf tensor of `data`: an array, a tensor, a number or nested lists.

    Arrays keep their dtype and are copied; Python floats become float32, ints int64 and bools bool.
    """
    if isinstance(data, Tensor):
        data = data._data
    if is_array(data):
        array = data.astype(dtype) if dtype is not None else data.copy()
    else:
        try:
            array = np.asarray(data)
        except ValueError as error:
            raise ShapeError(f"tensor: the nested lists are ragged ({error})") from error
        if array.dtype.kind not in "biufc":
            raise TypeError(f"tensor: expected numbers, got {array.dtype} from {type(data).__name__}")
        if dtype is None and array.dtype == np.float64 and not isinstance(data, np.generic):
            dtype = np.float32
        array = array.astype(dtype) if dtype is not None else array
    return Tensor(array if device is None else to_device(array, device), requires_grad)


from minattn.autograd import backend, engine, numpy_functions, ops  # noqa: E402  (methods are ops, which make tensors)
