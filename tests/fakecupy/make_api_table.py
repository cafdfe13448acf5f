"""Write cupy_api.json: the names, signatures and dtypes of the installed CuPy, as data.

    pip install cupy-cuda13x          # importing and inspecting CuPy needs no GPU and no driver
    python tests/fakecupy/make_api_table.py

One name a line. Functions and methods are given by the names of their parameters, written as in Python
("tup, axis, *, dtype"); ufuncs by their loops ("f->f d->d": float32 to float32, float64 to float64), of which
CuPy takes the first that fits. CuPy's methods are compiled and have no signature, but the first line of their
docstring is one.
"""

import inspect
import json
import re
from pathlib import Path

import cupy
import cupyx.scipy.special

TABLE = Path(__file__).with_name("cupy_api.json")


def parameters(function):
    """The parameters of a function, "*" before the first keyword-only one; "*args" if it does not say."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        return "*args, **kwargs"
    names, keyword_only = [], False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            names.append("*")
        keyword_only = keyword_only or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        names.append(str(parameter.replace(default=parameter.empty, annotation=parameter.empty)))
    return ", ".join(names)


def docstring_parameters(method):
    """The parameters in "ndarray.sum(self, axis=None, int kth) -> ndarray", without self; or ""."""
    line = (method.__doc__ or "").split("\n")[0]
    found = re.match(r"\w+\.\w+\(self(?:, )?(.*?)\)(?: ->.*)?$", line)
    names = [part.split("=")[0].split()[-1] for part in found[1].split(", ") if part] if found else []
    return ", ".join(names)


def public(module):
    return {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}


def table_of(module):
    """{"functions": {name: parameters}, "ufuncs": {name: loops}, "others": {name: type}} of one module."""
    table = {"functions": {}, "ufuncs": {}, "others": {}}
    for name, value in public(module).items():
        if isinstance(value, cupy.ufunc):
            table["ufuncs"][name] = " ".join(loop for loop in value.types if "V" not in loop)
        elif callable(value) and not inspect.isclass(value):
            table["functions"][name] = parameters(value)
        elif name != "annotations":
            table["others"][name] = "class" if inspect.isclass(value) else type(value).__name__
    return table


def main():
    special, linalg = table_of(cupyx.scipy.special), table_of(cupy.linalg)
    strides = table_of(cupy.lib.stride_tricks)
    table = {
        "version": cupy.__version__,
        "cupy": table_of(cupy),
        "linalg": {"functions": linalg["functions"]},
        "stride_tricks": {"functions": strides["functions"]},
        "special": {"functions": special["functions"], "ufuncs": special["ufuncs"]},
        "ndarray": {name: docstring_parameters(value) for name, value in public(cupy.ndarray).items()},
    }
    TABLE.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
