"""The modules that `import cupy` and `import cupyx.scipy.special` find once the fake is installed."""

import contextlib
import importlib.machinery
import sys
import types

import numpy as np

from . import api, creation, functions, ufuncs  # noqa: F401  (they enter their names into api.CUPY)
from .array import ndarray
from .cuda import CUDA, RUNTIME

REPLACED = ("cupy", "cupyx")


def get_array_module(*arrays):
    return cupy if any(isinstance(array, ndarray) for array in arrays) else np


def _module(name, contents, known=None):
    """A module of these names; for others an AttributeError that says whether CuPy has them (`known`)."""

    def missing(attribute):
        raise api.missing(attribute, name, known)

    module = types.ModuleType(name, f"The fake of {name}.")
    module.__spec__ = importlib.machinery.ModuleSpec(name, loader=None)
    module.__dict__.update(contents, __getattr__=missing)
    return module


def _dtypes_and_constants():
    """float32, pi, newaxis, ...: the objects are NumPy's in CuPy too."""
    names = {"dtype": np.dtype, "finfo": np.finfo, "iinfo": np.iinfo, "newaxis": None}
    for name in api.TABLE["cupy"]["others"]:
        value = getattr(np, name, None)
        if isinstance(value, float) or (isinstance(value, type) and issubclass(value, np.generic)):
            names[name] = value
    return names


api.CUPY |= {
    "__version__": api.VERSION,
    "get_array_module": get_array_module,
    "ndarray": ndarray,
    **_dtypes_and_constants(),
}


def scatter_add(a, slices, value):
    a.scatter_add(slices, value)


runtime = _module("cupy.cuda.runtime", RUNTIME)
cuda = _module("cupy.cuda", CUDA | {"runtime": runtime})
linalg = _module("cupy.linalg", api.LINALG, api.known_names("linalg"))
stride_tricks = _module("cupy.lib.stride_tricks", api.STRIDE_TRICKS)
lib = _module("cupy.lib", {"stride_tricks": stride_tricks})
cupy = _module("cupy", api.CUPY | {"cuda": cuda, "lib": lib, "linalg": linalg}, api.known_names())

special = _module("cupyx.scipy.special", api.SPECIAL, api.known_names("special"))
scipy = _module("cupyx.scipy", {"special": special})
cupyx = _module("cupyx", {"scipy": scipy, "scatter_add": scatter_add})

MODULES = {
    module.__name__: module for module in (cupy, cuda, runtime, lib, stride_tricks, linalg, cupyx, scipy, special)
}


def _remove():
    """Take all of CuPy, fake or real, out of sys.modules, and return it."""
    found = [name for name in sys.modules if name.partition(".")[0] in REPLACED]
    return {name: sys.modules.pop(name) for name in found}


def install():
    """From now on `import cupy` in any code gives the fake; returns it."""
    _remove()
    sys.modules.update(MODULES)
    return cupy


@contextlib.contextmanager
def installed():
    """`import cupy` gives the fake inside, and afterwards what it gave before. Yields the fake."""
    before = _remove()
    try:
        yield install()
    finally:
        _remove()
        sys.modules.update(before)
