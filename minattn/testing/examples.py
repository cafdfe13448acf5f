"""Failing examples in small files: the arguments of a test, with the memory layout of every array, and back again."""

import json
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from minattn.errors import DataError
from minattn.whole_files import write_whole

FORMAT = "minattn gradcheck example 1"


def store(path: Path, test: str, arguments: dict[str, Any]) -> None:
    """Write the arguments of a test into an .npz file.

    Arrays keep their values, strides and whether they can be written to; numbers, strings, None, slices, Ellipsis, and
    tuples, lists and dicts of all these are stored too.  Raises TypeError for anything else.
    """
    arrays: dict[str, np.ndarray] = {}
    said = json.dumps({"format": FORMAT, "test": test, "arguments": _described(arguments, arrays)})
    path.parent.mkdir(parents=True, exist_ok=True)
    content = BytesIO()
    np.savez_compressed(content, description=np.array(said), **arrays)
    write_whole(path, content.getvalue())


def load(path: Path) -> tuple[str, dict[str, Any]]:
    """The name of the test and its arguments.  Raises DataError for a file that `store` has not written."""
    try:
        with np.load(path, allow_pickle=False) as file:
            said = json.loads(str(file["description"]))
            if said["format"] != FORMAT:
                raise KeyError(said["format"])
            return said["test"], _restored(said["arguments"], file)
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is no example that a failing gradcheck has stored ({error})") from error


def _described(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, np.ndarray):
        name = f"array_{len(arrays)}"
        arrays[name] = np.array(value, order="C")
        return {"array": name, "strides": value.strides, "writeable": value.flags.writeable}
    if isinstance(value, np.generic):
        return _described(value.item(), arrays) if value.dtype.kind in "biuf" else {"dtype": str(value.dtype)}
    if isinstance(value, Drawn):
        return {"drawn": [_described(part, arrays) for part in value.values]}
    if isinstance(value, type) and issubclass(value, np.generic):
        return {"type": np.dtype(value).name}
    if isinstance(value, dict):
        return {"dict": [[key, _described(part, arrays)] for key, part in value.items()]}
    if isinstance(value, (tuple, list)):
        return {type(value).__name__: [_described(part, arrays) for part in value]}
    if isinstance(value, slice):
        return {"slice": [_described(part, arrays) for part in (value.start, value.stop, value.step)]}
    if value is ...:
        return {"ellipsis": None}
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"value": value}
    raise TypeError(f"a {type(value).__name__} cannot be stored")


def _restored(said: dict[str, Any], file: Any) -> Any:
    (kind, content), *_ = said.items()
    if kind == "array":
        return _laid_out(file[content], said["strides"], said["writeable"])
    if kind == "dict":
        return {key: _restored(part, file) for key, part in content}
    if kind in ("tuple", "list"):
        return {"tuple": tuple, "list": list}[kind](_restored(part, file) for part in content)
    if kind == "slice":
        return slice(*(_restored(part, file) for part in content))
    if kind == "ellipsis":
        return ...
    if kind == "drawn":
        return Drawn([_restored(part, file) for part in content])
    return np.dtype(content).type if kind == "type" else content


def _laid_out(values: np.ndarray, strides: list[int], writeable: bool) -> np.ndarray:
    """An array with these values and strides; what lies between its elements is NaN."""
    spans = [(n - 1) * stride for n, stride in zip(values.shape, strides, strict=True)]
    if not values.size or list(values.strides) == strides:
        array = values.copy()
    else:
        low, high = sum(min(span, 0) for span in spans), sum(max(span, 0) for span in spans)
        room = np.full(high - low + values.itemsize, 0xFF, np.uint8)
        array = np.ndarray(values.shape, values.dtype, room.data, -low, tuple(strides))
        array[...] = values
    array.flags.writeable = writeable
    return array


class Drawn:
    """What a test has drawn by `data.draw(..)`, of hypothesis' `data()`, to be drawn again in the same order."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values
        self._next: Iterator[Any] = iter(values)

    def draw(self, strategy: Any, label: Any = None) -> Any:
        """The next value."""
        return next(self._next)
