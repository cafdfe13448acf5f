"""CuPy's API as data, and the names under which the other files enter their stand-ins.

cupy_api.json was made by make_api_table.py from the wheel of CuPy 14.2, which can be inspected without a GPU.
"""

import json
from pathlib import Path

TABLE = json.loads(Path(__file__).with_name("cupy_api.json").read_text())
VERSION = TABLE["version"]

# What the modules show: each file enters its names here, modules.py makes the modules of them.
CUPY, LINALG, STRIDE_TRICKS, SPECIAL = {}, {}, {}, {}


class Signature:
    """The parameters of a function, from their names as in a def line: "tup, axis, *, dtype"."""

    def __init__(self, name, text):
        self.name, self.text = name, text
        self.positional, self.keywords = [], set()
        self.rest = self.any_keyword = None
        named_by_position = True
        for parameter in text.split(", "):
            if parameter.startswith("**"):
                self.any_keyword = parameter[2:]
            elif parameter.startswith("*"):
                self.rest = parameter[1:]
                named_by_position = False
            else:
                self.keywords.add(parameter)
                if named_by_position:
                    self.positional.append(parameter)

    def pair(self, args, kwargs):
        """[(parameter, value)] of the positional arguments; TypeError for any that CuPy does not take."""
        most = len(self.positional)
        if len(args) > most and not self.rest:
            raise TypeError(f"cupy.{self.name}() takes {most} positional arguments, got {len(args)}")
        for keyword in kwargs:
            if keyword not in self.keywords and not self.any_keyword:
                raise TypeError(f"cupy.{self.name}() has no parameter {keyword!r}, but {self.text!r}")
        names = self.positional + [self.rest] * (len(args) - len(self.positional))
        return list(zip(names, args, strict=False))


def missing(name, holder, known=None):
    """The error for a name that the fake does not have. Of CuPy's names `known`, only the fake lacks it."""
    if known is None or name in known:
        return AttributeError(f"{holder} has {name}, but the fake has no stand-in for it: see tests/fakecupy")
    return AttributeError(f"{holder} {VERSION} has no attribute {name!r}")


def signature(name, holder="cupy"):
    return Signature(name, TABLE[holder]["functions"][name])


def known_names(holder="cupy"):
    """All public names of a module of CuPy."""
    return {name for kind in TABLE[holder].values() for name in kind}
