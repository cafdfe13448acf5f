"""Checkpoints: arrays by name and what must be known about them, in one file that is whole or absent.

The file is a safetensors file, so it holds no code and other programs can read its arrays.  In its metadata stand
`kind` (always "minattn checkpoint"), `format` (the version of the layout), `minattn` (the version that wrote it) and
`meta` (JSON).

A file may be damaged, or another program's.  `Checkpoint.open` reads the header alone; `Checkpoint.arrays` compares
the arrays' names, dtypes and shapes with what is expected before it reads any of them; `as_kind` holds what `meta` says
to the fields of a dataclass.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from minattn import __version__
from minattn.errors import CheckpointError, MissingDependencyError, listed
from minattn.whole_files import check_regular, write_whole

KIND = "minattn checkpoint"
FORMAT = "1"
LONGEST_HEADER, MOST_ARRAYS = 100_000_000, 100_000  # bytes, as many as safetensors reads; more arrays take seconds
LARGEST = 1e30  # number of a model or of an optimizer: float32 reaches 3e38

DTYPES = {
    **{"F64": "float64", "F32": "float32", "F16": "float16", "C64": "complex64", "BOOL": "bool"},
    **{f"{kind}{bits}": f"{name}{bits}" for kind, name in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)},
}
"""The file format's names of the dtypes that NumPy has."""

Arrays = dict[str, np.ndarray]
PathLike = str | os.PathLike[str]
T = TypeVar("T")


def save_checkpoint(path: PathLike, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
    """Write host arrays and JSON values to `path`; the old file stands until the new one is whole and on the disk.

    arrays: any shape and layout; the dtypes are booleans, integers, float16 to float64 and complex64.
    meta: JSON values under string keys; integers may be of any size, NaN and infinities survive.
    Raises CheckpointError where something cannot be stored or written, and leaves nothing behind then.
    """
    content = _content(Path(path), arrays, meta)
    try:
        write_whole(Path(path), content)
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {path} could not be written: {error.strerror}; what stood there before is untouched; "
            "hint: free space or choose a folder that can be written to"
        ) from error


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of which the header was read, and no array.

    entries: the dtype and the shape of each array, by name.
    meta: the JSON values beside them.
    """

    path: Path
    entries: Mapping[str, tuple[str, tuple[int, ...]]]
    meta: Mapping[str, Any]
    _file: Any

    @classmethod
    def open(cls, path: PathLike) -> Self:
        """Read the header of a checkpoint.

        Raises CheckpointError where the file is missing, unreadable, no file at all, cut off, no minattn checkpoint, of
        another format version, or has a header that is no header of one.
        """
        path, safetensors = Path(path), _safetensors()
        _check_file(path)
        try:
            file = safetensors.safe_open(path, framework="numpy")
            header = file.metadata() or {}
            _check_header(path, header)
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            entries = {name: (_dtype(found.get_dtype()), tuple(found.get_shape())) for name, found in slices.items()}
            meta = json.loads(header.get("meta", "null"))
        except (OSError, safetensors.SafetensorError) as error:
            raise CheckpointError(
                f"checkpoint {path} cannot be read, it is cut off or something else ({error}); "
                "hint: use another checkpoint of the run"
            ) from error
        except (ValueError, RecursionError) as error:
            raise CheckpointError(
                f"checkpoint {path} is damaged: what it says of itself is no JSON ({error})"
            ) from error
        if not isinstance(meta, dict):
            raise CheckpointError(f"checkpoint {path} is damaged: its meta is no JSON object")
        return cls(path, entries, meta, file)

    def arrays(self, expected: Mapping[str, Any] | None = None, prefix: str = "") -> Arrays:
        """The arrays whose names begin with `prefix`.

        expected: arrays or tensors by name; before any array is read, those of the file are compared with them.
        Raises CheckpointError where they have other names, dtypes or shapes than the expected ones.
        """
        if expected is not None:
            self.check(expected, prefix)
        try:
            return {name: self._file.get_tensor(name) for name in self._names(prefix)}
        except (OSError, ValueError, TypeError, _safetensors().SafetensorError) as error:
            raise CheckpointError(f"checkpoint {self.path} cannot be read: {error}") from error

    def check(self, expected: Mapping[str, Any], prefix: str = "") -> None:
        """Raise CheckpointError as `arrays` does, without reading them."""
        if problems := self._misfits(self._names(prefix), expected):
            raise CheckpointError(f"it does not fit this model: {'; '.join(problems)}")

    def _names(self, prefix: str) -> list[str]:
        return [name for name in self.entries if name.startswith(prefix)]

    def _misfits(self, names: list[str], expected: Mapping[str, Any]) -> list[str]:
        wanted = {name: (str(np.dtype(array.dtype)), tuple(array.shape)) for name, array in expected.items()}
        others = [
            f"{name} is {_described(self.entries[name])}, expected {_described(wanted[name])}"
            for name in names
            if name in wanted and self.entries[name] != wanted[name]
        ]
        found = (
            ("it lacks", [name for name in wanted if name not in self.entries]),
            ("it also has", [name for name in names if name not in wanted]),
            ("wrong shapes or dtypes:", others),
        )
        return [f"{what} {listed(which, 3)}" for what, which in found if which]


def load_checkpoint(path: PathLike) -> tuple[Arrays, dict[str, Any]]:
    """`(arrays, meta)` as they were saved, whatever the arrays are.  Raises CheckpointError as `Checkpoint` does."""
    checkpoint = Checkpoint.open(path)
    return checkpoint.arrays(), dict(checkpoint.meta)


def as_kind(values: Mapping[str, Any], kind: type[T]) -> T:
    """The dataclass `kind` whose fields have these JSON values; there may be more values than it has fields.

    Raises CheckpointError where one is missing or of another type, naming its place, what was expected and what there
    is; the ValueErrors of `__post_init__` are among them.
    """
    try:
        import msgspec
    except ImportError as error:
        raise MissingDependencyError(
            "checkpoints need msgspec, which is not installed: pip install 'minattn[train]'"
        ) from error
    try:
        return msgspec.convert(values, kind)
    except (msgspec.ValidationError, RecursionError, UnicodeError) as error:
        what, _, place = str(error).replace("`", "").partition(" - at $")
        raise CheckpointError(f"{place.removeprefix('.') or 'it'}: {what[:1].lower()}{what[1:]}") from error


def arrays_under(prefix: str, arrays: Mapping[str, np.ndarray]) -> Arrays:
    """The arrays named "prefix/...", without the prefix: `arrays_under("model", arrays)` is the model's state."""
    start = f"{prefix}/"
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}


def check_numbers(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise CheckpointError where arrays have numbers that are not finite, or beyond those that models compute with."""
    for name, array in arrays.items():
        if array.size and not max(abs(float(array.min())), abs(float(array.max()))) < LARGEST:  # NaN is not either
            raise CheckpointError(
                f"{name} has parameters that are not finite, or beyond {LARGEST:g}: training diverged"
            )


def rng_state(generator: np.random.Generator) -> dict[str, Any]:
    """The state of a random generator, as JSON values."""
    return _without_arrays(generator.bit_generator.state)


def restore_rng(generator: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Put a generator, in place, where `rng_state` found one of its kind.

    Raises CheckpointError where the state is of another kind of generator, or none that a generator can have.
    """
    kind = type(generator.bit_generator).__name__
    if state.get("bit_generator") != kind:
        raise CheckpointError(
            f"the saved random state is of a {state.get('bit_generator')} generator, this one is {kind}; "
            "hint: resume with the kind of generator the run was started with"
        )
    before = generator.bit_generator.state
    try:
        generator.bit_generator.state = state
        taken = rng_state(generator) == state
    except (TypeError, ValueError, KeyError, OverflowError):
        taken = False
    if not taken:
        generator.bit_generator.state = before
        raise CheckpointError(f"the saved random state is none of a {kind} generator")


def _without_arrays(state: Any) -> Any:
    """NumPy's own nested state with arrays as lists, which its setter takes as well."""
    if isinstance(state, dict):
        return {key: _without_arrays(value) for key, value in state.items()}
    return state.tolist() if isinstance(state, np.ndarray) else state


def _content(path: Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> bytes:
    """The bytes of the whole file."""
    safetensors = _safetensors()
    rows = {name: np.asarray(array, order="C") for name, array in arrays.items()}  # safetensors takes no strides
    try:
        header = {"kind": KIND, "format": FORMAT, "minattn": __version__, "meta": json.dumps(meta)}
        content = safetensors.numpy.save(rows, header)
        if int.from_bytes(content[:8], "little") > LONGEST_HEADER or len(rows) > MOST_ARRAYS:
            raise TypeError("there is more of it than is read again")
        return content
    except (TypeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"checkpoint {path}: something in it cannot be stored: {error}") from error


def _check_file(path: Path) -> None:
    """Raise CheckpointError unless there is a file, which may be read, with a header of a length that can be meant."""
    try:
        check_regular(path)
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            arrays = file.read(min(length, LONGEST_HEADER)).count(b'"data_offsets"')
    except FileNotFoundError as error:
        what = "it is a link to a file that is not there" if path.is_symlink() else "check the path"
        raise CheckpointError(f"there is no checkpoint {path}; hint: {what}") from error
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {path} cannot be read: {error.strerror}; hint: a file that may be read"
        ) from error
    if LONGEST_HEADER < length <= path.stat().st_size or arrays > MOST_ARRAYS:
        raise CheckpointError(
            f"checkpoint {path} cannot be read: its header has {length:,} bytes and {arrays:,} arrays, at most "
            f"{LONGEST_HEADER:,} and {MOST_ARRAYS:,} are read"
        )


def _check_header(path: PathLike, header: Mapping[str, str]) -> None:
    if header.get("kind") != KIND:
        raise CheckpointError(f"{path} is a safetensors file, but no minattn checkpoint; hint: check the path")
    if header.get("format") != FORMAT:
        maker = header.get("minattn", "0.1.0 or an earlier version")
        raise CheckpointError(
            f"checkpoint {path} has format {header.get('format')}, of minattn {maker}; this is minattn {__version__}, "
            f"which reads format {FORMAT}; hint: use the minattn version that wrote it"
        )


def _dtype(name: str) -> str:
    return DTYPES.get(name, name)


def _described(entry: tuple[str, tuple[int, ...]]) -> str:
    dtype, shape = entry
    return f"{dtype} {shape if len(shape) <= 8 else f'of {len(shape)} axes'}"


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise MissingDependencyError(
            "checkpoints need safetensors, which is not installed: pip install 'minattn[train]'"
        ) from error
    return safetensors
