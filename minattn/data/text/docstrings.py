"""The documentation strings of Python's standard library: a text that every installation of Python has.

Read from the library's source files by `ast`; nothing is imported and nothing is run.  A string stands under the name
of what it documents:

    # json.dumps

    Serialize ``obj`` to a JSON formatted ``str``.
    ...

Modules come in the order of their names, their parts in the order of the source.  Left out are tests, programs that
come along (idlelib, lib2to3), installed packages, a string that an earlier place has too, and strings with characters
other than printable ASCII (10 of 7,683 in Python 3.11).  Python 3.11.7 has 1.86 million characters in all.

The text is that of the running Python, so two versions have two texts.
"""

from __future__ import annotations

import ast
import inspect
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

from minattn.data.splits import PARTS, Splits, part_of
from minattn.errors import DataError

LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3"}

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def load_docstrings(folder: str | Path | None = None) -> Splits[str]:
    """The documentation strings of the standard library, in about 85 % train, 5 % dev and 10 % test modules.

    The hash of a module's name decides where it goes, by the rule of `split_lexicon`, so a module is never divided.
    folder: the library's, that of the running Python where None is given.

    Raises DataError where the folder has no documented sources, as in a zipped or stripped Python.
    """
    folder = Path(folder or sysconfig.get_paths()["stdlib"])
    parts: dict[str, list[str]] = {name: [] for name in PARTS}
    seen: set[str] = set()
    for module, path in source_files(folder):
        part = part_of(module)
        for name, docstring in docstrings(path.read_bytes(), module):
            if docstring not in seen:
                seen.add(docstring)
                parts[part].append(f"# {name}\n\n{docstring}\n\n\n")
    if not seen:
        raise DataError(
            f"this Python has no sources of its standard library in {folder}, so there are no documentation strings "
            "to read; hint: another text, by --train FILE, or a Python that is neither zipped nor stripped"
        )
    return Splits(**{name: "".join(documents) for name, documents in parts.items()})


def source_files(folder: Path) -> list[tuple[str, Path]]:
    """The modules below `folder` by name, sorted: `("json.decoder", .../json/decoder.py)`."""
    found = []
    for path in folder.rglob("*.py"):
        names = path.relative_to(folder).with_suffix("").parts
        if not LEFT_OUT.intersection(names):
            found.append((".".join(names[:-1] if names[-1] == "__init__" else names), path))
    return sorted(found)


def docstrings(source: bytes, module: str) -> Iterator[tuple[str, str]]:
    """(name, documentation string) of a module and all that it defines, if it is Python and the string is plain."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes that a later Python will refuse
            tree = ast.parse(source)
    except (SyntaxError, ValueError):  # a template, not a program
        return
    for name, node in _definitions(tree, module):
        docstring = inspect.cleandoc(ast.get_docstring(node, clean=False) or "").rstrip()
        if docstring and docstring.isascii() and docstring.replace("\n", "").isprintable():
            yield name, docstring


def _definitions(node: ast.AST, name: str) -> Iterator[tuple[str, Documented]]:
    """`node`, where something can be documented there, and all such below it, in the order of the source."""
    if isinstance(node, Documented):
        yield name, node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _definitions(child, f"{name}.{child.name}")
        elif isinstance(child, ast.stmt | ast.ExceptHandler):  # such as an `if` by the platform
            yield from _definitions(child, name)
