"""The state of a module in a safetensors file: arrays by name, in float32, float16 or bfloat16.

    save_state("model.safetensors", model.state_dict(), dtype="bfloat16")
    model.load_state_dict(load_state("model.safetensors"))

minattn computes in float32: half precision is widened as it is read, and rounded, to the nearest and in the middle to
even, as it is written.  NumPy has no bfloat16, which is the upper half of a float32.  The file is the length of its
header (8 bytes), the header (JSON: dtype, shape and offsets of every array), and the arrays, so that other programs
read it, and neither they nor it run code.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minattn.errors import CheckpointError, ConfigError, hint_for_write_error
from minattn.whole_files import check_regular, write_whole

PathLike = str | os.PathLike[str]

BFLOAT16 = "BF16"

DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    BFLOAT16: np.dtype("<u2"),  # its bits
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
"""The format's names of the dtypes, and what lies in the file."""

PRECISIONS = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": BFLOAT16}

METADATA = "__metadata__"

LONGEST_HEADER, MOST_AXES = 100_000_000, 64  # NumPy's arrays have no more axes


def save_state(path: PathLike, state: Mapping[str, np.ndarray], dtype: str = "float32") -> None:
    """Write arrays by name to `path`, the floating-point ones in `dtype`: float64, float32, float16 or bfloat16.

    Raises ConfigError for another dtype and for numbers that it does not reach; CheckpointError where the file
    cannot be written or an array has a dtype that the format does not: then what stood there before is untouched.
    """
    if dtype not in PRECISIONS:
        raise ConfigError(f"unknown dtype {dtype!r}; hint: one of {', '.join(PRECISIONS)}")
    if not isinstance(state, Mapping):
        raise TypeError(f"save_state: expected arrays by name, got {type(state).__name__}; hint: model.state_dict()")
    header: dict[str, Any] = {}
    parts, end = [], 0
    for name, array in state.items():
        if name == METADATA:
            raise CheckpointError(f"no array can have the name {name}, which safetensors has for notes; hint: another")
        kind, stored = _stored(name, np.asarray(array), dtype)
        header[name] = {"dtype": kind, "shape": list(stored.shape), "data_offsets": [end, end + stored.nbytes]}
        parts.append(stored.tobytes())
        end += stored.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the arrays start at a multiple of 8 bytes
    try:
        write_whole(Path(path), len(text).to_bytes(8, "little") + text + b"".join(parts))
    except OSError as error:
        raise CheckpointError(
            f"{path} could not be written: {error.strerror}; hint: {hint_for_write_error(error)}"
        ) from error


def load_state(path: PathLike) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file by name; float16 and bfloat16 as float32, others in their own dtype.

    Raises CheckpointError where the file is missing, damaged, has arrays with bytes in common, or a dtype that NumPy
    does not.
    """
    try:
        check_regular(path)
        content = Path(path).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}; hint: check the path") from error
    header, start = _header(path, content)
    arrays = {name: _loaded(path, name, entry, content, start) for name, entry in header.items()}
    _check_offsets(path, header)
    return arrays


# ---------------------------------------------------------------------------------------------- half precision
def to_bfloat16(x: np.ndarray) -> np.ndarray:
    """The bits of x, rounded to the nearest bfloat16, in the middle to the even one."""
    bits = _to_odd(x).view(np.uint32)
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    return np.where(np.isnan(x), (bits >> 16) | 0x40, rounded).astype("<u2")  # rounding would make some NaN infinite


def _to_odd(x: np.ndarray) -> np.ndarray:
    """x in float32: a number between two of them becomes the one that has an odd last bit.

    So what is rounded again, to fewer bits, is the same as if it had been rounded once: it is never in the middle by
    having been rounded to it.
    """
    x = np.asarray(x, order="C")
    rounded = np.asarray(x, np.float32)
    if np.can_cast(x.dtype, np.float32):
        return rounded
    between = rounded != x
    away = np.where(between & (np.abs(rounded) > np.abs(x)), np.nextafter(rounded, np.float32(0)), rounded)
    return np.asarray(away.view(np.uint32) | between).astype(np.uint32, copy=False).view(np.float32)


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """The float32 numbers of these bits, exactly."""
    return np.left_shift(bits.astype(np.uint32), 16, out=np.empty(bits.shape, np.uint32)).view(np.float32)


# ---------------------------------------------------------------------------------------------- the file
def _stored(name: str, array: np.ndarray, dtype: str) -> tuple[str, np.ndarray]:
    """(the format's name of the dtype, the numbers as they are stored)."""
    precision = PRECISIONS[dtype]
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            stored = to_bfloat16(array) if precision == BFLOAT16 else array.astype(DTYPES[precision], order="C")
        read = from_bfloat16(stored) if precision == BFLOAT16 else stored
        if (np.isinf(read) & np.isfinite(array)).any():
            raise ConfigError(
                f"{name} has numbers up to {np.abs(array[np.isfinite(array)]).max():.3g}, which {dtype} does not "
                "reach; hint: bfloat16 or float32 reach 3e38, float64 1e308"
            )
        return precision, stored
    for kind, in_file in DTYPES.items():
        if kind != BFLOAT16 and in_file == array.dtype.newbyteorder("<"):
            return kind, array.astype(in_file, order="C")
    raise CheckpointError(f"{name} is {array.dtype}, which safetensors does not store; hint: real numbers or integers")


def _header(path: PathLike, content: bytes) -> tuple[dict[str, Any], int]:
    """The entries of the arrays, and where their bytes start."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(LONGEST_HEADER, len(content) - 8):
        raise _damaged(path, "it has no whole header")
    try:
        header = json.loads(content[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "its header is no JSON") from error
    if not isinstance(header, dict):
        raise _damaged(path, "its header names no arrays")
    header.pop(METADATA, None)
    return header, 8 + length


def _loaded(path: PathLike, name: str, entry: Any, content: bytes, start: int) -> np.ndarray:
    try:
        kind, shape, (first, end) = str(entry["dtype"]), list(entry["shape"]), entry["data_offsets"]
    except (TypeError, KeyError, ValueError) as error:
        raise _damaged(path, f"the entry of {name} is not whole") from error
    if not all(type(number) is int for number in (*shape, first, end)):
        raise _damaged(path, f"the shape or the offsets of {name} are no whole numbers")
    if kind not in DTYPES:
        raise CheckpointError(f"{path}: {name} is of dtype {kind}; hint: one of {', '.join(DTYPES)}")
    if len(shape) > MOST_AXES:  # their product might take minutes
        raise _damaged(path, f"no array has the {len(shape):,} axes of {name}")
    dtype, count = DTYPES[kind], math.prod(shape)
    inside = 0 <= first <= end <= len(content) - start and min(shape, default=0) >= 0
    if not inside or end - first != count * dtype.itemsize:
        raise _damaged(path, f"{name} is cut off")
    try:
        stored = np.frombuffer(content, dtype, count, start + first).reshape(shape)
    except ValueError as error:  # of an empty array the numbers in the file do not bound the shape
        raise _damaged(path, f"no array has the shape of {name} ({error})") from error
    if kind == BFLOAT16:
        return from_bfloat16(stored)
    return stored.astype(np.float32 if kind == "F16" else dtype.newbyteorder("="))


def _check_offsets(path: PathLike, header: Mapping[str, Any]) -> None:
    """Raise CheckpointError where two arrays have bytes in common."""
    end, before = 0, ""
    for (first, last), name in sorted((entry["data_offsets"], name) for name, entry in header.items()):
        if first == last:  # an empty array is nowhere
            continue
        if first < end:
            raise _damaged(path, f"{before} and {name} have bytes in common")
        end, before = last, name


def _damaged(path: PathLike, why: str) -> CheckpointError:
    return CheckpointError(f"{path} is no whole safetensors file: {why}; hint: fetch or save it again")
